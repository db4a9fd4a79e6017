//! What is fine on a server and what is not.

use anyhow::Result;
use serde::Serialize;

use crate::remote_text::excerpt;
use crate::space;
use crate::ssh::about::{About, IMAGES};
use crate::ssh::doctor::facts::Facts;
use crate::ssh::session::Ssh;
use crate::version::{OLDEST, Version, WITH_IMAGE_TAGS, is_too_old};

/// Sorts after everything that Ubuntu brings, `99-sysctl.conf` included: the last file counts.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-cml-nodes.conf";
pub const MODULES_FILE: &str = "/etc/modules-load.d/cml-nodes.conf";

pub const IPV4: &str = "net.ipv4.ip_forward";
pub const IPV6: &str = "net.ipv6.conf.all.forwarding";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub ipv4: bool,
    pub ipv6: bool,
    pub vrf: bool,
    /// A command that sets up the network after the start.
    pub day0: bool,
    /// Bytes of the largest archive.
    pub archive: u64,
}

impl Needs {
    /// What a node needs whose definition sets these sysctls. [docs/cml.md 5]
    pub fn of(sysctls: &[(String, String)], day0: bool, archive: u64) -> Self {
        let sets = |start: &str| sysctls.iter().any(|(name, value)| name.starts_with(start) && value != "0");
        Self { ipv4: sets(IPV4), ipv6: sets(IPV6), vrf: sets("net.vrf."), day0, archive }
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 || other.ipv4,
            ipv6: self.ipv6 || other.ipv6,
            vrf: self.vrf || other.vrf,
            day0: self.day0 || other.day0,
            archive: self.archive.max(other.archive),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Fine,
    Note,
    /// A node that needs it would not start, or not work.
    Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    pub what: String,
    /// Empty if there is nothing to do.
    pub remedy: String,
    #[serde(skip)]
    pub(super) fix: Option<Fix>,
}

impl Finding {
    /// Whether `--fix` does something about it.
    pub fn can_be_fixed(&self) -> bool {
        self.fix.is_some_and(|fix| fix != Fix::Reboot)
    }

    /// Whether it is right after the next reboot, once `--fix` has written its files.
    pub fn waits_for_reboot(&self) -> bool {
        self.fix.is_some()
    }
}

/// What `--fix` does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    Sysctl(&'static str),
    Vrf,
    /// What is configured takes effect only after that.
    Reboot,
}

pub async fn examine(ssh: &Ssh<'_>, about: &About, needs: Needs) -> Result<Vec<Finding>> {
    Ok(judge(&Facts::read(ssh).await?, about, needs))
}

pub(super) fn judge(facts: &Facts, about: &About, needs: Needs) -> Vec<Finding> {
    let mut findings = vec![
        version(about),
        forwarding(facts, IPV4, needs.ipv4),
        forwarding(facts, IPV6, needs.ipv6),
        vrf(facts, needs.vrf),
        shim(facts),
        day0(facts, needs.day0),
        ssh_service(facts),
    ];
    findings.extend(space(about, needs.archive));
    findings
}

fn fine(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Fine, what: what.into(), remedy: String::new(), fix: None }
}

/// Something that is wrong if a node needs it, and else only worth knowing; then it is not fixed either.
fn wrong(is_needed: bool, what: impl Into<String>, remedy: impl Into<String>, fix: Option<Fix>) -> Finding {
    let verdict = if is_needed { Verdict::Wrong } else { Verdict::Note };
    Finding { verdict, what: what.into(), remedy: remedy.into(), fix: fix.filter(|_| is_needed) }
}

fn note(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    wrong(false, what, remedy, None)
}

fn version(about: &About) -> Finding {
    let Some(text) = &about.version else {
        return note(
            "CML does not report its version: it is starting, or not running",
            "look at `systemctl status virl2.target`",
        );
    };
    if is_too_old(text) {
        let remedy = format!("upgrade to {OLDEST} or newer");
        return wrong(true, format!("CML {text} does not run containers"), remedy, None);
    }
    match Version::parse(text) {
        Some(version) if version < WITH_IMAGE_TAGS => fine(format!(
            "CML {text} runs containers ({WITH_IMAGE_TAGS} adds image definitions with a tag of their own)"
        )),
        _ => fine(format!("CML {text} runs containers")),
    }
}

