//! The steps of a build as they start, what they print, how they end; as BuildKit or Buildah reports them.

mod buildah;
mod buildkit;
pub mod log;

use ui::Ui;

use crate::engine::abilities::Abilities;
use crate::engine::build::progress::buildah::Buildah;
use crate::engine::build::progress::buildkit::BuildKit;
use crate::engine::build::progress::log::Progress;

/// The display of a build on an engine with these abilities.
pub fn show_progress<'a>(ui: &'a Ui, abilities: &Abilities) -> Box<dyn Progress + 'a> {
    if abilities.has_buildkit { Box::new(BuildKit::new(ui)) } else { Box::new(Buildah::new(ui)) }
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
