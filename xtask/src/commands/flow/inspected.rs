//! A node whose image ID is known and is in both definitions.
//!
//! CML compares the SHA-256 of the image's configuration. What `docker inspect` prints is that on some engines and a
//! manifest's digest on others, so it is computed here, from what the engine exports. [docs/cml.md 3]

use anyhow::{Context, Result};

use crate::commands::args::{CmlVersion, NodeArgs};
use crate::commands::flow::built::Built;
use crate::commands::lint;
use crate::commands::session::Session;
use crate::commands::variant_definitions::{Rendering, forms};
use crate::dist::{ArchiveRecord, OtherForm, Record};
use catalog::{BuildPlan, SharedNode};
use definitions::{Definitions, unknown_image_id};
use digests::Digest;
use files::Lock;

/// A built node with its definitions.
pub struct Inspected {
    pub built: Built,
    pub definitions: Rendered,
    pub image_id: Digest,
}

/// Definitions in each form that the node has.
pub struct Rendered {
    /// As they are written to dist/: in the form that was asked for.
    pub asked: Definitions,
    /// Of the node definition among them.
    pub node_id: String,
    /// For servers that need the other form.
    pub other: Option<OtherForm>,
}

impl Rendered {
    fn with_image_id(self, image_id: &Digest) -> Result<Self> {
        let filled = |text: &str| text.replace(unknown_image_id().hex(), image_id.hex());
        let other = self.other.map(|OtherForm { node_id, node, image }| OtherForm {
            node_id,
            node: filled(&node),
            image: filled(&image),
        });
        Ok(Self { asked: self.asked.with_image_id(image_id)?, other, ..self })
    }
}

impl Inspected {
    /// Builds the node if necessary, and writes its definitions.
    pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Self> {
        let (built, rendered) = Built::after(session, args, |plan| render(session, plan, args.recipe.form)).await?;
        let recorded = session.dist.record(&built.plan.names.id);
        let image_id = match recorded.filter(|record| record.engine_id == built.image.engine_id) {
            Some(record) => record.image_id,
            None => compute_image_id(session, &built).await?,
        };
        let lock = session.dist.lock(session.ui).await?;
        let inspected = Self::new(built, rendered, image_id)?;
        // Another command may have written the archive before this one got the lock.
        let archive = session.dist.record(&inspected.built.plan.names.id).and_then(|record| record.archive);
        inspected.write(session, &lock, archive)?;
        Ok(inspected)
    }

    pub(super) fn new(built: Built, rendered: Rendered, image_id: Digest) -> Result<Self> {
        if let Some(prebuilt) = &built.plan.prebuilt {
            anyhow::ensure!(
                prebuilt.image_id == image_id,
                "the engine exports {} as image sha256:{image_id}, but the manifest names sha256:{} (`prebuilt`)",
                built.plan.names.image,
                prebuilt.image_id
            );
        }
        Ok(Self { definitions: rendered.with_image_id(&image_id)?, built, image_id })
    }

    /// Writes the definitions that have changed, and what is known of the node; `archive` is the one in dist/, which
    /// may be an older image's.
    pub(super) fn write(&self, session: &Session<'_>, _: &Lock, archive: Option<ArchiveRecord>) -> Result<()> {
        let (dist, plan) = (&session.dist, &self.built.plan);
        let id = &plan.names.id;
        let Rendered { asked, node_id, .. } = &self.definitions;
        let files = [(dist.node_definition(node_id), &asked.node), (dist.image_definition(id), &asked.image)];
        let changed = files.iter().any(|(path, text)| !dist.has(path, text));
        if changed {
            dist.write_sums(Some((id, node_id)))?;
            for (path, text) in &files {
                dist.write(path, text)?;
            }
        }
        dist.replace_record(id, &self.record(archive))?;
        dist.write_sums(None)?;
        if changed {
            session.ui.note(format_args!("wrote the definitions of {id}"));
        }
        Ok(())
    }

    pub(super) fn record(&self, archive: Option<ArchiveRecord>) -> Record {
        let Built { plan, image, .. } = &self.built;
        Record {
            node: plan.node.clone(),
            node_id: self.definitions.node_id.clone(),
            variant: plan.variant.clone(),
            version: plan.version.clone(),
            other: self.definitions.other.clone(),
            engine_id: image.engine_id.clone(),
            image_id: self.image_id.clone(),
            archive,
        }
    }
}

/// The definitions that `plan` describes, but for the image ID, which only the finished image has. So a mistake
/// in a template is reported before the compiler has run for minutes. Without a version of CML, the manifest decides
/// which form is asked for.
pub(super) fn render(session: &Session<'_>, plan: &BuildPlan, cml: Option<CmlVersion>) -> Result<Rendered> {
    let node = session.repository.node(Some(&plan.node))?;
    let mut all: Vec<Option<&SharedNode>> = forms(node).collect();
    if cml == Some(CmlVersion::V2_9) {
        all.reverse();
    }
    let id = |shared: Option<&SharedNode>| shared.map_or(&plan.names.id, |shared| &shared.id).clone();
    let mut rendered = Vec::new();
    for shared in all {
        rendered.push((id(shared), render_as(session, plan, shared)?));
    }
    let mut rendered = rendered.into_iter();
    let (node_id, asked) = rendered.next().context("a node has at least one form")?;
    let other = rendered.next().map(|(node_id, Definitions { node, image, .. })| OtherForm { node_id, node, image });
    Ok(Rendered { asked, node_id, other })
}

/// The definitions in one form.
pub(super) fn render_as(session: &Session<'_>, plan: &BuildPlan, shared: Option<&SharedNode>) -> Result<Definitions> {
    let BuildPlan { variant, version, switches, .. } = plan;
    let node = session.repository.node(Some(&plan.node))?;
    let rendering = Rendering { node, variant, version, names: plan.names.clone(), switches, shared };
    let rendered = rendering.render(&session.repository, &unknown_image_id())?;
    lint::refuse_errors(session, node, &rendered)?;
    Ok(rendered)
}

async fn compute_image_id(session: &Session<'_>, built: &Built) -> Result<Digest> {
    let spinner = session.ui.spinner(format!("computing the image ID of {} from its export", built.plan.names.image));
    let contents = built.export(|_| {}, archive::examine).await;
    spinner.finish_and_clear();
    Ok(contents?.image_id)
}
