//! The engine as another client sees it, by its API and not through the program under test; and private engines that a
//! test may kill.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerConfig, ContainerCreateBody, ContainerInspectResponse, HostConfig, ImageInspect};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptions, ListImagesOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use xtask::engine::connect::find::Finder;
use xtask::engine::errors::retry_disturbed;

use super::{as_root, signal, userland, wait_until};

/// An embedded engine that a test starts itself is guarded by `cargo xtask`, not by the test's own program.
pub fn start_guards_by_the_program() {
    xtask::engine::embedded::guard::use_program(env!("CARGO_BIN_EXE_xtask"));
}

/// A client of an engine.
pub struct Engine {
    runtime: Runtime,
    docker: Docker,
    /// Keeps an embedded engine running.
    found: Option<xtask::engine::Engine>,
}

impl Engine {
    /// The engine that the program also uses.
    pub fn here() -> Self {
        start_guards_by_the_program();
        let cache = xtask::machine::cache_folder().expect("a cache folder");
        let finder = Finder::from_options(None, cache).expect("XTASK_ENGINE names an engine");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let found = runtime.block_on(finder.connect(&ui::Ui::new(false)));
        let found = found.unwrap_or_else(|why| panic!("{:#}", why.explain()));
        let client = found.endpoint.client(bollard::API_DEFAULT_VERSION).expect("an engine");
        Self { found: Some(found), ..Self::of(client) }
    }

