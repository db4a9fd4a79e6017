//! Whether a CML server is ready for container nodes, and what to do if it is not.
//!
//! One script reads the facts over ssh, as any user; plain code judges them. Fixes are files of our own in
//! `/etc/sysctl.d` and `/etc/modules-load.d`; no file that CML or its system brought is changed.

mod facts;
mod findings;

pub use findings::{Finding, Needs, Verdict, examine};

use anyhow::{Context, Result};

use crate::ssh::doctor::findings::{Fix, IPV4, IPV6, MODULES_FILE, SYSCTL_FILE};
use crate::ssh::exchange::Kind;
use crate::ssh::session::Ssh;

/// A file that `--fix` writes, with its whole content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: &'static str,
    pub text: String,
}

/// The files to write so that what is wrong is right after a reboot.
pub fn changes(findings: &[Finding]) -> Vec<Change> {
    let has = |fix: Fix| findings.iter().any(|finding| finding.fix == Some(fix));
    let mut changes = Vec::new();
    if has(Fix::Sysctl(IPV4)) || has(Fix::Sysctl(IPV6)) {
        // The file may exist already, for the other key: it always has both.
        let text = format!("# Container nodes need it before dockerd starts.\n{IPV4} = 1\n{IPV6} = 1\n");
        changes.push(Change { path: SYSCTL_FILE, text });
    }
    if has(Fix::Vrf) {
        changes.push(Change { path: MODULES_FILE, text: "# Container nodes with VRFs need it.\nvrf\n".to_owned() });
    }
    changes
}

/// Whether something takes effect only at a reboot, now or after the changes.
pub fn needs_reboot(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.fix.is_some())
}

pub async fn apply(ssh: &Ssh<'_>, changes: &[Change]) -> Result<()> {
    for Change { path, text } in changes {
        let script = r#"umask 022; printf %s "$2" >"$1.part" && mv -f "$1.part" "$1""#;
        let output = ssh.as_root(Kind::Question, script, &[path, text]).await?;
        ssh.check(&output).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

pub async fn reboot(ssh: &Ssh<'_>) -> Result<()> {
    // In the background: the connection ends before the command could.
    let script = "(sleep 1; systemctl reboot) >/dev/null 2>&1 </dev/null &";
    let output = ssh.as_root(Kind::Question, script, &[]).await?;
    ssh.check(&output).context("cannot reboot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::about::About;
    use crate::ssh::doctor::facts::Facts;
    use crate::ssh::doctor::findings::{Needs, judge};

    fn judged(needs: Needs) -> Vec<Finding> {
        judge(&Facts::parse("dockerd=1\nssh=enabled\nshim=yes\n"), &About::default(), needs)
    }

    #[test]
    fn vrf_is_loaded_for_nodes_that_set_it() {
        let needs = Needs::of(&[("net.vrf.strict_mode".to_owned(), "1".to_owned())], false, 0);
        assert!(needs.vrf && !needs.ipv6);
        assert_eq!(
            changes(&judged(needs)),
            [Change { path: MODULES_FILE, text: "# Container nodes with VRFs need it.\nvrf\n".to_owned() }]
        );
    }

    #[test]
    fn what_no_node_needs_is_not_fixed() {
        let found = judged(Needs::default());
        assert!(changes(&found).is_empty() && !needs_reboot(&found), "{found:?}");
    }
}
