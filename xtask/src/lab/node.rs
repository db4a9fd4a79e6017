//! A node of a lab: created, started, and made anew from its definition.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bollard::models::{HostConfig, Mount, MountType};

use crate::engine::containers::errors::is_refusal;
use crate::engine::containers::exec::{Command, Output};
use crate::engine::images::retrying::{is_disturbed, retry_while};
use crate::lab::Lab;
use crate::lab::boot;
use crate::lab::boot::{Booted, Watched};
use crate::lab::create;
use crate::lab::create::Here;
use crate::lab::explain::explain;
use crate::lab::links::{Bridge, Port};
use catalog::labels;
use definitions::container::Container;

/// How long a node may take to stop before it is killed, as with `docker stop`.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// See the module's head. The container is the engine's; it goes with its lab.
#[derive(Debug)]
pub struct Node {
    /// What it is called in its lab.
    pub name: String,
    pub container: Container,
    image: String,
    /// Its name on the engine, where a person chose one.
    container_name: Option<String>,
    labels: BTreeMap<String, String>,
    volume: String,
    /// Where the volume is on the engine's host.
    folder: String,
    id: String,
    ports: Vec<Port>,
    /// When its creation began, or its last start.
    since: Instant,
}

/// What a node shall be, apart from its definition.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What it is called in its lab.
    pub name: String,
    /// Its name on the engine; the engine's own choice without one.
    pub container_name: Option<String>,
    /// Labels beyond the lab's.
    pub labels: Vec<(&'static str, String)>,
}