    pub fn at(socket: &Path) -> Self {
        let path = socket.to_str().expect("UTF-8");
        Self::of(Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).expect("an engine"))
    }

    fn of(docker: Docker) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let docker = runtime.block_on(docker.negotiate_version()).expect("the engine answers");
        Self { runtime, docker, found: None }
    }

    pub fn image(&self, name: &str) -> Option<ImageInspect> {
        match self.runtime.block_on(retry_disturbed(|| self.docker.inspect_image(name))) {
            Ok(image) => Some(image),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
            Err(error) => panic!("asking the engine for {name}: {error}"),
        }
    }

    /// What the engine calls the image: `sha256:…`
    #[track_caller]
    pub fn id(&self, name: &str) -> String {
        self.image(name).and_then(|image| image.id).unwrap_or_else(|| panic!("the engine has no {name}"))
    }

    /// Whether its builds cannot reach the machine's files, whatever a Dockerfile says.
    pub fn confines_builds(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.abilities.confines_builds)
    }

    /// Whether an image's ID is here the digest of its configuration. With the containerd image
    /// store it is that of a manifest.
    pub fn names_images_by_configuration(&self) -> bool {
        let info = self.runtime.block_on(self.docker.info()).expect("the engine answers");
        !format!("{:?}", info.driver_status).contains("io.containerd.snapshotter")
    }

    pub fn labels(&self, name: &str) -> HashMap<String, String> {
        self.image(name).and_then(|image| image.config?.labels).unwrap_or_default()
    }

    /// The numbers of images and containers that have this label.
    pub fn labelled(&self, label: &str) -> (usize, usize) {
        let filters = HashMap::from([("label", vec![label])]);
        let images = ListImagesOptionsBuilder::default().filters(&filters).build();
        let containers = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.runtime.block_on(async {
            (
                retry_disturbed(|| self.docker.list_images(Some(images.clone())))
                    .await
                    .expect("the engine answers")
                    .len(),
                self.docker.list_containers(Some(containers)).await.expect("the engine answers").len(),
            )
        })
    }

    pub fn tag(&self, from: &str, to: &str) {
        let (name, tag) = to.split_once(':').expect("NAME:TAG");
        let options = TagImageOptionsBuilder::default().repo(name).tag(tag).build();
        self.runtime.block_on(retry_disturbed(|| self.docker.tag_image(from, Some(options.clone())))).expect("tagging");
    }

    pub fn remove(&self, name: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let _ = self.runtime.block_on(retry_disturbed(|| self.docker.remove_image(name, Some(options.clone()), None)));
    }

    /// `docker load`
    pub fn load(&self, archive: &Path) {
        let mut bytes = std::fs::read(archive).expect("the archive");
        // As `podman load` does: Podman's API accepts no compressed archive.
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut bytes);
            let mut reader = flate2::read::MultiGzDecoder::new(packed.as_slice());
            std::io::Read::read_to_end(&mut reader, &mut bytes).expect("gzip");
        }
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let body = bollard::body_full(bytes.into());
        let answers = self.docker.import_image(options, body, None);
        self.runtime.block_on(answers.try_for_each(|_| async { Ok(()) })).expect("the engine loads the archive");
    }

    /// `docker save`
    pub fn save(&self, name: &str, archive: &Path) {
        let pieces = self.docker.export_image(name);
        let pieces: Vec<_> = self.runtime.block_on(pieces.try_collect()).expect("the engine exports the image");
        std::fs::write(archive, pieces.concat()).expect("a file of ours");
    }

    /// The numbers of containers, volumes and images of one lab.
    pub fn of_lab(&self, id: &str) -> (usize, usize, usize) {
        let label = format!("cml-nodes.lab={id}");
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let volumes = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let volumes = self.runtime.block_on(self.docker.list_volumes(Some(volumes))).expect("the engine answers");
        let images = self
            .runtime
            .block_on(retry_disturbed(|| self.docker.list_images(None::<ListImagesOptions>)))
            .expect("the engine answers");
        let tag = format!("cml-nodes/loaded:{id}-");
        let loaded = images.iter().flat_map(|image| &image.repo_tags).filter(|name| name.starts_with(&tag)).count();
        (self.labelled(&label).1, volumes.volumes.unwrap_or_default().len(), loaded)
    }

    /// Creates a container that is not this project's and never runs.
    pub fn create_container(&self, image: &str, name: &str) {
        let body = ContainerCreateBody { image: Some(image.to_owned()), ..ContainerCreateBody::default() };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let create = || self.docker.create_container(Some(options.clone()), body.clone());
        self.runtime.block_on(retry_disturbed(create)).expect("a container");
    }

    /// How the container of that name was created.
    #[track_caller]
    pub fn container(&self, name: &str) -> HostConfig {
        self.inspect(name).host_config.expect("how it was created")
    }

    /// The same of the other container in its lab: the link helper.
    #[track_caller]
    pub fn beside(&self, name: &str) -> HostConfig {
        let node = self.inspect(name);
        let labels = node.config.and_then(|config| config.labels).unwrap_or_default();
        let label = format!("cml-nodes.lab={}", labels["cml-nodes.lab"]);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        let all = self.runtime.block_on(self.docker.list_containers(Some(options))).expect("the engine answers");
        let other = all.into_iter().find(|one| one.id != node.id).and_then(|one| one.id);
        self.container(&other.expect("another container"))
    }

    #[track_caller]
    fn inspect(&self, name: &str) -> ContainerInspectResponse {
        self.runtime.block_on(self.docker.inspect_container(name, None)).expect("the container")
    }

    /// Removes it; it must still be there.
    pub fn remove_container(&self, name: &str) {
        self.runtime.block_on(self.docker.remove_container(name, None)).expect("it is still there");
    }

    /// Makes `to` as `FROM from` with another command would: with all its labels.
    pub fn derive(&self, from: &str, to: &str) {
        let (repo, tag) = to.split_once(':').expect("NAME:TAG");
        let body = ContainerCreateBody {
            image: Some(from.to_owned()),
            cmd: Some(vec!["/none".to_owned()]),
            ..ContainerCreateBody::default()
        };
        self.runtime.block_on(async {
            let create = || self.docker.create_container(None, body.clone());
            let container = retry_disturbed(create).await.expect("a container of the image").id;
            let options = CommitContainerOptionsBuilder::default().container(&container).repo(repo).tag(tag).build();
            let changes = ContainerConfig { cmd: Some(vec!["/mine".to_owned()]), ..ContainerConfig::default() };
            self.docker.commit_container(options, changes).await.expect("an image of the container");
            self.docker.remove_container(&container, None).await.expect("removing the container");
        });
    }

    /// An image with this name that is not this project's. It is removed with the value.
    pub fn foreign(&self, name: &str) -> Foreign<'_> {
        // A label of its own, so that no two of them are one image.
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(name)
            .changes(vec![format!("LABEL for={name}")])
            .build();
        let import = || {
            let body = bollard::body_full(userland().into());
            self.docker.create_image(Some(options.clone()), Some(body), None).try_for_each(|_| async { Ok(()) })
        };
        self.runtime.block_on(retry_disturbed(import)).expect("the engine imports an image");
        Foreign { engine: self, name: name.to_owned(), id: self.id(name) }
    }
}

