//! Where a running Podman service may answer.

use std::path::PathBuf;

use crate::engine::connect::endpoint::Endpoint;

/// The variable by which Podman's own command line is pointed at a service.
pub const VARIABLE: &str = "CONTAINER_HOST";

/// The addresses to try, the likeliest first. [podman-system-service(1)]
pub fn endpoints() -> Vec<Endpoint> {
    if let Some(host) = std::env::var(VARIABLE).ok().filter(|host| !host.is_empty()) {
        return vec![Endpoint::at(host, VARIABLE)];
    }
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let sockets = [
        (session.map(|folder| folder.join("podman/podman.sock")), "the user's Podman"),
        (Some(PathBuf::from("/run/podman/podman.sock")), "the system's Podman"),
        (machine_socket(), "podman machine"),
    ];
    let there = sockets.into_iter().filter_map(|(path, reason)| Some((path.filter(|path| path.exists())?, reason)));
    there.map(|(path, reason)| Endpoint::at(format!("unix://{}", path.display()), reason)).collect()
}

/// The socket of `podman machine`, where Linux runs in a virtual machine.
fn machine_socket() -> Option<PathBuf> {
    if cfg!(target_os = "linux") || which::which("podman").is_err() {
        return None;
    }
    let format = "{{.ConnectionInfo.PodmanSocket.Path}}";
    let printed =
        duct::cmd!("podman", "machine", "inspect", "--format", format).stdin_null().stderr_null().read().ok()?;
    Some(PathBuf::from(printed.lines().next()?.trim()))
}