/// dockerd looks only once, when it starts, whether the host forwards. [docs/cml.md 5]
fn forwarding(facts: &Facts, key: &'static str, is_needed: bool) -> Finding {
    let is_on = |value: &str| !matches!(value, "0" | "");
    let now = is_on(facts.value(&format!("now {key}")));
    let boot = facts.boot.get(key).filter(|(value, _)| is_on(value));
    let reboot = "reboot the server".to_owned();
    let write = format!("`--fix` writes it to {SYSCTL_FILE}; then reboot, because dockerd looks only when it starts");
    let (what, remedy, fix) = match (now, boot) {
        (true, Some((_, since))) if facts.dockerd().is_some_and(|dockerd| dockerd >= *since) => {
            return fine(format!("{key} is on, at the next boot too, and dockerd was started after it"));
        }
        (true, Some(_)) => {
            ("on, but dockerd was started before it was configured, or is not running", reboot, Fix::Reboot)
        }
        (false, Some(_)) => ("configured, but not on yet", reboot, Fix::Reboot),
        (true, None) => ("on, but not at the next boot", write, Fix::Sysctl(key)),
        (false, None) => ("off", write, Fix::Sysctl(key)),
    };
    wrong(is_needed, format!("{key} is {what}"), remedy, Some(fix))
}

fn vrf(facts: &Facts, is_needed: bool) -> Finding {
    let write = format!("`--fix` writes it to {MODULES_FILE}; then reboot");
    let reboot = "reboot the server".to_owned();
    let (what, remedy, fix) = match (!facts.value("vrf").is_empty(), !facts.value("vrf-at-boot").is_empty()) {
        (true, true) => return fine("the kernel module vrf is loaded, at the next boot too"),
        (false, false) if !is_needed => return fine("the kernel module vrf is not loaded, and no node here needs it"),
        (true, false) => ("the kernel module vrf is loaded, but not at the next boot", write, Fix::Vrf),
        (false, true) => ("the kernel module vrf is configured, but not loaded yet", reboot, Fix::Reboot),
        (false, false) => {
            ("the kernel module vrf is not loaded; a node that sets net.vrf.* does not start", write, Fix::Vrf)
        }
    };
    wrong(is_needed, what, remedy, Some(fix))
}

fn shim(facts: &Facts) -> Finding {
    match facts.value("shim") {
        "yes" => fine("docker-shim is installed"),
        _ => wrong(
            true,
            "docker-shim is not installed: this CML cannot start containers",
            "upgrade CML to 2.9 or newer",
            None,
        ),
    }
}

/// The option's default is `netadmin`. [docs/cml.md 5]
fn day0(facts: &Facts, is_needed: bool) -> Finding {
    let words: Vec<&str> = facts.value("opts").split([' ', '"', '\'', '=']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| matches!(*word, "-day0privs" | "--day0privs"));
    let remedy = "remove the option from /etc/default/docker-shim.env";
    match at.and_then(|at| words.get(at + 1).copied()).unwrap_or("netadmin") {
        "keep" if is_needed => note(
            "-day0privs is `keep`: a node's boot.sh cannot set up its network unless the node itself has NET_ADMIN",
            remedy,
        ),
        "privileged" => note(
            "-day0privs is `privileged`: every user's boot.sh runs with all rights, which no node here needs",
            remedy,
        ),
        other => fine(format!("-day0privs is `{}`", excerpt(other, 40))),
    }
}

fn ssh_service(facts: &Facts) -> Finding {
    let state = match facts.value("ssh") {
        "enabled" | "alias" | "static" => return fine("the SSH service starts with the server"),
        "" => "unknown".to_owned(),
        other => excerpt(other, 40),
    };
    let what = format!("the SSH service does not start with the server ({state})");
    note(what, "enable it in CML's cockpit, under Services, or: systemctl enable ssh")
}

