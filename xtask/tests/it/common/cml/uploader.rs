//! Uploads to a controller without an engine: of a node that consists of texts.

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
    pub node_definition: String,
    pub image_definition: String,
    pub archive: String,
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
        Self { home, node_definition, image_definition, archive: "first".to_owned() }
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
            id: ID.to_owned(),
            node_id: ID.to_owned(),
            node: "tiny".to_owned(),
            version: "1.0".to_owned(),
            node_definition: Definition::read(self.node_definition.clone()).expect("YAML"),
            image_definition: Definition::read(image).expect("YAML"),
            archive: ArchiveFile {
                path,
                name: format!("{ID}.tar.gz"),
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
            state_folder: self.home.path().join("state"),
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
        let options = Options { dry_run, is_known: true, ..Options::default() };
        self.with(controller, async |client| api::reverse(client, reversal, ID, &[], options).await)
    }
}
