//! What the end-to-end tests share: a repository of nodes in a temporary folder, the program as a user runs it, and
//! the engine as a third party sees it.
//!
//! Nodes are called `t<process>-<count>-…`, so that tests can run side by side, and beside a user's own images.
//! Nothing here needs a network: nodes that run programs get them from this machine.

pub mod cml;
pub mod engine;
pub mod git;
pub mod node;
pub mod python;
pub mod terminal;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

/// A guard against hanging: nothing that works takes this long.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The commands that leave something on an engine.
const BUILDING: [&str; 6] = ["build", "save", "inspect", "run", "verify", "upload"];

/// A repository of nodes with its own cache folder. Dropping it also removes what was built in it.
pub struct Repo {
    pub folder: TempDir,
    pub cache: TempDir,
    nodes: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    /// Whether a command was run that may leave something on an engine.
    has_built: Cell<bool>,
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A run of the program that has not ended yet.
pub struct Running {
    program: duct::Handle,
    /// A file, so that it can be read while the program runs.
    stderr: NamedTempFile,
}

/// The template of the node definitions: as little as CML accepts.
const NODE_DEFINITION: &str = r#"id: {{ id }}
ui:
  label: {{ label | json }}
  description: {% if switches is defined and switches.loud %}LOUD{% else %}quiet{% endif %}
  label_prefix: tiny-
  icon: server
  visible: true
general: {nature: server}
boot: {timeout: 1}
sim: {linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64}}
device: {interfaces: {serial_ports: 2, has_loopback_zero: false, physical: [eth0]}}
"#;

/// The end of a node definition: a volume with nothing but `config.json`, which names the image.
pub const CONFIGURATION: &str = r#"configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - name: config.json
        editable: false
        content: |
          {"docker": { {%- if not shared %}"image": "{{ image }}"{% endif -%} }}
"#;

const IMAGE_DEFINITION: &str = "id: {{ id }}
label: {{ title | json }}
node_definition_id: {{ node_id }}
disk_image: {{ archive }}
{% if shared %}docker_tag: {{ image }}
{% endif -%}
sha256: {{ image_id }}
";

