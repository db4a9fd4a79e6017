//! Old versions of nodes on a controller, and which of them can go.
//!
//! Only what this machine has installed, as its records tell, and nobody has changed since is looked at: a definition
//! itself does not say who made it. What cannot be known for certain to be unused stays.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow};

use crate::api::controller::Controller;
use crate::api::labs::Usage;
use crate::api::reversal::{Installed, remove};
use crate::bundle::means_the_same;
use crate::known::MadeFrom;
use crate::{InstallRecord, InstallState, Kind, NodeReport, Options};

/// What the repository says of its nodes now.
#[derive(Clone, Debug, Default)]
pub struct Current {
    pub nodes: Vec<String>,
    /// The nodes that cannot be worked on, and why: the words name the file.
    pub broken: Vec<(String, String)>,
    /// The IDs of image definitions that manifests name.
    pub ids: Vec<String>,
    /// The IDs of node definitions that versions share.
    pub shared: Vec<String>,
}

/// A version on the controller that this machine installed.
#[derive(Clone, Debug)]
pub struct Version {
    pub id: String,
    pub from: MadeFrom,
    /// Why it stays, if it does.
    pub kept: Option<String>,
}

impl Version {
    pub fn size(&self) -> String {
        text::size(self.from.size)
    }

    /// What becomes of it without a removal.
    pub fn report(&self) -> NodeReport {
        let (state, detail) = match &self.kept {
            Some(why) => (InstallState::Kept, why.clone()),
            None => (InstallState::WouldRemove, self.size()),
        };
        NodeReport::new(&self.id, state).with(vec![detail])
    }
}

/// The versions that are there, and what keeps others from being judged.
#[derive(Debug, Default)]
pub struct Plan {
    pub versions: Vec<Version>,
    pub problems: Vec<Error>,
}

/// The versions that are there, and which of them can go.
///
/// # Errors
/// If not every lab can be seen, since then it is not known what is in use.
pub async fn plan(controller: &Controller<'_>, current: &Current) -> Result<Plan> {
    let usage = controller.usage().await?;
    let (state_folder, address) = (&controller.access.state_folder, &controller.address);
    let (mut plan, mut unknown) = (Plan::default(), BTreeMap::<String, Vec<String>>::new());
    for (id, record) in InstallRecord::all(state_folder, address) {
        let from = match record {
            Ok(record) => record.made_from,
            Err(problem) => {
                plan.problems.push(problem);
                continue;
            }
        };
        let Some(from) = from else { continue };
        let there = Installed::read(controller, &id).await?;
        if there.is_gone(&id) {
            continue;
        }
        let kept = match current.why_unknown(&from.node) {
            None => why_kept(&id, &there, current, &usage),
            Some(why) => {
                unknown.entry(why).or_default().push(id.clone());
                Some("it is not known which versions the repository needs".to_owned())
            }
        };
        plan.versions.push(Version { id, from, kept });
    }
    let told = |(why, ids): (String, Vec<String>)| anyhow!("not removed from {address}: {}; {why}", ids.join(", "));
    plan.problems.extend(unknown.into_iter().map(told));
    keep_newest(&mut plan.versions);
    Ok(plan)
}

impl Current {
    /// Why it is not known which versions of a node are needed, if so; the words name the manifest.
    fn why_unknown(&self, node: &str) -> Option<String> {
        if self.nodes.iter().any(|known| known == node) {
            return None;
        }
        let why = self.broken.iter().find(|(name, _)| name == node).map(|(_, why)| why.clone());
        let node = text::printable_line(node);
        Some(why.unwrap_or_else(|| format!("it was made from docker/{node}/node.yaml, which is not there")))
    }
}

fn why_kept(id: &str, there: &Installed, current: &Current, usage: &Usage) -> Option<String> {
    let Installed { record, standing, .. } = there;
    if current.ids.iter().any(|known| known == id) {
        return Some("the repository names this version".to_owned());
    }
    if record.replacing.is_some() {
        return Some("its installation has not ended".to_owned());
    }
    let installed = record.installed.clone().unwrap_or_default();
    // Later versions may have changed a node definition that they share.
    let kinds: &[Kind] = if there.is_shared(id) { &[Kind::Image] } else { &Kind::BOTH };
    if !kinds.iter().all(|kind| means_the_same(standing.definition(*kind), installed.definition(*kind))) {
        return Some("it has changed since this machine installed it".to_owned());
    }
    let users = usage.of(there.image_use(id));
    let first = users.first()?;
    let more = if users.len() > 1 { format!(", and {} more", users.len() - 1) } else { String::new() };
    Some(format!("in use: {}{more}", text::printable_line(first)))
}

/// The newest version of a node stays, and others that have the same version.
fn keep_newest(found: &mut [Version]) {
    let mut newest: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for version in found.iter() {
        let known = newest.entry(version.from.node.clone()).or_default();
        *known = order(&version.from.version).max(std::mem::take(known));
    }
    for version in found.iter_mut().filter(|version| version.kept.is_none()) {
        if newest.get(&version.from.node).is_some_and(|newest| *newest == order(&version.from.version)) {
            version.kept = Some("the newest version that this machine installed there".to_owned());
        }
    }
}

/// Versions in the order of these are in the usual order: 10.4 comes after 9.1.
fn order(version: &str) -> Vec<(u64, String)> {
    let parts = version.split(|c: char| !c.is_ascii_alphanumeric());
    parts.map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
}

/// Removes a version that can go. Its use is looked at once more.
pub async fn prune(controller: &Controller<'_>, version: &Version, current: &Current) -> Result<NodeReport> {
    let removal = remove(controller, &version.id, &current.shared, Options::default()).await;
    let mut report = removal.with_context(|| format!("{} was not removed", version.id))?;
    report.details.insert(0, version.size());
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_each_node_is_kept() {
        let version = |node: &str, version: &str| Version {
            id: format!("{node}-{version}"),
            from: MadeFrom { node: node.to_owned(), version: version.to_owned(), size: 1 },
            kept: None,
        };
        let mut all =
            [("frr", "9.1"), ("frr", "10.4"), ("frr", "10.4"), ("frr", "10.3.1"), ("dns", "2"), ("x", "1.0-1")]
                .map(|(node, number)| version(node, number));
        keep_newest(&mut all);
        let gone: Vec<&str> = all.iter().filter(|v| v.kept.is_none()).map(|v| v.id.as_str()).collect();
        assert_eq!(gone, ["frr-9.1", "frr-10.3.1"]);
    }
}
