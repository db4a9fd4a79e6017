//! `cargo xtask builder create`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::commands::args::number;
use crate::commands::builder::lab::{WaitArgs, logged_in, refuse_added_nodes};
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use builder::environment::{self, Environment, Origin};
use builder::lookup::{self, BuildMachine, describe};
use builder::topology::Machine;
use builder::{NODE_DEFINITION, TITLE, image, lifecycle, password};
use cml::api::Controller;
use cml::api::definitions::Image;
use cml::api::labs::{Lab, check_title};
use cml::{Secret, ssh};
use text::printable_line;

/// The environment variable with the new machine's password.
const PASSWORD: &str = "CML_BUILDER_PASS";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// The lab's title
    #[arg(long, default_value = TITLE)]
    title: String,
    /// The machine's image definition [default: the newest Ubuntu 24.04 on that server]
    #[arg(long, value_name = "ID")]
    image_definition: Option<String>,
    /// The user to log in as
    #[arg(long, default_value = "builder")]
    user: String,
    /// Generate a password and show it once [default: ask for one, or take CML_BUILDER_PASS]
    #[arg(long)]
    generate_password: bool,
    /// A file of SSH public keys to log in with; may be repeated [default: ~/.ssh/*.pub]
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// The time zone [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// The locale [default: this machine's]
    #[arg(long)]
    locale: Option<String>,
    /// The repository to clone [default: this repository's remote `origin`]
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// The server's address as the machine reaches it [default: as in --cml]
    #[arg(long, value_name = "HOST")]
    server_address: Option<String>,
    /// Virtual CPUs
    #[arg(long, default_value_t = 4, value_parser = number(1_u32..=128))]
    cpus: u32,
    /// Memory in MB
    #[arg(long, value_name = "MB", default_value_t = 4096, value_parser = number(1024_u32..=1_048_576))]
    ram: u32,
    /// Disk in GB
    #[arg(long, value_name = "GB", default_value_t = 32, value_parser = number(16_u32..=4096))]
    disk: u32,
    /// Delete the labs with that title that this project created, once the new one exists
    #[arg(long)]
    replace: bool,
    /// Replace without asking
    #[arg(long, short)]
    yes: bool,
    /// Write the lab to a file to import by hand, and create nothing on the server
    #[arg(long, value_name = "FILE", conflicts_with = "replace")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers).await?;
    let target = servers.only_by_api()?;
    let environment = read_environment(session, &target, &args)?;
    let new = New { session, target: &target, args: &args, environment };
    match &args.output {
        Some(file) => new.to_file(file).await,
        None => {
            let _lock = target.lock().await?;
            logged_in(&target, async |controller| new.to_server(controller).await).await
        }
    }
}

fn read_environment(session: &Session<'_>, target: &Target<'_>, args: &Args) -> Result<Environment> {
    check_title(&args.title)?;
    environment::check_user(&args.user)?;
    let server_user = ssh::user(target.access, None)?;
    environment::check_server_user(&server_user)?;
    Ok(Environment {
        server_user,
        keys: environment::keys(&args.keys)?,
        time_zone: environment::time_zone(args.timezone.as_deref())?,
        locale: environment::locale(args.locale.as_deref())?,
        repository: repository(session, args.repository.as_deref())?,
        server: environment::server(args.server_address.as_deref(), &target.address)?,
    })
}

fn repository(session: &Session<'_>, asked: Option<&str>) -> Result<Origin> {
    if let Some(url) = asked {
        return environment::origin(url);
    }
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let url = process::read(session.ui, cmd!(sh, "git remote get-url origin"));
    environment::origin(&url.context(
        "this repository has no remote `origin` for the build machine to clone; give a URL with --repository",
    )?)
}

struct New<'a> {
    session: &'a Session<'a>,
    target: &'a Target<'a>,
    args: &'a Args,
    environment: Environment,
}

