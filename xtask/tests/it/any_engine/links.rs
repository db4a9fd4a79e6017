//! Links in what an engine is given, and where a node is saved: what they point to is neither read nor changed.

use std::io::Read;
use std::os::unix::fs::symlink;

use crate::common::Repo;

const MARKER: &str = "precious-and-private";

#[test]
fn save_replaces_links_and_leaves_what_they_point_to() {
    let (repo, outside) = (Repo::tiny(), tempfile::tempdir().unwrap());
    repo.xtask(&["save"]).success();
    let record = repo.path(&format!("dist/.records/{}.json", repo.id()));
    let (list, sums) = (repo.path(&format!("dist/sbom/{}.spdx.json", repo.id())), repo.path("dist/SHA256SUMS"));
    let written = [repo.archive(), repo.node_definition(), repo.image_definition(), list, record, sums];
    let mut moved = Vec::new();
    for (number, path) in written.iter().enumerate() {
        let target = outside.path().join(number.to_string());
        std::fs::rename(path, &target).unwrap();
        symlink(&target, path).unwrap();
        moved.push((std::fs::read(&target).unwrap(), target));
    }
    // It would be another text.
    repo.edit("node-definitions/tiny.yaml", "quiet", "calm");
    repo.xtask(&["save"]).success();
    for path in &written {
        assert!(path.symlink_metadata().unwrap().is_file(), "{} is still a link", path.display());
    }
    for (before, target) in moved {
        assert!(std::fs::read(&target).unwrap() == before, "{} has changed", target.display());
    }
    assert_eq!(repo.check_sums(), 3);
}

#[test]
fn a_lock_is_never_the_file_that_a_link_points_to() {
    let repo = Repo::tiny();
    let precious = repo.path("precious");
    let locks = [repo.cache.path().join(format!("cml-nodes/locks/{}", repo.node())), repo.path("dist/.records/lock")];
    for lock in locks {
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::write(&precious, MARKER).unwrap();
        for dangling in [false, true] {
            if dangling {
                std::fs::remove_file(&precious).unwrap();
            }
            symlink(&precious, &lock).unwrap();
            let outcome = repo.xtask(&["save"]).failure();
            outcome.says([&lock.display().to_string(), "is a symbolic link"]).does_not_say([MARKER]);
            let now = std::fs::read_to_string(&precious).ok();
            assert_eq!(now.as_deref(), (!dangling).then_some(MARKER), "{}", lock.display());
            std::fs::remove_file(&lock).unwrap();
        }
    }
    repo.xtask(&["save"]).success();
}

#[test]
fn an_engine_follows_the_links_of_a_build_context_within_it_only() {
    let (mut repo, outside) = (Repo::empty(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret"), MARKER).unwrap();
    let node = repo.add_node("FROM scratch\nCOPY greeting inner /\nCOPY outer/ /outer/\n");
    repo.write(&format!("docker/{node}/greeting"), "hello\n");
    let folder = repo.path(&format!("docker/{node}"));
    symlink("greeting", folder.join("inner")).unwrap();
    std::fs::create_dir(folder.join("outer")).unwrap();
    symlink(outside.path().join("secret"), folder.join("outer/file")).unwrap();
    symlink(outside.path(), folder.join("outer/folder")).unwrap();
    repo.xtask(&["save"]).success();
    let mut image = Vec::new();
    let archive = std::fs::File::open(repo.archive()).unwrap();
    flate2::read::MultiGzDecoder::new(archive).read_to_end(&mut image).unwrap();
    let contains = |text: &str| image.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(contains("hello\n") && !contains(MARKER));
}