impl Repo {
    /// Without any node, but with the templates that the nodes here share.
    pub fn empty() -> Self {
        let repo = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            cache: tempfile::tempdir().expect("a temporary folder"),
            nodes: Vec::new(),
            environment: Vec::new(),
            has_built: Cell::new(false),
        };
        std::fs::create_dir(repo.path("docker")).expect("docker/");
        repo.write("node-definitions/tiny.yaml", &format!("{NODE_DEFINITION}{CONFIGURATION}"));
        repo.write("image-definitions/container.yaml", IMAGE_DEFINITION);
        repo
    }

    /// With one node whose image has a single text file.
    pub fn tiny() -> Self {
        let mut repo = Self::empty();
        let node = repo.add_node("FROM scratch\nCOPY greeting /greeting\n");
        repo.write(&format!("docker/{node}/greeting"), &format!("hello from {node}\n"));
        repo
    }

    /// With one node whose image has a shell (see [`userland`]), for Dockerfiles with `RUN`. `steps` are the rest of
    /// its Dockerfile.
    pub fn with_shell(steps: &str) -> Self {
        let mut repo = Self::empty();
        let node = repo.add_node(&format!("FROM scratch\nADD userland.tar /\n{steps}"));
        std::fs::write(repo.path(&format!("docker/{node}/userland.tar")), userland()).expect("the userland");
        repo
    }

    /// A copy of the real repository's data. Its nodes have the names of the user's own, so a test must not complete a
    /// build of them, and nothing is cleaned.
    pub fn real() -> Self {
        let mut repo = Self::empty();
        std::fs::remove_dir_all(repo.folder.path()).expect("the folder is ours");
        for folder in ["docker", "node-definitions", "image-definitions"] {
            copy(&real_root().join(folder), &repo.path(folder));
        }
        repo.nodes.clear();
        repo
    }

    /// Adds a node with this Dockerfile and a plain manifest. Returns its name.
    pub fn add_node(&mut self, dockerfile: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let node = format!("t{}-{count}-tiny", std::process::id());
        self.write(&format!("docker/{node}/Dockerfile"), dockerfile);
        self.write(&format!("docker/{node}/node.yaml"), &manifest(&node));
        self.nodes.push(node.clone());
        node
    }

    /// Adds a node that differs from the first by its name alone. Returns the name.
    pub fn add_twin(&mut self) -> String {
        let twin = self.add_node("");
        let manifest = self.read(&self.manifest()).replace(self.node(), &twin);
        copy(&self.path(&format!("docker/{}", self.node())), &self.path(&format!("docker/{twin}")));
        self.write(&format!("docker/{twin}/node.yaml"), &manifest);
        twin
    }

    /// Also removes what is built of this node, which a command created, when the repository is dropped.
    pub fn own(&mut self, node: &str) {
        self.nodes.push(node.to_owned());
    }

    /// The first node.
    pub fn node(&self) -> &str {
        &self.nodes[0]
    }

    /// Its image: every manifest here says `<node>:{{ version }}{{ suffix }}`.
    pub fn image(&self) -> String {
        format!("{}:1.0", self.node())
    }

    /// The id of its definitions.
    pub fn id(&self) -> String {
        format!("{}-1-0", self.node())
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join(inner)
    }

    pub fn write(&self, inner: &str, text: &str) {
        let path = self.path(inner);
        std::fs::create_dir_all(path.parent().expect("a folder around it")).expect("its folder");
        std::fs::write(path, text).expect(inner);
    }

    pub fn read(&self, inner: &str) -> String {
        std::fs::read_to_string(self.path(inner)).unwrap_or_else(|error| panic!("{inner}: {error}"))
    }

    /// Replaces text of a file, which must be there.
    pub fn edit(&self, inner: &str, from: &str, to: &str) {
        let text = self.read(inner);
        assert!(text.contains(from), "{inner} has no `{from}`:\n{text}");
        self.write(inner, &text.replace(from, to));
    }

    /// Replaces text of the first node's manifest.
    pub fn edit_manifest(&self, from: &str, to: &str) {
        self.edit(&self.manifest(), from, to);
    }

    /// Where the first node's manifest is.
    pub fn manifest(&self) -> String {
        format!("docker/{}/node.yaml", self.node())
    }

    pub fn dockerfile(&self) -> String {
        format!("docker/{}/Dockerfile", self.node())
    }

    pub fn archive(&self) -> PathBuf {
        self.path(&format!("dist/virl-base-images/{0}/{0}.tar.gz", self.id()))
    }

    pub fn node_definition(&self) -> PathBuf {
        self.path(&format!("dist/node-definitions/{}.yaml", self.id()))
    }

    pub fn image_definition(&self) -> PathBuf {
        self.path(&format!("dist/virl-base-images/{0}/{0}.yaml", self.id()))
    }

    /// Sets a variable of every run in this repository.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.environment.push((name.into(), value.into()));
    }

    /// Undoes [`Repo::set`].
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Runs `cargo xtask ARGS` here to its end.
    pub fn xtask(&self, args: &[&str]) -> Outcome {
        self.start(args).end()
    }

    /// Starts `cargo xtask ARGS` here.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_within(&[], args)
    }

    /// Runs `cargo xtask ARGS` with this on its input.
    pub fn xtask_typing(&self, args: &[&str], typed: &str) -> Outcome {
        Running::start(self.command(&[], args).stdin_bytes(typed)).end()
    }

    /// Starts `cargo xtask ARGS` through another program, such as `setpriv`.
    pub fn start_within(&self, outer: &[&str], args: &[&str]) -> Running {
        Running::start(self.command(outer, args).stdin_null())
    }

    /// Runs `cargo xtask ARGS` in another repository with the settings of this one.
    pub fn xtask_at(&self, root: &Path, args: &[&str]) -> Outcome {
        Running::start(self.command_at(root, &[], args).stdin_null()).end()
    }

    /// Runs `cargo xtask ARGS` here, with this as the working folder.
    pub fn xtask_from(&self, folder: &Path, args: &[&str]) -> Outcome {
        Running::start(self.command(&[], args).dir(folder).stdin_null()).end()
    }

    fn command(&self, outer: &[&str], args: &[&str]) -> duct::Expression {
        self.command_at(self.folder.path(), outer, args)
    }

    fn command_at(&self, root: &Path, outer: &[&str], args: &[&str]) -> duct::Expression {
        if args.iter().any(|arg| BUILDING.contains(arg)) {
            self.has_built.set(true);
        }
        let mut line: Vec<OsString> = outer.iter().map(OsString::from).collect();
        line.extend([env!("CARGO_BIN_EXE_xtask").into(), "--root".into(), root.into()]);
        line.extend(args.iter().map(OsString::from));
        let command = duct::cmd(line.remove(0), line).env_remove("SOURCE_DATE_EPOCH");
        self.with_environment(command).stdout_capture().unchecked()
    }

    fn with_environment(&self, command: duct::Expression) -> duct::Expression {
        let mut command = command.env("XDG_CACHE_HOME", self.cache.path());
        for (name, value) in &self.environment {
            command = command.env(name, value);
        }
        // What a test has set itself takes precedence: the first one counts.
        for (name, value) in git::ENVIRONMENT {
            command = command.env(name, value);
        }
        // A test that names an engine wants that one.
        if self.environment.iter().any(|(name, _)| name == "DOCKER_HOST") {
            command = command.env_remove("XTASK_ENGINE");
        }
        command
    }

    /// Everything below dist/ but the program's own records, relative, sorted.
    pub fn dist(&self) -> Vec<String> {
        let mut found = Vec::new();
        files_below(&self.path("dist"), &mut found);
        let root = self.path("dist");
        let inner = found.iter().filter_map(|path| path.strip_prefix(&root).ok()?.to_str().map(str::to_owned));
        let mut inner: Vec<String> = inner.filter(|path| !path.starts_with(".records/")).collect();
        inner.sort();
        inner
    }

    /// Asserts that `sha256sum -c SHA256SUMS` succeeds. Returns how many files it lists.
    pub fn check_sums(&self) -> usize {
        let output = Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(self.path("dist"))
            .output()
            .expect("sha256sum is part of coreutils");
        assert!(
            output.status.success(),
            "sha256sum found mismatches:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).lines().count()
    }
}

