//! Both definitions of a plan's node, rendered and checked.

use anyhow::Result;

use crate::commands::lint;
use crate::commands::session::Session;
use crate::dist;
use catalog::BuildPlan;
use definitions::{Definitions, Facts};

/// The definitions that `plan` describes, but for the image ID, which only the finished image has. So a mistake
/// in a template is reported before the compiler has run for minutes.
pub(in crate::commands) fn render(session: &Session<'_>, plan: &BuildPlan) -> Result<Definitions> {
    let facts = Facts {
        id: &plan.names.id,
        image: &plan.names.image,
        image_id: &definitions::unknown_image_id(),
        archive: &dist::archive_name(&plan.names.id),
        node: &plan.node,
        variant: &plan.variant,
        version: &plan.version,
        label: &plan.names.label,
        title: &plan.title,
        description: &plan.description,
        switches: &plan.switches,
    };
    let rendered =
        definitions::render(&session.repository.root, &plan.node_definition, &plan.image_definition, &facts)?;
    lint::refuse_errors(session, &plan.node, &rendered)?;
    Ok(rendered)
}
