//! Working on the lab of a build machine.

use anyhow::{Result, ensure};

use crate::commands::builder::args::LabArgs;
use crate::commands::servers::Target;
use builder::lookup::{self, BuildMachine};
use cml::api::Controller;
use cml::api::labs::Lab;

/// Does `work` on the controller, logged in, and returns its result.
pub async fn logged_in<'a, T>(target: &Target<'a>, work: impl AsyncFnOnce(&Controller<'a>) -> Result<T>) -> Result<T> {
    target.logged_in(&mut None, work).await
}

/// The lab to work on. If this project has none, a note says so.
pub async fn select(controller: &Controller<'_>, args: &LabArgs) -> Result<Option<(Lab, BuildMachine)>> {
    let found = lookup::find(controller, &args.title, args.lab.as_deref()).await?;
    let foreign = found.iter().filter(|found| found.own.is_none()).count();
    let selected = lookup::select(found, &args.title, args.lab.as_deref())?;
    if selected.is_none() {
        let others = match foreign {
            0 => String::new(),
            1 => "; one lab with that title is not this project's and is left unchanged".to_owned(),
            n => format!("; {n} labs with that title are not this project's and are left unchanged"),
        };
        let note = format!("{}: no lab `{}` with a build machine{others}", controller.address, args.title);
        controller.access.ui.note(note);
    }
    Ok(selected)
}

/// Refuses to delete nodes that somebody else added to a lab.
pub fn refuse_added_nodes(lab: &Lab, machine: &BuildMachine) -> Result<()> {
    ensure!(
        machine.added.is_empty(),
        "the lab {} contains nodes that somebody added: {}; remove them, or delete the lab in CML's web interface",
        lab.id,
        machine.added.join(", ")
    );
    Ok(())
}
