//! What is installed on a server under a node's ID, as its files say.

use anyhow::{Context, Result};

use crate::bundle::{Bundle, Definition, Standing};
use crate::forms::Forms;
use crate::ssh::exchange::Kind;
use crate::ssh::session::Ssh;

/// Prints the archive's digest (`?` if it cannot be read, `-` if it is absent), and whether an installation was
/// interrupted.
const LOOK: &str = r#"cd /var/lib/libvirt/images || exit 1
f=virl-base-images/$1/$1.tar.gz
if [ -r "$f" ]; then sha256sum <"$f" | cut -c 1-64; elif [ -e "$f" ]; then echo '?'; else echo -; fi
[ -e ".cml-nodes/$1/state" ] && echo interrupted || echo -"#;

/// The exit code of [`SHOW`] for a file that does not exist.
const ABSENT: i32 = 44;

const SHOW: &str = r#"cd /var/lib/libvirt/images || exit 1; [ -e "$1" ] || exit 44; cat "$1""#;

pub struct Installed {
    definitions: Standing,
    /// The archive's digest, or `?`.
    archive: Option<String>,
    is_interrupted: bool,
}

impl Installed {
    /// What is there, and the form of the node that it is compared with: the one that is there. By ssh a node is
    /// installed with a node definition of its own, which every CML understands.
    pub async fn like<'a>(ssh: &Ssh<'_>, forms: &'a Forms) -> Result<(&'a Bundle, Self)> {
        let mut like = forms.asked();
        let choose = |image: Option<&Definition>| {
            like = forms.like(image);
            like.node_id.as_str()
        };
        let installed = Self::read_as(ssh, forms.id(), choose).await?;
        Ok((like, installed))
    }

    pub async fn read(ssh: &Ssh<'_>, bundle: &Bundle) -> Result<Self> {
        Self::read_as(ssh, &bundle.id, |_| &bundle.node_id).await
    }

    /// `node_of` tells the ID of the node definition, by the image definition that is there.
    async fn read_as<'a>(
        ssh: &Ssh<'_>,
        id: &str,
        node_of: impl FnOnce(Option<&Definition>) -> &'a str,
    ) -> Result<Self> {
        let text = ssh
            .read(Kind::Digest, LOOK, &[id])
            .await
            .with_context(|| format!("{} is not a CML server, or its files cannot be read", ssh.address))?;
        let mut lines = text.lines().map(|line| Some(line.to_owned()).filter(|line| line != "-"));
        let (archive, is_interrupted) = (lines.next().flatten(), lines.next().flatten().is_some());
        let image = definition(ssh, &format!("virl-base-images/{id}/{id}.yaml")).await?;
        let node = definition(ssh, &format!("node-definitions/{}.yaml", node_of(image.as_ref()))).await?;
        Ok(Self { definitions: Standing { node, image }, archive, is_interrupted })
    }

    pub fn is_absent(&self) -> bool {
        self.definitions.is_absent() && self.archive.is_none() && !self.is_interrupted
    }

    pub fn has_archive_of(&self, bundle: &Bundle) -> bool {
        self.archive.as_deref() == Some(bundle.archive.digest.hex())
    }

    /// A line for each part that differs from the bundle. Empty if none does.
    pub fn differences(&self, bundle: &Bundle) -> Vec<String> {
        let mut found = self.definitions.differences(bundle);
        match self.archive.as_deref() {
            None => found.push("archive: absent".to_owned()),
            Some("?") => found.push("archive: cannot be read".to_owned()),
            Some(_) if self.has_archive_of(bundle) => {}
            Some(_) => found.push("archive: different".to_owned()),
        }
        if self.is_interrupted {
            found.push("an installation was interrupted; the next one completes it".to_owned());
        }
        found
    }
}

async fn definition(ssh: &Ssh<'_>, path: &str) -> Result<Option<Definition>> {
    let output = ssh.run(Kind::Definition, SHOW, &[path]).await?;
    if output.code == ABSENT {
        return Ok(None);
    }
    ssh.check(&output).with_context(|| format!("cannot read {path}"))?;
    // On a thread of its own: a large one takes time.
    let reading = tokio::task::spawn_blocking(|| Definition::read(output.stdout));
    let definition = reading.await.context("reading a definition")?;
    definition.with_context(|| format!("{path} on {}", ssh.address)).map(Some)
}
