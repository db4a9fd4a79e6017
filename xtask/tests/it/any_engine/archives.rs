//! The archive is looked at whole, and `lint` and `verify` have one opinion of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::common::Repo;
use crate::common::node::node;

const AGREE: &str = "archive and definitions agree";

/// The files of an archive.
type Files = BTreeMap<String, Vec<u8>>;

fn unpack(archive: &Path) -> Files {
    let mut tar = tar::Archive::new(MultiGzDecoder::new(File::open(archive).unwrap()));
    let entries = tar.entries().unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.header().entry_type().is_file());
    let read = files.map(|mut entry| {
        let (name, mut bytes) = (entry.path().unwrap().to_str().unwrap().to_owned(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    read.collect()
}

fn pack(files: &Files, archive: &Path) {
    let gzip = flate2::write::GzEncoder::new(File::create(archive).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

/// The text of a file that is JSON, edited.
fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    files.insert(name.to_owned(), text.replace(from, to).into_bytes());
}

/// A changed archive is linted, and verified on an engine that has all of its layers already.
#[track_caller]
fn judge(repo: &Repo, change: impl Fn(&mut Files), said: &[&str]) {
    let (definition, archive) = (repo.node_definition(), repo.archive());
    let whole = std::fs::read(&archive).unwrap();
    let mut files = unpack(&archive);
    change(&mut files);
    pack(&files, &archive);
    let verify = ["verify", "--definition", definition.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
    let (verified, linted) = (repo.xtask(&verify), repo.xtask(&["lint", repo.path("dist").to_str().unwrap()]));
    for outcome in [verified, linted] {
        if said.is_empty() {
            outcome.success();
            continue;
        }
        assert_eq!(outcome.code, Some(1), "{outcome}");
        for said in said {
            assert!(outcome.stdout.contains(said), "`{said}` is missing: {outcome}");
        }
    }
    std::fs::write(&archive, whole).unwrap();
}

/// The names of the layers, the largest first.
fn layers(files: &Files) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let names = manifest[0]["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort_by_key(|name| std::cmp::Reverse(files[name].len()));
    names
}

fn overwrite(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(b'x');
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
    let mut packed = Vec::new();
    gzip.read_to_end(&mut packed).unwrap();
    packed
}

/// The largest layer is replaced, under a name that is no digest.
fn put_layer(files: &mut Files, bytes: Vec<u8>) {
    let name = layers(files).remove(0);
    files.remove(&name);
    files.insert("other/layer.tar".to_owned(), bytes);
    replace(files, "manifest.json", &format!("\"{name}\""), "\"other/layer.tar\"");
}

#[test]
fn no_layer_of_the_archive_is_taken_from_the_engine_which_has_the_good_ones() {
    let repo = node();
    // The engine has the node's image, and has loaded the archive once.
    repo.xtask(&["verify"]).success();
    let damaged = "the archive is damaged: its layer ";
    judge(&repo, |files| overwrite(files.get_mut(&layers(files)[0]).unwrap()), &[damaged]);
    judge(&repo, |files| drop(files.remove(&layers(files)[0])), &["that it does not contain"]);
    let packed = |files: &Files| gzip(&files[&layers(files)[0]]);
    judge(&repo, |files| put_layer(files, packed(files)), &[]);
    let spoilt = |files: &Files| {
        let mut bytes = files[&layers(files)[0]].clone();
        overwrite(&mut bytes);
        gzip(&bytes)
    };
    judge(&repo, |files| put_layer(files, spoilt(files)), &[damaged]);
    judge(&repo, |files| put_layer(files, packed(files)[..1000].to_vec()), &["cannot be unpacked"]);
    let swap = |files: &mut Files| {
        let names = layers(files);
        let [one, other] = [&names[0], &names[1]].map(|name| files[name].clone());
        files.insert(names[0].clone(), other);
        files.insert(names[1].clone(), one);
    };
    judge(&repo, swap, &[damaged]);
}

#[test]
fn save_writes_a_changed_archive_again() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let whole = std::fs::read(repo.archive()).unwrap();
    let mut changed = whole.clone();
    overwrite(&mut changed);
    std::fs::write(repo.archive(), changed).unwrap();
    repo.xtask(&["save"]).success();
    assert!(std::fs::read(repo.archive()).unwrap() == whole);
}

#[test]
fn tags_are_compared_as_docker_reads_them() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let tag = format!("{}:1.0", repo.node());
    let named = |name: String| {
        let tag = format!("\"{tag}\"");
        move |files: &mut Files| replace(files, "manifest.json", &tag, &name)
    };
    for prefix in ["docker.io/library/", "docker.io/", "index.docker.io/library/", "library/"] {
        judge(&repo, named(format!("\"{prefix}{tag}\"")), &[]);
    }
    let local = format!("\"localhost/{tag}\"");
    judge(&repo, named(local), &["Podman names its own images so", "podman tag localhost/"]);
    judge(&repo, named("\"other:1\"".to_owned()), &["the archive has the tag `other:1`, not the tag `"]);
    judge(&repo, named(String::new()), &["the archive has no tag", "save the image by its name, not by its ID"]);
}

#[test]
fn each_image_definition_and_every_file_beside_the_archive_is_judged() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let (node_definition, image_definition) = (repo.node_definition(), repo.image_definition());
    let unchanged = |_: &mut Files| {};
    let original = std::fs::read_to_string(&image_definition).unwrap();

    // CML 2.10 takes the image definition's tag first.
    let other_tag = original.lines().filter(|line| !line.starts_with("docker_tag")).collect::<Vec<_>>().join("\n");
    std::fs::write(&image_definition, format!("{other_tag}\ndocker_tag: other:1\n")).unwrap();
    judge(&repo, unchanged, &["not the tag `other:1`"]);
    let definition = std::fs::read_to_string(&node_definition).unwrap();
    let without_image = definition.replace(&format!(r#""image": "{}:1.0","#, repo.node()), "");
    assert_ne!(without_image, definition);
    std::fs::write(&node_definition, &without_image).unwrap();
    judge(&repo, unchanged, &["not the tag `other:1`"]);
    std::fs::write(&image_definition, &other_tag).unwrap();
    judge(&repo, unchanged, &["neither docker_tag nor docker.image"]);
    std::fs::write(&node_definition, &definition).unwrap();
    std::fs::write(&image_definition, &original).unwrap();

    let second = image_definition.with_file_name("second.yaml");
    let of_second = original.replace("id: ", "id: second-").replace("sha256: ", "sha256: f0");
    std::fs::write(&second, of_second.replacen("second-", "second", 1)).unwrap();
    let (definition, archive) = (node_definition.to_str().unwrap(), repo.archive());
    let verify = ["verify", "--definition", definition, "--archive", archive.to_str().unwrap()];
    assert_eq!(repo.xtask(&verify).code, Some(1));
    std::fs::write(&second, b"id: \xff\n").unwrap();
    let outcome = repo.xtask(&verify);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains(AGREE) && outcome.stdout.contains("second.yaml"), "{outcome}");
    std::fs::remove_file(&second).unwrap();
    judge(&repo, unchanged, &[]);
}

/// Which image definition belongs to an archive is said by its `disk_image` alone.
#[test]
fn an_image_definition_beside_the_archive_is_never_passed_over_in_silence() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let (node_definition, image_definition, archive) =
        (repo.node_definition(), repo.image_definition(), repo.archive());
    let original = std::fs::read_to_string(&image_definition).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    let verify = |archive: &Path| {
        repo.xtask(&[
            "verify",
            "--definition",
            node_definition.to_str().unwrap(),
            "--archive",
            archive.to_str().unwrap(),
        ])
    };
    for other in ["other.tar".to_owned(), format!("../l/{name}")] {
        std::fs::write(&image_definition, original.replace(&name, &other)).unwrap();
        let outcome = verify(&archive);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains(&format!("expected `{name}`, the name of the archive")), "{outcome}");
    }
    // CML takes no archive of that name for a container.
    let renamed = archive.with_file_name("tiny.tgz");
    std::fs::rename(&archive, &renamed).unwrap();
    std::fs::write(&image_definition, original.replace(&name, "tiny.tgz")).unwrap();
    for outcome in [verify(&renamed), repo.xtask(&["lint", repo.path("dist").to_str().unwrap()])] {
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains("expected a file that ends in .tar or .tar.gz"), "{outcome}");
    }
    // Nothing to compare with.
    std::fs::rename(&renamed, &archive).unwrap();
    std::fs::remove_file(&image_definition).unwrap();
    let outcome = verify(&archive).success();
    assert!(outcome.stdout.contains("not compared: no image definition"), "{outcome}");
}

#[test]
fn an_image_for_another_platform_is_refused() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let foreign = |files: &mut Files| {
        let is_config = |name: &&String| {
            let text = String::from_utf8_lossy(&files[*name]);
            text.starts_with('{') && text.contains(r#""rootfs""#) && text.contains(r#""architecture""#)
        };
        let config = files.keys().find(is_config).unwrap().clone();
        replace(files, &config, r#""architecture":"amd64""#, r#""architecture":"arm64""#);
        let changed = files.remove(&config).unwrap();
        files.insert("changed.json".to_owned(), changed);
        replace(files, "manifest.json", &config, "changed.json");
    };
    judge(&repo, foreign, &["the image is for ", "linux/arm64", "CML runs images for linux/amd64"]);
}
