//! Finding the labs of build machines, and telling this project's from other people's.

use anyhow::{Result, bail};

use crate::{MARK, environment};
use cml::api::Controller;
use cml::api::labs::{Lab, Node};
use text::printable_line;

/// A lab with the title that was searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub lab: Lab,
    /// Present if this project made the lab.
    pub own: Option<BuildMachine>,
}

/// The build machine in a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildMachine {
    /// The node's id.
    pub node: String,
    pub user: String,
    /// Labels of nodes that somebody else added to the lab.
    pub added: Vec<String>,
}

/// The line of a lab's description that marks it as this project's.
pub fn mark(user: &str) -> String {
    format!("{MARK} user={user}")
}

/// The labs with this title, or the one with this id, among those that the user may see.
pub async fn find(controller: &Controller<'_>, title: &str, id: Option<&str>) -> Result<Vec<Found>> {
    let ids = match id {
        Some(id) => vec![id.to_owned()],
        None => controller.labs().await?,
    };
    let mut found = Vec::new();
    for each in ids {
        // It may have been deleted meanwhile.
        let Some(lab) = controller.lab(&each).await? else { continue };
        if id.is_some() || lab.title == title {
            let nodes = controller.nodes(&each).await?;
            found.push(Found { own: own(&lab, &nodes), lab });
        }
    }
    Ok(found)
}

/// The build machine in a lab, if both its description and a node have this project's mark.
fn own(lab: &Lab, nodes: &[Node]) -> Option<BuildMachine> {
    let line = lab.description.lines().find_map(|line| line.trim().strip_prefix(MARK)?.strip_prefix(" user="));
    let user = line.filter(|user| environment::check_user(user).is_ok())?.to_owned();
    let machine = nodes.iter().find(|node| node.tags.iter().any(|tag| tag == MARK))?;
    let ours = |node: &&Node| node.id == machine.id || node.node_definition == "external_connector";
    let added = nodes.iter().filter(|node| !ours(node)).map(|node| printable_line(&node.label)).collect();
    Some(BuildMachine { node: machine.id.clone(), user, added })
}

/// The lab to work on, if there is one. Fails if several fit, or this project did not make the one with the given id.
pub fn select(found: Vec<Found>, title: &str, id: Option<&str>) -> Result<Option<(Lab, BuildMachine)>> {
    let all = found.len();
    let mut own: Vec<(Lab, BuildMachine)> =
        found.into_iter().filter_map(|found| Some((found.lab, found.own?))).collect();
    match (own.len(), id) {
        (0, Some(id)) if all > 0 => {
            bail!("this project did not make the lab {}; it is left unchanged", printable_line(id))
        }
        (0, Some(id)) => bail!("there is no lab {}", printable_line(id)),
        (0 | 1, _) => Ok(own.pop()),
        _ => bail!(
            "several labs of this project have the title `{title}`; choose one with --lab:\n{}",
            own.iter().map(|(lab, _)| describe(lab)).collect::<Vec<_>>().join("\n")
        ),
    }
}

pub fn describe(lab: &Lab) -> String {
    format!("  {}  {}  created {}", printable_line(&lab.id), lab.state, printable_line(&lab.created))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cml::api::labs::RunState;

    fn lab(id: &str, description: &str) -> Lab {
        let (title, created) = ("T".to_owned(), "2026".to_owned());
        Lab { id: id.into(), title, description: description.into(), state: RunState::Defined, created }
    }

    fn node(id: &str, tags: &[&str]) -> Node {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Node { id: id.into(), label: id.into(), node_definition: "ubuntu".into(), image_definition: None, tags }
    }

    #[test]
    fn a_lab_is_this_projects_only_if_its_description_and_a_node_are_marked() {
        let (marked, tagged) = (format!("Builds.\n{}\n", mark("me")), node("n1", &["serial:6000", MARK]));
        let ours = own(&lab("1", &marked), &[node("n0", &[]), tagged.clone()]).unwrap();
        assert_eq!(ours, BuildMachine { node: "n1".into(), user: "me".into(), added: vec!["n0".into()] });
        assert!(own(&lab("1", &marked), &[node("n1", &[])]).is_none());
        for description in ["", MARK, "mentions cml-nodes.builder user=me", "cml-nodes.builder user=-oProxyCommand=x"] {
            assert!(own(&lab("1", description), std::slice::from_ref(&tagged)).is_none(), "{description}");
        }
    }

    #[test]
    fn a_lab_is_never_chosen_by_guessing() {
        let own = || Some(BuildMachine { node: "n1".into(), user: "me".into(), added: vec![] });
        let found = |id: &str, own: Option<BuildMachine>| Found { lab: lab(id, ""), own };
        let one = select(vec![found("1", None), found("2", own())], "T", None).unwrap().unwrap();
        assert_eq!(one.0.id, "2");
        assert!(select(vec![found("1", None)], "T", None).unwrap().is_none());
        let said = select(vec![found("1", own()), found("2", own())], "T", None).unwrap_err().to_string();
        assert!(said.contains("--lab") && said.contains("  1  ") && said.contains("  2  "), "{said}");
        assert!(select(vec![found("1", None)], "T", Some("1")).unwrap_err().to_string().contains("did not make"));
        assert!(select(vec![], "T", Some("1")).unwrap_err().to_string().contains("no lab 1"));
    }
}
