//! Both definitions of a plan's node, rendered and checked.

use anyhow::Result;

use crate::commands::lint;
use crate::commands::session::Session;
use crate::commands::variant_definitions::Rendering;
use catalog::BuildPlan;
use definitions::{Definitions, unknown_image_id};

/// The definitions that `plan` describes, but for the image ID, which only the finished image has. So a mistake
/// in a template is reported before the compiler has run for minutes.
pub(in crate::commands) fn render(session: &Session<'_>, plan: &BuildPlan) -> Result<Definitions> {
    let BuildPlan { variant, version, switches, .. } = plan;
    let node = session.repository.node(Some(&plan.node))?;
    let rendering = Rendering { node, variant, version, names: plan.names.clone(), switches };
    let rendered = rendering.render(&session.repository, &unknown_image_id())?;
    lint::refuse_errors(session, node, &rendered)?;
    Ok(rendered)
}
