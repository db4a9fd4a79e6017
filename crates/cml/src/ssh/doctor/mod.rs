//! Whether a CML server is ready for container nodes, and what to do if it is not.
//!
//! One script reads the facts over ssh, as any user; plain code judges them. Fixes are files of our own in
//! `/etc/sysctl.d` and `/etc/modules-load.d`; no file that CML or its system brought is changed.

mod facts;
mod findings;
mod fixes;

pub use findings::{Finding, Needs, Verdict, examine};
pub use fixes::{Change, apply, changes, needs_reboot, reboot};