/// For each disk: the copies of the largest archive, and the image that Docker unpacks.
fn space(about: &About, archive: u64) -> impl Iterator<Item = Finding> {
    let demands = space::by_disk(&[
        (IMAGES, &about.images, space::by_ssh(archive)),
        ("the folder for transfers", &about.transfer, space::by_ssh(archive)),
        ("Docker's images", &about.docker, space::unpacked(archive)),
    ]);
    demands.into_iter().map(|demand| {
        let (free, needed, places) = (demand.free.map(text::size), text::size(demand.needed), &demand.places);
        match (demand.is_met(), free) {
            (Some(true), Some(free)) => fine(format!("{free} free on the disk of {places}")),
            (_, Some(free)) => {
                let what = format!(
                    "only {free} free on the disk of {places}; the largest archive here takes up to {needed} there"
                );
                wrong(true, what, format!("make room on the disk of {places}"), None)
            }
            (_, None) => note(
                format!("the free space on the disk of {places} is unknown; the largest archive here takes {needed}"),
                "look with `df` on the server",
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "now net.ipv4.ip_forward=1\nnow net.ipv6.conf.all.forwarding=1\n\
                         boot 100 net.ipv4.ip_forward=1\nboot 100 net.ipv6.conf.all.forwarding=1\n\
                         dockerd=200\nssh=enabled\nshim=yes\nopts=\"-base /x\"\n";

    const ALL: Needs = Needs { ipv4: true, ipv6: true, vrf: false, day0: true, archive: 1000 };

    fn judged(text: &str, needs: Needs) -> Vec<Finding> {
        let disk = space::Disk { device: Some("8".to_owned()), free: Some(10_000_000) };
        let (images, transfer, docker) = (disk.clone(), disk.clone(), disk);
        let about = About { version: Some("2.9.1".to_owned()), ready: true, images, transfer, docker };
        judge(&Facts::parse(text), &about, needs).into_iter().filter(|one| one.verdict != Verdict::Fine).collect()
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
        assert!(off.what.contains("configured, but not on yet") && off.fix == Some(Fix::Reboot));
        let forgotten = one("boot 100 net.ipv6.conf.all.forwarding=1", "boot 100 net.ipv6.conf.all.forwarding=0");
        assert!(forgotten.what.contains("not at the next boot") && forgotten.fix == Some(Fix::Sysctl(IPV6)));
        let late = one("boot 100 net.ipv6.conf.all.forwarding=1", "boot 300 net.ipv6.conf.all.forwarding=1");
        assert!(late.what.contains("dockerd was started before"));
        assert!(one("shim=yes\n", "").what.contains("docker-shim is not installed"));
    }

    #[test]
    fn space_is_judged_on_each_disk_and_not_where_it_is_unknown() {
        let [large, small, unknown] = ["8 9000", "9 4", " "].map(space::Disk::parse);
        let of = |images: &space::Disk, docker: &space::Disk| {
            let (images, transfer, docker) = (images.clone(), images.clone(), docker.clone());
            space(&About { images, transfer, docker, ..About::default() }, 100_000).collect::<Vec<_>>()
        };
        let found = of(&large, &small);
        assert!(
            found[0].verdict == Verdict::Fine && found[0].what.contains("and the folder for transfers"),
            "{found:?}"
        );
        assert!(found[1].verdict == Verdict::Wrong && found[1].what.contains("of Docker's images"), "{found:?}");
        let found = of(&large, &unknown);
        assert!(found[1].verdict == Verdict::Note && found[1].what.contains("is unknown"), "{found:?}");
        assert_eq!(of(&unknown, &unknown).len(), 3);
    }

    #[test]
    fn what_no_node_needs_is_only_noted() {
        let found = judged("dockerd=1\nssh=enabled\nshim=yes\n", Needs::default());
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Note), "{found:?}");
    }

    #[test]
    fn day0privs_are_noted_where_they_matter() {
        let found = judged(&READY.replace("-base", "-day0privs keep -base"), ALL);
        assert!(found[0].what.contains("`keep`"), "{found:?}");
        assert!(judged(&READY.replace("-base", "-day0privs=privileged -base"), ALL)[0].what.contains("`privileged`"));
    }
}
