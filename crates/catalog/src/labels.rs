//! The labels by which this project knows its own images and containers. Nothing without them is ever removed.

/// The node that an image is built for.
pub const NODE: &str = "cml-nodes.node";
pub const VARIANT: &str = "cml-nodes.variant";
/// The version of the program in an image, as OCI names it.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The tag that was set. An image that a person builds from ours inherits the labels, but not the tag.
pub const IMAGE: &str = "cml-nodes.image";
/// The digest of the plan that an image was built by.
pub const RECIPE: &str = "cml-nodes.recipe";
/// The digest of the checks that an image has passed.
pub const CHECKS: &str = "cml-nodes.checks";
/// What the image was made from, as JSON. An image that a person builds from ours inherits it.
pub const ORIGINS: &str = sbom::ORIGINS;
/// On a container that runs a check: the node. Containers that a person starts inherit the other labels, but not this.
pub const CHECK: &str = "cml-nodes.check";
/// On everything that belongs to a running lab: which lab.
pub const LAB: &str = "cml-nodes.lab";
/// On the container of a node in a lab: the node's name there.
pub const LAB_NODE: &str = "cml-nodes.actor";
/// On the container of a node that `run` started: which node.
pub const RUN: &str = "cml-nodes.run";
/// On the container of a node that `run` started: the command of its second console.
pub const SHELL: &str = "cml-nodes.shell";
/// On a bootstrapped base: the digest of what it was bootstrapped with.
pub const BASE: &str = "cml-nodes.base";
