//! The same recipe on every engine: an equivalent node.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use crate::common::engine::{Engine, PrivatePodman};
use crate::common::{Repo, in_own_mounts};
use serde_json::Value;

/// The parts of a configuration that the engine adds. `Hostname` is that of the container in which the last step ran.
const OF_THE_ENGINE: [&str; 8] = [
    "created", "history", "container", "container_config", "parent", "docker_version", "config/Hostname",
    "config/Image",
];

/// All properties of a file that a container can see.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    mode: u32,
    owner: (u64, u64),
    time: u64,
    link: Option<String>,
    device: (Option<u32>, Option<u32>),
    extended: BTreeMap<String, Vec<u8>>,
    digest: String,
}

#[derive(Debug)]
struct Image {
    tags: Value,
    configuration: Value,
    id: String,
    layers: Vec<BTreeMap<String, Entry>>,
}

fn read(archive: &Path) -> Image {
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(archive::open(archive).unwrap());
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let configuration = &files[manifest[0]["Config"].as_str().unwrap()];
    let layers = manifest[0]["Layers"].as_array().unwrap();
    Image {
        tags: manifest[0]["RepoTags"].clone(),
        id: digests::Digest::of(configuration).hex().to_owned(),
        configuration: serde_json::from_slice(configuration).unwrap(),
        layers: layers.iter().map(|layer| entries(&files[layer.as_str().unwrap()])).collect(),
    }
}

fn entries(layer: &[u8]) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(layer).entries().unwrap() {
        let mut entry = entry.unwrap();
        let extensions = entry.pax_extensions().unwrap();
        let extensions = extensions.into_iter().flatten().map(Result::unwrap);
        let extended = extensions
            .filter(|extension| extension.key().unwrap().starts_with("SCHILY.xattr."))
            .map(|extension| (extension.key().unwrap().to_owned(), extension.value_bytes().to_owned()))
            .collect();
        let name = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").trim_matches('/').to_owned();
        let header = entry.header();
        let (kind, mode, time) = (header.entry_type().as_byte(), header.mode().unwrap(), header.mtime().unwrap());
        let (owner, device) = (
            (header.uid().unwrap(), header.gid().unwrap()),
            (header.device_major().unwrap(), header.device_minor().unwrap()),
        );
        let link = entry.link_name().unwrap().map(|target| target.display().to_string());
        let link = link.map(|target| if kind == b'1' { target.trim_matches('/').to_owned() } else { target });
        let digest = digests::of_reader(&mut entry).unwrap().hex().to_owned();
        found.insert(name, Entry { kind, mode, owner, time, link, device, extended, digest });
    }
    found
}

/// The configuration without what the engine adds and without empty values.
fn essence(configuration: &Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in configuration.as_object().unwrap() {
        match value.as_object() {
            Some(inner) if key == "config" => {
                flat.extend(inner.iter().map(|(inner, value)| (format!("config/{inner}"), value.clone())));
            }
            _ => _ = flat.insert(key.clone(), value.clone()),
        }
    }
    flat.retain(|key, value| {
        let says_nothing = value.is_null()
            || *value == Value::Bool(false)
            || *value == Value::String(String::new())
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
            // The default folder.
            || (key == "config/WorkingDir" && value == "/");
        // The digests of layers differ with the order of files; what is in them is compared.
        !says_nothing && key != "rootfs" && !OF_THE_ENGINE.contains(&key.as_str())
    });
    flat
}

