//! `lint` and `diff`, as a person who writes definitions uses them. No engine is needed.

use std::path::Path;

use crate::common::{Outcome, Repo};

/// A router's definition, broken in ten ways.
const TEN: &str = r#"id: ten/ways
boot:
  timeout: 100000
  completed: [READY]
sim:
  linux_native:
    libvirt_domain_driver: docker
    driver: server
    ram: 256
    nic_driver: virtoi
    cpus: two
general:
  nature: router
configuration:
  generator:
    driver: null
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - name: config.json
        editable: false
        content: |
          {
            "docker": {
              "mounts": [
                "type=bind,source=cfg/boot,target=/boot.sh"
              ],
              "run_args": [
                "--sysctl net.ipv6.conf.all.forwarding=1"
              ]
            }
          }
      - name: boot.sh
        editable: true
device:
  interfaces:
    serial_ports: 3
    has_loopback_zero: false
    physical: [eth0]
ui:
  label: Ten ways to fail, none of them new
  label_prefix: ten-
  icon: router
  visable: true
  visible: true
"#;

/// The line and the rule of each of the ten.
const PLACES: [(u64, &str, &str); 10] = [
    (1, "schema-pattern", "id"),
    (3, "schema-range", "boot.timeout"),
    (10, "schema-choice", "sim.linux_native.nic_driver"),
    (11, "schema-type", "sim.linux_native.cpus"),
    (27, "mount-source", "configuration.provisioning.files[0].content.docker.mounts[0]"),
    (30, "one-argument", "configuration.provisioning.files[0].content.docker.run_args[0]"),
    (34, "unmounted-file", "configuration.provisioning.files[1].name"),
    (38, "schema-domain", "device.interfaces.serial_ports"),
    (42, "schema-length", "ui.label"),
    (45, "schema-unknown-key", "ui.visable"),
];

const NODE: &str = "id: tiny
boot: {timeout: 60}
sim: {linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64}}
general: {nature: server}
configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - {name: config.json, editable: false, content: '{\"docker\": {\"image\": \"tiny:1.0\"}}'}
device: {interfaces: {serial_ports: 2, has_loopback_zero: false, physical: [eth0]}}
ui: {label: Tiny, label_prefix: tiny-, icon: server, visible: true}
";

fn image(sha256: &str) -> String {
    format!("id: tiny-1\nnode_definition_id: tiny\nlabel: Tiny\ndisk_image: tiny.tar.gz\nsha256: '{sha256}'\n")
}

