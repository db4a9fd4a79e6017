//! Uploads to a controller without an engine: of a node that consists of texts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use cml::api::{self, Controller as Client};
use cml::{Access, Address, ArchiveFile, Bundle, Definition, Forms, NodeReport, Options, Reversal, Secret, Settings};
use digests::Digest;
use tempfile::TempDir;
use tokio::sync::Mutex;
use ui::Ui;

use super::controller::Controller;
use super::{PASSWORD, USER};

pub const ID: &str = "tiny-1-0";

/// A user's machine with a node, whose parts a test may change.
pub struct Uploader {
    home: TempDir,
    /// Of the image definition, and of the node definition.
    id: String,
    node_id: String,
    /// The node of the repository, and its version.
    pub node: String,
    version: String,
    pub node_definition: String,
    pub image_definition: String,
    pub archive: String,
    pub state_folder: PathBuf,
}

impl Uploader {
    pub fn of(controller: &Controller) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(home.path().join("authority.pem"), &controller.certificate).expect("a file of ours");
        let node_definition = format!(
            "id: {ID}\n\
             general: {{nature: server, read_only: false}}\n\
             ui: {{icon: server, label: Tiny, label_prefix: t-, visible: true}}\n\
             boot: {{timeout: 30, completed: [READY]}}\n\
             sim: {{linux_native: {{libvirt_domain_driver: docker, driver: server, ram: 128, cpus: 1}}}}\n\
             device: {{interfaces: {{serial_ports: 2, has_loopback_zero: false, physical: [eth0]}}}}\n\
             configuration:\n  generator: {{driver: null}}\n  provisioning:\n    volume_name: cfg\n    \
             media_type: raw\n    files: [{{name: hello, editable: true, content: hello}}]\n"
        );
        let image_definition =
            format!("id: {ID}\nnode_definition_id: {ID}\nlabel: Tiny\ndisk_image: {ID}.tar.gz\nread_only: false\n");
        let [id, node_id] = [ID, ID].map(str::to_owned);
        let [node, version, archive] = ["tiny", "1.0", "first"].map(str::to_owned);
        let state_folder = home.path().join("state");
        Self { home, id, node_id, node, version, node_definition, image_definition, archive, state_folder }
    }

    /// Becomes another version: one that shares the node definition `tiny` with others, or one of its own.
    pub fn become_version(&mut self, version: &str, shared: bool) {
        let id = format!("tiny-{}", version.replace('.', "-"));
        let node_id = if shared { "tiny".to_owned() } else { id.clone() };
        self.edit_node(&format!("id: {}\n", self.node_id), &format!("id: {node_id}\n"));
        self.edit_image(
            &format!("node_definition_id: {}\n", self.node_id),
            &format!("node_definition_id: {node_id}\n"),
        );
        self.image_definition =
            self.image_definition.replacen(&format!("id: {}\n", self.id), &format!("id: {id}\n"), 1);
        self.edit_image(&format!("disk_image: {}.", self.id), &format!("disk_image: {id}."));
        (self.id, self.node_id, self.version) = (id, node_id, version.to_owned());
    }

    /// The files in which this machine keeps what it has installed.
    pub fn record(&self, controller: &Controller) -> PathBuf {
        let server = controller.address().replace(':', "_");
        self.state_folder.join("installed").join(server).join(format!("{}.json", self.id))
    }

    pub fn edit_node(&mut self, from: &str, to: &str) {
        assert!(self.node_definition.contains(from), "{from}");
        self.node_definition = self.node_definition.replace(from, to);
    }

    pub fn edit_image(&mut self, from: &str, to: &str) {
        assert!(self.image_definition.contains(from), "{from}");
        self.image_definition = self.image_definition.replace(from, to);
    }

    /// Changes all three parts.
    pub fn change(&mut self, word: &str) {
        self.edit_node("ui: {", &format!("ui: {{description: {word}, "));
        self.archive = word.to_owned();
    }

    fn bundle(&self) -> Bundle {
        let path = self.home.path().join("archive");
        std::fs::write(&path, &self.archive).expect("a file of ours");
        let image_id = Digest::of(format!("image of {}", self.archive));
        let image = format!("{}sha256: {}\n", self.image_definition, image_id.hex());
        Bundle {
            id: self.id.clone(),
            node_id: self.node_id.clone(),
            node: self.node.clone(),
            version: self.version.clone(),
            node_definition: Definition::read(self.node_definition.clone()).expect("YAML"),
            image_definition: Definition::read(image).expect("YAML"),
            archive: ArchiveFile {
                path,
                name: format!("{}.tar.gz", self.id),
                size: self.archive.len() as u64,
                digest: Digest::of(&self.archive),
            },
            image_id,
        }
    }

    fn with<T>(&self, controller: &Controller, work: impl AsyncFnOnce(&Client<'_>) -> Result<T>) -> Result<T> {
        let settings = Settings {
            user: Some(USER.to_owned()),
            password: Some(Secret::new(PASSWORD)),
            authorities: Some(self.home.path().join("authority.pem")),
            ..Settings::default()
        };
        let access = Access {
            ui: Ui::new(false),
            settings,
            idle_timeout: Duration::from_secs(20),
            insecure: false,
            fingerprint: None,
            state_folder: self.state_folder.clone(),
            prompt: Mutex::new(()),
            typed: Mutex::new(None),
        };
        let address = Address::parse(&controller.url()).expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { work(&Client::open(&access, &address).await?).await })
    }

    pub fn try_upload(&self, controller: &Controller, force: bool) -> Result<NodeReport> {
        let (forms, options) = (Forms::new(self.bundle(), None), Options { force, ..Options::default() });
        self.with(controller, async |client| api::install(client, &forms, options).await)
    }

    #[track_caller]
    pub fn upload(&self, controller: &Controller) -> NodeReport {
        self.try_upload(controller, false).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asserts that an upload fails; returns what is said about it.
    #[track_caller]
    pub fn refused(&self, controller: &Controller) -> String {
        format!("{:#}", self.try_upload(controller, false).expect_err("it should fail"))
    }

    pub fn status(&self, controller: &Controller) -> NodeReport {
        let forms = Forms::new(self.bundle(), None);
        let asked = self.with(controller, async |client| api::status(client, &forms).await);
        asked.unwrap_or_else(|error| panic!("{error:#}"))
    }

    pub fn reverse(&self, controller: &Controller, reversal: Reversal, dry_run: bool) -> Result<NodeReport> {
        self.try_reverse(controller, reversal, Options { dry_run, ..Options::default() })
    }

    pub fn try_reverse(&self, controller: &Controller, reversal: Reversal, options: Options) -> Result<NodeReport> {
        let (shared, options) = ([self.node_id.clone()], Options { is_known: true, ..options });
        self.with(controller, async |client| api::reverse(client, reversal, &self.id, &shared, options).await)
    }

    /// Asserts that a removal or a rollback fails; returns what is said about it.
    #[track_caller]
    pub fn kept(&self, controller: &Controller, reversal: Reversal, force: bool) -> String {
        let options = Options { force, ..Options::default() };
        format!("{:#}", self.try_reverse(controller, reversal, options).expect_err("it should fail"))
    }
}
