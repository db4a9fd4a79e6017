//! What all scenes of a proof share.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Result;
use futures_util::future::join_all;

use crate::lab::{Lab, Loaded};
use crate::proof::subject::Subject;

/// The lab in which a subject is proved, and the images that were loaded into it.
pub(super) struct Testbed<'a> {
    pub lab: &'a Lab<'a>,
    pub subject: &'a Subject,
    loaded: RefCell<HashMap<PathBuf, Loaded>>,
}

impl<'a> Testbed<'a> {
    pub fn new(lab: &'a Lab<'a>, subject: &'a Subject) -> Self {
        Self { lab, subject, loaded: RefCell::default() }
    }

    /// Loads the archives of all nodes at the same time. A failure is reported by the scene that needs the image.
    pub async fn load_ahead(&self) {
        let others = self.subject.scenes.iter().flat_map(|setup| setup.nodes.values());
        let archives: BTreeSet<&Path> =
            others.chain([&self.subject.node]).map(|shipped| shipped.archive.as_path()).collect();
        let _: Vec<Result<Loaded>> = join_all(archives.into_iter().map(|archive| self.image(archive))).await;
    }

    /// The image of an archive, loaded once.
    pub async fn image(&self, archive: &Path) -> Result<Loaded> {
        let known = self.loaded.borrow().get(archive).cloned();
        if let Some(loaded) = known {
            return Ok(loaded);
        }
        let loaded = self.lab.load(archive).await?;
        self.loaded.borrow_mut().insert(archive.to_owned(), loaded.clone());
        Ok(loaded)
    }
}
