//! What the commands on CML servers share: which ones, by which way, all at once, and the result.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::commands::session::Session;
use crate::dist;
use cml::address::Scheme;
use cml::api::Controller;
use cml::bundle::{ArchiveFile, Definition};
use cml::fingerprint::Fingerprint;
use cml::report::{NodeReport, ServerReport, State};
use cml::ssh::doctor::Needs;
use cml::{Access, Address, Bundle, Settings, known};
use definitions::container::Container;
use files::Lock;
use ui::Ui;
use ui::interrupt::Interrupted;

/// Which servers, and how they are reached.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// A server, as ssh or URLs write it: [user@]host[:port], https://…, ssh://…; may be repeated [default: VIRL2_URL]
    #[arg(long, value_name = "HOST")]
    cml: Vec<String>,
    /// The way in; `auto` takes the API if its password is known, else ssh
    #[arg(long, value_enum, default_value_t = Via::Auto)]
    via: Via,
    /// The SHA-256 fingerprint of the server's certificate, read off the server; remembered
    #[arg(long, value_name = "SHA256", value_parser = fingerprint, conflicts_with = "insecure")]
    fingerprint: Option<Fingerprint>,
    /// Believe whoever answers; never remembered
    #[arg(long)]
    insecure: bool,
    /// Seconds that a server which says nothing is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    Auto,
    /// CML's REST API: no root, no restart
    Api,
    /// Port 1122: copies files, and a script installs them as root
    Ssh,
}

/// All servers of a command.
pub struct Servers {
    access: Access,
    addresses: Vec<(Address, Via)>,
    /// As it was asked for.
    via: Via,
}

/// One of them.
#[derive(Clone)]
pub struct Target<'a> {
    pub access: &'a Access,
    /// As this way in needs it.
    pub address: Address,
    /// Not `Auto`.
    pub via: Via,
}

/// What became of a server.
#[derive(Default)]
pub struct Done {
    pub version: Option<String>,
    /// `status` asks for these.
    pub ready: Option<bool>,
    pub free: Option<u64>,
    pub nodes: Vec<NodeReport>,
    pub error: Option<anyhow::Error>,
}

/// # Errors
/// If no server is named, or the settings can't be read.
pub fn open(ui: &Ui, args: &ServerArgs) -> Result<Servers> {
    let settings = Settings::discover()?;
    let addresses = settings.servers(&args.cml)?;
    anyhow::ensure!(
        args.fingerprint.is_none() || addresses.len() == 1,
        "--fingerprint is one server's, but there are several"
    );
    let addresses =
        addresses.into_iter().map(|address| by_its_way(way(args.via, &address, &settings), &address)).collect();
    let access = Access {
        ui: ui.clone(),
        settings,
        patience: Duration::from_secs(args.timeout),
        insecure: args.insecure,
        fingerprint: args.fingerprint.clone(),
        memory: known::folder()?,
        questions: Mutex::new(()),
        typed: Mutex::new(None),
    };
    Ok(Servers { access, addresses, via: args.via })
}

impl Servers {
    /// The only server, for what can be done by the API alone.
    ///
    /// # Errors
    /// If there are several, or ssh is asked for.
    pub fn only_by_api(&self) -> Result<Target<'_>> {
        let [(address, _)] = self.addresses.as_slice() else {
            anyhow::bail!("this is done on one server at a time, but several are named");
        };
        anyhow::ensure!(
            self.via != Via::Ssh && address.scheme != Some(Scheme::Ssh),
            "this goes by CML's API only: name the server as {} or https://…",
            address.host
        );
        Ok(Target { access: &self.access, address: address.clone(), via: Via::Api })
    }
}

fn way(asked: Via, address: &Address, settings: &Settings) -> Via {
    match (asked, address.scheme) {
        (Via::Auto, Some(Scheme::Api)) => Via::Api,
        (Via::Auto, Some(Scheme::Ssh)) => Via::Ssh,
        (Via::Auto, None) if settings.can_log_in() => Via::Api,
        (Via::Auto, None) => Via::Ssh,
        (asked, _) => asked,
    }
}

fn by_its_way(via: Via, address: &Address) -> (Address, Via) {
    (address.by(if via == Via::Api { Scheme::Api } else { Scheme::Ssh }), via)
}

/// Works on all servers at once. One that fails does not stop the others.
pub async fn each<'a, F: Future<Output = Done>>(
    servers: &'a Servers,
    work: impl Fn(Target<'a>) -> F,
) -> Vec<ServerReportOf> {
    let works = servers.addresses.iter().map(|(address, via)| {
        let done = work(Target { access: &servers.access, address: address.clone(), via: *via });
        async move { ServerReportOf { address: address.clone(), via: *via, done: done.await } }
    });
    join_all(works).await
}

/// A server with what became of it.
pub struct ServerReportOf {
    address: Address,
    via: Via,
    done: Done,
}

/// Prints the results, and fails if a server did.
///
/// # Errors
/// If one did.
pub fn conclude(ui: &Ui, mut reports: Vec<ServerReportOf>, json: bool) -> Result<()> {
    if json {
        let reports: Vec<ServerReport> = reports.iter().map(ServerReportOf::report).collect();
        ui.result(serde_json::to_string_pretty(&reports)?)?;
    } else {
        for report in &reports {
            print(ui, report)?;
        }
    }
    let all = reports.len();
    reports.retain(|report| report.done.error.is_some());
    let failed = reports.len();
    let mut last = None;
    for report in reports {
        if let Some(error) = last.replace((report.address, report.done.error)) {
            tell(ui, error);
        }
    }
    match last {
        None => Ok(()),
        Some((_, Some(error))) if all == 1 => Err(error),
        Some(error) => {
            tell(ui, error);
            Err(anyhow!("{failed} of {all} servers failed; the others are done"))
        }
    }
}

