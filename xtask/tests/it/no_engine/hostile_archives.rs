//! Archives that are made to exhaust memory or time, or to deceive: `lint` refuses each with the reason, in bounded
//! memory. None is larger than 3 MB.

use std::io::Write;

use crate::common::{Repo, noise};

/// How much memory the program may have, all threads together.
const LIMIT: &str = "--data=268435456";
const LARGEST_FILE: usize = 3_000_000;

const BLOCK: usize = 512;
const GIB: u64 = 1 << 30;

/// An image whose archive is next to it.
const DEFINITION: &str = "id: tiny-1\nnode_definition_id: tiny\nlabel: Tiny\ndisk_image: tiny.tar.gz\n\
                          docker_tag: tiny:1.0\n\
                          sha256: '0000000000000000000000000000000000000000000000000000000000000000'\n";
const CONFIG: &str = r#"{"os":"linux"}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Zeros, compressed: as many equal members as are needed.
fn zeros(bytes: u64) -> Vec<u8> {
    const MEMBER: u64 = 64 << 20;
    gzip(&vec![0; MEMBER as usize]).repeat(bytes.div_ceil(MEMBER) as usize)
}

/// The header of an entry of a kind of tar.
fn header(kind: u8, name: &[u8], size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn entry(kind: u8, name: &[u8], content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut entry = [&header(kind, name, content.len() as u64), content].concat();
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    entry
}

fn file(name: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    entry(b'0', name.as_bytes(), content)
}

/// An extended header with one record of pax.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    entry(b'x', b"pax", format!("{length}{rest}"))
}