impl Drop for Repo {
    fn drop(&mut self) {
        if !self.has_built.get() {
            return;
        }
        for node in std::mem::take(&mut self.nodes) {
            let outcome = self.xtask(&["clean", &node]);
            if outcome.code != Some(0) {
                eprintln!("cleaning up after {node}: {}", outcome.stderr);
            }
        }
    }
}

impl Running {
    fn start(command: duct::Expression) -> Self {
        let stderr = NamedTempFile::new().expect("a temporary file");
        let program = command.stderr_file(stderr.reopen().expect("a temporary file"));
        Self { program: program.start().expect("the program starts"), stderr }
    }

    /// What it has written to stderr until now.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.stderr.path()).expect("a temporary file")).into_owned()
    }

    /// Waits until it has written this to stderr.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(text, || {
            let ended = self.has_ended();
            let is_written = self.stderr().contains(text);
            assert!(is_written || !ended, "it ended without `{text}`:\n{}", self.stderr());
            is_written
        });
    }

    /// Waits for the end.
    pub fn end(self) -> Outcome {
        self.end_within(PATIENCE)
    }

    /// Waits for the end, but not as long as for one that works.
    #[track_caller]
    pub fn end_within(self, limit: Duration) -> Outcome {
        let output = self.program.wait_timeout(limit).expect("waiting for the program");
        let Some(output) = output else {
            self.signal("KILL");
            panic!("the program did not end within {} s:\n{}", limit.as_secs(), self.stderr());
        };
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: self.stderr(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.program.pids()[0]
    }

    pub fn has_ended(&self) -> bool {
        self.program.try_wait().expect("asking for the program").is_some()
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }
}

