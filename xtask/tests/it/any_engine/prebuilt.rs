//! Nodes whose image is taken as it is: by its ID, from the engine or from an archive.

use crate::common::Repo;
use crate::common::engine::Engine;

/// A repository with a node that was saved, and one that takes the image of its archive.
struct Taking {
    repo: Repo,
    node: String,
    image_id: String,
}

impl Taking {
    fn new() -> Self {
        let mut repo = Repo::tiny();
        repo.xtask(&["save"]).success();
        let definition = std::fs::read_to_string(repo.image_definition()).unwrap();
        let image_id = definition.lines().find_map(|line| line.strip_prefix("sha256: ")).unwrap().to_owned();
        std::fs::create_dir(repo.path("images")).unwrap();
        std::fs::copy(repo.archive(), repo.path("images/tiny.tar.gz")).unwrap();
        let node = repo.add_node("");
        std::fs::remove_file(repo.path(&format!("docker/{node}/Dockerfile"))).unwrap();
        let taking = Self { repo, node, image_id };
        taking.name("archive: images/tiny.tar.gz");
        taking
    }

    /// Names the place of the image in the manifest.
    fn name(&self, place: &str) {
        let manifest = crate::common::manifest(&self.node);
        let (before, _) = manifest.split_once("    base:").unwrap();
        let prebuilt = format!("    prebuilt:\n      image_id: sha256:{}\n      {place}\n", self.image_id);
        self.repo.write(&format!("docker/{}/node.yaml", self.node), &(before.to_owned() + &prebuilt));
    }

    fn tag(&self) -> String {
        format!("{}:1.0", self.node)
    }

    /// The engine has nothing of it any more.
    fn forget(&self) {
        let engine = Engine::here();
        engine.remove(&self.tag());
        engine.remove(&self.repo.image());
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        Engine::here().remove(&self.tag());
    }
}

#[test]
fn an_image_is_loaded_from_its_archive_and_shipped_as_it_is() {
    let taking = Taking::new();
    taking.forget();
    let (repo, node) = (&taking.repo, taking.node.as_str());
    repo.xtask(&["save", node]).success().says([&format!("took {}", taking.tag())]);
    let definition = repo.read(&format!("dist/virl-base-images/{node}-1-0/{node}-1-0.yaml"));
    assert!(definition.contains(&format!("sha256: {}", taking.image_id)), "{definition}");
    let list = repo.xtask(&["list", "--json"]).success().json();
    let row = list.as_array().unwrap().iter().find(|row| row["node"] == node).unwrap();
    assert_eq!((&row["built"], &row["saved"]), (&"yes".into(), &"yes".into()), "{row}");
    repo.xtask(&["build", node]).success().says(["is up to date"]);
    repo.xtask(&["lint"]).success();
    repo.xtask(&["sbom", node]).success();
    repo.xtask(&["build", node, "--base", "x"]).failure().says(["takes its image as it is", "--base has no effect"]);
}

#[test]
fn an_image_that_the_engine_has_needs_no_archive() {
    let taking = Taking::new();
    taking.name("# no other place");
    taking.repo.xtask(&["build", &taking.node]).success().says(["from the engine"]);
    let engine = Engine::here();
    assert_eq!(engine.id(&taking.tag()), engine.id(&taking.repo.image()));
    drop(engine);
    taking.forget();
    taking.repo.xtask(&["build", &taking.node]).failure().says(["names no other place", "docker load"]);
}

#[test]
fn another_image_than_the_manifest_names_is_refused() {
    let mut taking = Taking::new();
    taking.forget();
    taking.image_id = "5".repeat(64);
    taking.name("archive: images/tiny.tar.gz");
    taking.repo.xtask(&["build", &taking.node]).failure().says(["its image ID is sha256:", "not sha256:5555"]);
    assert!(Engine::here().image(&taking.tag()).is_none(), "nothing gets the tag");
    std::fs::remove_file(taking.repo.path("images/tiny.tar.gz")).unwrap();
    taking.repo.xtask(&["build", &taking.node]).failure().says(["there is no archive", "images/tiny.tar.gz"]);
}

#[test]
fn an_image_of_somebody_else_keeps_its_tag() {
    let taking = Taking::new();
    let engine = Engine::here();
    let repo = Repo::tiny();
    repo.xtask(&["build"]).success();
    engine.tag(&repo.image(), &taking.tag());
    let before = engine.id(&taking.tag());
    taking.repo.xtask(&["build", &taking.node]).failure().says(["the engine has another image", "docker tag"]);
    assert_eq!(engine.id(&taking.tag()), before);
}
