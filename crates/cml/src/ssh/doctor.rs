//! Whether a CML server is ready for container nodes, and what to do where it is not.
//!
//! Facts are read by one script over ssh, as any user; judging them is plain code. What is put right is put right by files of
//! our own in `/etc/sysctl.d` and `/etc/modules-load.d`, never by changing one that CML or its system brought.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::ssh::deliver as by_ssh;
use crate::ssh::session::Ssh;
use crate::version::{OLDEST, Version};

/// Sorts after everything that Ubuntu brings, `99-sysctl.conf` included; the last one counts.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-cml-nodes.conf";
pub const MODULES_FILE: &str = "/etc/modules-load.d/cml-nodes.conf";

const IPV4: &str = "net.ipv4.ip_forward";
const IPV6: &str = "net.ipv6.conf.all.forwarding";

/// One `key=value` a line. Settings at the next boot come in the order in which systemd reads them [sysctl.d(5)]: /etc/sysctl.conf
/// counts by the link 99-sysctl.conf that Ubuntu has. The age of
/// their files tells whether dockerd was started after them.
const READ: &str = r#"
echo "now net.ipv4.ip_forward=$(cat /proc/sys/net/ipv4/ip_forward 2>/dev/null)"
echo "now net.ipv6.conf.all.forwarding=$(cat /proc/sys/net/ipv6/conf/all/forwarding 2>/dev/null)"
for name in $(ls /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d 2>/dev/null | grep '\.conf$' | LC_ALL=C sort -u); do
	for folder in /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d; do
		if [ -e "$folder/$name" ]; then
			age=$(stat -L -c %Y "$folder/$name")
			sed -n 's/^[ -]*\(net[./]ipv4[./]ip_forward\|net[./]ipv6[./]conf[./]all[./]forwarding\)[ ]*=[ ]*\([0-9]*\).*/\1=\2/p' "$folder/$name" 2>/dev/null |
				tr / . | sed "s|^|boot $age |"
			break
		fi
	done
done
for p in /proc/[0-9]*; do
	[ "$(cat "$p/comm" 2>/dev/null)" = dockerd ] || continue
	# Field 22 of proc_pid_stat(5): ticks since the boot, whose own time is `btime`.
	echo "dockerd=$(($(sed -n 's/^btime //p' /proc/stat) + $(cut -d ' ' -f 22 "$p/stat") / $(getconf CLK_TCK)))"
	break
