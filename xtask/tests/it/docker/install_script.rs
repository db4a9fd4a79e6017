//! `cml_install_image.sh` on a host that is laid out as a CML server: all or nothing, whatever happens at any step.

use std::collections::BTreeSet;

use crate::common::cml::host::{Held, Host};
use cml::ssh::SCRIPT;

pub const ID: &str = "tiny-1-0";

/// A shell script that puts a bundle of `version` into `folder`, with `script` beside it.
pub fn lay(folder: &str, version: &str, script: &str) -> String {
    format!(
        "set -e; mkdir -p {folder}/node-definitions {folder}/virl-base-images/{ID}; cd {folder}
echo 'id: {ID}\nversion: {version}' >node-definitions/{ID}.yaml
echo 'id: {ID}\nnode_definition_id: {ID}\ndisk_image: {ID}.tar.gz\nversion: {version}' >virl-base-images/{ID}/{ID}.yaml
echo 'archive {version}' >virl-base-images/{ID}/{ID}.tar.gz
sha256sum node-definitions/* virl-base-images/{ID}/* >SHA256SUMS
cat >cml_install_image.sh <<'SCRIPT'
{script}
SCRIPT
"
    )
}

/// Writes the sums of a folder again, after a change.
pub const SUM_AGAIN: &str = "; sha256sum node-definitions/* virl-base-images/*/* >SHA256SUMS";

/// A shell script that installs a bundle in the usual way.
pub fn install(version: &str) -> String {
    let folder = format!("/var/tmp/cml-nodes-{version}");
    format!("{} \n sh {folder}/cml_install_image.sh >/dev/null", lay(&folder, version, SCRIPT))
}

/// The script, changed so that something happens once when it reaches `step`. The guard reads the same script.
pub fn with(step: &str, happens: &str) -> String {
    assert!(SCRIPT.contains("step() { :; }\n"), "the tests hook in there");
    let hooked =
        format!("step() {{ if [ \"$1\" = {step} ] && mkdir /run/once-{step} 2>/dev/null; then {happens}; fi; }}\n");
    SCRIPT.replace("step() { :; }\n", &hooked)
}

pub fn without_guard(script: &str) -> String {
    assert!(script.contains("start_guard() {\n"));
    script.replace("start_guard() {\n", "start_guard() {\n\treturn 0\n")
}

/// Every step that the script names, in order.
fn steps() -> Vec<&'static str> {
    let names = SCRIPT.lines().filter_map(|line| line.trim().strip_prefix("step "));
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

fn is_way_back(step: &str) -> bool {
    step.starts_with("back")
}

fn host_with(version: &str) -> (Host, Held) {
    let host = Host::start();
    host.sh(&install(version));
    let held = host.held(ID).unwrap();
    (host, held)
}

/// Waits until the guard has removed everything of an interrupted installation.
fn wait_for_guard(host: &Host) {
    host.sh(&format!(
        "for n in $(seq 200); do [ -e /var/lib/libvirt/images/.cml-nodes/{ID}/state ] || exit 0; sleep 0.05; done; \
            echo 'the guard did nothing'; exit 1"
    ));
}

#[test]
fn it_installs_with_owner_and_modes_and_removes_itself() {
    let (host, held) = host_with("one");
    assert!(held.node_definition.contains("version: one") && held.image_definition.contains("version: one"));
    for line in held.owners.lines() {
        assert!(line.contains(" libvirt-qemu:virl2 "), "{line}");
        assert!(
            line.ends_with(if line.contains(".yaml ") || line.contains(".gz ") { " 644" } else { " 755" }),
            "{line}"
        );
    }
    assert_eq!(host.left_in_var_tmp(), "");
}

#[test]
fn files_of_others_stay_in_the_drop_folder() {
    let host = Host::start();
    let folder = "/var/local/virl2/dropfolder";
    host.sh(&format!("echo mine >{folder}/other.qcow2; {}", lay(folder, "one", SCRIPT)));
    // The folder is admin's, so it must be admin who calls sudo.
    host.sh("echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin");
    host.sh(&format!("su admin -c 'sudo sh {folder}/cml_install_image.sh'"));
    assert!(host.held(ID).is_some());
    assert_eq!(host.sh(&format!("ls {folder}")), "other.qcow2\n");
}

#[test]
fn rollback_and_remove_can_be_repeated_in_turn() {
    let (host, one) = host_with("one");
    host.sh(&install("two"));
    let two = host.held(ID).unwrap();
    let call = |words: &str| host.run(&format!("sh /var/lib/libvirt/images/.cml-nodes/cml_install_image.sh {words}"));
    assert_eq!(call(&format!("rollback {ID}")).0, 0);
    assert_eq!(host.held(ID).unwrap(), one);
    assert_eq!(call(&format!("rollback {ID}")).0, 0);
    assert_eq!(host.held(ID).unwrap(), two, "a rollback can be rolled back");
    assert_eq!(call(&format!("remove {ID}")).0, 0);
    assert_eq!(host.held(ID), None);
    assert_eq!(call(&format!("remove {ID}")), (0, format!("absent {ID}\n")));
    assert_eq!(call(&format!("rollback {ID}")).0, 0);
    assert_eq!(host.held(ID).unwrap(), two);
    let (code, said) = call("rollback other");
    assert!(code == 1 && said.contains("what other replaced is not kept on this server"), "{said}");
}

#[test]
fn killed_at_every_step_it_leaves_the_whole_old_node_or_the_whole_new_one_and_a_repeat_completes() {
    let (host, old) = host_with("old");
    host.sh(&install("new"));
    let new = host.held(ID).unwrap();
    let mut results = BTreeSet::new();
    for step in steps().into_iter().filter(|step| !is_way_back(step)) {
        let back = format!("rm -rf /run/once-* /var/tmp/*; {}", install("old"));
        let script = with(step, "kill -9 $$");
        let (_, said) = host.run(&format!(
            "({back}); ({}); sh /var/tmp/cml-nodes-new/cml_install_image.sh; echo ended $?",
            lay("/var/tmp/cml-nodes-new", "new", &script)
        ));
        assert!(said.contains("ended 137"), "it was not killed at {step}: {said}");
        wait_for_guard(&host);
        let held = host.held(ID).expect(step);
        assert!(held == old || held == new, "killed at {step}, it leaves a mixture: {held:?}");
        results.insert(held == new);
        host.sh(&install("new"));
        assert_eq!(host.held(ID).unwrap(), new, "{step}");
        assert_eq!(host.left_in_var_tmp(), "", "{step}");
    }
    assert_eq!(results.len(), 2, "some steps leave the old one, some the new one");
}

#[test]
fn after_a_power_failure_at_any_step_the_next_call_recovers() {
    let (host, old) = host_with("old");
    host.sh(&install("new"));
    let new = host.held(ID).unwrap();
    for step in steps().into_iter().filter(|step| !is_way_back(step)) {
        let back = format!("rm -rf /run/once-* /var/tmp/*; {}", install("old"));
        // Nothing is left to recover it, not even the guard.
        let script = without_guard(&with(step, "kill -9 $$"));
        let (_, said) = host.run(&format!(
            "({back}); ({}); sh /var/tmp/cml-nodes-new/cml_install_image.sh; echo ended $?",
            lay("/var/tmp/cml-nodes-new", "new", &script)
        ));
        assert!(said.contains("ended 137"), "it was not killed at {step}: {said}");
        host.sh("sh /var/lib/libvirt/images/.cml-nodes/cml_install_image.sh recover \
            || sh /var/tmp/cml-nodes-new/cml_install_image.sh recover");
        let held = host.held(ID).expect(step);
        assert!(held == old || held == new, "{step}: {held:?}");
        host.sh(&install("new"));
        assert_eq!(host.held(ID).unwrap(), new, "{step}");
    }
}

#[test]
fn a_failure_or_a_signal_at_any_step_puts_everything_back() {
    let (host, old) = host_with("old");
    host.sh(&install("new"));
    let new = host.held(ID).unwrap();
    for (happens, code) in [("exit 7", 7), ("kill -TERM $$", 143), ("kill -HUP $$", 129), ("kill -INT $$", 130)] {
        for step in steps().into_iter().filter(|step| !is_way_back(step)) {
            let back = format!("rm -rf /run/once-* /var/tmp/*; {}", install("old"));
            let script = with(step, happens);
            let (_, said) = host.run(&format!(
                "({back}); ({}); sh /var/tmp/cml-nodes-new/cml_install_image.sh; echo ended $?",
                lay("/var/tmp/cml-nodes-new", "new", &script)
            ));
            assert!(said.contains(&format!("ended {code}")), "{step}, {happens}: {said}");
            let held = host.held(ID).expect(step);
            // By then everything was moved.
            let through = ["keep-old", "keep-old-halfway", "forget-state", "sweep", "clear-away"].contains(&step);
            assert_eq!(held, if through { new.clone() } else { old.clone() }, "{step}, {happens}: {said}");
            assert_eq!(said.contains("is as it was before"), !through, "{step}, {happens}: {said}");
            wait_for_guard(&host);
            assert_eq!(host.held(ID).unwrap(), held, "the guard has nothing to do");
        }
    }
}

#[test]
fn killed_during_the_rollback_it_still_leaves_a_whole_node() {
    let (host, old) = host_with("old");
    host.sh(&install("new"));
    let new = host.held(ID).unwrap();
    let ways_back: Vec<&str> = steps().into_iter().filter(|step| is_way_back(step)).collect();
    assert!(ways_back.len() >= 3);
    for failing in ["take-old-image", "put-image", "put-node-definition"] {
        for killed in &ways_back {
            let back = format!("rm -rf /run/once-* /var/tmp/*; {}", install("old"));
            let hook =
                format!("if [ \"$1\" = {killed} ] && mkdir /run/once-{killed} 2>/dev/null; then kill -9 $$; fi; }}\n");
            let script = with(failing, "exit 7").replacen("fi; }\n", &format!("fi; {hook}"), 1);
            let (_, said) = host.run(&format!(
                "({back}); ({}); sh /var/tmp/cml-nodes-new/cml_install_image.sh; echo ended $?",
                lay("/var/tmp/cml-nodes-new", "new", &script)
            ));
            // Not every rollback passes every step.
            assert!(said.contains("ended 137") || said.contains("ended 7"), "{failing}, {killed}: {said}");
            wait_for_guard(&host);
            assert_eq!(host.held(ID).expect(killed), old, "{failing}, {killed}");
        }
    }
    host.sh(&install("new"));
    assert_eq!(host.held(ID).unwrap(), new);
}

#[test]
fn a_first_installation_and_a_removal_are_all_or_nothing() {
    let host = Host::start();
    host.sh(&install("new"));
    let new = host.held(ID).unwrap();
    let script = "/var/lib/libvirt/images/.cml-nodes/cml_install_image.sh";
    for step in steps().into_iter().filter(|step| !is_way_back(step)) {
        let (_, said) = host.run(&format!(
            "sh {script} remove {ID}; rm -rf /run/once-* /var/tmp/*; ({}); \
                sh /var/tmp/cml-nodes-new/cml_install_image.sh; echo ended $?",
            lay("/var/tmp/cml-nodes-new", "new", &with(step, "kill -9 $$"))
        ));
        assert!(said.contains("ended 137"), "{step}: {said}");
        wait_for_guard(&host);
        assert!(host.held(ID).is_none_or(|held| held == new), "{step}");
        host.sh(&install("new"));

        let not_reached = ["stage-archive", "check-sums", "set-owner", "clear-away"].contains(&step);
        let (_, said) = host.run(&format!(
            "rm -rf /run/once-* /var/tmp/*; ({}); sh /var/tmp/cml-nodes-new/cml_install_image.sh remove {ID}; \
                echo ended $?",
            lay("/var/tmp/cml-nodes-new", "new", &with(step, "kill -9 $$"))
        ));
        assert!(said.contains(if not_reached { "ended 0" } else { "ended 137" }), "{step}: {said}");
        wait_for_guard(&host);
        assert!(host.held(ID).is_none_or(|held| held == new), "{step}");
    }
}

#[test]
fn what_is_wrong_is_refused_before_anything_changes() {
    let (host, old) = host_with("old");
    let folder = "/var/tmp/cml-nodes-new";
    let cases = [
        ("echo x >>virl-base-images/ID/ID.tar.gz", "is damaged: its digest is not the one in SHA256SUMS"),
        ("echo x >>node-definitions/ID.yaml", "is damaged"),
        ("rm virl-base-images/ID/ID.tar.gz", "is missing, and the server does not have it either"),
        ("rm SHA256SUMS", "there is no /var/tmp/cml-nodes-new/SHA256SUMS"),
        ("sed -i s/^id:.*/id:\\ other/ node-definitions/ID.yaml; SUM", "is not the definition of tiny-1-0"),
        (
            "sed -i s/^disk_image:.*/disk_image:\\ other.tar.gz/ virl-base-images/ID/ID.yaml; SUM",
            "names another archive",
        ),
        ("sed -i 's|node-definitions/ID|node-definitions/../../x|' SHA256SUMS", "line 1 of SHA256SUMS does not name"),
        ("echo id: ID >/var/lib/libvirt/images/node-definitions/copy.yaml", "also has the id tiny-1-0"),
    ];
    for (change, said) in cases {
        let change = change.replace("; SUM", SUM_AGAIN).replace("ID", ID);
        host.sh(&format!("rm -rf {folder}; {}\ncd {folder}; {change}", lay(folder, "new", SCRIPT)));
        let (code, text) = host.run(&format!("sh {folder}/cml_install_image.sh"));
        assert!(code == 1 && text.contains(said), "{change}: {text}");
        assert_eq!(host.held(ID).unwrap(), old, "{change}");
    }
    host.sh("rm /var/lib/libvirt/images/node-definitions/copy.yaml");
    let (code, text) =
        host.run(&format!("{}\nsu admin -c 'sh {folder}/cml_install_image.sh'", lay(folder, "new", SCRIPT)));
    assert!(code == 1 && text.contains("this needs root: sudo sh"), "{text}");
    host.sh(&format!(
        "{}\nexec 9>/var/lib/libvirt/images/.cml-nodes/lock; flock 9; (sleep 9) & exec 9>&-; \
        ! sh {folder}/cml_install_image.sh",
        lay(folder, "new", SCRIPT)
    ));
    assert_eq!(host.held(ID).unwrap(), old);
}

#[test]
fn a_full_disk_is_reported_before_or_during_the_copy_and_changes_nothing() {
    let host = Host::start_with(&["--mount", "type=tmpfs,destination=/var/lib/libvirt/images,tmpfs-size=3000000"]);
    host.sh(&install("old"));
    let old = host.held(ID).unwrap();
    let folder = "/var/tmp/cml-nodes-new";
    let big = format!(
        "{}\ncd {folder}; head -c 5000000 /dev/urandom >virl-base-images/{ID}/{ID}.tar.gz; \
            sha256sum node-definitions/* virl-base-images/{ID}/* >SHA256SUMS",
        lay(folder, "new", SCRIPT)
    );
    host.sh(&big);
    let (code, said) = host.run(&format!("sh {folder}/cml_install_image.sh"));
    assert!(code == 1 && said.contains("kB left, but tiny-1-0 needs"), "{said}");
    // The free space was reported wrongly: the copy itself fails.
    host.sh(&format!("sed -i 's/^check_space() {{/check_space() {{ return 0/' {folder}/cml_install_image.sh"));
    let (code, said) = host.run(&format!("sh {folder}/cml_install_image.sh"));
    assert!(code != 0 && said.contains("No space left on device") && said.contains("is as it was before"), "{said}");
    assert_eq!(host.held(ID).unwrap(), old);
}