impl Outcome {
    /// Asserts that it succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "it should have succeeded:\n{self}");
        self
    }

    /// Asserts that it failed as a command fails: exit code 1, `error:` on stderr, nothing on stdout, or the error in
    /// JSON.
    #[track_caller]
    pub fn failure(self) -> Self {
        assert_eq!(self.code, Some(1), "it should have failed:\n{self}");
        assert!(self.stderr.contains("error: "), "it should say why it failed:\n{self}");
        let is_error = |value: &serde_json::Value| !value["error"].is_null();
        let has_no_result = self.stdout.is_empty()
            || match self.json() {
                serde_json::Value::Array(list) => list.iter().all(is_error),
                document => is_error(&document),
            };
        assert!(has_no_result, "a failure has no result:\n{self}");
        self
    }

    /// Asserts that the command line was refused: exit code 2, `error:` on stderr, nothing on stdout.
    #[track_caller]
    pub fn wrong_usage(self) -> Self {
        assert_eq!(self.code, Some(2), "it should have been refused as wrong usage:\n{self}");
        assert!(self.stderr.contains("error: ") && self.stdout.is_empty(), "it should say why:\n{self}");
        self
    }

    /// Asserts that stderr contains each of these texts.
    #[track_caller]
    pub fn says<const N: usize>(self, texts: [&str; N]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr should say `{text}`:\n{self}");
        }
        self
    }

    /// Asserts that stderr contains none of these texts.
    #[track_caller]
    pub fn does_not_say<const N: usize>(self, texts: [&str; N]) -> Self {
        for text in texts {
            assert!(!self.stderr.contains(text), "stderr should not say `{text}`:\n{self}");
        }
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- exit code {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The manifest of a node with one variant and no source.
pub fn manifest(node: &str) -> String {
    format!(
        r#"node: {node}
title: Tiny
description: A node for tests
image: "{node}:{{{{ version }}}}{{{{ suffix }}}}"
id: "{node}-{{{{ version_id }}}}{{{{ suffix }}}}"
label: "Tiny {{{{ version }}}}"
node_definition: tiny.yaml
variants:
  - name: only
    summary: The only one
    version: "1.0"
    base:
      image: scratch
"#
    )
}

/// The repository that these tests belong to.
pub fn real_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace")
}

/// A shell and a few tools of this machine with the libraries they need, as a tar archive that is the same in each
/// test. With it, `RUN` works without an image from a registry.
pub fn userland() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let programs = ["/bin/sh", "/bin/cat", "/bin/sleep", "/bin/ls", "/bin/head"];
        let mut files: BTreeSet<String> = programs.iter().map(|path| (*path).to_owned()).collect();
        for program in programs {
            let output = Command::new("ldd").arg(program).output().expect("ldd is part of libc-bin");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            files.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
        }
        let mut tar = tar::Builder::new(Vec::new());
        for file in files {
            let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            append(&mut tar, file.trim_start_matches('/'), 0o755, &bytes);
        }
        tar.into_inner().expect("a tar archive in memory")
    })
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes).expect("a tar archive in memory");
}

/// Bytes that look random and are the same each time; half of them are zeros, so that they can be
/// compressed a little.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
        bytes.extend([0; 8]);
    }
    bytes.truncate(length);
    bytes
}

