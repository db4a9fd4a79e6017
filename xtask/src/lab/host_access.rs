//! Keeps nodes away from the machine that tries them.

use anyhow::Result;

use definitions::container::Container;
use ui::Ui;

/// Whether nodes may be created that could reach the engine's host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostAccess {
    #[default]
    Refused,
    Allowed,
}

impl HostAccess {
    pub fn from_flag(is_allowed: bool) -> Self {
        if is_allowed { Self::Allowed } else { Self::Refused }
    }

    /// Refuses a node that could reach the host, with each argument that would let it; or warns of it.
    pub fn judge(self, ui: &Ui, container: &Container) -> Result<()> {
        self.check(container)?;
        for argument in arguments(container) {
            ui.warn(format_args!("{} can reach this engine's host: {argument}", container.id));
        }
        Ok(())
    }

    /// Refuses a node that could reach the host, unless that is allowed.
    pub(super) fn check(self, container: &Container) -> Result<()> {
        let found = arguments(container);
        anyhow::ensure!(
            self == Self::Allowed || found.is_empty(),
            "{} could reach the engine's host, so it is not created:\n  {}\n\
             If you trust its author, pass --allow-host-access. docs/lint.md explains the rule `host-access`",
            container.id,
            found.join("\n  ")
        );
        Ok(())
    }
}

fn arguments(container: &Container) -> Vec<String> {
    let describe = |found: &definitions::host_access::HostAccess| {
        let key = found.path.iter().filter(|step| step.parse::<usize>().is_err());
        let key = key.map(String::as_str).collect::<Vec<_>>().join(".");
        format!("{key}: `{}` {}", text::printable(&found.argument), found.reason)
    };
    container.config.host_access().iter().map(describe).collect()
}
