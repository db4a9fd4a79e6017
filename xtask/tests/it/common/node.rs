//! Nodes that run: as little as CML accepts.

use super::Repo;

/// A node definition that could be a real one.
const DEFINITION: &str = r#"id: {{ id }}
general: {nature: host}
ui: {label: {{ label | json }}, label_prefix: t-, icon: host, visible: true}
boot: {timeout: 20, completed: [READY]}
sim: {linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64}}
device:
  interfaces: {physical: [eth0, eth1], default_count: 2, serial_ports: 2, has_loopback_zero: false}
configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - name: greeting
        editable: true
        content: hello
      - name: boot.sh
        editable: true
        content: exit 0
      - name: config.json
        editable: false
        content: |
          {"docker": {"image": "{{ image }}",
                      "mounts": ["type=bind,source=cfg/greeting,target=/greeting",
                                 "type=bind,source=cfg/boot.sh,target=/boot.sh"],
                      "caps": ["CAP_DAC_OVERRIDE", "CAP_NET_RAW"],
                      "env": ["WORD=secret sauce"],
                      "misc_args": [],
                      "run_args": ["--sysctl", "net.ipv4.ip_default_ttl=77"]},
           "shell": "/bin/sh",
           "day0cmd": ["/bin/sh", "/boot.sh"]}
"#;

/// READY, and then nothing until SIGTERM.
const ENTRY: &str = "trap 'exit 0' TERM; echo READY; while :; do sleep 0.1; done";

/// A node that works.
pub fn node() -> Repo {
    node_that(ENTRY)
}

/// A node whose first process runs this shell script.
pub fn node_that(entry: &str) -> Repo {
    let words = serde_json::json!(["/bin/sh", "-c", entry]);
    let repo = Repo::with_shell(&format!("COPY greeting boot.sh /\nENTRYPOINT {words}\n"));
    for (file, text) in [("greeting", "from the image\n"), ("boot.sh", "exit 9\n")] {
        repo.write(&format!("docker/{}/{file}", repo.node()), text);
    }
    repo.write("node-definitions/tiny.yaml", DEFINITION);
    repo
}
