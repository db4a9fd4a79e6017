//! What probably lies behind a refusal that names no fault of the request, and what to do about it.
//!
//! CML answers 500 with the words of whatever failed inside it. [docs/cml.md 2]

use crate::api::controller::Controller;
use crate::api::labs::Use;
use crate::api::refusal::Refused;

/// Words of a refusal, in small letters, and what they tell.
const TELLING: [(&[&str], &str); 2] = [
    (
        &["no space left", "disk full", "disk is full", "errno 28", "enospc", "disk quota"],
        "The server's disk is full: make room on it, then run the same command again",
    ),
    (
        &["permission denied", "read-only file system", "errno 13", "errno 30", "operation not permitted"],
        "CML may not write its own files there: the file system is read-only, or files in /var/lib/libvirt/images do \
         not belong to libvirt-qemu:virl2. Look there with `mount` and `ls -lR`, then run the same command again",
    ),
];

const IN_USE: [&str; 4] = ["in use", "being used", "is used", "imagetool"];

/// The same error, with the likely cause of a refusal to change this.
pub async fn explained(controller: &Controller<'_>, what: Use<'_>, error: anyhow::Error) -> anyhow::Error {
    let Some(Refused { status, reason, request }) = error.downcast_ref::<Refused>() else { return error };
    let words = reason.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    let told = TELLING.iter().find(|(texts, _)| says(texts)).map(|(_, cause)| (*cause).to_owned());
    let cause = match told {
        Some(cause) => cause,
        None if says(&IN_USE) || *status >= 500 => {
            // Only a hint is looked for: no further error is reported.
            let nodes = controller.nodes_with(what).await.unwrap_or_default();
            match (nodes.is_empty(), says(&IN_USE)) {
                (false, _) => format!(
                    "Probably because nodes use it: {}. Delete these nodes from their labs, then run the same command \
                     again",
                    text::printable_line(&nodes[..nodes.len().min(5)].join(", "))
                ),
                (true, true) => "Probably because a node of a lab that this user does not see uses it. Delete such \
                                 nodes from their labs, then run the same command again"
                    .to_owned(),
                (true, false) => "The server does not say why; its logs, in CML's cockpit, may".to_owned(),
            }
        }
        None => return error,
    };
    Refused { status: *status, reason: format!("{reason}\n{cause}"), request: request.clone() }.into()
}
