//! Another node: created, linted and proved without a line of Rust.

use crate::common::Repo;

/// The real repository's data and a new name.
fn repository(last: &str) -> (Repo, String) {
    (Repo::real(), format!("t{}-{last}", std::process::id()))
}

#[test]
fn a_new_node_lints_clean_and_can_be_built_and_proved_unchanged() {
    let (mut repo, node) = repository("new");
    let made = repo.xtask(&["new", &node]).success();
    repo.own(&node);
    for file in ["node.yaml", "Dockerfile", "rootfs/usr/lib/node/start"] {
        assert!(made.stdout.contains(&format!("docker/{node}/{file}\n")), "{made}");
    }
    made.says([&format!("cargo xtask verify {node}")]);
    let definition = repo.read(&format!("node-definitions/{node}.yaml"));
    assert!(definition.lines().count() <= 30, "a definition is 30 lines:\n{definition}");
    repo.xtask(&["lint", "--deny", "warnings"]).success();
    let proved = repo.xtask(&["verify", &node]).success();
    assert!(proved.stdout.contains("they reach each other"), "{proved}");
}

#[test]
fn a_node_from_another_has_its_own_names_and_the_others_sources() {
    let (repo, node) = repository("spine");
    repo.xtask(&["new", &node, "--from", "frr"]).success();
    repo.xtask(&["lint", "--deny", "warnings"]).success();
    let list = repo.xtask(&["list", "--json"]).success().json();
    let rows: Vec<&serde_json::Value> = list.as_array().unwrap().iter().filter(|row| row["node"] == *node).collect();
    assert_eq!(rows.len(), 3, "{list}");
    assert_eq!(rows[1]["image"], format!("{node}:10.3-debian"));
    let manifest = repo.read(&format!("docker/{node}/node.yaml"));
    assert!(manifest.contains("package: frr") && manifest.contains("/usr/lib/frr/zebra"), "{manifest}");
    assert!(repo.read(&format!("docker/{node}/Dockerfile")).contains(&format!("sources/{node}.tar")));
}

#[test]
fn comments_of_a_node_from_another_name_the_new_node() {
    let (repo, node) = repository("resolver");
    repo.xtask(&["new", &node, "--from", "dnsmasq"]).success();
    let (manifest, template) = (format!("docker/{node}/node.yaml"), format!("node-definitions/{node}.yaml"));
    assert!(repo.read(&manifest).starts_with("# docs/manifest.md explains every key.\n"));
    let template = repo.read(&template);
    assert!(template.contains(&format!("from docker/{node}/node.yaml")), "{template}");
    assert!(!template.contains("docker/dnsmasq/") && !template.contains("definition of dnsmasq"), "{template}");
}

#[test]
fn nothing_is_overwritten_and_no_name_is_guessed() {
    let (repo, node) = repository("taken");
    let before = repo.read("docker/frr/node.yaml");
    repo.xtask(&["new", "frr"]).failure().says(["already exists: choose another name"]);
    assert_eq!(repo.read("docker/frr/node.yaml"), before);
    for (name, why) in [
        ("My Node", "`My Node` is not a valid name"),
        ("../escape", "is not a valid name"),
        ("common", "docker/common holds what nodes share"),
        ("web-", "one that ends in `-`"),
    ] {
        let outcome = repo.xtask(&["new", name]);
        assert_eq!(outcome.code, Some(2), "{outcome}");
        outcome.says([why]);
    }
    repo.xtask(&["new", &node, "--from", "fr"]).failure().says(["did you mean `frr`?"]);
    assert!(!repo.path(&format!("docker/{node}")).exists());
}

#[test]
fn what_nodes_share_comes_along_where_it_is_missing() {
    let repo = Repo::tiny();
    let node = format!("{}-new", repo.node());
    let shared = "docker/common/rootfs/usr/lib/node/node.sh";
    let made = repo.xtask(&["new", &node]).success();
    assert!(made.stdout.contains(&format!("{shared}\n")), "{made}");
    repo.write(shared, "# changed\n");
    let again = repo.xtask(&["new", &format!("{node}-2")]).success();
    assert!(!again.stdout.contains(shared), "{again}");
    assert_eq!(repo.read(shared), "# changed\n", "the repository's own files stay");
}

#[test]
fn a_node_that_cannot_be_made_leaves_nothing_behind() {
    let repo = Repo::tiny();
    // The same for every node that is copied from it.
    repo.edit_manifest(&format!("id: \"{}", repo.node()), "id: \"always-the-same");
    let node = format!("{}-copy", repo.node());
    repo.xtask(&["list"]).success();
    let made = repo.xtask(&["new", &node, "--from", repo.node()]).failure();
    assert!(made.stdout.is_empty(), "{made}");
    made.says(["two nodes claim the id", "nothing of it was kept"]);
    assert!(!repo.path(&format!("docker/{node}")).exists());
    assert!(!repo.path(&format!("node-definitions/{node}.yaml")).exists());
    repo.xtask(&["list"]).success();
    repo.write(&repo.manifest(), &crate::common::manifest(repo.node()));
}
