//! The build machine: an Ubuntu node inside CML, in a lab of its own, if you have no other Linux machine.
//!
//! [`environment`] collects facts about the user's machine, and [`topology`] turns them into a lab by the templates in
//! `builder/`. [`lookup`] finds such labs and tells them from other people's. [`lifecycle`] starts, stops and deletes
//! them. [`console`] reads what the machine reports on its console.

pub mod console;
pub mod environment;
pub mod image;
pub mod lifecycle;
pub mod lookup;
pub mod password;
pub mod topology;

/// The default title of the lab.
pub const TITLE: &str = "Create Docker Image";

/// The node's name.
pub const HOSTNAME: &str = "builder";

/// Every lab that this project made has a line in its description that starts with this, and a node with this tag. A
/// lab without one of them belongs to somebody else.
pub const MARK: &str = "cml-nodes.builder";

/// The id of CML's node definition of Ubuntu.
pub const NODE_DEFINITION: &str = "ubuntu";
