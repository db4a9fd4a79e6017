//! The build machine: an Ubuntu node inside CML, in a lab of its own, for people whose only Linux is CML.
//!
//! [`machine`] turns facts about the caller into the lab's topology, with the templates in `builder/`. [`labs`] finds such
//! labs again and tells them from everybody else's. [`life`] starts, stops and deletes them. What the machine says about
//! itself on its console is read by [`console`].

pub mod caller;
pub mod console;
pub mod image;
pub mod labs;
pub mod life;
pub mod machine;
pub mod password;

/// The title of the lab, unless another is asked for.
pub const TITLE: &str = "Create Docker Image";

/// The node's name.
pub const HOSTNAME: &str = "builder";

/// Begins a line of the description, and is a tag of the node, of every lab that this project made. A lab that lacks one of them is
/// somebody's own.
pub const MARK: &str = "cml-nodes.builder";

/// CML's definition of an Ubuntu.
pub const NODE_DEFINITION: &str = "ubuntu";