/// See [`Engine::foreign`].
pub struct Foreign<'a> {
    engine: &'a Engine,
    pub name: String,
    pub id: String,
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        self.engine.remove(&self.name);
    }
}

/// An engine for one test, separate from the user's: files, processes, network. It has its own network namespace,
/// because two engines would share one bridge.
pub struct PrivateEngine {
    // Short, because a socket's path has 108 bytes at most.
    folder: TempDir,
    daemon: duct::Handle,
}

impl PrivateEngine {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments for dockerd.
    pub fn start_with(further: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("e").tempdir_in("/tmp").expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        // Where systemd runs a containerd, all engines share it.
        let name = folder.path().file_name().expect("a name").display().to_string();
        let (namespace, plugins) = (format!("{name}-c"), format!("{name}-p"));
        let (data, exec, pid, socket) = (path("data"), path("exec"), path("pid"), format!("unix://{}", path("sock")));
        let mut args = vec!["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
        args.extend(["dockerd", "--data-root", &data, "--exec-root", &exec, "--pidfile", &pid]);
        args.extend(["--host", &socket, "--iptables=false", "--ip-forward=false"]);
        args.extend(["--containerd-namespace", &namespace, "--containerd-plugins-namespace", &plugins]);
        args.extend(further);
        let log = folder.path().join("log");
        let daemon = as_root(&args).stdin_null().stderr_to_stdout().stdout_path(&log).unchecked().start();
        let engine = Self { folder, daemon: daemon.expect("dockerd starts") };
        wait_until("the private engine comes up", || {
            let ended = engine.daemon.try_wait().expect("asking for dockerd").is_some();
            let output = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!ended, "the private engine ended: {}", output().lines().last().unwrap_or_default());
            output().contains("API listen on")
        });
        as_root(&["chmod", "666", engine.socket().to_str().expect("UTF-8")]).run().expect("chmod");
        engine
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A TCP port of this machine that is forwarded to the engine's own `port`, by a thread, until the tests end.
    pub fn forward(&self, port: u16) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("its address").port();
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).expect("the engine's process id");
        let network = format!("--net=/proc/{}/ns/net", pid.trim());
        // bash speaks TCP, and is everywhere.
        let pump = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && {{ cat <&3 & cat >&3; }}");
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (from, to) = (connection.try_clone().expect("a connection"), connection);
                let pump = as_root(&["nsenter", &network, "bash", "-c", &pump]);
                let _ = pump.stdin_file(OwnedFd::from(from)).stdout_file(OwnedFd::from(to)).stderr_null().start();
            }
        });
        here
    }

    pub fn client(&self) -> Engine {
        Engine::at(&self.socket())
    }

    /// `kill -9` of the engine and all that it started.
    pub fn kill(&self) {
        let folder = self.folder.path().to_str().expect("UTF-8");
        for pid in processes(folder) {
            signal(pid, "KILL");
        }
    }
}

/// Where the embedded engine of one test keeps its images.
pub struct Storage(TempDir);

