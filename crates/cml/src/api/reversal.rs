//! Taking a node off a controller, or back to what it was.

use anyhow::{Context, Result, bail};

use crate::access::Access;
use crate::api::controller::{Controller, Kind};
use crate::api::install::{
    Options, Standing, is_read_only, refuse_if_in_use, refuse_if_read_only, same_archive, take_away,
};
use crate::bundle::Definition;
use crate::known::{Pair, Past};
use crate::report::Reversal;
use crate::report::{NodeReport, State};

/// # Errors
/// As [`remove`] and [`rollback`].
pub async fn reverse(
    access: &Access,
    controller: &Controller<'_>,
    reversal: Reversal,
    id: &str,
    options: Options,
) -> Result<NodeReport> {
    match reversal {
        Reversal::Remove => remove(access, controller, id, options).await,
        Reversal::Rollback => rollback(access, controller, id, options).await,
    }
}

/// Takes a node off the controller: both definitions, and with them the archive.
///
/// # Errors
/// If it is in use, or read-only without this program having made it so, or the controller refuses.
async fn remove(access: &Access, controller: &Controller<'_>, id: &str, options: Options) -> Result<NodeReport> {
    let standing = Standing::read(controller, id).await?;
    let mut past = Past::read(&access.memory, &controller.address, id);
    let waiting = format!("{id}.tar.gz");
    let dropped = past.waiting.is_some() && controller.drop_folder().await?.contains(&waiting);
    if standing.node.is_none() && standing.image.is_none() && !dropped {
        return Ok(NodeReport::new(id, State::Absent));
    }
    refuse_if_in_use(controller, id, options.force && standing.node.is_none()).await?;
    for (kind, there) in [(Kind::Image, &standing.image), (Kind::Node, &standing.node)] {
        if let Some(there) = there {
            refuse_if_read_only(controller, kind, id, there, &past, options.force)?;
        }
    }
    if standing.node.is_some() {
        // The controller would refuse it, but only once our own image definition is gone.
        let others: Vec<String> = controller.images_of(id).await?.into_iter().filter(|image| image != id).collect();
        anyhow::ensure!(
            others.is_empty(),
            "other image definitions on {} belong to the node definition {id}: {}; remove them first",
            controller.address,
            others.join(", ")
        );
    }
    if options.dry_run {
        return Ok(NodeReport::new(id, State::Removed).with(vec!["nothing was done (--dry-run)".to_owned()]));
    }
    // Halfway is no place to stop at: Ctrl-C waits for the end.
    let _unfinished = access.ui.interrupt().hold();
    // The definition that names the other goes first.
    for kind in [Kind::Image, Kind::Node] {
        take_away(controller, kind, id).await?;
    }
    if dropped {
        controller.remove_dropped(&waiting).await?;
    }
    past.replaced = Some(standing.pair());
    (past.left, past.waiting, past.begun) = (Some(Pair::default()), None, None);
    past.write(&access.memory, &controller.address, id)?;
    Ok(NodeReport::new(id, State::Removed))
}

/// Back to what this machine's last installation replaced.
///
/// # Errors
/// If nothing is remembered, something else stands there now, or the archive of that time is gone.
async fn rollback(access: &Access, controller: &Controller<'_>, id: &str, options: Options) -> Result<NodeReport> {
    let past = Past::read(&access.memory, &controller.address, id);
    let standing = Standing::read(controller, id).await?;
    let before = past.replaced.clone().with_context(|| {
        format!(
            "nothing is remembered here of what {id} replaced on {}; `--via ssh` keeps it on the server",
            controller.address
        )
    })?;
    let as_left = past.left.as_ref().is_some_and(|left| standing.is_between(left, &before));
    anyhow::ensure!(
        as_left || options.force,
        "{id} on {} is not as this machine left it; --force rolls back all the same",
        controller.address
    );
    let Some(image) = &before.image else {
        if before.node.is_none() {
            let report = remove(access, controller, id, options).await?;
            return Ok(NodeReport { state: State::RolledBack, ..report });
        }
        bail!(
            "before, {id} had no image definition on {}; `cargo xtask cml remove {id}` takes it away",
            controller.address
        )
    };
    let image = Definition::read(image.clone())?;
    let has_its_archive = standing.image.as_ref().is_some_and(|there| same_archive(&image.value, &there.value));
    anyhow::ensure!(
        has_its_archive,
        "the API gives no archive back, so what {id} was on {} can't be restored through it; save and upload that version again, \
         or install by `--via ssh`, which keeps what it replaces",
        controller.address
    );
    if !options.dry_run {
        let _unfinished = access.ui.interrupt().hold();
        put_back(controller, id, &standing, &before).await?;
        let left = Standing::read(controller, id).await?.pair();
        let now = Past { waiting: None, left: Some(left), replaced: Some(standing.pair()), begun: None };
        now.write(&access.memory, &controller.address, id)?;
    }
    Ok(NodeReport::new(id, State::RolledBack))
}

async fn put_back(controller: &Controller<'_>, id: &str, standing: &Standing, before: &Pair) -> Result<()> {
    for (kind, text, there) in
        [(Kind::Node, &before.node, &standing.node), (Kind::Image, &before.image, &standing.image)]
    {
        let Some(text) = text else { continue };
        if there.as_ref().is_some_and(|there| is_read_only(kind, &there.value)) {
            controller.set_read_only(kind, id, false).await?;
        }
        controller.write_definition(kind, id, text, there.is_some()).await?;
    }
    Ok(())
}