impl New<'_> {
    async fn to_server(&self, controller: &Controller<'_>) -> Result<()> {
        let Self { session, target, args, .. } = self;
        let found = lookup::find(controller, &args.title, None).await?;
        let has_foreign = found.iter().any(|found| found.own.is_none());
        let own: Vec<(Lab, BuildMachine)> =
            found.into_iter().filter_map(|found| Some((found.lab, found.own?))).collect();
        if let (Some((lab, _)), false) = (own.first(), args.replace) {
            session.ui.note(format_args!(
                "{}: the lab `{}` exists already and is left unchanged; --replace creates it again",
                target.address, args.title
            ));
            return session.ui.result(format_args!("{}  {}  unchanged", target.address, printable_line(&lab.id)));
        }
        ensure!(
            !has_foreign || !own.is_empty(),
            "{} has a lab `{}` that this project did not create; it is left unchanged: choose another --title",
            target.address,
            args.title
        );
        own.iter().try_for_each(|(lab, machine)| refuse_added_nodes(lab, machine))?;
        let images = controller.images().await?;
        let image = image::choose(&images, args.image_definition.as_deref(), &target.address.to_string())?;
        if !own.is_empty() {
            let shown: Vec<String> = own.iter().map(|(lab, _)| describe(lab)).collect();
            session.ui.note(format_args!("{}:\n{}", target.address, shown.join("\n")));
            target.agree(args.yes, "Replace this, with everything on its machine?").await?;
        }
        let (machine, generated) = self.machine(image).await?;
        let id = match controller.import_lab(&machine.topology(&session.repository.root)?).await {
            Ok(id) => id,
            Err(error) => return Err(lifecycle::explain(controller, error).await),
        };
        show(session, &machine, generated.as_ref());
        session.ui.result(format_args!("{}  {}  created", target.address, printable_line(&id)))?;
        replace(controller, args, &own).await?;
        session.ui.note("`cargo xtask builder start` starts it and waits until it is ready");
        Ok(())
    }

    async fn to_file(&self, file: &Path) -> Result<()> {
        let images = match &self.args.image_definition {
            // No server is needed.
            Some(id) => {
                vec![Image { id: id.clone(), node_definition_id: NODE_DEFINITION.to_owned(), ..Image::default() }]
            }
            None => logged_in(self.target, async |controller| controller.images().await).await?,
        };
        let server = self.target.address.to_string();
        let image = image::choose(&images, self.args.image_definition.as_deref(), &server)?;
        ensure!(!file.exists(), "{} exists already and is not overwritten", file.display());
        let (machine, generated) = self.machine(image).await?;
        let topology = machine.topology(&self.session.repository.root)?;
        // It contains the hash of a password.
        let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let written = opened.and_then(|mut opened| opened.write_all(topology.as_bytes()));
        written.with_context(|| format!("could not write {}", file.display()))?;
        show(self.session, &machine, generated.as_ref());
        self.session.ui.note("import it in CML's web interface: Dashboard, Import");
        self.session.ui.result(file.display())
    }

    /// The machine, and its password if that was generated.
    async fn machine(&self, image: &Image) -> Result<(Machine, Option<Secret>)> {
        let (password, is_generated) = self.choose_password().await?.unzip();
        let args = self.args;
        let machine = Machine {
            title: args.title.clone(),
            node_definition: image.node_definition_id.clone(),
            image_definition: image.id.clone(),
            cpus: args.cpus,
            ram: args.ram,
            disk: args.disk,
            user: args.user.clone(),
            password_hash: password.as_ref().map(password::hash).transpose()?,
            environment: self.environment.clone(),
        };
        Ok((machine, password.filter(|_| is_generated == Some(true))))
    }

    /// The password, if there is to be one, and whether it was generated.
    async fn choose_password(&self) -> Result<Option<(Secret, bool)>> {
        let (ui, user) = (self.session.ui, &self.args.user);
        if self.args.generate_password {
            return Ok(Some((password::generate()?, true)));
        }
        if let Some(set) = process::secret(PASSWORD).map(Secret::new) {
            password::check(&set, user).context(PASSWORD)?;
            return Ok(Some((set, false)));
        }
        if !ui.can_ask() {
            ensure!(
                !self.environment.keys.is_empty(),
                "nobody could log in: there is no SSH public key (--key FILE) and no password ({PASSWORD} or \
                 --generate-password)"
            );
            ui.note(format_args!(
                "`{user}` gets no password and logs in by key ({PASSWORD} or --generate-password sets a password)"
            ));
            return Ok(None);
        }
        let _one_at_a_time = self.target.access.prompt.lock().await;
        let question = format!("Password for `{user}` on the new machine (empty: generate one): ");
        let typed = Secret::new(ui.ask_secret(&question).await?);
        if typed.reveal().is_empty() {
            return Ok(Some((password::generate()?, true)));
        }
        password::check(&typed, user)?;
        let repeated = ui.ask_secret("Repeat the password: ").await?;
        ensure!(typed.reveal() == repeated, "the passwords differ; nothing was changed");
        Ok(Some((typed, false)))
    }
}

/// Deletes the old labs, once the new one exists: if the server refuses the new lab, nothing has changed.
async fn replace(controller: &Controller<'_>, args: &Args, old: &[(Lab, BuildMachine)]) -> Result<()> {
    for (lab, _) in old {
        lifecycle::delete(controller, lab, args.wait.timeout()).await.with_context(|| {
            format!(
                "the new lab was created, but the old one still exists: `cargo xtask builder delete --lab {}`",
                printable_line(&lab.id)
            )
        })?;
    }
    Ok(())
}

fn show(session: &Session<'_>, machine: &Machine, generated: Option<&Secret>) {
    let ui = session.ui;
    let Environment { keys, time_zone, locale, repository, .. } = &machine.environment;
    let keys = match keys.len() {
        0 => "no SSH key".to_owned(),
        n => text::plural(n, "SSH key"),
    };
    let Machine { image_definition, cpus, ram, disk, user, .. } = machine;
    ui.note(format_args!("{image_definition}, {cpus} CPUs, {ram} MB, {disk} GB; {time_zone}, {locale}"));
    ui.note(format_args!("user `{user}` with {keys}; clones {}", repository.url));
    if let Some(password) = generated {
        ui.note(format_args!("password of `{user}`, shown only once: {}", password.reveal()));
    }
}