done
[ -d /sys/module/vrf ] && echo vrf=now
cat /etc/modules-load.d/*.conf /usr/lib/modules-load.d/*.conf 2>/dev/null | grep -qx '[ ]*vrf[ ]*' && echo vrf-at-boot=yes
echo "ssh=$(systemctl is-enabled ssh.service 2>/dev/null)"
[ -x /usr/local/bin/docker-shim ] && echo shim=yes
[ -r /etc/default/docker-shim.env ] && sed -n 's/^OPTS=/opts=/p' /etc/default/docker-shim.env | tail -n 1
:
"#;

/// What the nodes at hand need of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub ipv4: bool,
    pub ipv6: bool,
    pub vrf: bool,
    /// A command that sets up the network after the start.
    pub day0: bool,
    /// Bytes of the largest archive.
    pub space: u64,
}

impl Needs {
    /// What a node needs whose definition sets these sysctls. [docs/cml.md 5]
    pub fn of(sysctls: &[(String, String)], day0: bool, space: u64) -> Self {
        let sets = |start: &str| sysctls.iter().any(|(name, value)| name.starts_with(start) && value != "0");
        Self { ipv4: sets(IPV4), ipv6: sets(IPV6), vrf: sets("net.vrf."), day0, space }
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 || other.ipv4,
            ipv6: self.ipv6 || other.ipv6,
            vrf: self.vrf || other.vrf,
            day0: self.day0 || other.day0,
            space: self.space.max(other.space),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Fine,
    /// Worth knowing.
    Note,
    /// A node that needs it would not start, or not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    pub what: String,
    /// Empty where nothing is to be done.
    pub remedy: String,
    #[serde(skip)]
    cure: Option<Cure>,
}

impl Finding {
    /// Whether `--fix` does something about it.
    pub fn can_be_fixed(&self) -> bool {
        self.cure.is_some_and(|cure| cure != Cure::Reboot)
    }
}

/// What `--fix` does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    Sysctl(&'static str),
    Vrf,
    /// What is configured counts only after that.
    Reboot,
}

/// What was read.
#[derive(Clone, Debug, Default)]
struct Facts {
    now: BTreeMap<String, String>,
    /// Value at the next boot, and when its file was written, in Unix seconds.
    boot: BTreeMap<String, (String, u64)>,
    dockerd: Option<u64>,
    other: BTreeMap<String, String>,
    version: Option<String>,
    free: u64,
}

/// A file that `--fix` writes, with its whole content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: &'static str,
    pub text: String,
}

/// # Errors
/// If the server can't be asked.
pub async fn examine(ssh: &Ssh<'_>, needs: Needs) -> Result<(Option<String>, Vec<Finding>)> {
    let mut facts = Facts::read(&ssh.read(READ, &[]).await?);
    let about = by_ssh::about(ssh).await?;
    (facts.version, facts.free) = (about.version, about.free);
    let findings = judge(&facts, needs);
    Ok((facts.version, findings))
}

/// What would have to be written so that what is wrong is right after a reboot.
pub fn changes(findings: &[Finding]) -> Vec<Change> {
    let cures: Vec<Cure> = findings.iter().filter_map(|finding| finding.cure).collect();
    let keys: Vec<&str> = [IPV4, IPV6].into_iter().filter(|key| cures.contains(&Cure::Sysctl(key))).collect();
    let mut changes = Vec::new();
    if !keys.is_empty() {
        // The file may be there already, for the other key: it always holds both.
        let text = format!("# Container nodes need it before dockerd starts.\n{IPV4} = 1\n{IPV6} = 1\n");
        changes.push(Change { path: SYSCTL_FILE, text });
    }
    if cures.contains(&Cure::Vrf) {
        changes.push(Change { path: MODULES_FILE, text: "# Container nodes with VRFs need it.\nvrf\n".to_owned() });
    }
    changes
}

/// Whether something counts only after a reboot, now or once the changes are made.
pub fn needs_reboot(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.cure.is_some())
}

/// Writes the files, as root.
///
/// # Errors
/// If sudo refuses, or a file can't be written.
pub async fn apply(ssh: &Ssh<'_>, changes: &[Change]) -> Result<()> {
    for change in changes {
        let (path, text) = (change.path, crate::ssh::session::quote(&change.text));
        let words = format!("umask 022; printf %s {text} >{path}.part && mv -f {path}.part {path}");
        let ran = ssh.as_root(&words).await?;
        anyhow::ensure!(
            ran.code == 0,
            "{}: {path} can't be written: {}",
            ssh.address,
            crate::ssh::session::last_line(&ran.stderr)
        );
    }
    Ok(())
}

/// # Errors
/// If sudo refuses.
pub async fn reboot(ssh: &Ssh<'_>) -> Result<()> {
    // In the background: the connection ends before the command could.
    let ran = ssh.as_root("(sleep 1; systemctl reboot) >/dev/null 2>&1 </dev/null &").await?;
    anyhow::ensure!(
        ran.code == 0,
        "{} can't be rebooted: {}",
        ssh.address,
        crate::ssh::session::last_line(&ran.stderr)
    );
    Ok(())
}

impl Facts {
    fn read(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let words: Vec<&str> = key.split_whitespace().collect();
            match words.as_slice() {
                ["now", key] => {
                    facts.now.insert((*key).to_owned(), value.to_owned());
                }
                ["boot", age, key] => {
                    facts.boot.insert((*key).to_owned(), (value.to_owned(), age.parse().unwrap_or(0)));
                }
                ["dockerd"] => facts.dockerd = value.parse().ok(),
                _ => {
                    facts.other.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        facts
    }

    fn has(&self, key: &str) -> bool {
        self.other.contains_key(key)
    }
}

fn judge(facts: &Facts, needs: Needs) -> Vec<Finding> {
    let mut findings = vec![version(facts), forwarding(facts, IPV4, needs.ipv4), forwarding(facts, IPV6, needs.ipv6)];
    findings.push(vrf(facts, needs.vrf));
    findings.push(shim(facts));
    findings.push(day0(facts, needs.day0));
    findings.push(match facts.other.get("ssh").map(String::as_str) {
        Some("enabled" | "alias" | "static") => fine("the SSH service starts with the server"),
        other => Finding {
            verdict: Verdict::Note,
            what: format!(
                "the SSH service does not start with the server ({})",
                other.filter(|text| !text.is_empty()).unwrap_or("unknown")
            ),
            remedy: "switch it on in CML's cockpit, under Services, or: systemctl enable ssh".to_owned(),
            cure: None,
        },
    });
    findings.push(space(facts, needs.space));
    findings
}

fn fine(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Fine, what: what.into(), remedy: String::new(), cure: None }
}

fn wrong(needed: bool, what: impl Into<String>, remedy: impl Into<String>, cure: Option<Cure>) -> Finding {
    let verdict = if needed { Verdict::Wrong } else { Verdict::Note };
    // What nobody here needs is not put right.
    Finding { verdict, what: what.into(), remedy: remedy.into(), cure: cure.filter(|_| needed) }
}

fn version(facts: &Facts) -> Finding {
    let Some(text) = &facts.version else {
        return wrong(
            false,
            "CML does not tell its version: it is starting, or does not run",
            "look at `systemctl status virl2.target`",
            None,
        );
    };
    match Version::parse(text) {
        Some(version) if version < OLDEST => {
            wrong(true, format!("CML {text} runs no containers"), format!("upgrade it to {OLDEST} or newer"), None)
        }
        Some(version) if version < (Version { major: 2, minor: 10 }) => {
            fine(format!("CML {text} runs containers (2.10 adds image definitions with a tag of their own)"))
        }
        _ => fine(format!("CML {text} runs containers")),
    }
}

/// dockerd looks once, when it starts, whether the host forwards. [docs/cml.md 5]
fn forwarding(facts: &Facts, key: &'static str, needed: bool) -> Finding {
    let now = facts.now.get(key).is_some_and(|value| value != "0" && !value.is_empty());
    let boot = facts.boot.get(key).filter(|(value, _)| value != "0" && !value.is_empty());
    let remedy = format!("`--fix` writes it to {SYSCTL_FILE}; then reboot, since dockerd looks only when it starts");
    match (now, boot) {
        (true, Some((_, since))) if facts.dockerd.is_some_and(|dockerd| dockerd >= *since) => {
            fine(format!("{key} is on, at the next boot too, and dockerd was started after it"))
        }
        (true, Some(_)) => {
            let what = format!("{key} is on, but dockerd was started before it was configured, or does not run");
            wrong(needed, what, "reboot the server", Some(Cure::Reboot))
        }
        (false, Some(_)) => {
            wrong(needed, format!("{key} is configured, but not on yet"), "reboot the server", Some(Cure::Reboot))
        }
        (true, None) => {
            wrong(needed, format!("{key} is on, but not at the next boot"), remedy, Some(Cure::Sysctl(key)))
        }
        (false, None) => wrong(needed, format!("{key} is off"), remedy, Some(Cure::Sysctl(key))),
    }
}

fn vrf(facts: &Facts, needed: bool) -> Finding {
    let remedy = format!("`--fix` writes it to {MODULES_FILE}; then reboot");
    match (facts.has("vrf"), facts.has("vrf-at-boot")) {
        (true, true) => fine("the kernel module vrf is loaded, at the next boot too"),
        (true, false) => {
            wrong(needed, "the kernel module vrf is loaded, but not at the next boot", remedy, Some(Cure::Vrf))
        }
        (false, true) => wrong(
            needed,
            "the kernel module vrf is configured, but not loaded yet",
            "reboot the server",
            Some(Cure::Reboot),
        ),
        (false, false) if needed => wrong(
            true,
            "the kernel module vrf is not loaded; a node that sets net.vrf.* does not start",
            remedy,
            Some(Cure::Vrf),
        ),
        (false, false) => fine("the kernel module vrf is not loaded, and no node here needs it"),
    }
}

fn shim(facts: &Facts) -> Finding {
    if facts.has("shim") {
        return fine("docker-shim is there");
    }
    wrong(true, "docker-shim is not there: this CML can't start containers", "upgrade CML to 2.9 or newer", None)
}

/// `netadmin` unless the option says otherwise. [seed]
fn day0(facts: &Facts, needed: bool) -> Finding {
    let options = facts.other.get("opts").map(String::as_str).unwrap_or_default();
    let words: Vec<&str> = options.split([' ', '"', '\'', '=']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| matches!(*word, "-day0privs" | "--day0privs"));
    match at.and_then(|at| words.get(at + 1).copied()).unwrap_or("netadmin") {
        "keep" if needed => wrong(
            false,
            "-day0privs is `keep`: a node's boot.sh can't set up its network unless the node itself has NET_ADMIN",
            "take the option out of /etc/default/docker-shim.env",
            None,
        ),
        "privileged" => wrong(
            false,
            "-day0privs is `privileged`: every user's boot.sh runs with all rights, which no node here needs",
            "take the option out of /etc/default/docker-shim.env",
            None,
        ),
        other => fine(format!("-day0privs is `{other}`")),
    }
}

/// As brought, as staged, and as loaded by the engine, where it takes about three times as much.
fn space(facts: &Facts, archive: u64) -> Finding {
    let need = archive * 5;
    if facts.free > need {
        return fine(format!("{} are free", text::size(facts.free)));
    }
    let what =
        format!("only {} are free; the largest archive here takes up to {}", text::size(facts.free), text::size(need));
    wrong(true, what, "make room below /var/lib/libvirt/images", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "now net.ipv4.ip_forward=1\nnow net.ipv6.conf.all.forwarding=1\nboot 100 net.ipv4.ip_forward=1\n\
                         boot 100 net.ipv6.conf.all.forwarding=1\ndockerd=200\nssh=enabled\nshim=yes\nopts=\"-base /x\"\n";

    const ALL: Needs = Needs { ipv4: true, ipv6: true, vrf: false, day0: true, space: 1000 };

    fn judged(text: &str, needs: Needs) -> Vec<Finding> {
        let facts = Facts { version: Some("2.9.1".to_owned()), free: 10_000_000, ..Facts::read(text) };
        judge(&facts, needs).into_iter().filter(|finding| finding.verdict != Verdict::Fine).collect()
    }

    #[test]
    fn a_ready_server_has_no_findings() {
        assert_eq!(judged(READY, ALL), []);
    }

    #[test]
    fn forwarding_counts_now_at_boot_and_before_dockerd() {
        let one = |from: &str, to: &str| {
            let found = judged(&READY.replace(from, to), ALL);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].verdict, Verdict::Wrong);
            found[0].clone()
        };
        let off = one("now net.ipv6.conf.all.forwarding=1\n", "now net.ipv6.conf.all.forwarding=0\n");
        assert!(off.what.contains("configured, but not on yet") && off.cure == Some(Cure::Reboot));
        let forgotten = one("boot 100 net.ipv6.conf.all.forwarding=1", "boot 100 net.ipv6.conf.all.forwarding=0");
        assert!(forgotten.what.contains("not at the next boot") && forgotten.cure == Some(Cure::Sysctl(IPV6)));
        let late = one("boot 100 net.ipv6.conf.all.forwarding=1", "boot 300 net.ipv6.conf.all.forwarding=1");
        assert!(late.what.contains("dockerd was started before"));
        assert!(one("shim=yes\n", "").what.contains("docker-shim is not there"));
    }

    #[test]
    fn what_nobody_needs_is_no_fault_and_not_put_right() {
        let found = judged("dockerd=1\nssh=enabled\nshim=yes\n", Needs::default());
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Note), "{found:?}");
        assert!(changes(&found).is_empty() && !needs_reboot(&found));
    }

    #[test]
    fn vrf_is_needed_by_those_that_set_it() {
        let needs = Needs::of(&[("net.vrf.strict_mode".to_owned(), "1".to_owned())], false, 0);
        assert!(needs.vrf && !needs.ipv6);
        let found = judged(READY, needs);
        assert_eq!(
            changes(&found),
            [Change { path: MODULES_FILE, text: "# Container nodes with VRFs need it.\nvrf\n".to_owned() }]
        );
    }

    #[test]
    fn day0privs_are_told_where_they_matter() {
        let found = judged(&READY.replace("-base", "-day0privs keep -base"), ALL);
        assert!(found[0].what.contains("`keep`"), "{found:?}");
        assert!(judged(&READY.replace("-base", "-day0privs=privileged -base"), ALL)[0].what.contains("`privileged`"));
    }
}
