//! What all scenes of a proof share.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use futures_util::future::join_all;

use crate::lab::{Lab, Loaded};
use crate::proof::subject::Subject;

/// The lab in which a subject is proved, and the images that were loaded into it.
pub(super) struct Testbed<'a> {
    pub lab: &'a Lab<'a>,
    pub subject: &'a Subject,
    images: HashMap<&'a Path, Result<Loaded>>,
}

impl<'a> Testbed<'a> {
    /// Loads the archives of all nodes at the same time.
    pub async fn load(lab: &'a Lab<'a>, subject: &'a Subject) -> Self {
        let others = subject.scenes.iter().flat_map(|setup| setup.nodes.values());
        let archives: BTreeSet<&Path> =
            others.chain([&subject.node]).map(|shipped| shipped.archive.as_path()).collect();
        let loads = archives.into_iter().map(async |archive| (archive, lab.load(archive).await));
        Self { lab, subject, images: join_all(loads).await.into_iter().collect() }
    }

    /// The image of an archive. If it could not be loaded, each scene that needs it reports why.
    pub fn image(&self, archive: &Path) -> Result<&Loaded> {
        let loaded = self.images.get(archive).with_context(|| format!("{} was not loaded", archive.display()))?;
        loaded.as_ref().map_err(|error| anyhow!("{error:#}"))
    }
}
