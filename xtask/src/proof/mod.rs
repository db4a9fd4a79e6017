//! Proof that a node works, before it is on a server: it is run as CML would run it, and what its
//! manifest says about it is checked.
//!
//! Takes rendered definitions and saved archives, never the image in the engine: what is proved is what is shipped.

mod crash;
mod expected;
mod identity;
mod prove;
mod report;
mod scene;
mod shipped;
mod subject;
mod topology;

pub use expected::{Expected, fill_all};
pub use prove::prove;
pub use report::{Figures, Outcome, Row, VerifyReport};
pub use subject::{SceneSetup, Shipped, Subject};