/// Writes an image archive as an engine does. Returns its image ID.
fn archive(path: &Path) -> String {
    use sha2::Digest;
    let config = br#"{"os":"linux"}"#;
    let id = hex::encode(sha2::Sha256::digest(config));
    let manifest = format!(r#"[{{"Config":"{id}.json","RepoTags":["tiny:1.0"],"Layers":[]}}]"#);
    let gzip = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in [(format!("{id}.json"), &config[..]), ("manifest.json".to_owned(), manifest.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    id
}

/// Rule and line of each finding of the first file.
fn findings(outcome: &Outcome) -> Vec<(String, u64)> {
    let json = outcome.json();
    let findings = json[0]["findings"].as_array().unwrap();
    findings.iter().map(|one| (one["rule"].as_str().unwrap().to_owned(), one["line"].as_u64().unwrap())).collect()
}

fn lint(repo: &Repo, inner: &str, more: &[&str]) -> Outcome {
    let path = repo.path(inner);
    repo.xtask(&[&["lint", path.to_str().unwrap()], more].concat())
}

#[test]
fn ten_mistakes_are_ten_findings_at_the_right_lines() {
    let repo = Repo::empty();
    repo.write("ten.yaml", TEN);
    let outcome = lint(&repo, "ten.yaml", &["--json"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let json = outcome.json();
    let found = json[0]["findings"].as_array().unwrap();
    let found: Vec<(u64, &str, &str)> = found
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["rule"].as_str().unwrap(), one["at"].as_str().unwrap()))
        // A flag inside another argument does not forward anything either.
        .filter(|(_, rule, _)| *rule != "ipv6-forwarding")
        .collect();
    assert_eq!(found, PLACES);
    assert_eq!((&json[0]["kind"], &json[0]["ok"]), (&"node_definition".into(), &false.into()));

    let text = lint(&repo, "ten.yaml", &[]);
    assert!(
        text.stdout
            .contains("ten.yaml:10:17: error[schema-choice]: sim.linux_native.nic_driver: expected one of virtio,"),
        "{text}"
    );
    assert!(text.stdout.contains("did you mean `virtio`?"), "{text}");
    text.says(["1 file: "]).does_not_say(["error: "]);
}

#[test]
fn a_correct_definition_has_no_findings_and_an_object_in_the_array() {
    let repo = Repo::empty();
    repo.write("tiny.yaml", NODE);
    let outcome = lint(&repo, "tiny.yaml", &["--json"]).success();
    let path = repo.path("tiny.yaml").display().to_string();
    assert_eq!(
        outcome.json(),
        serde_json::json!([{"path": path, "kind": "node_definition", "ok": true, "findings": []}])
    );
    let silent = lint(&repo, "tiny.yaml", &[]).success().says(["1 file: no findings"]);
    assert_eq!(silent.stdout, "");
}

#[test]
fn warnings_fail_only_where_they_are_denied() {
    let repo = Repo::empty();
    repo.write(
        "tiny.yaml",
        &NODE.replace("label: Tiny,", "label: A label that CML's palette cuts,").replace("that CML's ", ""),
    );
    repo.write("tiny.yaml", &NODE.replace("label: Tiny,", "label: A label that the palette cuts,"));
    assert_eq!(findings(&lint(&repo, "tiny.yaml", &["--json"]).success()), [("label-cut".to_owned(), 13)]);
    let denied = lint(&repo, "tiny.yaml", &["--json", "--deny", "warnings"]);
    assert_eq!((denied.code, &denied.json()[0]["ok"]), (Some(1), &false.into()));
}

#[test]
fn an_archive_that_is_not_a_tar_is_named_without_its_bytes() {
    let repo = Repo::empty();
    repo.write("tiny.yaml", &image(&"0".repeat(64)));
    repo.write("tiny.tar.gz", &"\x1b[31mred\x07\n".repeat(100));
    let outcome = lint(&repo, "tiny.yaml", &[]);
    let file = repo.path("tiny.tar.gz");
    let message = "is not a usable image archive: it is not a tar file, or it is damaged\n";
    assert!(outcome.stdout.contains(&format!("{} {message}", file.display())), "{outcome}");
    assert!(!outcome.stdout.contains(['\x1b', '\x07']), "{outcome}");
}

#[test]
fn an_image_definition_is_compared_with_the_archive_and_the_node_beside_it() {
    let repo = Repo::empty();
    repo.write("dist/node-definitions/tiny.yaml", NODE);
    let folder = "dist/virl-base-images/tiny-1";
    let definition = format!("{folder}/tiny-1.yaml");
    repo.write(&definition, &image(&"0".repeat(64)));
    let id = archive(&repo.path(folder).join("tiny.tar.gz"));
    assert_eq!(findings(&lint(&repo, &definition, &["--json"])), [("image-sha256".to_owned(), 5)]);
    assert!(lint(&repo, &definition, &[]).stdout.contains(&id));

    repo.write(&definition, &image(&id));
    lint(&repo, &definition, &[]).success();
    lint(&repo, "dist", &[]).success().says(["2 files"]);

    repo.edit("dist/node-definitions/tiny.yaml", "tiny:1.0", "tiny:1.1");
    assert_eq!(findings(&lint(&repo, &definition, &["--json"])), [("image-tag".to_owned(), 4)]);
    repo.edit("dist/node-definitions/tiny.yaml", "id: tiny\n", "id: tinny\n");
    assert_eq!(findings(&lint(&repo, &definition, &["--json"])), [("image-node".to_owned(), 2)]);

    std::fs::write(repo.path(folder).join("tiny.tar.gz"), b"\x1f\x8bdamaged").unwrap();
    assert!(findings(&lint(&repo, &definition, &["--json"])).contains(&("image-archive".to_owned(), 4)));
    std::fs::remove_file(repo.path(folder).join("tiny.tar.gz")).unwrap();
    assert!(findings(&lint(&repo, &definition, &["--json"])).contains(&("disk-image-missing".to_owned(), 4)));
}

#[test]
fn a_folder_is_searched_for_both_endings_and_ids_are_compared() {
    let repo = Repo::empty();
    repo.write("all/a.yaml", NODE);
    repo.write("all/deep/b.yml", &NODE.replace("id: tiny", "id: Tiny"));
    repo.write("all/notes.txt", "not YAML: [");
    let outcome = lint(&repo, "all", &["--json"]);
    assert_eq!(outcome.json().as_array().unwrap().len(), 2);
    assert_eq!(findings(&outcome), [("id-case".to_owned(), 1)]);
}

#[test]
fn a_path_that_does_not_exist_is_wrong_usage() {
    let repo = Repo::empty();
    let outcome = lint(&repo, "none.yaml", &[]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    outcome.says(["cannot read ", "none.yaml"]);
    assert_eq!(repo.xtask(&["lint", "--deny", "errors"]).code, Some(2));
    std::fs::create_dir(repo.path("empty")).unwrap();
    let outcome = lint(&repo, "empty", &[]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    outcome.says(["there is no .yaml or .yml file in "]);
}

#[test]
fn hostile_files_are_refused_with_line_and_column() {
    let repo = Repo::empty();
    for (bytes, rule) in [
        (b"\x00\x01".to_vec(), "schema-yaml"),
        (b"\xff\xfea".to_vec(), "schema-yaml"),
        (b"id:\ttiny\n".to_vec(), "schema-yaml"),
        (b"[".repeat(100_000), "limits"),
        (Vec::new(), "schema-kind"),
    ] {
        std::fs::write(repo.path("hostile.yaml"), &bytes).unwrap();
        assert_eq!(findings(&lint(&repo, "hostile.yaml", &["--json"]))[0].0, rule);
    }
    std::fs::File::create(repo.path("hostile.yaml")).unwrap().set_len(100_000_000).unwrap();
    assert_eq!(findings(&lint(&repo, "hostile.yaml", &["--json"])), [("limits".to_owned(), 1)]);
    std::fs::write(repo.path("hostile.yaml"), format!("\u{feff}{}", NODE.replace('\n', "\r\n"))).unwrap();
    lint(&repo, "hostile.yaml", &[]).success();
}

#[test]
fn everything_that_this_repository_renders_is_clean() {
    let repo = Repo::real();
    let outcome = repo.xtask(&["lint", "--deny", "warnings", "--json"]).success();
    let files = outcome.json();
    assert!(files.as_array().unwrap().iter().any(|file| file["path"] == "node-definitions/frr.yaml"), "{files}");
}

#[test]
fn a_finding_in_a_rendered_definition_names_the_line_of_the_template_or_of_what_it_includes() {
    let repo = Repo::tiny();
    repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: {{ node }}\n{# a comment #}");
    repo.edit("node-definitions/tiny.yaml", "boot: {timeout: 1}", "{% include \"partials/boot.yaml\" -%}");
    repo.write("node-definitions/partials/boot.yaml", "# shared\nboot:\n  timeout: 60\n  complete: [READY]\n");
    let outcome = repo.xtask(&["lint"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("node-definitions/tiny.yaml:6:9: error[schema-choice]: ui.icon: "), "{outcome}");
    let shared = "node-definitions/partials/boot.yaml:4:3: error[schema-unknown-key]: boot.complete: ";
    assert!(outcome.stdout.contains(shared), "{outcome}");
    assert!(outcome.stdout.contains("did you mean `completed`?"), "{outcome}");
}

#[test]
fn the_text_of_a_completed_boot_is_also_looked_for_in_shared_files() {
    let repo = Repo::tiny();
    let is_found = || {
        let outcome = repo.xtask(&["lint"]);
        let missing = outcome.stdout.contains("[boot-completed]: ") && outcome.stdout.contains("ALL SET");
        assert_eq!(outcome.stdout.contains("[boot-completed]"), missing, "{outcome}");
        !missing
    };
    repo.edit("node-definitions/tiny.yaml", "boot: {timeout: 1}", "boot: {timeout: 60, completed: [ALL SET]}");
    assert!(!is_found());
    repo.write("docker/common/start", "echo ALL SET\n");
    assert!(!is_found(), "the node does not use that file");
    repo.edit_manifest("variants:\n", "common: [start]\nvariants:\n");
    assert!(is_found());
}

#[test]
fn a_template_is_checked_as_it_is_rendered() {
    let repo = Repo::tiny();
    repo.write("node-definitions/partials/boot.yaml", "boot: {timeout: {{ seconds }}}\n");
    lint(&repo, "node-definitions", &[]).success().says(["1 file"]);
    repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: sever");
    assert_eq!(findings(&lint(&repo, "node-definitions/tiny.yaml", &["--json"])), [("schema-choice".to_owned(), 6)]);
    lint(&repo, "image-definitions", &[]).success();
}

#[test]
fn a_finding_that_depends_on_a_switch_names_it() {
    let repo = Repo::tiny();
    repo.edit_manifest("variants:\n", "switches: {loud: false}\nvariants:\n");
    repo.edit(
        "node-definitions/tiny.yaml",
        "visible: true",
        "visible: {% if switches.loud %}loud{% else %}true{% endif %}",
    );
    let outcome = repo.xtask(&["lint"]);
    assert!(outcome.stdout.contains("ui.visible: expected true or false, found `loud`"), "{outcome}");
    assert!(outcome.stdout.contains("variant only, --switch loud)"), "{outcome}");
}

#[test]
fn a_rule_can_be_silenced_with_a_reason() {
    let repo = Repo::tiny();
    repo.edit("node-definitions/tiny.yaml", "{nature: server}", "{nature: router}");
    let outcome = repo.xtask(&["lint", "--deny", "warnings"]);
    assert!(outcome.stdout.contains("warning[ipv6-forwarding]"), "{outcome}");
    let silence = |rule: &str, reason: &str| format!("silenced:\n  - rule: {rule}\n    reason: {reason}\nvariants:\n");
    repo.edit_manifest("variants:\n", &silence("ipv6-forwarding", "it routes by itself"));
    repo.xtask(&["lint", "--deny", "warnings"]).success().says(["1 silenced by a manifest"]);

    repo.edit_manifest("rule: ipv6-forwarding", "rule: ipv6-forwrding");
    repo.xtask(&["lint"]).failure().says([
        "node.yaml:9:11: silenced[0].rule: there is no rule `ipv6-forwrding`",
        "did you mean `ipv6-forwarding`?",
    ]);
    repo.edit_manifest("rule: ipv6-forwrding", "rule: schema-range");
    repo.xtask(&["lint"]).failure().says(["`schema-range` cannot be silenced: CML refuses such a definition"]);
    repo.edit_manifest("reason: it routes by itself", "reason: ''");
    repo.xtask(&["lint"]).failure().says(["`reason` is empty"]);
    repo.write(&repo.manifest(), &crate::common::manifest(repo.node()));
}

#[test]
fn diff_shows_what_a_change_to_a_template_would_change() {
    let repo = Repo::tiny();
    let against = repo.path("old.yaml");
    let args = ["diff", "--against", against.to_str().unwrap()];
    repo.write("old.yaml", "");
    let whole = repo.xtask(&args).success();
    let lines: Vec<&str> = whole.stdout.lines().filter_map(|line| line.strip_prefix('+')).skip(1).collect();
    repo.write("old.yaml", &(lines.join("\n") + "\n"));
    let same = repo.xtask(&args).success().says(["no difference"]);
    assert_eq!(same.stdout, "");

    repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 128");
    let diff = repo.xtask(&args).success().does_not_say(["no difference"]);
    let changed: Vec<&str> = diff.stdout.lines().filter(|line| line.contains("ram: ")).collect();
    assert_eq!(changed.iter().map(|line| &line[..1]).collect::<Vec<_>>(), ["-", "+"], "{diff}");
    assert!(diff.stdout.starts_with(&format!("--- {}\n+++ ", against.display())), "{diff}");
    repo.xtask(&["diff"]).success().says(["dist/ has no definitions"]).does_not_say(["no difference"]);
}

/// Puts something that is no definition at a path.
type Plant = fn(&Path);

/// What may be in the place of a definition, and what is said of it.
const NO_DEFINITIONS: [(&str, Plant, &str); 6] = [
    ("bytes.yaml", |path| std::fs::write(path, b"id: \xff\n").unwrap(), "1:5: error[schema-yaml]"),
    ("folder.yaml", |path| std::fs::create_dir(path).unwrap(), "is a folder, not a file"),
    ("dangling.yml", |path| std::os::unix::fs::symlink("/none", path).unwrap(), "is a symbolic link to /none"),
    ("pipe.yaml", |path| assert!(command("mkfifo", path)), "is a pipe, a socket or a device"),
    ("huge.yaml", |path| std::fs::File::create(path).unwrap().set_len(50_000_000).unwrap(), "error[limits]"),
    ("topology.yaml", |path| std::fs::write(path, "lab: {}\n").unwrap(), "error[schema-kind]"),
];

fn command(program: &str, path: &Path) -> bool {
    std::process::Command::new(program).arg(path).status().unwrap().success()
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding_and_the_others_are_judged() {
    for (name, plant, said) in NO_DEFINITIONS {
        let repo = Repo::empty();
        repo.write("all/a.yaml", NODE);
        repo.write("all/image.yaml", &image(&"0".repeat(64)));
        repo.write("all/z.yaml", &NODE.replace("timeout: 60", "timeout: 100000").replace("id: tiny", "id: other"));
        let path = repo.path("all").join(name);
        plant(&path);
        // In the folder, named, and beside a definition that is named.
        let (named, beside) = (format!("all/{name}"), "all/image.yaml");
        for (judged, further) in [("all", ""), ("all/z.yaml", named.as_str()), (beside, "")] {
            if further == "all/folder.yaml" {
                continue;
            }
            let mut args = vec!["lint".to_owned(), repo.path(judged).display().to_string()];
            args.extend((!further.is_empty()).then(|| repo.path(further).display().to_string()));
            let outcome = repo.xtask(&args.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(outcome.code, Some(1), "{name}: {outcome}");
            let lines: Vec<&str> = outcome.stdout.lines().filter(|line| line.contains(said)).collect();
            assert!(lines.len() == 1 && lines[0].starts_with(path.to_str().unwrap()), "{name}: {outcome}");
            let of_z = outcome.stdout.contains("z.yaml:2:17: error[schema-range]");
            assert_eq!(of_z, judged != beside, "{name}: {outcome}");
        }
    }
}

#[test]
fn a_file_and_a_folder_without_permission_are_findings() {
    let repo = Repo::empty();
    repo.write("all/a.yaml", NODE);
    repo.write("all/secret.yaml", NODE);
    repo.write("all/shut/b.yaml", NODE);
    let all = repo.path("all");
    for path in [all.join("secret.yaml"), all.join("shut")] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    }
    // Root may read everything, so this is nobody.
    let is_root = rustix::process::geteuid().is_root();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"];
    let outer = if is_root { &nobody[..] } else { &[] };
    if is_root {
        std::fs::set_permissions(repo.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(repo.cache.path(), Some(65534), Some(65534)).unwrap();
    }
    let outcome = repo.start_within(outer, &["lint", all.to_str().unwrap(), "--json"]).end();
    std::fs::set_permissions(all.join("shut"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let files = outcome.json();
    let state = |name: &str| {
        let path = all.join(name).display().to_string();
        let mut all = files.as_array().unwrap_or_else(|| panic!("{outcome}")).iter();
        let file = all.find(|file| file["path"] == path.as_str());
        let file = file.unwrap_or_else(|| panic!("{name}: {outcome}"));
        (file["ok"].as_bool().unwrap(), file["findings"][0]["message"].as_str().unwrap_or_default().to_owned())
    };
    assert!(state("a.yaml").0);
    for name in ["secret.yaml", "shut"] {
        let (ok, message) = state(name);
        assert!(!ok && message.contains("Permission denied"), "{name}: {message}");
    }
}
