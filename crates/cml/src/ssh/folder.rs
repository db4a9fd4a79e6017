//! The folder on a server that a node's files are copied to before they are installed.

use anyhow::{Context, Result};

use crate::ssh::command::PORT;
use crate::ssh::exchange::Kind;
use crate::ssh::remote::to_type;
use crate::ssh::session::Ssh;
use crate::ssh::transfer;
use crate::{Address, Bundle};

/// The install script. Everything that must not be left half done is in it, so that it also serves a user who copies
/// it to the server by hand.
pub const SCRIPT: &str = include_str!("cml_install_image.sh");

const SCRIPT_NAME: &str = "cml_install_image.sh";

const DEFAULT_PARENT: &str = "/var/tmp";

/// The folder must belong to this user, and must not be a link. The install script refuses what others can write to.
const CREATE: &str = r#"set -e; umask 077; [ ! -L "$1" ]; mkdir -p "$1"
[ -O "$1" ] || { echo "$1 belongs to another user" >&2; exit 1; }
chmod -R go-w "$1""#;

/// Digests of the definitions; those of the archives were checked when they arrived.
const CHECK: &str = r#"cd "$1" && grep '\.yaml$' SHA256SUMS | sha256sum --check --strict --quiet -"#;

const REMOVE: &str = r#"rm -f "$1/cml_install_image.sh"; rmdir "$1""#;

pub struct TransferFolder {
    pub path: String,
}

impl TransferFolder {
    /// The folder for exactly these contents and this user, so that an interrupted transfer is found again.
    pub fn of_bundles(ssh: &Ssh<'_>, bundles: &[&Bundle]) -> Self {
        let digest = digests::Digest::of(format!("{}\n{}", ssh.user, sums(bundles)));
        Self::named(&ssh.address, digest.short())
    }

    /// The folder for a script that works on an ID.
    pub fn of_script(ssh: &Ssh<'_>, what: &str, id: &str) -> Self {
        Self::named(&ssh.address, &format!("{what}-{id}"))
    }

    fn named(address: &Address, name: &str) -> Self {
        Self { path: format!("{}/cml-nodes-{name}", Self::parent(address)) }
    }

    pub fn parent(address: &Address) -> &str {
        address.path.as_deref().map_or(DEFAULT_PARENT, |path| path.trim_end_matches('/'))
    }

    pub fn archive(&self, bundle: &Bundle) -> String {
        format!("{}/virl-base-images/{}/{}", self.path, bundle.id, bundle.archive.name)
    }

    pub fn script(&self) -> String {
        format!("{}/{SCRIPT_NAME}", self.path)
    }

    pub async fn create(&self, ssh: &Ssh<'_>) -> Result<()> {
        ssh.read(Kind::Question, CREATE, &[&self.path]).await.map(drop)
    }

    pub async fn write_definitions(&self, ssh: &Ssh<'_>, bundle: &Bundle) -> Result<()> {
        let (folder, id) = (&self.path, &bundle.id);
        let (node, image) = (&bundle.node_definition.text, &bundle.image_definition.text);
        transfer::write(ssh, &format!("{folder}/node-definitions/{id}.yaml"), node).await?;
        transfer::write(ssh, &format!("{folder}/virl-base-images/{id}/{id}.yaml"), image).await
    }

    /// Writes the script as the last file: where it is, everything is, and its digests are right.
    pub async fn complete(&self, ssh: &Ssh<'_>, bundles: &[&Bundle]) -> Result<()> {
        transfer::write(ssh, &format!("{}/SHA256SUMS", self.path), &sums(bundles)).await?;
        ssh.read(Kind::Question, CHECK, &[&self.path]).await.context("what has arrived is not what was sent")?;
        self.write_script(ssh).await
    }

    pub async fn write_script(&self, ssh: &Ssh<'_>) -> Result<()> {
        transfer::write(ssh, &self.script(), SCRIPT).await
    }

    /// Removes the script, and the folder if nothing else is in it.
    pub async fn remove(&self, ssh: &Ssh<'_>) -> Result<()> {
        ssh.read(Kind::Question, REMOVE, &[&self.path]).await.map(drop)
    }

    /// The command that a user types to install what is in the folder.
    pub fn command_to_install(&self, ssh: &Ssh<'_>, restart: bool) -> String {
        let (script, port) = (self.script(), ssh.address.port.unwrap_or(PORT));
        let sudo = if ssh.is_root() { [].as_slice() } else { &["sudo"] };
        let restart = if restart { ["--restart"].as_slice() } else { &[] };
        to_type(&ssh.user, &ssh.address, port, &[sudo, &["sh", &script], restart].concat())
    }
}

fn sums(bundles: &[&Bundle]) -> String {
    let of = |bundle: &&Bundle| {
        let id = &bundle.id;
        format!(
            "{}  node-definitions/{id}.yaml\n{}  virl-base-images/{id}/{id}.yaml\n{}  virl-base-images/{id}/{}\n",
            bundle.node_definition.digest(),
            bundle.image_definition.digest(),
            bundle.archive.digest,
            bundle.archive.name
        )
    };
    bundles.iter().map(of).collect()
}
