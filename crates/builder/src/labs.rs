//! Finding the labs of build machines, and telling this project's from other people's.

use anyhow::{Result, bail};

use crate::{MARK, caller};
use cml::api::Controller;
use cml::api::labs::{Lab, Node};
use text::printable;

/// A lab of the title in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub lab: Lab,
    /// The build machine in it, if this project made the lab.
    pub own: Option<Own>,
}

/// What this project put into a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The id of the node.
    pub node: String,
    /// Whom one logs in as.
    pub user: String,
    /// Labels of nodes that somebody added.
    pub added: Vec<String>,
}

/// The line of a lab's description by which it is known.
pub fn mark(user: &str) -> String {
    format!("{MARK} user={user}")
}

/// The labs of this title, or the one of this id; those of other users are not seen.
///
/// # Errors
/// If the controller does not answer.
pub async fn find(controller: &Controller<'_>, title: &str, id: Option<&str>) -> Result<Vec<Found>> {
    let ids = match id {
        Some(id) => vec![id.to_owned()],
        None => controller.labs().await?,
    };
    let mut found = Vec::new();
    for each in ids {
        // One that went meanwhile is not there.
        let Some(lab) = controller.lab(&each).await? else { continue };
        if id.is_some() || lab.title == title {
            let nodes = controller.nodes(&each).await?;
            found.push(Found { own: own(&lab, &nodes), lab });
        }
    }
    Ok(found)
}

/// What is this project's in a lab: only if both the description and a node say so.
fn own(lab: &Lab, nodes: &[Node]) -> Option<Own> {
    let line = lab.description.lines().find_map(|line| line.trim().strip_prefix(MARK)?.strip_prefix(" user="));
    let user = line.filter(|user| caller::check_user(user).is_ok())?.to_owned();
    let machine = nodes.iter().find(|node| node.tags.iter().any(|tag| tag == MARK))?;
    let ours = |node: &&Node| node.id == machine.id || node.node_definition == "external_connector";
    let added = nodes.iter().filter(|node| !ours(node)).map(|node| printable(&node.label)).collect();
    Some(Own { node: machine.id.clone(), user, added })
}

/// The one of this project's labs that is meant, if there is one.
///
/// # Errors
/// If it could be several, or the one that was named is not this project's.
pub fn meant(found: Vec<Found>, title: &str, id: Option<&str>) -> Result<Option<(Lab, Own)>> {
    let foreign = found.len();
    let mut own: Vec<(Lab, Own)> = found.into_iter().filter_map(|found| Some((found.lab, found.own?))).collect();
    let foreign = foreign - own.len();
    match (own.len(), id) {
        (0, Some(id)) if foreign > 0 => bail!("this project did not make the lab {}; it is left alone", printable(id)),
        (0, Some(id)) => bail!("there is no lab {}", printable(id)),
        (0 | 1, _) => Ok(own.pop()),
        _ => bail!(
            "several labs of this project's are called `{title}`; which one? Name it with --lab:\n{}",
            own.iter().map(|(lab, _)| describe(lab)).collect::<Vec<_>>().join("\n")
        ),
    }
}

/// A lab in one line.
pub fn describe(lab: &Lab) -> String {
    format!("  {}  {}  made {}", printable(&lab.id), lab.state, printable(&lab.created))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cml::api::labs::State;

    fn lab(id: &str, description: &str) -> Lab {
        let (title, created) = ("T".to_owned(), "2026".to_owned());
        Lab { id: id.into(), title, description: description.into(), state: State::Defined, created }
    }

    fn node(id: &str, tags: &[&str]) -> Node {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Node { id: id.into(), label: id.into(), node_definition: "ubuntu".into(), tags }
    }

    #[test]
    fn a_lab_is_this_projects_only_if_its_description_and_its_node_say_so() {
        let (marked, tagged) = (format!("Builds.\n{}\n", mark("me")), node("n1", &["serial:6000", MARK]));
        let ours = own(&lab("1", &marked), &[node("n0", &[]), tagged.clone()]).unwrap();
        assert_eq!(ours, Own { node: "n1".into(), user: "me".into(), added: vec!["n0".into()] });
        assert!(own(&lab("1", &marked), &[node("n1", &[])]).is_none());
        for description in ["", MARK, "mentions cml-nodes.builder user=me", "cml-nodes.builder user=-oProxyCommand=x"] {
            assert!(own(&lab("1", description), std::slice::from_ref(&tagged)).is_none(), "{description}");
        }
    }

    #[test]
    fn which_lab_is_meant_is_never_guessed() {
        let own = || Some(Own { node: "n1".into(), user: "me".into(), added: vec![] });
        let found = |id: &str, own: Option<Own>| Found { lab: lab(id, ""), own };
        let one = meant(vec![found("1", None), found("2", own())], "T", None).unwrap().unwrap();
        assert_eq!(one.0.id, "2");
        assert!(meant(vec![found("1", None)], "T", None).unwrap().is_none());
        let said = meant(vec![found("1", own()), found("2", own())], "T", None).unwrap_err().to_string();
        assert!(said.contains("--lab") && said.contains("  1  ") && said.contains("  2  "), "{said}");
        assert!(meant(vec![found("1", None)], "T", Some("1")).unwrap_err().to_string().contains("did not make"));
        assert!(meant(vec![], "T", Some("1")).unwrap_err().to_string().contains("no lab 1"));
    }
}