fn manifest(config: &str, tags: &str) -> String {
    format!(r#"[{{"Config":"{config}","RepoTags":[{tags}],"Layers":[]}}]"#)
}

/// An image of nothing but a configuration.
fn image() -> Vec<u8> {
    [file("c.json", CONFIG), file("manifest.json", manifest("c.json", r#""tiny:1.0""#)), vec![0; 2 * BLOCK]].concat()
}

/// What is hostile in an archive, the file, and what is said of it.
type Case = (&'static str, Vec<u8>, &'static str);

fn headers() -> Vec<Case> {
    let claims = |kind, size| [gzip(&header(kind, b"x", size)), zeros(size)].concat();
    let many = |bytes: Vec<u8>, times: usize| gzip(&bytes.repeat(1000)).repeat(times / 1000);
    let long = "it has an extended header (a long name, for example) of 2147483648 bytes";
    let sparse = "its entry x is a sparse file";
    vec![
        ("a long name of 2 GiB", claims(b'L', 2 * GIB), long),
        ("a long link of 2 GiB", claims(b'K', 2 * GIB), long),
        ("a header of pax of 2 GiB", claims(b'x', 2 * GIB), long),
        ("a global header of 2 GiB", claims(b'g', 2 * GIB), "the archive has no manifest.json"),
        ("a size in pax", [pax("size", "18446744073709551615"), file("x", "")].concat(), "more than any image has"),
        ("a size that is none", [pax("size", "-1"), file("x", "")].concat(), "it is not a tar file, or it is damaged"),
        ("a size in base 256", header(b'0', b"x", u64::MAX), "its entry x claims to have 18446744073709551615 bytes"),
        ("a size at which padding overflows", header(b'L', b"x", u64::MAX - 1), "it has an extended header"),
        ("a folder with a content", header(b'5', b"x", 2 * GIB), "its entry x is no file, but has a content"),
        ("a chain of sparse headers", [gzip(&header(b'S', b"x", 0)), zeros(GIB)].concat(), sparse),
        ("a sparse map in pax", [pax("GNU.sparse.map", "0,1"), file("x", "a")].concat(), sparse),
        ("100 000 headers of pax in a row", many(pax("mtime", "1"), 100_000), "two extended headers of one kind"),
        ("1 million empty entries", many(header(b'5', b"x", 0), 1_000_000), "it has more than 10000 entries"),
        ("a header of pax and no entry", [pax("path", "x"), vec![0; 2 * BLOCK]].concat(), "or it is damaged"),
    ]
}

fn names() -> Vec<Case> {
    let image = image();
    let before = |entry: Vec<u8>| [entry, image.clone()].concat();
    let deep = "a/".repeat(3000) + "manifest.json";
    vec![
        ("a name that leads out", before(file("a/../../b", "")), "that would lie outside of it, a/../../b"),
        (
            "a name with control characters, not in UTF-8",
            before(entry(b'0', b"../\x1b]0;x\x07\xff\xe2\x80\xae", "")),
            "that would lie outside of it, ../\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}",
        ),
        ("a name of 6 kB", before([entry(b'L', b"x", &deep), file("x", "")].concat()), "more than 4096 bytes, a/a/a/"),
        ("two manifests", before(file("manifest.json", "[]")), "contains manifest.json more than once"),
        ("two by an absolute name", before(file("//./manifest.json", "[]")), "contains manifest.json more than once"),
        ("two by a name in pax", before([pax("path", "manifest.json"), file("x", "[]")].concat()), "more than once"),
        ("a manifest that is a link", entry(b'2', b"manifest.json", ""), "manifest.json is a link without a target"),
    ]
}

/// An image whose every layer is whole, and beside them an entry that no engine saves.
fn stray_entries() -> Vec<Case> {
    let with = |kind, target: &str| {
        let mut header = header(kind, b"a/stray", 0);
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        let mut again = tar::Header::from_byte_slice(&header).clone();
        again.set_cksum();
        [again.as_bytes().to_vec(), image()].concat()
    };
    vec![
        ("a hard link", with(b'1', "/etc/shadow"), "the archive's entry a/stray is a hard link"),
        ("a hard link inside", with(b'1', "c.json"), "the archive's entry a/stray is a hard link"),
        ("a character device", with(b'3', ""), "the archive's entry a/stray is a device"),
        ("a block device", with(b'4', ""), "the archive's entry a/stray is a device"),
        ("a named pipe", with(b'6', ""), "the archive's entry a/stray is a named pipe"),
        ("a kind of nobody's", with(b'Z', ""), "the archive's entry a/stray is of a kind that engines do not save"),
        ("an absolute link", with(b'2', "/etc/passwd"), "leads out of the archive, to /etc/passwd"),
        ("a link that leads out", with(b'2', "../../b"), "leads out of the archive, to ../../b"),
        ("a link inside", with(b'2', "../c.json"), "[image-sha256]"),
    ]
}

fn contents() -> Vec<Case> {
    let of_manifest = |text: String| gzip(&[file("c.json", CONFIG), file("manifest.json", text)].concat());
    let huge = |name: &str| [gzip(&header(b'0', name.as_bytes(), 2 * GIB)), zeros(2 * GIB)].concat();
    let names_it = gzip(&file("manifest.json", manifest("c.json", "")));
    let read = "2147483648 bytes, more than the 1048576 that are read";
    vec![
        ("a manifest of 2 GiB", huge("manifest.json"), read),
        ("an index of 2 GiB", huge("index.json"), read),
        (
            "a configuration of 2 GiB",
            [names_it, huge("c.json")].concat(),
            "is no JSON object, or larger than the 4194304 bytes",
        ),
        (
            "nested JSON",
            of_manifest(format!(r#"[{{"X":{}"#, "[".repeat(1_000_000))),
            "manifest.json: EOF while parsing",
        ),
        ("a long string", of_manifest(format!("\"\x1b{}\"", "x".repeat(1_000_000))), "manifest.json: "),
        (
            "a long name in JSON",
            of_manifest(manifest(&"\\u001b".repeat(100_000), "")),
            "names a configuration \u{fffd}",
        ),
        (
            "many images",
            of_manifest(format!("[{}]", vec![&manifest("", "")[1..31]; 9000].join(","))),
            "manifest.json: ",
        ),
        (
            "many tags",
            of_manifest(manifest("c.json", &vec![r#""\u001b]0;x\u0007""#; 50_000].join(","))),
            r"the archive has the tags `\u{1b}]0;x\u{7}`, `\u{1b}]0;x\u{7}`",
        ),
    ]
}

fn files() -> Vec<Case> {
    let image = image();
    let layer = [file("layer.tar", noise(1, 100_000)), image.clone()].concat();
    let damaged = "its compression (gzip) is damaged";
    let breaks_off = "it breaks off; the file is not complete";
    let packed = gzip(&layer);
    let mut flipped = packed.clone();
    flipped[50_000] ^= 1;
    let endless_name = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\0"[..], &vec![b'x'; 2_000_000]].concat();
    vec![
        ("2.8 GiB after the end", [gzip(&image), zeros(2 * GIB + 800 * (1 << 20))].concat(), "[image-sha256]"),
        ("100 000 empty members", gzip(b"").repeat(100_000), "the archive has no manifest.json"),
        ("an endless name of a member", endless_name, damaged),
        ("a file of which half is there", packed[..packed.len() / 2].to_vec(), breaks_off),
        ("a tar of which half is there", layer[..layer.len() / 2].to_vec(), breaks_off),
        ("a header of which half is there", layer[..200].to_vec(), breaks_off),
        ("damaged bytes", flipped, damaged),
        ("something else after the end", [&gzip(&image), &b"more than an archive"[..]].concat(), damaged),
        ("nothing", Vec::new(), "the archive has no manifest.json"),
        ("a web page", b"<!DOCTYPE html>\n<html></html>\n".to_vec(), "it is a web page (HTML), not an archive"),
        ("noise", noise(2, 100_000), "it is not a tar file, or it is damaged"),
    ]
}

/// Whatever the archive, `lint` ends within the limit of memory, and names the file and what is wrong with it.
#[track_caller]
fn are_refused(cases: Vec<Case>) {
    let repo = Repo::empty();
    repo.write("tiny.yaml", DEFINITION);
    let (definition, archive) = (repo.path("tiny.yaml"), repo.path("tiny.tar.gz"));
    for (what, bytes, said) in cases {
        assert!(bytes.len() <= LARGEST_FILE, "{what}: {} bytes", bytes.len());
        std::fs::write(&archive, bytes).unwrap();
        let lint = repo.start_within(&["prlimit", LIMIT], &["lint", definition.to_str().unwrap()]);
        let outcome = lint.end();
        assert_eq!(outcome.code, Some(1), "{what}: {outcome}");
        assert!(outcome.stdout.contains(said), "{what}: it should say `{said}`: {outcome}");
        assert!(outcome.stdout.contains("tiny.yaml:"), "{what}: {outcome}");
        assert!(outcome.stdout.len() < 4096, "{what}: {outcome}");
        assert!(!outcome.stdout.contains(['\x1b', '\x07', '\u{202e}']), "{what}: {outcome}");
    }
}

#[test]
fn headers_without_measure_are_refused() {
    are_refused(headers());
}

#[test]
fn names_that_deceive_are_refused() {
    are_refused(names());
}

#[test]
fn entries_that_no_engine_saves_are_refused() {
    are_refused(stray_entries());
}

#[test]
fn contents_without_measure_are_refused() {
    are_refused(contents());
}

/// They are refused with the reason, as `verify` refuses them, and nothing waits for a pipe.
#[test]
fn a_disk_image_that_is_no_regular_file_is_refused() {
    let repo = Repo::empty();
    repo.write("tiny.yaml", DEFINITION);
    repo.write("other.tar.gz", "");
    let (definition, archive) = (repo.path("tiny.yaml"), repo.path("tiny.tar.gz"));
    let lint = |said: &str| {
        let outcome = repo.xtask(&["lint", definition.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains("[image-archive]") && outcome.stdout.contains(said), "{said}: {outcome}");
    };
    std::fs::create_dir(&archive).unwrap();
    lint("is a folder");
    std::fs::remove_dir(&archive).unwrap();
    std::os::unix::fs::symlink(repo.path("other.tar.gz"), &archive).unwrap();
    lint("tiny.tar.gz");
    std::fs::remove_file(&archive).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&archive).status().unwrap().success());
    lint("is a pipe");
}

/// As `lint --json | head -1` does.
#[test]
fn findings_whose_reader_has_gone_are_still_a_failure() {
    let repo = Repo::empty();
    for index in 0..300 {
        repo.write(&format!("{index}.yaml"), "id: 1\nsim: {}\n");
    }
    for options in [&[][..], &["--json"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command
            .arg("lint")
            .args(options)
            .arg(repo.path("."))
            .stdout(writer)
            .stderr(std::process::Stdio::null())
            .status();
        assert_eq!(status.unwrap().code(), Some(1), "{options:?}");
    }
}

#[test]
fn files_that_are_damaged_or_bombs_are_refused() {
    are_refused(files());
}
