//! The data of this repository. No build of it is completed here, because its images have the names of the user's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::Repo;
use crate::common::engine::Engine;
use crate::common::git::Upstream;
use catalog::Names;
use catalog::Repository;
use definitions::{self, Facts};
use digests::Digest;

#[test]
fn every_manifest_is_read_and_every_variant_listed() {
    let repo = Repo::real();
    let list = repo.xtask(&["list", "--json"]).success().json();
    let rows: Vec<(&str, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["node"].as_str().unwrap(), row["variant"].as_str().unwrap()))
        .collect();
    for row in [("frr", "ubuntu"), ("frr", "debian"), ("frr", "alpine")] {
        assert!(rows.contains(&row), "{rows:?}");
    }
}

#[test]
fn the_definitions_of_every_variant_render_with_every_switch() {
    let repository = Repository::open(crate::common::real_root()).unwrap();
    for node in repository.nodes() {
        for variant in &node.variants {
            let names = Names::of(node, variant, &variant.version).unwrap();
            for answer in [false, true] {
                let switches: BTreeMap<String, bool> =
                    node.switches.keys().map(|switch| (switch.clone(), answer)).collect();
                let image_id = Digest::of("any");
                let facts = Facts {
                    id: &names.id,
                    image: &names.image,
                    image_id: &image_id,
                    archive: &format!("{}.tar.gz", names.id),
                    node: node.node.as_str(),
                    variant: variant.name.as_str(),
                    version: &variant.version,
                    label: &names.label,
                    title: &node.title,
                    description: &node.description,
                    switches: &switches,
                    shared: None,
                };
                let template = |named: Option<&str>, default: String| named.map_or(default, str::to_owned);
                let node_template =
                    template(node.node_definition.as_ref().map(|path| path.as_str()), format!("{}.yaml", node.node));
                let image_template =
                    template(node.image_definition.as_ref().map(|path| path.as_str()), "container.yaml".to_owned());
                let rendered = definitions::render(&repository.root, &node_template, &image_template, &facts)
                    .unwrap_or_else(|error| panic!("{} {}: {error:#}", node.node, variant.name));
                assert!(!rendered.node.contains("{%") && !rendered.image.contains("{{"), "{}", rendered.node);
            }
        }
    }
}

/// Builds the variant `alpine` on a base that is not Alpine. BuildKit reads and plans the whole Dockerfile before it
/// runs its first command, which then fails.
fn build_alpine(repo: &mut Repo) -> crate::common::Outcome {
    let engine = Engine::here();
    let base = engine.foreign(&format!(
        "t{}-no-alpine:{}",
        std::process::id(),
        repo.folder.path().file_name().expect("a name").display().to_string().trim_start_matches('.')
    ));
    // A version of which no image exists.
    let frr = Upstream::of_version("1");
    frr.commit("configure.ac", &format!("AC_INIT([frr], [0.{}], [x])\n", std::process::id()));
    // Everything else that the variant fetches comes from here.
    let further = Upstream::of_version("1");
    let manifest = repo.read("docker/frr/node.yaml");
    let values = |key: &str| -> BTreeSet<String> {
        let lines = manifest.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|value| value.trim_matches([' ', '"']).to_owned()).collect()
    };
    for reference in values("ref:").iter().filter(|reference| !reference.contains("{{")) {
        further.git(&["branch", reference]);
    }
    let urls = values("git:");
    repo.set("GIT_CONFIG_COUNT", urls.len().to_string());
    for (index, url) in urls.iter().enumerate() {
        repo.set(&format!("GIT_CONFIG_KEY_{index}"), format!("url.file://{}.insteadOf", further.path().display()));
        repo.set(&format!("GIT_CONFIG_VALUE_{index}"), url);
    }
    let source = frr.path().to_str().expect("UTF-8");
    repo.xtask(&["build", "frr", "--variant", "alpine", "--base", &base.name, "--source", source]).failure()
}

#[test]
fn the_alpine_dockerfile_is_parsed_and_planned() {
    let mut repo = Repo::real();
    let said = build_alpine(&mut repo).says(["untested", "building", "/Dockerfile.alpine:"]);
    let (_, place) = said.stderr.split_once("/Dockerfile.alpine:").unwrap();
    let line: usize = place.split_whitespace().next().unwrap().parse().unwrap();
    let text = repo.read("docker/frr/Dockerfile.alpine");
    let step = text.lines().nth(line - 1).unwrap();
    assert!(step.starts_with("RUN "), "line {line} is `{step}`, not a command:\n{said}");
}

#[test]
fn a_mistake_in_the_alpine_dockerfile_would_be_noticed() {
    let mut repo = Repo::real();
    let text = repo.read("docker/frr/Dockerfile.alpine");
    let mut copies = text.lines().filter(|line| line.starts_with("COPY --from="));
    let last = copies.next_back().expect("a stage that is copied from");
    repo.edit("docker/frr/Dockerfile.alpine", last, &last.replacen("--from=", "--from=misspelt-", 1));
    // Podman names the line of the mistake; Docker names none.
    let said = build_alpine(&mut repo).says(["misspelt-"]).stderr;
    let line =
        repo.read("docker/frr/Dockerfile.alpine").lines().position(|line| line.contains("misspelt-")).unwrap() + 1;
    let others = said.replace(&format!("Dockerfile.alpine:{line}\n"), "");
    assert!(!others.contains("Dockerfile.alpine:"), "no command was run:\n{said}");

    repo.edit(
        "docker/frr/Dockerfile.alpine",
        &last.replacen("--from=", "--from=misspelt-", 1),
        &last.replacen("COPY", "COPI", 1),
    );
    build_alpine(&mut repo).says(["COPI", "/Dockerfile.alpine:"]).does_not_say(["RUN "]);
}
