//! The CML servers of a command: which ones, by which way in, and working on all of them in parallel.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::commands::args::number;
use crate::commands::outcome::Outcome;
use cml::api::Controller;
use cml::{Access, Address, Fingerprint, Scheme, Settings, known};
use files::Lock;
use ui::Ui;

#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "HOST",
        help = "A server: [user@]host[:port], https://… or ssh://…; may be repeated [default: VIRL2_URL]"
    )]
    cml: Vec<String>,
    /// api (CML's REST API), ssh (port 1122, to install as root), or auto: api if its password is known, else ssh
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Via::Auto)]
    via: Via,
    /// The SHA-256 fingerprint of the only certificate that the server may show, now and later
    #[arg(long, value_name = "SHA256", value_parser = Fingerprint::parse, conflicts_with = "insecure")]
    fingerprint: Option<Fingerprint>,
    /// Do not verify the server's identity; never remembered
    #[arg(long)]
    insecure: bool,
    /// How many seconds to wait for a server that sends nothing, or that does not complete an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = number(1_u64..=86400))]
    timeout: u64,
}

impl ServerArgs {
    pub fn is_by_api(&self) -> bool {
        self.via == Via::Api
    }

    /// Refuses `--fingerprint` if a server is reached by ssh, where it would pin nothing.
    pub fn check_fingerprint(&self, is_by_ssh: bool) -> Result<()> {
        ensure!(
            self.fingerprint.is_none() || !is_by_ssh,
            "--fingerprint is that of the certificate that CML's API shows (--via api), but this goes by ssh, which \
             has host keys: they are in ~/.ssh/known_hosts"
        );
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    Auto,
    /// CML's REST API: no root, no restart
    Api,
    /// Port 1122: files are copied, and a script installs them as root
    Ssh,
}

pub struct Servers {
    access: Access,
    addresses: Vec<(Address, Scheme)>,
    /// As the user chose it.
    via: Via,
}

#[derive(Clone)]
pub struct Target<'a> {
    pub access: &'a Access,
    /// As this way in needs it.
    pub address: Address,
    pub via: Scheme,
}

pub async fn open(ui: &Ui, args: &ServerArgs) -> Result<Servers> {
    let (settings, addresses) = Settings::discover(ui, &args.cml).await?;
    ensure!(
        args.fingerprint.is_none() || addresses.len() == 1,
        "--fingerprint is that of one server, but {} servers are named",
        addresses.len()
    );
    let choose = |address: Address| {
        let via = match (args.via, address.scheme) {
            (Via::Api, _) => Scheme::Api,
            (Via::Ssh, _) => Scheme::Ssh,
            (Via::Auto, Some(scheme)) => scheme,
            (Via::Auto, None) if settings.can_log_in() => Scheme::Api,
            (Via::Auto, None) => Scheme::Ssh,
        };
        (address.by(via), via)
    };
    let addresses: Vec<(Address, Scheme)> = addresses.into_iter().map(choose).collect();
    args.check_fingerprint(addresses.iter().any(|(_, via)| *via == Scheme::Ssh))?;
    let access = Access {
        ui: ui.clone(),
        settings,
        idle_timeout: Duration::from_secs(args.timeout),
        insecure: args.insecure,
        fingerprint: args.fingerprint.clone(),
        state_folder: known::folder()?,
        prompt: Mutex::new(()),
        typed: Mutex::new(None),
    };
    Ok(Servers { access, addresses, via: args.via })
}

impl Servers {
    /// The only server, for commands that need the API.
    pub fn only_by_api(&self) -> Result<Target<'_>> {
        let [(address, _)] = self.addresses.as_slice() else {
            bail!("this command works on one server at a time, but {} are named", self.addresses.len());
        };
        ensure!(
            self.via != Via::Ssh && address.scheme != Some(Scheme::Ssh),
            "this command needs CML's API: name the server as {} or https://…, without --via ssh",
            address.host
        );
        Ok(Target { access: &self.access, address: address.clone(), via: Scheme::Api })
    }
}

/// Works on all servers in parallel. One that fails does not stop the others.
pub async fn on_each<'a>(
    servers: &'a Servers,
    work: impl AsyncFn(&Target<'a>, &mut Outcome) -> Result<()>,
) -> Vec<Outcome> {
    let works = servers.addresses.iter().map(async |(address, via)| {
        let target = Target { access: &servers.access, address: address.clone(), via: *via };
        let mut outcome = Outcome::new(address, *via);
        outcome.error = work(&target, &mut outcome).await.err();
        outcome
    });
    join_all(works).await
}

impl<'a> Target<'a> {
    /// Waits until no other command on this machine changes the server.
    pub async fn lock(&self) -> Result<Lock> {
        known::create_folder(&self.access.state_folder)?;
        let path = known::lock_path(&self.access.state_folder, &self.address);
        Lock::acquire(&path, &self.access.ui, &format!("works on {}", self.address)).await
    }

    /// Fails unless the user confirms, by `--yes` or on the terminal.
    pub async fn agree(&self, yes: bool, question: &str) -> Result<()> {
        if yes {
            return Ok(());
        }
        let (ui, _prompt) = (&self.access.ui, self.access.prompt.lock().await);
        ensure!(
            ui.can_ask() && ui.ask(question).await?,
            "{}: nothing was changed; pass --yes to confirm",
            self.address
        );
        Ok(())
    }

    /// Does `work` on the controller, logged in; logs out however that ends. `version` is set to CML's version, even if
    /// the login fails.
    pub async fn logged_in<T>(
        &self,
        version: &mut Option<String>,
        work: impl AsyncFnOnce(&Controller<'a>) -> Result<T>,
    ) -> Result<T> {
        let controller = Controller::open(self.access, &self.address).await?;
        *version = Some(controller.version.clone());
        controller.log_in().await?;
        let result = work(&controller).await;
        controller.log_out().await;
        result
    }
}