#[test]
fn the_same_recipe_gives_an_equivalent_node_on_docker_and_on_podman() {
    let mut repo = Repo::real();
    let node = format!("t{}-log", std::process::id());
    repo.xtask(&["new", &node, "--from", "syslog"]).success();
    repo.own(&node);
    // Without caches, since the distribution's packages may have changed since the last build.
    let saved = repo.xtask(&["save", &node, "--no-cache", "--json"]).success().json();
    let on_docker = read(Path::new(saved["archive"].as_str().unwrap()));

    let (docker, podman) = (Engine::here(), PrivatePodman::start());
    for base in
        ["debian:trixie-slim", "cml-nodes/debian:trixie"].into_iter().filter(|base| docker.image(base).is_some())
    {
        let copy = repo.path("base.tar");
        docker.save(base, &copy);
        podman.client().load(&copy);
    }
    repo.set("DOCKER_HOST", podman.host());
    let place = repo.path("dist");
    std::fs::remove_dir_all(&place).unwrap();
    let told = repo.xtask(&["save", &node, "--json"]).success();
    let saved = told.json();
    let archive = Path::new(saved["archive"].as_str().unwrap());
    let on_podman = read(archive);

    let labels = podman.client().labels(saved["image"].as_str().unwrap());
    assert!(labels.contains_key("cml-nodes.recipe"), "{labels:?}");
    repo.xtask(&["inspect", &node]).success();
    let definition = std::fs::read_to_string(saved["image_definition"].as_str().unwrap()).unwrap();
    assert!(definition.contains(&format!("sha256: {}", on_podman.id)), "{definition}");
    assert_eq!(saved["image_id"], *on_podman.id);
    repo.unset("DOCKER_HOST");

    assert_eq!(on_docker.tags, on_podman.tags);
    assert_eq!(essence(&on_docker.configuration), essence(&on_podman.configuration));
    assert_eq!((on_docker.layers.len(), on_podman.layers.len()), (1, 1));
    same_files(&on_docker.layers[0], &on_podman.layers[0]);

    // Docker loads what Podman saved, under the tag that people type.
    let image = saved["image"].as_str().unwrap();
    docker.load(archive);
    let loaded = docker.image(image).expect("the plain tag");
    if docker.names_images_by_configuration() {
        assert_eq!(loaded.id.unwrap(), format!("sha256:{}", on_podman.id));
    }
}

fn same_files(docker: &BTreeMap<String, Entry>, podman: &BTreeMap<String, Entry>) {
    assert!(docker.len() > 1000, "a distribution has more than {} files", docker.len());
    let names = |files: &BTreeMap<String, Entry>| files.keys().cloned().collect::<BTreeSet<_>>();
    let differ: Vec<_> = names(docker).symmetric_difference(&names(podman)).cloned().collect();
    assert!(differ.is_empty(), "only on one engine: {differ:?}");
    let differ: Vec<_> = docker.iter().filter(|(name, entry)| podman[*name] != **entry).collect();
    let other: Vec<_> = differ.iter().map(|(name, _)| &podman[*name]).collect();
    assert!(differ.is_empty(), "on Docker: {differ:#?}\non Podman: {other:#?}");
}

/// Runs a command where every container runtime fails.
const WITHOUT_CONTAINERS: &str = "for name in crun runc; do \
    program=$(command -v $name) || continue; \
    mount --bind /bin/false \"$(realpath \"$program\")\" || exit 9; \
    done; \
    exec \"$@\"";

#[test]
fn where_containers_cannot_run_a_node_is_built_and_checked_in_a_chroot() {
    let repo = Repo::with_shell("RUN echo one > /number\n");
    let checks = "checks: [{name: the number, run: [cat, /number], prints: one}, \
        {name: it fails, run: [sh, -c, 'exit 4'], exits: 4}]\nvariants:\n";
    repo.edit_manifest("variants:\n", checks);
    let outer = in_own_mounts(WITHOUT_CONTAINERS);
    let embedded = |command: &str| repo.start_within(&outer, &["--engine", "embedded", command]).end();
    embedded("save").success().says(["2 checks passed", "chroot"]);
    assert_eq!(read(&repo.archive()).tags, serde_json::json!([repo.image()]));

    repo.edit(&repo.dockerfile(), "echo one", "echo two");
    embedded("build").failure().says(["fails its check `the number`", "it exited with 0 and printed:\n  | two"]);
    repo.edit_manifest("[cat, /number]", "[/no/such/program]");
    embedded("build").failure().says(["check `the number`", "/no/such/program", "no such file"]);
}
