//! The two forms in which a node can be installed, and which of them a server gets.
//!
//! In one, each version has a node definition of its own, which names the image: every CML that runs containers
//! understands that. In the other, all versions share one node definition, and each image definition names its own
//! image: that needs CML 2.10. [docs/cml.md 3] The archive is the same in both.

use anyhow::{Result, ensure};

use crate::version::{Version, WITH_IMAGE_TAGS};
use crate::{Address, Bundle, Definition};

/// A node in the form that was asked for, and in the other one if it has two.
#[derive(Clone, Debug)]
pub struct Forms {
    asked: Bundle,
    other: Option<Bundle>,
}

impl Forms {
    pub fn new(asked: Bundle, other: Option<Bundle>) -> Self {
        Self { asked, other }
    }

    /// Of the image definition in both.
    pub fn id(&self) -> &str {
        &self.asked.id
    }

    /// The form that was asked for.
    pub fn asked(&self) -> &Bundle {
        &self.asked
    }

    /// The form for a CML of this version that has this image definition already, if any. What is there keeps its form,
    /// since labs may use it. A version that is not known counts as the oldest.
    pub fn suiting(&self, version: Option<&str>, there: Option<&Definition>) -> &Bundle {
        let can_share = can_share(version);
        let node = there.and_then(Definition::node_of_image);
        let all = || std::iter::once(&self.asked).chain(&self.other);
        let usable = || all().filter(|form| can_share || !form.is_shared());
        let same = node.and_then(|node| usable().find(|form| form.node_id == node));
        same.or_else(|| usable().find(|form| form.is_shared() == can_share))
            .or_else(|| usable().next())
            .unwrap_or(&self.asked)
    }

    /// The form that a server has, by its image definition; else the one with a node definition for each version.
    pub fn like(&self, there: Option<&Definition>) -> &Bundle {
        self.suiting(there.is_some().then_some("2.10"), there)
    }
}

fn can_share(version: Option<&str>) -> bool {
    version.and_then(Version::parse).is_some_and(|version| version >= WITH_IMAGE_TAGS)
}

impl Bundle {
    /// Whether its node definition serves other versions too.
    pub fn is_shared(&self) -> bool {
        self.node_id != self.id
    }

    /// Fails if a CML of this version would not understand this form, or has the image definition in the other one.
    pub fn check_form(&self, at: &Address, version: &str, there: Option<&Definition>) -> Result<()> {
        let (id, node_id) = (&self.id, &self.node_id);
        ensure!(
            !self.is_shared() || can_share(Some(version)),
            "{at} runs CML {version}, where versions cannot share the node definition {node_id}: that needs \
             {WITH_IMAGE_TAGS}; leave out --for, or pass --for 2.9"
        );
        let node = there.and_then(Definition::node_of_image).unwrap_or(node_id);
        ensure!(
            node == node_id,
            "the image definition {id} on {at} belongs to the node definition {}, and would belong to {node_id}, which \
             breaks labs that use it; when none does, remove it first: `cargo xtask cml remove {id}`",
            text::printable_line(node)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::tests::bundle;

    fn node_of(forms: &Forms, version: &str, there: Option<&str>) -> String {
        let image = |node: &str| Definition::read(format!("id: frr-10-3\nnode_definition_id: {node}\n")).unwrap();
        forms.suiting(Some(version), there.map(image).as_ref()).node_id.clone()
    }

    #[test]
    fn the_version_decides_the_form_unless_the_node_is_there() {
        let (own, shared) = (bundle("frr-10-3", "frr-10-3"), bundle("frr-10-3", "frr"));
        for forms in [Forms::new(shared.clone(), Some(own.clone())), Forms::new(own.clone(), Some(shared.clone()))] {
            assert_eq!(node_of(&forms, "2.9.0+build.3", None), "frr-10-3");
            assert_eq!(node_of(&forms, "2.10.0", None), "frr");
            assert_eq!(node_of(&forms, "2.10.0", Some("frr-10-3")), "frr-10-3");
            assert_eq!(node_of(&forms, "2.11.0", Some("frr")), "frr");
            assert_eq!(node_of(&forms, "2.10.0", Some("another")), "frr");
            assert_eq!(forms.suiting(None, None).node_id, "frr-10-3");
        }
        assert_eq!(node_of(&Forms::new(own, None), "2.10.0", Some("frr")), "frr-10-3");
        assert_eq!(node_of(&Forms::new(shared, None), "2.9.0", None), "frr");
    }

    #[test]
    fn what_a_server_cannot_have_is_refused() {
        let (own, shared, at) =
            (bundle("frr-10-3", "frr-10-3"), bundle("frr-10-3", "frr"), Address::parse("cml").unwrap());
        let said = |bundle: &Bundle, version: &str, there: Option<&Definition>| {
            bundle.check_form(&at, version, there).unwrap_err().to_string()
        };
        assert!(said(&shared, "2.9.0", None).contains("that needs 2.10"));
        let there = Definition::read("id: frr-10-3\nnode_definition_id: frr-10-3\n".to_owned()).unwrap();
        assert!(said(&shared, "2.10.0", Some(&there)).contains("cml remove frr-10-3"));
        assert!(own.check_form(&at, "2.9.0", Some(&there)).is_ok() && shared.check_form(&at, "2.10.0", None).is_ok());
    }
}