impl Storage {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("s").tempdir_in("/tmp").expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        remove_with_mounts(self.path().to_str().expect("UTF-8"));
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        let folder = self.folder.path().to_str().expect("UTF-8").to_owned();
        if let Ok(pid) = std::fs::read_to_string(self.folder.path().join("pid")) {
            // Gently first, so that it removes its own mounts.
            let pid = pid.trim().parse().expect("a process id");
            signal(pid, "TERM");
            let _ = self.daemon.wait_timeout(Duration::from_secs(20));
        }
        for pid in processes(&folder) {
            signal(pid, "KILL");
        }
        let _ = self.daemon.wait();
        remove_with_mounts(&folder);
    }
}

/// Podman's service for one test, with its own storage.
pub struct PrivatePodman {
    folder: TempDir,
    service: duct::Handle,
}

impl PrivatePodman {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("p").tempdir_in("/tmp").expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        // Podman's own limits are more than some machines allow.
        let limit = |which: &str, most: u64| {
            let limit = duct::cmd!("bash", "-c", format!("ulimit -H{which}")).read().expect("a limit");
            limit.parse().unwrap_or(most).min(most)
        };
        let (files, processes) = (limit("n", 20_000), limit("u", 32_768));
        let ulimits = format!("default_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n");
        let settings = format!(
            "[engine]\nlock_type = \"file\"\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
                events_logger = \"none\"\n\
             [containers]\nlog_driver = \"k8s-file\"\nnetns = \"host\"\n{ulimits}"
        );
        std::fs::write(path("containers.conf"), settings).expect("a file of ours");
        for name in ["tmp", "session"] {
            std::fs::create_dir(path(name)).expect("a folder of ours");
        }
        let (configuration, temporary, session) = (
            format!("CONTAINERS_CONF={}", path("containers.conf")),
            format!("TMPDIR={}", path("tmp")),
            format!("XDG_RUNTIME_DIR={}", path("session")),
        );
        let (root, runroot, own, socket) =
            (path("root"), path("run"), path("libpod"), format!("unix://{}", path("sock")));
        let mut args =
            vec!["env", &configuration, &temporary, &session, "podman", "--root", &root, "--runroot", &runroot];
        args.extend(["--tmpdir", &own, "system", "service", "--time", "0", &socket]);
        let log = folder.path().join("log");
        let service = as_root(&args).stdin_null().stderr_to_stdout().stdout_path(&log).unchecked().start();
        let podman = Self { service: service.expect("podman starts"), folder };
        wait_until("Podman's service comes up", || {
            let ended = podman.service.try_wait().expect("asking for podman").is_some();
            assert!(!ended, "Podman's service ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            podman.socket().exists()
        });
        as_root(&["chmod", "666", podman.socket().to_str().expect("UTF-8")]).run().expect("chmod");
        podman
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn client(&self) -> Engine {
        Engine::at(&self.socket())
    }
}

impl Drop for PrivatePodman {
    fn drop(&mut self) {
        let folder = self.folder.path().to_str().expect("UTF-8").to_owned();
        for pid in processes(&folder) {
            signal(pid, "TERM");
        }
        let _ = self.service.wait_timeout(Duration::from_secs(20));
        for pid in processes(&folder) {
            signal(pid, "KILL");
        }
        let _ = self.service.wait();
        remove_with_mounts(&folder);
    }
}

/// Removes a folder and what a killed engine left mounted in it, the deepest first.
fn remove_with_mounts(folder: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if mount.starts_with(folder) {
            let _ = as_root(&["umount", "--lazy", mount]).unchecked().run();
        }
    }
    let _ = as_root(&["rm", "-rf", "--one-file-system", folder]).unchecked().run();
}

/// The processes whose command line names this folder.
fn processes(folder: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        ["dockerd", "containerd", "podman"].iter().any(|name| line.contains(name)) && line.contains(folder)
    })
    .collect()
}
