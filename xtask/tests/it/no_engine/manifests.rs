//! Mistakes in a manifest: each is found with its place before anything is built, and stops no other node.

use crate::common::{Outcome, Repo};

/// A repository in which no engine answers.
fn repository() -> Repo {
    let mut repo = Repo::tiny();
    repo.set("XTASK_ENGINE", "tcp://127.0.0.1:1");
    repo
}

/// The lines of stdout and stderr in which the program says something of the first node's manifest.
fn lines_about_the_manifest(repo: &Repo, outcome: &Outcome) -> Vec<String> {
    let (path, text) = (repo.path(&repo.manifest()), format!("{}{}", outcome.stdout, outcome.stderr));
    let marks =
        text.lines().filter_map(|line| line.strip_prefix("error: ")?.strip_prefix(&format!("{}:", path.display())));
    marks.map(str::to_owned).collect()
}

#[test]
fn a_broken_manifest_is_an_error_of_its_node_and_the_others_go_on() {
    let mut repo = repository();
    let (broken, good) = (repo.node().to_owned(), repo.add_node("FROM scratch\nCOPY node.txt /\n"));
    repo.write(&format!("docker/{good}/node.txt"), "text\n");
    repo.edit_manifest("title:", "titel:");
    let said = format!("{}:2:1: unknown field `titel`", repo.path(&repo.manifest()).display());

    let list = repo.xtask(&["list"]).says([&said]);
    assert_eq!(list.code, Some(1), "{list}");
    assert!(list.stdout.contains(&good) && !list.stdout.contains(&broken), "{list}");
    let list = repo.xtask(&["list", "--json"]).says([&said]);
    let rows = list.json();
    let row = |node: &str| rows.as_array().unwrap().iter().find(|row| row["node"] == node).unwrap();
    assert!(row(&good)["id"].is_string() && row(&broken)["error"].as_str().unwrap().starts_with(&said), "{list}");

    repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: sever");
    let lint = repo.xtask(&["lint", "--json"]).says([&said]);
    assert_eq!(lint.code, Some(1), "{lint}");
    let files = lint.json();
    let file = |path: &str| files.as_array().unwrap().iter().find(|file| file["path"] == path).unwrap();
    assert_eq!(file("node-definitions/tiny.yaml")["findings"][0]["rule"], "schema-choice");
    let manifest = file(&format!("docker/{broken}/node.yaml"));
    assert!(manifest["ok"] == false && manifest["error"].as_str().unwrap().starts_with(&said), "{lint}");
    repo.edit("node-definitions/tiny.yaml", "icon: sever", "icon: server");

    repo.xtask(&["build", &good]).failure().says(["127.0.0.1:1"]).does_not_say([&said]);
    for command in [&["build", &broken][..], &["diff", &broken], &["verify", "--all"], &["clean"]] {
        repo.xtask(command).failure().says([&said]);
    }
    repo.xtask(&["new", "fresh"]).success();
}

#[test]
fn a_node_that_cannot_be_rendered_does_not_hide_what_is_wrong_with_the_others() {
    let mut repo = repository();
    let other = repo.add_node("FROM scratch\n");
    repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: sever");
    repo.edit_manifest("node_definition: tiny.yaml", "node_definition: none.yaml");
    let lint = repo.xtask(&["lint"]).says([repo.node(), "there is no template ", "none.yaml"]).does_not_say([&other]);
    assert!(lint.code == Some(1) && lint.stdout.contains("tiny.yaml:6:9: error[schema-choice]"), "{lint}");
}

#[test]
fn a_mistake_in_the_template_of_one_node_does_not_stop_the_others() {
    for (wrong, said) in [
        ("{% if %}", "11:7: "),
        ("{{ id", "11:"),
        ("{{ id | nofilter }}", "11:9: Unknown filter `nofilter`"),
        ("{% include \"nofile\" %}", "11:12: Unknown template `nofile`"),
    ] {
        let mut repo = repository();
        let other = repo.add_node("FROM scratch\n");
        let good = repo.read("node-definitions/tiny.yaml");
        let broken = good.lines().take(10).collect::<Vec<_>>().join("\n") + "\n" + wrong + "\n";
        repo.write("node-definitions/unused.yaml", &broken);
        repo.xtask(&["lint"]).success();

        repo.write("node-definitions/broken.yaml", &broken);
        repo.edit_manifest("node_definition: tiny.yaml", "node_definition: broken.yaml");
        repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: sever");
        let at = format!("{}:{said}", repo.path("node-definitions/broken.yaml").display());
        let lint = repo.xtask(&["lint"]).says([repo.node(), &at]).does_not_say([&other, "-->", "unused.yaml"]);
        assert!(lint.code == Some(1) && lint.stdout.contains("tiny.yaml:6:9: error[schema-choice]"), "{wrong}: {lint}");
        assert_eq!(lint.stderr.matches("broken.yaml:").count(), 1, "{lint}");
    }
}

#[test]
fn a_variable_that_a_shared_definition_lacks_is_one_error_with_its_remedy() {
    let repo = repository();
    let switches = "shared_node: {id: tiny, label: Tiny}\nswitches: {a: true, b: false}\nvariants:";
    repo.edit_manifest("variants:", switches);
    repo.edit("node-definitions/tiny.yaml", "icon: server", "icon: \"{{ version }}\"");
    let lint = repo.xtask(&["lint"]).says(["tiny.yaml:6:", "`version` differs between", "{% if not shared %}"]);
    assert!(lint.code == Some(1) && lint.stderr.matches("differs between").count() == 1, "{lint}");
}

