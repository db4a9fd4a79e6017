//! A node of a lab: created and started as CML does it, and recreated from its definition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bollard::models::{HostConfig, Mount, MountType};

use crate::engine::containers::exec::{Command, Output};
use crate::engine::errors::is_refusal;
use crate::engine::errors::{is_disturbed, retry_while};
use crate::lab::Lab;
use crate::lab::boot::{self, Booted, QUOTED_LINES, WatchEnd};
use crate::lab::create::{self, Target};
use crate::lab::explain::{Refused, unwritable};
use crate::lab::links::{Bridge, Port};
use crate::lab::ram::{self, MemoryUse};
use crate::lab::waiting;
use crate::lab::waiting::COMMAND_LIMIT;
use catalog::labels;
use definitions::container::{Boot, Container};

/// How long a node may take to stop before it is killed, as with `docker stop`.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How many characters of a command are shown while it is waited for.
const BRIEF: usize = 40;

/// When a node ended that does not boot.
const BEFORE_BOOTED: &str = "before it had booted";

/// The user and group to whom a definition's files belong, as the container sees it. In CML that is a user of CML's
/// whose number is not known [docs/cml.md 5]; this one is libvirt-qemu's on Debian and Ubuntu, which no image uses. A
/// rootless engine maps it to a subordinate ID.
const FILES_OWNER: u32 = 64055;

/// A node of a lab. Its container is removed with the lab, not when this is dropped.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub container: Container,
    image: String,
    container_name: Option<String>,
    labels: BTreeMap<String, String>,
    volume: String,
    /// Where the volume is on the engine's host.
    folder: String,
    /// The volumes that the definition asks for.
    volumes: Vec<String>,
    /// The container's ID.
    pub id: String,
    ports: Vec<Port>,
    /// When its creation began, or its last start.
    since: Instant,
}

/// What is not in a node's definition.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// What it is called in its lab.
    pub name: String,
    /// Its name on the engine; without one, the engine chooses.
    pub container_name: Option<String>,
    /// Labels beyond the lab's.
    pub labels: Vec<(&'static str, String)>,
}

