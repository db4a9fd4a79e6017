//! A lab on this machine's engine: nodes that run as CML runs them, and the links between them.
//!
//! Everything of a lab has its label on the engine, and is removed with the lab: when it is dropped, also
//! because of an error or Ctrl-C; and after a crash, when the next lab is opened. A lasting lab, which
//! `run` opened, is removed by `stop` or `clean`.

mod boot;
mod cpus;
mod create;
mod explain;
mod host;
mod host_access;
mod inside;
mod links;
mod load;
mod measure;
mod node;
mod processes;
mod ram;
mod removal;
mod waiting;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bollard::models::HostConfig;

use crate::engine::errors::is_refusal;
use crate::engine::handle::Engine;
use catalog::labels;
use files::{Lock, Tree};
use ui::Ui;

pub use boot::{Booted, QUOTED_LINES};
pub use explain::{Refused, unwritable};
pub use host::{UnmetNeed, UnmetNeeds};
pub use host_access::HostAccess;
pub use links::Bridge;
pub use load::Loaded;
pub use measure::{Measured, Measuring};
pub use node::{Node, NodeOptions};
pub use processes::{Process, memory};
pub use ram::MemoryUse;
pub use waiting::COMMAND_LIMIT;

/// Below the cache folder: a file for each lab of this machine, locked while a command works in it.
const FOLDER: &str = "labs";

/// The content of a lasting lab's file.
const LASTING: &str = "it runs until `cargo xtask stop`\n";

/// More than all scenes that run at the same time need, each with one `ip` or `sh` at a time.
const HELPER_PROCESSES: i64 = 512;

/// A lab that this process uses.
pub struct Lab<'a> {
    pub engine: &'a Engine,
    pub ui: &'a Ui,
    /// Its name on the engine.
    id: String,
    /// The container in whose network the links are.
    helper: String,
    helper_image: String,
    /// The processors of the engine's host, if their use can be limited.
    cpus: Option<u32>,
    host_access: HostAccess,
    /// Held while this process uses the lab; if another command can take it, the lab was left behind.
    lock: Lock,
    lock_path: PathBuf,
    lasting: Cell<bool>,
    closed: bool,
    /// Whether something of it could not be removed.
    keeps_record: bool,
    counter: Cell<u32>,
}

impl<'a> Lab<'a> {
    /// Opens an empty lab, after removing what crashed commands of this machine have left behind.
    /// `helper_image` must have a shell and iproute2.
    pub async fn open(
        engine: &'a Engine,
        ui: &'a Ui,
        cache: &Path,
        helper_image: &str,
        host_access: HostAccess,
    ) -> Result<Self> {
        sweep(engine, ui, cache).await?;
        let id = format!("{:x}-{:012x}", std::process::id(), fastrand::u64(..1 << 48));
        let lock_path = cache.join(FOLDER).join(&id);
        let lock = Lock::acquire(&lock_path, ui, "uses this lab").await?;
        let mut lab = Self {
            engine,
            ui,
            id,
            helper: String::new(),
            helper_image: helper_image.to_owned(),
            cpus: None,
            host_access,
            lock,
            lock_path,
            lasting: Cell::new(false),
            closed: false,
            keeps_record: false,
            counter: Cell::new(0),
        };
        lab.helper = lab.start_helper().await?;
        lab.cpus = cpus::judge(&lab.in_helper(&cpus::command()).await?.text);
        Ok(lab)
    }

    /// Starts the helper container, in whose network namespace the links are. Returns its ID.
    async fn start_helper(&self) -> Result<String> {
        let strings = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let host = HostConfig {
            network_mode: Some("none".to_owned()),
            // To reach the network namespaces of nodes by their process ids. [namespaces(7), ptrace(2)]
            pid_mode: Some("host".to_owned()),
            cap_drop: strings(&["ALL"]),
            cap_add: strings(&["NET_ADMIN", "SYS_PTRACE"]),
            security_opt: strings(&["no-new-privileges"]),
            readonly_rootfs: Some(true),
            pids_limit: Some(HELPER_PROCESSES),
            ..HostConfig::default()
        };
        let args = ["sleep", "infinity"];
        let id = self.engine.create_helper(&self.helper_image, &self.labels(), &args, host).await?;
        if let Err(error) = self.engine.start(&id).await {
            let reason =
                explain::engine_problem(&format!("{error:#}")).map_or_else(String::new, |why| format!(": {why}"));
            return Err(error.context(format!("starting the helper container{reason}")));
        }
        Ok(id)
    }

    /// Lets the lab outlast this process, until [`remove`].
    pub fn outlive_this_process(&self) -> Result<()> {
        self.lock.write(LASTING).with_context(|| self.lock_path.display().to_string())?;
        self.lasting.set(true);
        Ok(())
    }

    pub fn is_lasting(&self) -> bool {
        self.lasting.get()
    }

    /// Removes everything. Returns how many containers, volumes and images still have the lab's label afterwards;
    /// any at all is a bug of this program.
    pub async fn close(mut self) -> Result<usize> {
        match removal::remove_lab(self.engine, &self.id).await {
            Err(error) if is_refusal(&error) => {
                let removed = removal::remove_busy_lab(self.engine, &self.id).await;
                (self.closed, self.keeps_record) = (true, removed.is_err());
                removed?;
            }
            removed => drop(removed?),
        }
        let left = removal::remove_lab(self.engine, &self.id).await?;
        self.closed = true;
        Ok(left)
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(labels::LAB.to_owned(), self.id.clone())])
    }

    /// A number that is unique in this lab.
    fn next(&self) -> u32 {
        self.counter.replace(self.counter.get() + 1)
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        if self.lasting.get() {
            return;
        }
        if !self.closed {
            let id = self.id.clone();
            let is_removed = self.engine.finish(|engine| async move { removal::remove_busy_lab(&engine, &id).await });
            self.keeps_record = !is_removed;
        }
        // By its record, a later command finds what is left.
        if !self.keeps_record {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// The labs that commands of this machine have left running on purpose.
pub fn lasting(cache: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cache.join(FOLDER)).into_iter().flatten().flatten();
    let lasting = entries.filter(|entry| is_lasting(&entry.path()));
    lasting.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Removes a lab that was left running.
pub async fn remove(engine: &Engine, cache: &Path, id: &str) -> Result<()> {
    removal::remove_lab(engine, id).await?;
    let record = cache.join(FOLDER).join(id);
    if is_lasting(&record) {
        let _ = std::fs::remove_file(record);
    }
    Ok(())
}

fn is_lasting(record: &Path) -> bool {
    let tree = Tree::at(record.parent().unwrap_or(record));
    tree.read(record, LASTING.len() as u64).is_ok_and(|text| text == LASTING.as_bytes())
}

/// Removes labs whose process is gone. Labs of other machines that use the same engine have no file here,
/// and are left alone.
pub async fn sweep(engine: &Engine, ui: &Ui, cache: &Path) -> Result<()> {
    for entry in std::fs::read_dir(cache.join(FOLDER)).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !Lock::is_held(&path) && !is_lasting(&path) {
            let count = match removal::remove_lab(engine, id).await {
                Ok(count) => count,
                // One that cannot be removed must not keep others from their work.
                Err(error) if is_refusal(&error) => {
                    ui.warn(format_args!("what an earlier command left behind cannot be removed: {error:#}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if count > 0 {
                ui.note(format_args!(
                    "removed what an earlier command left behind on the engine: {count} containers, volumes and images"
                ));
            }
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}
