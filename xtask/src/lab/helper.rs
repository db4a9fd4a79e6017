//! The helper container, in whose network namespace the links are.

use std::collections::HashMap;

use anyhow::Result;
use bollard::models::HostConfig;

use crate::engine::handle::Engine;
use crate::lab::explain;

/// Starts it; returns the container's ID.
pub(super) async fn start(engine: &Engine, image: &str, labels: &HashMap<String, String>) -> Result<String> {
    let strings = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        // To reach the network namespaces of nodes by their process ids. [namespaces(7), ptrace(2)]
        pid_mode: Some("host".to_owned()),
        cap_drop: strings(&["ALL"]),
        cap_add: strings(&["NET_ADMIN", "SYS_PTRACE"]),
        ..HostConfig::default()
    };
    let id = engine.create_helper(image, labels, &["sleep", "infinity"], host).await?;
    if let Err(error) = engine.start(&id).await {
        let reason = explain::engine_problem(&format!("{error:#}")).map_or_else(String::new, |why| format!(": {why}"));
        return Err(error.context(format!("starting the helper container{reason}")));
    }
    Ok(id)
}