impl Lab<'_> {
    /// Creates a node, its files in a volume of its own. It does not run yet. If the engine refuses the definition, the
    /// error has the engine's message, and what it means for the definition.
    pub async fn create(&self, container: Container, image: &str, options: NodeOptions) -> Result<Node> {
        self.host_access.check(&container)?;
        let since = Instant::now();
        let volume = format!("cml-nodes-{}-{}", self.id, self.next());
        let folder = self.engine.create_volume(&volume, &self.labels()).await?;
        let mut labels: BTreeMap<String, String> = self.labels().into_iter().collect();
        labels.insert(labels::LAB_NODE.to_owned(), options.name.clone());
        labels.extend(options.labels.into_iter().map(|(key, value)| (key.to_owned(), value)));
        let mut node = Node {
            name: options.name,
            container,
            image: image.to_owned(),
            container_name: options.container_name,
            labels,
            volume,
            folder,
            volumes: Vec::new(),
            id: String::new(),
            ports: Vec::new(),
            since,
        };
        let files = node.container.files.iter().map(|(name, content)| (name.as_str(), content.as_bytes()));
        self.write_files(&node.volume, files).await?;
        node.volumes = self.create_volumes(&node.container).await?;
        node.id = self.run_create(&node).await?;
        Ok(node)
    }

    /// A volume of the lab's for each that the definition asks for; the same one where it has the same name.
    async fn create_volumes(&self, container: &Container) -> Result<Vec<String>> {
        let (mut volumes, mut named) = (Vec::new(), BTreeMap::new());
        for wanted in container.volumes() {
            if let Some(volume) = wanted.name.as_ref().and_then(|name| named.get(name)) {
                volumes.push(String::clone(volume));
                continue;
            }
            let volume = format!("cml-nodes-{}-{}", self.id, self.next());
            self.engine.create_volume(&volume, &self.labels()).await?;
            named.extend(wanted.name.map(|name| (name, volume.clone())));
            volumes.push(volume);
        }
        Ok(volumes)
    }

    /// Gives the node its next interface, on a link or on none. It exists from the next start on.
    pub fn add_interface(&self, node: &mut Node, link: Option<&Bridge>) -> Result<()> {
        let have = node.ports.len();
        let Some(interface) = node.container.interfaces.get(have) else {
            bail!("{} has only {} (`device.interfaces.physical`)", node.container.id, text::plural(have, "interface"))
        };
        let port = self.port(interface, link);
        node.ports.push(port);
        Ok(())
    }

    /// Creates a node with so many interfaces that are on no link, and starts it.
    pub async fn run(
        &self,
        container: Container,
        image: &str,
        options: NodeOptions,
        interfaces: usize,
    ) -> Result<(Node, Booted)> {
        let mut node = self.create(container, image, options).await?;
        (0..interfaces).try_for_each(|_| self.add_interface(&mut node, None))?;
        let booted = self.start(&mut node).await?;
        Ok((node, booted))
    }

    /// Starts the node, moves its interfaces in, runs `day0cmd`, and waits until the console says that it is booted. If
    /// it exits, or is not booted in time, the error has the end of its console.
    pub async fn start(&self, node: &mut Node) -> Result<Booted> {
        self.boot(node, true).await
    }

    /// Starts the node after a kill. Its `day0cmd` does not run again.
    pub async fn revive(&self, node: &mut Node) -> Result<Booted> {
        self.boot(node, false).await
    }

    async fn boot(&self, node: &mut Node, is_new: bool) -> Result<Booted> {
        // Some engines prepare the container at the attachment, and refuse then what others refuse at the start.
        let console = match self.engine.attach(&node.id).await {
            Err(error) if is_refusal(&error) => return Err(self.refused(&format!("{error:#}"), node)),
            console => console?,
        };
        if let Err(error) = self.engine.start(&node.id).await {
            return Err(self.refused(&format!("{error:#}"), node));
        }
        let process = match self.engine.process_of(&node.id).await? {
            Ok(process) => process,
            Err(_) => {
                return Err(self.ended_by_itself(node, BEFORE_BOOTED).await);
            }
        };
        let Boot { completed, timeout, .. } = &node.container.boot;
        let watch = boot::watch(console, &node.container.boot);
        let boots = match completed.as_slice() {
            [] => format!("{} to run for {} s (boot.timeout, without boot.completed)", node.name, timeout.as_secs()),
            texts => format!("{} to print `{}`", node.name, texts.join("` or `")),
        };
        let (watched, day0) = tokio::join!(waiting::shown(self.ui, boots, watch), async {
            self.plug(&node.ports, process).await?;
            match node.container.config.day0cmd.as_slice() {
                args if is_new && !args.is_empty() => {
                    // A node that still runs it then is not booted, either.
                    let ended = self.exec_within(*timeout, node, args).await;
                    ended.context("running day0cmd, which may take as long as boot.timeout").map(Some)
                }
                _ => Ok(None),
            }
        });
        let (end, console) = watched?;
        match end {
            WatchEnd::Booted => {}
            WatchEnd::Exited => return Err(self.ended(node, &console, BEFORE_BOOTED).await),
            WatchEnd::TimedOut => return Err(self.late(node, &console).await),
        }
        self.booted(node, day0).await
    }

    /// A node that has printed its text and ended has no network namespace, and runs no commands: what those said of
    /// it is not why it does not boot.
    async fn booted(&self, node: &Node, day0: Result<Option<Output>>) -> Result<Booted> {
        let time = node.since.elapsed();
        match day0 {
            Ok(day0) => Ok(Booted { time, day0 }),
            Err(error) => match self.engine.process_of(&node.id).await {
                Ok(Err(_)) => {
                    // The console was watched only until it had the text.
                    Err(self.ended_by_itself(node, BEFORE_BOOTED).await)
                }
                _ => Err(error),
            },
        }
    }

    /// That the text did not come in time, and why, if that is known.
    async fn late(&self, node: &Node, console: &str) -> anyhow::Error {
        let Boot { completed, timeout, .. } = &node.container.boot;
        let outgrown = match self.memory_use(node).await {
            Ok(MemoryUse::Outgrown(why)) => format!("{why}; "),
            _ => String::new(),
        };
        anyhow!(
            "{} did not print {} within {} s (boot.timeout); {outgrown}the end of its console:\n{}{}",
            node.name,
            completed.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or "),
            timeout.as_secs(),
            ui::tail(console, QUOTED_LINES),
            unwritable(&node.container, console)
        )
    }

    /// Stops the node gracefully. Returns how long that took.
    pub async fn stop(&self, node: &Node) -> Result<Duration> {
        let since = Instant::now();
        self.engine.stop(&node.id, STOP_PATIENCE).await?;
        Ok(since.elapsed())
    }

    /// Kills every process of the node at once.
    pub async fn kill(&self, node: &mut Node) -> Result<()> {
        self.engine.kill(&node.id).await?;
        node.since = Instant::now();
        Ok(())
    }

    /// Stops and starts the node, in the same container.
    pub async fn restart(&self, node: &mut Node) -> Result<Booted> {
        self.stop(node).await?;
        node.since = Instant::now();
        self.start(node).await
    }

    /// Removes the container and creates a new one from the same files, as CML does when a node is
    /// stopped and started there.
    pub async fn recreate(&self, node: &mut Node) -> Result<Booted> {
        self.stop(node).await?;
        self.engine.remove_container(&node.id).await?;
        node.since = Instant::now();
        node.id = self.run_create(node).await?;
        self.start(node).await
    }

    /// Replaces a file of the definition in the node's folder, as its user can in CML.
    pub async fn rewrite(&self, node: &mut Node, file: &str, content: String) -> Result<()> {
        node.container.set_file(file, content.clone())?;
        self.write_files(&node.volume, [(file, content.as_bytes())]).await
    }

    /// Runs a command in the node. Fails if it does not end within [`COMMAND_LIMIT`].
    pub async fn exec(&self, node: &Node, args: &[String]) -> Result<Output> {
        self.exec_within(COMMAND_LIMIT, node, args).await
    }

    /// The same with another limit. What runs for longer goes on in the node, until that is removed.
    pub async fn exec_within(&self, limit: Duration, node: &Node, args: &[String]) -> Result<Output> {
        let command = create::shown(args);
        // One line of a terminal, whatever a scene runs.
        let brief = format!("`{}` on {}", text::excerpt(&command.replace('\n', " "), BRIEF), node.name);
        let run = async { self.begin(node, args).await?.end().await };
        let ended = tokio::time::timeout(limit, waiting::shown(self.ui, brief, run)).await;
        ended.unwrap_or_else(|_| {
            let (command, limit) = (text::printable(&command), text::duration(limit));
            Err(anyhow!("`{command}` on {} did not end within {limit}", node.name))
        })
    }

    pub async fn begin(&self, node: &Node, args: &[String]) -> Result<Command<'_>> {
        self.ui.command(format_args!(
            "{} exec {} {}",
            self.engine.command_line().shown(),
            node.id.get(..12).unwrap_or(&node.id),
            create::shown(args)
        ));
        self.engine.begin(&node.id, args).await
    }

    /// Whether the memory of a running node was enough so far.
    pub async fn memory_use(&self, node: &Node) -> Result<MemoryUse> {
        let Some(mib) = node.container.ram else { return Ok(MemoryUse::Unknown) };
        let shown = self.cat(node, &ram::COUNTERS).await?;
        Ok(ram::judge(&shown.text, mib))
    }

    /// Whether a node that was booted runs still; else how it ended, with the end of its console.
    pub async fn still_runs(&self, node: &Node) -> Result<Result<(), String>> {
        Ok(match self.engine.process_of(&node.id).await? {
            Ok(_process) => Ok(()),
            Err(_code) => Err(format!("{:#}", self.ended_by_itself(node, "by itself after it had booted").await)),
        })
    }

    /// Whether the kernel has killed a process of a node that has ended, because it used all of its memory.
    pub async fn ran_out_of_memory(&self, node: &Node) -> Result<Option<String>> {
        let Some(mib) = node.container.ram else { return Ok(None) };
        Ok(self.engine.ended_out_of_memory(&node.id).await?.then(|| ram::outgrown(mib)))
    }

    async fn ended_by_itself(&self, node: &Node, when: &str) -> anyhow::Error {
        let log = self.engine.console_log(&node.id).await.unwrap_or_default();
        self.ended(node, &log, when).await
    }

    /// How a node ended, and what it printed last.
    pub(super) async fn ended(&self, node: &Node, console: &str, when: &str) -> anyhow::Error {
        let code = match self.engine.end_of(&node.id).await {
            Ok(Err(code)) => format!("with exit code {code}"),
            Ok(Ok(_)) => "its console, but keeps running".to_owned(),
            Err(error) => return error.context(format!("could not examine {}", node.name)),
        };
        let output = match ui::tail(console, QUOTED_LINES) {
            tail if tail.is_empty() => "it printed nothing".to_owned(),
            tail => format!("the end of its console:\n{tail}"),
        };
        let is_out_of_memory = self.engine.ended_out_of_memory(&node.id).await.unwrap_or(false);
        let because = match node.container.ram.filter(|_| is_out_of_memory) {
            Some(mib) => format!(", because {}", ram::used_up(mib)),
            None => String::new(),
        };
        let hint = unwritable(&node.container, console);
        anyhow!("{} ended {code} {when}{because}; {output}{hint}", node.name)
    }

    fn refused(&self, message: &str, node: &Node) -> anyhow::Error {
        Refused::new(message, self.engine.abilities.make, &node.container).into()
    }

    /// Creates the container by the engine's own command line, as the shim does it, because its error messages are
    /// what a user of CML sees. Returns the container's ID.
    async fn run_create(&self, node: &Node) -> Result<String> {
        let command_line = self.engine.command_line();
        let abilities = &self.engine.abilities;
        let target = Target {
            image: &node.image,
            folder: &node.folder,
            volumes: &node.volumes,
            cpus: self.cpus,
            labels: &node.labels,
            name: node.container_name.as_deref(),
            as_docker: [command_line.node_args(), abilities.node_args].concat(),
            missing_capabilities: abilities.missing_default_capabilities,
        };
        let args = create::args(&node.container, &target)?;
        self.ui.command(format_args!("{} {}", command_line.shown(), create::shown(&args)));
        let disturbed = |ended: &Result<std::process::Output>| {
            ended.as_ref().is_ok_and(|output| is_disturbed(&String::from_utf8_lossy(&output.stderr)))
        };
        let output = retry_while(disturbed, || command_line.output(&args)).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let message = match text(&output.stderr) {
                empty if empty.is_empty() => format!("nothing ({})", output.status),
                message => message,
            };
            return Err(self.refused(&message, node));
        }
        Ok(text(&output.stdout))
    }

    /// Writes into a volume, through a container that is never started.
    async fn write_files<'f>(&self, volume: &str, files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Result<()> {
        const INSIDE: &str = "/cfg";
        let mount = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.to_owned()),
            target: Some(INSIDE.to_owned()),
            ..Mount::default()
        };
        let host = HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() };
        let packed = archive::pack_for(FILES_OWNER, files)?;
        let writer = self.engine.create_helper(&self.helper_image, &self.labels(), &["true"], host).await?;
        let written = self.engine.upload(&writer, INSIDE, packed).await;
        self.engine.remove_container(&writer).await?;
        written
    }
}
