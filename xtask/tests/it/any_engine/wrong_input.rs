//! Wrong input is refused with its place, what was expected, and what to do.

use crate::common::engine::Engine;
use crate::common::{Repo, copy, manifest};

/// Runs `list` on a tiny repository with an edited manifest. Without the name of the folder, the error starts with the
/// file.
fn listed_with(from: &str, to: &str) -> crate::common::Outcome {
    let repo = Repo::tiny();
    repo.edit_manifest(from, to);
    let outcome = repo.xtask(&["list"]).failure();
    // So that the repository can be cleaned.
    repo.write(&repo.manifest(), &manifest(repo.node()));
    outcome.says(["error: ", "node.yaml"])
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_column() {
    listed_with("title:", "titel:").says(["node.yaml:2:1: unknown field `titel`, expected one of", "`title`"]);
    listed_with("    summary:", "    sumary:").says(["node.yaml:10:5: ", "unknown field `sumary`", "`summary`"]);
}

#[test]
fn a_missing_key_is_named() {
    listed_with("    version: \"1.0\"\n", "").says(["node.yaml:9:5: ", "missing field `version`"]);
    listed_with("title: Tiny\n", "").says(["node.yaml:", "missing field `title`"]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_was_expected() {
    listed_with("version: \"1.0\"", "version: {a: b}").says(["node.yaml:11:14: ", "expected a string"]);
    listed_with("variants:\n", "switches: {loud: maybe}\nvariants:\n").says(["node.yaml:8:", "expected true or false"]);
    listed_with("variants:\n", "limits: {image_mb: big}\nvariants:\n")
        .says(["node.yaml:8:", "expected a whole number"]);
    listed_with("name: only", "name: Only One").says(["node.yaml:9:11: ", "`Only One` is not a valid name"]);
    listed_with("image: scratch", "image: [scratch]").says(["node.yaml:13:", "expected a string"]);
}

#[test]
fn yaml_that_is_broken_is_refused_with_its_place() {
    listed_with("title: Tiny", "title: \"Tiny\" x")
        .says(["node.yaml:2:15: ", "expected the next key, or the end of the mapping"]);
    listed_with("title: Tiny", "title: 'Tiny").says(["node.yaml:2:8: this quote is never closed"]);
    listed_with("title: Tiny", "\ttitle: Tiny").says(["node.yaml:2:1: "]);
}

#[test]
fn a_manifest_without_variants_or_dockerfile_is_refused() {
    listed_with(
        "variants:\n  - name: only\n    summary: The only one\n    version: \"1.0\"\n    base:\n      image: scratch\n",
        "variants: []\n",
    )
    .says(["node.yaml:8:1: `variants` is empty"]);
    listed_with("    base:\n", "    dockerfile: Dockerfile.none\n    base:\n")
        .says(["variants[0]: dockerfile: there is no file ", "/Dockerfile.none"]);
}

#[test]
fn names_that_cml_would_refuse_are_refused_here() {
    listed_with("label: \"Tiny {{ version }}\"", "label: \"A label of more than thirty-two characters\"")
        .says(["`label` becomes", "CML accepts 1 to 32"]);
    listed_with("{{ version_id }}{{ suffix }}", "x.part").says([
        "variant only",
        "the pattern `id`",
        "x.part` cannot be an id: files that are being written end in",
    ]);
    let repo = Repo::tiny();
    repo.xtask(&["build", "--version", "1 0"]).failure().says(["is not an id: use letters and digits"]);
}

#[test]
fn a_broken_template_is_refused_with_file_and_line() {
    let repo = Repo::tiny();
    repo.edit("node-definitions/tiny.yaml", "{{ label | json }}", "{{ label | json");
    repo.xtask(&["inspect"]).failure().says(["node-definitions/tiny.yaml:4:3: ", "expected }}"]);
    repo.edit("node-definitions/tiny.yaml", "{{ label | json", "{{ lable | json }}");
    repo.xtask(&["inspect"]).failure().says(["node-definitions/tiny.yaml:3:", "lable"]);
    repo.write("node-definitions/tiny.yaml", "{% include 'none.yaml' %}\n");
    repo.xtask(&["inspect"]).failure().says(["none.yaml"]);
    assert!(repo.dist().is_empty(), "nothing half-made stands in dist/: {:?}", repo.dist());
}

#[test]
fn a_template_that_renders_to_broken_yaml_is_refused_with_its_place() {
    let repo = Repo::tiny();
    repo.edit("node-definitions/tiny.yaml", "label: {{ label | json }}", "label: '{{ label }}");
    repo.xtask(&["inspect"]).failure().says([
        "node-definitions/tiny.yaml:3:10: ",
        "[schema-yaml]",
        "this quote is never closed",
    ]);
    repo.edit("node-definitions/tiny.yaml", "label: '{{ label }}", "label: {{ label }}\n   wrong: indent");
    repo.xtask(&["inspect"]).failure().says(["node-definitions/tiny.yaml:4", "[schema-yaml]"]);
}

#[test]
fn a_missing_template_is_named() {
    let repo = Repo::tiny();
    repo.edit_manifest("node_definition: tiny.yaml", "node_definition: none.yaml");
    repo.xtask(&["inspect"]).failure().says(["there is no template ", "node-definitions/none.yaml"]);
}

#[test]
fn an_image_definition_for_another_image_is_refused() {
    let repo = Repo::tiny();
    repo.edit("image-definitions/container.yaml", "{{ image_id }}", "0123");
    repo.xtask(&["save"]).failure().says(["image-definitions/container.yaml", "`sha256`"]);
    assert!(repo.dist().is_empty(), "nothing half-made stands in dist/: {:?}", repo.dist());
}

#[test]
fn an_unknown_node_variant_or_switch_is_reported_with_the_nearest_match() {
    let repo = Repo::tiny();
    let near = repo.node().replace("tiny", "tyni");
    let suggestion = format!("did you mean `{}`?", repo.node());
    repo.xtask(&["build", &near]).failure().says([&format!("there is no node `{near}`"), &suggestion]);
    repo.xtask(&["clean", &near]).failure().says([&suggestion]);
    repo.xtask(&["build", "--variant", "onyl"]).failure().says(["no variant `onyl`", "did you mean `only`?"]);
    repo.edit_manifest("variants:\n", "switches: {vrf: false}\nvariants:\n");
    repo.xtask(&["build", "--switch", "vfr"])
        .failure()
        .says(["no switch `vfr`", "did you mean `vrf`?"])
        .does_not_say(["can be built here"]);
}

#[test]
fn two_nodes_that_claim_one_id_are_refused() {
    let mut repo = Repo::tiny();
    let second = repo.add_node("FROM scratch\n");
    let claimed = repo.id();
    let path = format!("docker/{second}/node.yaml");
    repo.edit(
        &path,
        &format!("id: \"{second}-{{{{ version_id }}}}"),
        &format!("id: \"{}-{{{{ version_id }}}}", repo.node()),
    );
    let said = repo.xtask(&["list"]).failure();
    let first = format!("docker/{}/node.yaml", repo.node());
    said.says(["two nodes claim the id", &claimed, &first, &path]);
    repo.write(&path, &manifest(&second));
}

#[test]
fn a_folder_that_is_not_a_repository_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let path = folder.path().to_str().unwrap();
    let (code, said) = run(&["--root", path, "list"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is not a repository of nodes: it has no folder docker/"), "{said}");
    std::fs::create_dir(folder.path().join("docker")).unwrap();
    let (_, said) = run(&["--root", path, "list"]);
    assert!(said.contains("has no nodes"), "{said}");
    let (_, said) = run(&["--root", "/no/such/place", "list"]);
    assert!(said.contains("could not open /no/such/place"), "{said}");
}

#[test]
fn a_folder_whose_name_a_terminal_would_obey_is_shown_without_that() {
    let repo = Repo::tiny();
    let root = tempfile::Builder::new().prefix("a\x1b]0;x\x07\u{202e}").tempdir().unwrap();
    for folder in ["docker", "node-definitions", "image-definitions"] {
        copy(&repo.path(folder), &root.path().join(folder));
    }
    for command in [&["inspect"][..], &["save"], &["save", "--json"], &["list"]] {
        let outcome = repo.xtask_at(root.path(), command).success();
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!outcome.stdout.contains(obeyed) && !outcome.stderr.contains(obeyed), "{command:?}: {outcome}");
    }
    let saved = repo.xtask_at(root.path(), &["save", "--json"]).success().json();
    assert!(saved["archive"].as_str().unwrap().starts_with(root.path().to_str().unwrap()), "{saved}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let repo = Repo::tiny();
    for wrong in [&["biuld"][..], &["build", "--verison", "1"], &["save", "--switch", "x=maybe"], &[]] {
        let outcome = repo.xtask(wrong);
        assert_eq!(outcome.code, Some(2), "{wrong:?}\n{outcome}");
    }
    repo.xtask(&["biuld"]).says(["build"]);
}

#[test]
fn doctor_refuses_the_way_in_that_it_cannot_use() {
    let repo = Repo::tiny();
    let args = ["cml", "doctor", "--cml", "127.0.0.1", "--via", "api"];
    repo.xtask(&args).failure().says(["doctor needs ssh; leave out --via api"]);
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    let repo = Repo::tiny();
    let range = |args: &[&str], range: &str| {
        let outcome = repo.xtask(args).says([&format!("expected a whole number from {range}")]);
        assert_eq!(outcome.code, Some(2), "{outcome}");
    };
    range(&["upload", "--timeout", "0"], "1 to 86400");
    range(&["upload", "--timeout", "x"], "1 to 86400");
    range(&["run", "--interfaces", "x"], "0 to 64");
    range(&["builder", "create", "--ram", "4GB"], "1024 to 1048576");
    let address = repo.xtask(&["cml", "status", "--cml", "127.0.0.1:99999"]).wrong_usage();
    address.says(["`99999` is not a port: expected a whole number from 1 to 65535"]);
}

#[test]
fn a_name_that_an_engine_refuses_is_refused_as_an_argument() {
    let repo = Repo::tiny();
    for name in ["a b", "-", "a", "_a", "a/b", "é1"] {
        let outcome = repo.xtask(&["run", &format!("--name={name}")]).says(["a-z, A-Z, 0-9"]);
        assert_eq!(outcome.code, Some(2), "{outcome}");
    }
}

#[test]
fn the_tag_of_somebody_elses_image_is_neither_overwritten_nor_removed() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    let foreign = engine.foreign(&repo.image());
    repo.xtask(&["build"]).failure().says([
        &repo.image(),
        "was not built from the node",
        &format!("docker tag {}", repo.image()),
    ]);
    assert_eq!(engine.id(&repo.image()), foreign.id);
    let list = repo.xtask(&["list", "--json"]).success().json();
    assert_eq!(list[0]["built"], "no");
    repo.xtask(&["clean", repo.node()]).success().says(["nothing to clean"]);
    assert_eq!(engine.id(&repo.image()), foreign.id);
}

#[test]
fn the_tag_of_another_nodes_image_is_not_taken() {
    let (mut repo, engine) = (Repo::tiny(), Engine::here());
    let first = repo.image();
    repo.xtask(&["build", repo.node()]).success();
    let second = repo.add_node("FROM scratch\nCOPY Dockerfile /\n");
    let taken = format!("{second}:1.0");
    engine.tag(&first, &taken);
    repo.xtask(&["build", &second])
        .failure()
        .says([&format!("has an image {taken} that was not built from the node {second}")]);
    assert_eq!(engine.id(&taken), engine.id(&first));
    engine.remove(&taken);
    repo.xtask(&["build", &second]).success();
    repo.xtask(&["build", "--no-cache", &second]).success();
}

#[test]
fn an_image_that_would_be_built_on_elsewhere_cannot_be_claimed() {
    let node = "image: \"{node}:{{ version }}{{ suffix }}\"";
    for (image, why) in [
        ("cml-nodes/debian:trixie", "cml-nodes/ is for images that this program makes"),
        ("docker.io/library/debian:trixie", "engines leave out"),
        ("sha256:abc", "the ID of an image"),
    ] {
        let repo = Repo::tiny();
        repo.edit_manifest(&node.replace("{node}", repo.node()), &format!("image: {image}"));
        for command in ["list", "lint", "build"] {
            repo.xtask(&[command]).failure().says(["node.yaml, variant only", why]);
        }
        repo.write(&repo.manifest(), &manifest(repo.node()));
    }
}

#[test]
fn clean_leaves_what_this_program_did_not_create() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    let foreign = engine.foreign(&format!("{}-other:1.0", repo.node()));
    repo.xtask(&["save"]).success();
    let notes = format!("dist/virl-base-images/{}/notes.txt", repo.id());
    repo.write(&notes, "my own");
    repo.write("dist/my-own.txt", "my own");
    repo.xtask(&["clean", repo.node()]).success().says(["removed"]);
    assert_eq!(engine.id(&foreign.name), foreign.id);
    assert_eq!((repo.read(&notes).as_str(), repo.read("dist/my-own.txt").as_str()), ("my own", "my own"));
    assert!(engine.image(&repo.image()).is_none() && !repo.archive().exists());
}

#[test]
fn clean_leaves_an_image_that_a_person_made_from_ours() {
    let mut repo = Repo::tiny();
    let engine = Engine::here();
    repo.xtask(&["build"]).success();
    // As `FROM <node>:1.0` does: the image inherits every label.
    let base = repo.image();
    let derived = repo.add_node("ARG BASE\nFROM ${BASE}\nCOPY Dockerfile /\n");
    let labels = engine.labels(&base);
    let mine = format!("{derived}-mine:1");
    let kept = format!("{derived}-kept:1");
    engine.derive(&base, &mine);
    engine.tag(&base, &kept);
    assert_eq!(engine.labels(&mine).get("cml-nodes.node"), labels.get("cml-nodes.node"), "the label is inherited");
    let id = engine.id(&mine);
    repo.xtask(&["clean", repo.node()]).success();
    assert_eq!(engine.image(&mine).and_then(|image| image.id), Some(id));
    assert!(engine.image(&kept).is_some(), "nor is a tag that a person gave to ours removed");
    assert!(engine.image(&base).is_none());
    engine.remove(&mine);
    engine.remove(&kept);
}

#[test]
fn clean_of_one_node_leaves_the_others() {
    let mut repo = Repo::tiny();
    let second = repo.add_node("FROM scratch\nCOPY Dockerfile /\n");
    repo.xtask(&["save", repo.node()]).success();
    repo.xtask(&["save", &second]).success();
    assert_eq!(repo.check_sums(), 6);
    repo.xtask(&["clean", repo.node()]).success();
    assert_eq!(repo.check_sums(), 3);
    assert!(Engine::here().image(&format!("{second}:1.0")).is_some());
}
