//! The progress of one build, whichever way the engine builds.

use bollard::models::{BuildInfo, BuildInfoAux};
use ui::Ui;

use crate::engine::abilities::Abilities;
use crate::engine::build::progress::buildah::{self, Buildah};
use crate::engine::build::progress::buildkit::{self, BuildKit};
use crate::engine::build::progress::log::FailedStep;

/// Shows the steps of one build.
pub enum Progress<'a> {
    BuildKit(BuildKit<'a>),
    Buildah(Buildah<'a>),
}

impl<'a> Progress<'a> {
    /// For a build on an engine with these abilities.
    pub fn new(ui: &'a Ui, abilities: &Abilities) -> Self {
        if abilities.has_buildkit() { Self::BuildKit(BuildKit::new(ui)) } else { Self::Buildah(Buildah::new(ui)) }
    }

    /// Shows what one message of the engine reports.
    pub fn update(&mut self, message: BuildInfo) {
        match (self, message) {
            (Self::BuildKit(build), BuildInfo { aux: Some(BuildInfoAux::BuildKit(status)), .. }) => {
                build.update(status);
            }
            (Self::Buildah(build), BuildInfo { stream: Some(text), .. }) => build.update(&text),
            _ => {}
        }
    }

    /// To be called every few seconds. Outside of a terminal, says now and then that a long step is still running.
    pub fn heartbeat(&mut self) {
        match self {
            Self::BuildKit(build) => build.heartbeat(),
            Self::Buildah(build) => build.heartbeat(),
        }
    }

    /// The step that failed with this error of the engine.
    pub fn failed(&mut self, error: &str) -> Option<FailedStep> {
        match self {
            Self::BuildKit(build) => build.failed(),
            Self::Buildah(build) => build.failed(error),
        }
    }
}

/// The reason in an engine's error. Engines repeat the whole instruction in it, which the user has seen.
pub fn reason(error: &str) -> &str {
    let error = error.trim();
    buildkit::reason(error).or_else(|| buildah::reason(error)).unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_an_instruction_is_shown_whole() {
        let parser = "dockerfile parse error line 3: unknown instruction: RUM";
        assert_eq!(reason(parser), parser);
    }
}
