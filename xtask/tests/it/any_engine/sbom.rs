//! The list of what an image consists of, which `save` writes: others must be able to read it, and it must be true.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::Repo;
use crate::common::cml::Stage;
use crate::common::cml::controller::Controller;
use crate::common::git::Upstream;
use crate::common::python::python;

const SCRIPT: &str = include_str!("sbom.py");

/// What a validator and another program read in a list.
fn read(list: &Path) -> Value {
    let output = Command::new(python("spdx", &["spdx-tools==0.8.5", "lib4sbom==0.10.4"]))
        .args(["-c", SCRIPT, list.to_str().unwrap()])
        .output()
        .unwrap();
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "the list is not valid:\n{shown}\n{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn package<'a>(found: &'a Value, name: &str) -> &'a Value {
    let packages = found["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("no {name} in {packages:?}"))
}

fn list(repo: &Repo) -> std::path::PathBuf {
    repo.path(&format!("dist/sbom/{}.spdx.json", repo.id()))
}

/// A package as it should be, one with everything that a stranger could write, and one that is not installed.
const STATUS: &str = "Package: libyang3
Status: install ok installed
Maintainer: Daniel Baumann <daniel@example.org>
Architecture: amd64
Source: libyang (3.12.2-1)
Version: 3.12.2-1+b2

Package: \u{1b}[31mred\"},{(é
Status: install ok installed
Maintainer: a <b> (c) <d
Architecture: ../..
Version: 1:2~3+4\u{7}

Package: gone
Status: deinstall ok config-files
Version: 1
";

const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: BSD-3-clause

Files: debian/*
License: GPL-2+
";

/// A node with packages and a source.
fn node(upstream: &Upstream) -> Repo {
    let repo = Repo::with_shell("COPY system/ /\nCOPY sources/origins.json /usr/share/doc/cml-nodes/\n");
    let source = format!("      image: scratch\n    source: {{git: '{}', ref: main}}\n", upstream.url());
    repo.edit_manifest("      image: scratch\n", &source);
    for (path, text) in [
        ("var/lib/dpkg/status", STATUS),
        ("usr/lib/os-release", "NAME=Debian\nID=debian\nVERSION_ID=\"13\"\n"),
        ("usr/share/doc/libyang3/copyright", COPYRIGHT),
    ] {
        repo.write(&format!("docker/{}/system/{path}", repo.node()), text);
    }
    let sum = format!("{}  libyang3_3.12.2-1+b2_amd64.deb\n", "0a".repeat(32));
    let sums = "system/usr/share/doc/cml-nodes/packages.sha256";
    repo.write(&format!("docker/{}/{sums}", repo.node()), &sum);
    repo
}

#[test]
fn others_read_which_packages_and_sources_are_in_an_image() {
    let upstream = Upstream::of_version("1.0");
    let repo = node(&upstream);
    let saved = repo.xtask(&["save", "--json"]).success().json();
    assert_eq!(Path::new(saved["sbom"].as_str().unwrap()), list(&repo).canonicalize().unwrap());
    let found = read(&list(&repo));
    assert_eq!(found["packages"].as_array().unwrap().len(), 4, "{found}");

    let image = package(&found, repo.node());
    assert_eq!(image["version"], "1.0");
    assert_eq!(image["checksum"][0][1], saved["sha256"]);
    assert!(repo.read(&format!("dist/sbom/{}.spdx.json", repo.id())).contains(saved["image_id"].as_str().unwrap()));

    let libyang = package(&found, "libyang3");
    assert_eq!(libyang["version"], "3.12.2-1+b2");
    assert_eq!(found["licences"]["libyang3"], "BSD-3-Clause AND GPL-2.0-or-later");
    assert_eq!(libyang["checksum"][0][1], "0a".repeat(32));
    let hostile = package(&found, "\u{fffd}[31mred\"},{(é");
    assert_eq!(hostile["version"], "1:2~3+4\u{fffd}");

    let of_sources =
        found["packages"].as_array().unwrap().iter().filter(|package| package["version"] == *upstream.head());
    assert_eq!(of_sources.count(), 1, "the commit of its source: {found}");
    let relations = ["DESCRIBES", "GENERATED_FROM", "CONTAINS", "CONTAINS"];
    assert_eq!(found["relations"], serde_json::json!(relations));
}

#[test]
fn the_same_image_has_the_same_list_and_the_command_prints_it() {
    let upstream = Upstream::of_version("1.0");
    let repo = node(&upstream);
    repo.xtask(&["save"]).success();
    let before = std::fs::read_to_string(list(&repo)).unwrap();
    repo.xtask(&["save"]).success().says([".tar.gz is up to date"]);
    assert_eq!(repo.xtask(&["sbom"]).success().stdout, before);

    // It is part of what is saved: without it, nothing is up to date.
    std::fs::remove_file(list(&repo)).unwrap();
    let rows = repo.xtask(&["list", "--json"]).success().json();
    assert_eq!(rows[0]["saved"], "stale");
    repo.xtask(&["save"]).success().says(["saved"]);
    assert_eq!(std::fs::read_to_string(list(&repo)).unwrap(), before);
    repo.xtask(&["clean", repo.node()]).success();
    assert!(!repo.path("dist").exists(), "{:?}", repo.dist());
}

#[test]
fn an_image_without_packages_has_a_list_of_itself() {
    let repo = Repo::tiny();
    repo.xtask(&["save"]).success();
    let found = read(&list(&repo));
    assert_eq!(found["packages"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(package(&found, repo.node())["version"], "1.0");
}

#[test]
fn no_place_on_the_machine_that_built_an_image_is_told() {
    let upstream = Upstream::of_version("1.0");
    let repo = node(&upstream);
    repo.xtask(&["save", "--source", upstream.path().to_str().unwrap()]).success();
    let written = std::fs::read_to_string(list(&repo)).unwrap();
    assert!(written.contains(&upstream.head()), "{written}");
    assert!(!written.contains(upstream.path().to_str().unwrap()), "{written}");
}

#[test]
fn servers_do_not_get_the_list() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    assert!(list(&stage.repo).is_file());
    let log = controller.take_log();
    assert!(log.iter().any(|line| line.contains("images/upload")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("spdx")), "{log:?}");
}