#[test]
fn an_id_that_two_nodes_claim_is_said_once() {
    let mut repo = repository();
    let (one, two, three) = (repo.node().to_owned(), repo.add_node("FROM scratch\n"), repo.add_node("FROM scratch\n"));
    repo.edit(&format!("docker/{two}/node.yaml"), &format!("id: \"{two}"), &format!("id: \"{one}"));
    for command in [&["list"][..], &["lint"]] {
        let outcome = repo.xtask(command);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert_eq!(outcome.stderr.matches("two nodes claim the id").count(), 1, "{outcome}");
        assert!(command == ["lint"] || outcome.stdout.contains(&three), "{outcome}");
    }
}

#[test]
fn a_folder_without_a_manifest_and_the_name_of_a_node_are_not_passed_over_in_silence() {
    let repo = repository();
    repo.write("docker/toy/Dockerfile", "FROM scratch\n");
    for command in ["list", "lint"] {
        repo.xtask(&[command]).success().says(["warning: docker/toy has no node.yaml"]);
    }
    let lint = repo.xtask(&["lint", "toy"]).says(["there is no such file", "without arguments judges every node"]);
    assert_eq!(lint.code, Some(2), "{lint}");
}

#[test]
fn what_scenes_name_is_looked_for_without_running_them() {
    let steps = |steps: &str| {
        let step = format!("      - {{check: c, on: a, run: [cat]{steps}}}");
        format!("scenes:\n  - name: s\n    nodes: {{a: {{}}}}\n    steps:\n{step}\nvariants:")
    };
    let nodes = |nodes: &str| steps("").replace("{a: {}}", nodes);
    for (scenes, at, said) in [
        (nodes("{a: {node: tyni}}"), "10:23: scenes[0].nodes.a.node: ", "there is no node `tyni`"),
        (nodes("{a: {files: {boot: x}}}"), "10:31: scenes[0].nodes.a.files.boot: ", "has no file `boot`"),
        (nodes("{a: {switches: {vfr: true}}}"), "10:27: scenes[0].nodes.a.switches: ", "has no switch `vfr`"),
        (
            nodes("{a: {without: [--privileged]}}"),
            "10:27: scenes[0].nodes.a.without[0]: ",
            "no argument `--privileged`",
        ),
        (
            steps("}\n      - {rewrite: keys, of: a, from: {on: a, run: [cat]}"),
            "13:19: scenes[0].steps[1].rewrite: ",
            "has no file `keys`",
        ),
        (steps(", prints: \"{{ verison }}\""), "12:9: scenes[0].steps[0]: ", "the pattern `{{ verison }}`"),
        (steps(", matches: \"{{ '.*' }}\""), "12:9: scenes[0].steps[0]: ", "every output matches"),
        (steps(", matches: \"{{ '(' }}\""), "12:9: scenes[0].steps[0]: ", "is not a regular expression"),
        (
            "checks:\n  - {name: c, run: [cat], prints: \"{{ '' }}\"}\nvariants:".to_owned(),
            "9:35: checks[0].prints: ",
            "checks nothing",
        ),
    ] {
        let repo = repository();
        repo.edit_manifest("variants:", &scenes);
        let outcome = repo.xtask(&["lint"]);
        assert_eq!(outcome.code, Some(1), "{scenes}: {outcome}");
        let lines = lines_about_the_manifest(&repo, &outcome);
        assert!(lines.len() == 1 && lines[0].starts_with(at) && lines[0].contains(said), "{scenes}: {outcome}");
        assert!(!lines[0].contains("one_off") && !lines[0].contains("error:"), "{outcome}");
    }
    let repo = repository();
    let good = "{a: {files: {config.json: \"{{ id }}\"}}}";
    repo.edit_manifest(
        "variants:",
        &nodes(good).replace("[cat]", "[cat], prints: \"{{ version }} {{ id }} {{ variant }}\""),
    );
    repo.xtask(&["lint"]).success();
}

#[test]
fn a_pattern_that_cannot_fail_is_refused_with_its_place() {
    for (pattern, at) in [("matches: '.*'", "12:"), ("matches: ''", "12:"), ("prints: ''", "12:")] {
        let repo = repository();
        let step = format!("      - {{check: c, on: a, run: [cat], {pattern}}}");
        let scenes = format!("scenes:\n  - name: s\n    nodes: {{a: {{}}}}\n    steps:\n{step}\nvariants:");
        repo.edit_manifest("variants:", &scenes);
        let outcome = repo.xtask(&["lint"]).failure();
        let lines = lines_about_the_manifest(&repo, &outcome);
        assert!(lines.len() == 1 && lines[0].starts_with(at), "{pattern}: {outcome}");
    }
}

#[test]
fn a_finding_in_an_included_file_names_a_node_that_is_rendered_with_it() {
    let mut repo = repository();
    let other = repo.add_node("FROM scratch\n");
    repo.write("node-definitions/partials/boot.yaml", "boot: {timeout: 100000}\n");
    repo.edit("node-definitions/tiny.yaml", "boot: {timeout: 1}", "{% include \"partials/boot.yaml\" -%}");
    let own = repo
        .read("node-definitions/tiny.yaml")
        .replace("{% include \"partials/boot.yaml\" -%}", "boot: {timeout: 1}\n");
    repo.write("node-definitions/own.yaml", &own);
    repo.edit_manifest("node_definition: tiny.yaml", "node_definition: own.yaml");
    let outcome = repo.xtask(&["lint"]);
    let line = outcome.stdout.lines().find(|line| line.contains("partials/boot.yaml:1:")).unwrap();
    assert!(line.ends_with(&format!("(node {other}, variant only)")), "{outcome}");
}
