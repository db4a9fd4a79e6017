//! Where a Podman service may answer that runs already.

use std::path::PathBuf;

use crate::engine::connect::endpoint::Endpoint;

/// By which Podman's own command is pointed at a service.
pub const VARIABLE: &str = "CONTAINER_HOST";

/// The places, the likeliest first. [podman-system-service(1)]
pub fn endpoints() -> Vec<Endpoint> {
    if let Some(host) = std::env::var(VARIABLE).ok().filter(|host| !host.is_empty()) {
        return vec![Endpoint::at(host, VARIABLE)];
    }
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let sockets = [
        (session.map(|folder| folder.join("podman/podman.sock")), "the user's Podman"),
        (Some(PathBuf::from("/run/podman/podman.sock")), "the system's Podman"),
        (machine(), "podman machine"),
    ];
    let there = sockets.into_iter().filter_map(|(path, reason)| Some((path.filter(|path| path.exists())?, reason)));
    there.map(|(path, reason)| Endpoint::at(format!("unix://{}", path.display()), reason)).collect()
}

/// Where Linux is a virtual machine, Podman says where its socket is on this side.
fn machine() -> Option<PathBuf> {
    if cfg!(target_os = "linux") || which::which("podman").is_err() {
        return None;
    }
    let format = "{{.ConnectionInfo.PodmanSocket.Path}}";
    let said = duct::cmd!("podman", "machine", "inspect", "--format", format).stdin_null().stderr_null().read().ok()?;
    Some(PathBuf::from(said.lines().next()?.trim()))
}