fn tell(ui: &Ui, (address, error): (Address, Option<anyhow::Error>)) {
    if let Some(error) = error.filter(|error| !error.is::<Interrupted>()) {
        ui.error(&error.context(format!("{address} failed")));
    }
}

fn print(ui: &Ui, report: &ServerReportOf) -> Result<()> {
    for node in &report.done.nodes {
        let sent = if node.sent > 0 {
            format!(", {} sent in {}", text::size(node.sent), text::duration(Duration::from_millis(node.millis)))
        } else {
            String::new()
        };
        ui.result(format_args!("{}  {}  {}{sent}", report.address, node.id, node.state.describe()))?;
        // What was done is told by what was different before.
        let before = if matches!(node.state, State::Installed | State::Transferred) { "before: " } else { "" };
        for detail in &node.details {
            ui.result(format_args!("    {before}{detail}"))?;
        }
    }
    Ok(())
}

impl ServerReportOf {
    fn report(&self) -> ServerReport {
        ServerReport {
            server: self.address.to_string(),
            via: if self.via == Via::Api { "api" } else { "ssh" },
            version: self.done.version.clone(),
            ready: self.done.ready,
            free: self.done.free,
            nodes: self.done.nodes.clone(),
            error: self.done.error.as_ref().map(|error| format!("{error:#}")),
        }
    }
}

impl<'a> Target<'a> {
    /// Waits until no other command of this machine changes that server.
    ///
    /// # Errors
    /// If the lock can't be made.
    pub async fn lock(&self) -> Result<Lock> {
        let path = known::lock_of(&self.access.memory, &self.address);
        Lock::acquire(&path, &self.access.ui, &format!("works on {}", self.address)).await
    }

    /// Asks before something is changed, unless `yes`.
    ///
    /// # Errors
    /// If the answer is no, or nobody can be asked.
    pub async fn agree(&self, yes: bool, question: &str) -> Result<()> {
        if yes {
            return Ok(());
        }
        let (ui, _one_at_a_time) = (&self.access.ui, self.access.questions.lock().await);
        anyhow::ensure!(
            ui.can_ask() && ui.ask(question).await?,
            "{}: nothing was changed; pass --yes to confirm",
            self.address
        );
        Ok(())
    }

    /// Makes contact with the controller, works on it logged in, and logs out, however that ended.
    ///
    /// # Errors
    /// As [`Controller::open`], and those of `work`.
    pub async fn logged_in(
        &self,
        done: &mut Done,
        work: impl AsyncFnOnce(&Controller<'a>, &mut Done) -> Result<()>,
    ) -> Result<()> {
        let controller = Controller::open(self.access, &self.address).await?;
        done.version = Some(controller.version.clone());
        controller.log_in().await?;
        let ended = work(&controller, done).await;
        controller.log_out().await;
        ended
    }
}

/// The three artefacts of `dist/` with that id.
///
/// # Errors
/// If they are not there, or don't agree.
pub fn bundle(session: &Session<'_>, id: &str) -> Result<Bundle> {
    let dist = &session.dist;
    let record = dist.record(id).with_context(|| format!("nothing is known of {id}; `cargo xtask save` makes it"))?;
    let archive =
        dist.whole_archive(id).with_context(|| format!("{id} is not saved as it is; run `cargo xtask save`"))?;
    let read = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        Definition::read(text).with_context(|| path.display().to_string())
    };
    Ok(Bundle {
        id: id.to_owned(),
        node: record.node,
        node_definition: read(&dist.node_definition(id))?,
        image_definition: read(&dist.image_definition(id))?,
        archive: ArchiveFile {
            path: dist.archive(id),
            name: dist::archive_name(id),
            size: archive.size,
            digest: archive.digest,
        },
        image_id: record.image_id,
    })
}

/// Every node that is saved here.
pub fn saved(session: &Session<'_>) -> Vec<Bundle> {
    session.dist.ids().iter().filter_map(|id| bundle(session, id).ok()).collect()
}

/// What these nodes need of a server.
///
/// # Errors
/// If a node definition is none of a container.
pub fn needs(bundles: &[Bundle]) -> Result<Needs> {
    let mut all = Needs::default();
    for bundle in bundles {
        let container = Container::read(&bundle.node_definition.text).with_context(|| bundle.id.clone())?;
        let config = &container.config;
        all = all.and(Needs::of(&config.docker.sysctls(), !config.day0cmd.is_empty(), bundle.archive.size));
    }
    Ok(all)
}

/// The id that a person means by NODE: an id itself, or the only one that is saved of a node.
///
/// # Errors
/// If it could be several.
pub fn id_of(session: &Session<'_>, node: &str) -> Result<String> {
    let ids = session.dist.ids();
    if ids.iter().any(|id| id == node) {
        return Ok(node.to_owned());
    }
    let of_node: Vec<&String> =
        ids.iter().filter(|id| session.dist.record(id).is_some_and(|record| record.node == node)).collect();
    match of_node.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let plain = !node.is_empty()
                && !node.starts_with(['.', '-'])
                && node.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            anyhow::ensure!(plain, "`{}` is neither a node nor an id", text::printable(node));
            Ok(node.to_owned())
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            Err(anyhow!("several versions of {node} are saved here; which one? {}", ids.join(", ")))
        }
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).map_err(|error| format!("{error:#}"))
}