/// Waits until something is true.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "timed out after a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A value that takes long to find out, found once for all tests of a run: cargo-nextest runs each test in its own
/// process, and sets an id for the run.
pub fn once_in_a_run(name: &str, find_out: impl FnOnce() -> String) -> String {
    let Ok(run) = std::env::var("NEXTEST_RUN_ID") else { return find_out() };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut file =
        std::fs::File::options().read(true).write(true).create(true).truncate(false).open(&path).expect(name);
    // Whichever test is first finds out; the others wait for it.
    file.lock().expect(name);
    let mut known = String::new();
    file.read_to_string(&mut known).expect(name);
    if let Some(value) = known.strip_prefix(&format!("{run}\n")) {
        return value.to_owned();
    }
    let value = find_out();
    std::fs::write(&path, format!("{run}\n{value}")).expect(name);
    value
}

/// Sends a signal to a process of this user, or of root if the tests may become root.
pub fn signal(pid: u32, name: &str) {
    let args = [format!("-{name}"), pid.to_string()];
    let ours = duct::cmd("kill", &args).unchecked().stderr_null().run();
    if !ours.is_ok_and(|output| output.status.success()) && xtask::machine::run_as_root().is_ok() {
        let _ = as_root(&["kill", &args[0], &args[1]]).unchecked().stderr_null().run();
    }
}

/// The processes that a process started, and those that these started.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let direct: Vec<u32> = text.split_whitespace().flat_map(str::parse).collect();
    direct.iter().flat_map(|pid| children(*pid).into_iter().chain([*pid])).collect()
}

/// The command lines of a process and of all below it, as every user of the machine can read them.
pub fn command_lines(pid: u32) -> String {
    let line = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let lines = children(pid).into_iter().chain([pid]).map(line).collect::<Vec<_>>().join(&b'\n');
    String::from_utf8_lossy(&lines).replace('\0', " ")
}

/// A command that needs root: run directly as root, else through sudo without a prompt.
pub fn as_root(args: &[&str]) -> duct::Expression {
    match xtask::machine::run_as_root() {
        Ok("env") => duct::cmd("env", args),
        Ok(_) => duct::cmd("sudo", [&["--non-interactive"], args].concat()),
        Err(error) => panic!("this test does what only root may (`{}`): {error:#}", args.join(" ")),
    }
}

/// A number of seconds that no other process sleeps, so that `sleep` can be found by it.
pub fn unique_nap() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(10);
    format!("{}{}", 10_000_000 + std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Hides the sockets of this machine's engines, so that none answers. The engines themselves are not touched.
pub const WITHOUT_ENGINES: &str = "mount -t tmpfs none /run && exec \"$@\"";

/// The beginning of a command line whose rest is `"$@"` in this shell script, as root in its own mount namespace.
pub fn in_own_mounts(script: &str) -> Vec<&str> {
    let outer = ["unshare", "--mount", "sh", "-c", script, "sh"];
    match xtask::machine::run_as_root() {
        Ok("env") => outer.to_vec(),
        _ => [&["sudo", "--non-interactive", "--preserve-env"][..], &outer].concat(),
    }
}

/// Whether a process runs on this machine whose command line contains `text`.
pub fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text) && !line.contains("xtask")
    })
}

/// The configuration's digest as a third party finds it: unpack, read manifest.json, hash.
pub fn image_id_of_archive(archive: &Path) -> String {
    use sha2::Digest;
    let config = from_archive(archive, "manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&config).expect("manifest.json is JSON");
    let name = manifest[0]["Config"].as_str().expect("manifest.json names a configuration");
    hex::encode(sha2::Sha256::digest(from_archive(archive, name)))
}

/// One file of a `.tar.gz`.
pub fn from_archive(archive: &Path, name: &str) -> Vec<u8> {
    let file = std::fs::File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
    for entry in tar.entries().expect("a tar archive") {
        let mut entry = entry.expect("a whole tar archive");
        if entry.path_bytes().as_ref() == name.as_bytes() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a whole tar archive");
            return bytes;
        }
    }
    panic!("{} has no {name}", archive.display())
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of ours");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a readable folder").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