impl Lab<'_> {
    /// Creates a node, its files in a volume of its own. It does not run yet.
    ///
    /// # Errors
    /// If the definition can't be obeyed, or the engine refuses; then with the engine's own words, and
    /// what they mean for the definition.
    pub async fn create(&self, container: Container, image: &str, asked: Asked) -> Result<Node> {
        let since = Instant::now();
        let volume = format!("cml-nodes-{}-{}", self.id(), self.next());
        let folder = self.engine.create_volume(&volume, &self.labels()).await?;
        let mut labels: BTreeMap<String, String> = self.labels().into_iter().collect();
        labels.insert(labels::LAB_NODE.to_owned(), asked.name.clone());
        labels.extend(asked.labels.into_iter().map(|(key, value)| (key.to_owned(), value)));
        let mut node = Node {
            name: asked.name,
            container,
            image: image.to_owned(),
            container_name: asked.container_name,
            labels,
            volume,
            folder,
            id: String::new(),
            ports: Vec::new(),
            since,
        };
        let files: Vec<(&str, &str)> =
            node.container.files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        self.write_files(&node.volume, &files).await?;
        node.id = self.type_create(&node).await?;
        Ok(node)
    }

    /// Gives the node its next interface, on a link or on none. It comes with the next start.
    ///
    /// # Errors
    /// If the definition has no further one.
    pub fn add_interface(&self, node: &mut Node, link: Option<&Bridge>) -> Result<()> {
        let have = node.ports.len();
        let Some(interface) = node.container.interfaces.get(have) else {
            bail!("{} has no more than {have} interfaces (`device.interfaces.physical`)", node.container.id)
        };
        let port = self.port(interface, link);
        node.ports.push(port);
        Ok(())
    }

    /// Starts the node, moves its interfaces in, runs `day0cmd`, and waits until the console says
    /// that it is booted.
    ///
    /// # Errors
    /// If it does not start, ends, or is not booted in time; with the end of its console.
    pub async fn start(&self, node: &mut Node) -> Result<Booted> {
        self.boot(node, true).await
    }

    /// Starts the node after a kill. Its `day0cmd` has done its work and does not run again.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn revive(&self, node: &mut Node) -> Result<Booted> {
        self.boot(node, false).await
    }

    async fn boot(&self, node: &mut Node, is_new: bool) -> Result<Booted> {
        // An engine may prepare the container as soon as somebody attaches, and refuse then what others refuse at the start.
        let console = match self.engine.attach(&node.id).await {
            Err(error) if is_refusal(&error) => return Err(self.refused(&format!("{error:#}"), node)),
            console => console?,
        };
        if let Err(error) = self.engine.start(&node.id).await {
            return Err(self.refused(&format!("{error:#}"), node));
        }
        let process = match self.engine.process_of(&node.id).await? {
            Ok(process) => process,
            Err(_) => return Err(self.ended(node, &self.log(node).await).await),
        };
        let watch = boot::watch(console, &node.container.boot);
        let (watched, day0) = tokio::join!(watch, async {
            self.plug(&node.ports, process).await?;
            if is_new { self.day0(node).await } else { Ok(None) }
        });
        let console = match watched? {
            Watched::Completed { console } => console,
            Watched::Ended { console } => return Err(self.ended(node, &console).await),
            Watched::TimedOut { console } => bail!(
                "{} did not say {} within {} s (boot.timeout); its console ends with\n{}",
                node.name,
                words_of(&node.container.boot.completed),
                node.container.boot.timeout.as_secs(),
                boot::tail(&console)
            ),
        };
        Ok(Booted { time: node.since.elapsed(), day0: day0?, console })
    }

    /// Stops the node in order; yields how long that took.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn stop(&self, node: &Node) -> Result<Duration> {
        let since = Instant::now();
        self.engine.stop(&node.id, STOP_PATIENCE).await?;
        Ok(since.elapsed())
    }

    /// Ends every process of the node at once.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn kill(&self, node: &mut Node) -> Result<()> {
        self.engine.kill(&node.id).await?;
        node.since = Instant::now();
        Ok(())
    }

    /// Stops and starts the node: the same container.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&self, node: &mut Node) -> Result<Booted> {
        self.stop(node).await?;
        node.since = Instant::now();
        self.start(node).await
    }

    /// Removes the container and creates it anew from the same files, as CML does when a node is
    /// stopped and started there.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::start`].
    pub async fn recreate(&self, node: &mut Node) -> Result<Booted> {
        self.stop(node).await?;
        self.engine.remove_container(&node.id).await?;
        node.since = Instant::now();
        node.id = self.type_create(node).await?;
        self.start(node).await
    }

    /// Gives a file of the node's folder other content, as its user does in CML.
    ///
    /// # Errors
    /// If the definition has no such file.
    pub async fn rewrite(&self, node: &mut Node, file: &str, content: String) -> Result<()> {
        node.container.set_file(file, content.clone())?;
        self.write_files(&node.volume, &[(file, &content)]).await
    }

    /// Runs a command in the node.
    ///
    /// # Errors
    /// If the engine can't start it.
    pub async fn exec(&self, node: &Node, words: &[String]) -> Result<Output> {
        self.begin(node, words).await?.end().await
    }

    /// Starts a command in the node.
    ///
    /// # Errors
    /// If the engine can't start it.
    pub async fn begin(&self, node: &Node, words: &[String]) -> Result<Command<'_>> {
        self.ui.command(format_args!(
            "{} exec {} {}",
            self.engine.command_line().shown(),
            node.short(),
            create::shown(words)
        ));
        self.engine.begin(&node.id, words).await
    }

    async fn day0(&self, node: &Node) -> Result<Option<Output>> {
        match node.container.config.day0cmd.as_slice() {
            [] => Ok(None),
            words => self.exec(node, words).await.context("day0cmd can't be run").map(Some),
        }
    }

    async fn ended(&self, node: &Node, console: &str) -> anyhow::Error {
        let code = match self.engine.end_of(&node.id).await {
            Ok(Err(code)) => format!("with exit code {code}"),
            Ok(Ok(_)) => "its console, but runs on".to_owned(),
            Err(error) => return error.context(format!("{} is out of reach", node.name)),
        };
        let tail = boot::tail(console);
        let said =
            if tail.is_empty() { "; it printed nothing".to_owned() } else { format!("; its last words:\n{tail}") };
        anyhow!("{} ended {code} before it was booted{said}", node.name)
    }

    /// All that the console has shown since the container was created.
    async fn log(&self, node: &Node) -> String {
        self.engine.console_log(&node.id).await.unwrap_or_default()
    }

    fn refused(&self, said: &str, node: &Node) -> anyhow::Error {
        anyhow!("{}", explain(said, self.engine.abilities.make(), &node.container))
    }

    /// By the engine's own command line, as the shim does it: what it refuses in these arguments, and how
    /// it says so, is a part of what is to be found out.
    async fn type_create(&self, node: &Node) -> Result<String> {
        let command_line = self.engine.command_line();
        let abilities = &self.engine.abilities;
        let here = Here {
            image: &node.image,
            folder: &node.folder,
            labels: &node.labels,
            name: node.container_name.as_deref(),
            as_docker: [command_line.docker_default_args(), abilities.docker_default_args()].concat(),
            withheld: abilities.missing_default_capabilities(),
        };
        let words = create::words(&node.container, &here)?;
        self.ui.command(format_args!("{} {}", command_line.shown(), create::shown(&words)));
        let program = command_line.program;
        let expression = command_line.expression(&words).stdin_null().stdout_capture().stderr_capture().unchecked();
        let create = || {
            let expression = expression.clone();
            async { tokio::task::spawn_blocking(move || expression.run()).await? }
        };
        let disturbed = |ended: &std::io::Result<std::process::Output>| {
            ended.as_ref().is_ok_and(|output| is_disturbed(&String::from_utf8_lossy(&output.stderr)))
        };
        let output = retry_while(disturbed, create)
            .await
            .with_context(|| format!("the {program} command line can't be run; `cargo xtask setup` brings it"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let said = match text(&output.stderr) {
                nothing if nothing.is_empty() => format!("nothing ({})", output.status),
                said => said,
            };
            return Err(self.refused(&said, node));
        }
        Ok(text(&output.stdout))
    }

    /// Writes into a volume, by way of a container that is never started.
    async fn write_files(&self, volume: &str, files: &[(&str, &str)]) -> Result<()> {
        const INSIDE: &str = "/cfg";
        let mount = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.to_owned()),
            target: Some(INSIDE.to_owned()),
            ..Mount::default()
        };
        let host = HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() };
        let labels: HashMap<String, String> = self.labels();
        let writer = self.engine.create_helper(&self.helper_image, &labels, &["true"], host).await?;
        let written = self
            .engine
            .upload(&writer, INSIDE, archive::pack(files.iter().map(|(name, content)| (*name, content.as_bytes())))?)
            .await;
        self.engine.remove_container(&writer).await?;
        written
    }
}

impl Node {
    /// The container's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

fn words_of(completed: &[String]) -> String {
    completed.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ")
}
