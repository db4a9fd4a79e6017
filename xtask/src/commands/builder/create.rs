//! `cargo xtask builder create`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::commands::builder::{WaitArgs, agree, logged_in, nothing_added};
use crate::commands::servers;
use crate::commands::servers::{ServerArgs, Target};
use crate::commands::session::Session;
use builder::caller::{self, Origin};
use builder::labs::{self, Own, describe};
use builder::machine::Machine;
use builder::{NODE_DEFINITION, TITLE, image, life, password};
use cml::api::Controller;
use cml::api::labs::{Image, Lab, check_title};
use cml::secret::Secret;
use cml::ssh;

/// The variable that a password is taken from where nobody can be asked.
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
    /// The user that one logs in as
    #[arg(long, default_value = "builder")]
    user: String,
    /// Make up a password, and show it once; otherwise it is asked for, or taken from CML_BUILDER_PASS
    #[arg(long)]
    generate_password: bool,
    /// A file of SSH public keys that may log in; may be repeated [default: ~/.ssh/*.pub]
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Its time zone [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Its locale [default: this machine's]
    #[arg(long)]
    locale: Option<String>,
    /// What the machine clones [default: this repository's remote `origin`]
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// How the machine reaches the server [default: as --cml says]
    #[arg(long, value_name = "HOST")]
    server_address: Option<String>,
    /// Virtual CPUs
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=128))]
    cpus: u32,
    /// Memory in MB
    #[arg(long, value_name = "MB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    ram: u32,
    /// Disk in GB
    #[arg(long, value_name = "GB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(16..=4096))]
    disk: u32,
    /// Delete labs of that title that this project made, once the new one is there
    #[arg(long)]
    replace: bool,
    /// Replace without a question
    #[arg(long, short)]
    yes: bool,
    /// Write the lab to this file, to import it by hand, and make nothing
    #[arg(long, value_name = "FILE", conflicts_with = "replace")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// What comes from the caller alone.
struct Caller {
    keys: Vec<String>,
    time_zone: String,
    locale: String,
    repository: Origin,
    server: String,
    server_user: String,
}

/// # Errors
/// If something of it is wrong, or the server refuses it.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let target = servers.only_by_api()?;
    let caller = about_caller(session, &target, &args)?;
    match &args.output {
        Some(file) => to_file(session, &target, &args, caller, file).await,
        None => {
            let _lock = target.lock().await?;
            logged_in(&target, async |controller| to_server(session, controller, &target, &args, caller).await).await
        }
    }
}

fn about_caller(session: &Session<'_>, target: &Target<'_>, args: &Args) -> Result<Caller> {
    check_title(&args.title)?;
    caller::check_user(&args.user)?;
    let server_user = ssh::user(target.access, None);
    caller::check_server_user(&server_user)?;
    Ok(Caller {
        server_user,
        keys: caller::keys(&args.keys)?,
        time_zone: caller::time_zone(args.timezone.as_deref())?,
        locale: caller::locale(args.locale.as_deref())?,
        repository: repository(session, args.repository.as_deref())?,
        server: caller::server(args.server_address.as_deref(), &target.address)?,
    })
}

fn repository(session: &Session<'_>, asked: Option<&str>) -> Result<Origin> {
    if let Some(url) = asked {
        return caller::origin(url);
    }
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let url = process::read(session.ui, cmd!(sh, "git remote get-url origin"));
    caller::origin(&url.context(
        "what shall the build machine clone? This repository has no remote `origin`; name a URL with --repository",
    )?)
}

async fn to_server(
    session: &Session<'_>,
    controller: &Controller<'_>,
    target: &Target<'_>,
    args: &Args,
    caller: Caller,
) -> Result<()> {
    let found = labs::find(controller, &args.title, None).await?;
    let foreign = found.iter().filter(|found| found.own.is_none()).count();
    let own: Vec<(Lab, Own)> = found.into_iter().filter_map(|found| Some((found.lab, found.own?))).collect();
    if let (Some((lab, _)), false) = (own.first(), args.replace) {
        session.ui.note(format_args!(
            "{}: the lab `{}` is there already, and is left alone; --replace makes it anew",
            target.address, args.title
        ));
        return session.ui.result(format_args!("{}  {}  unchanged", target.address, lab.id));
    }
    ensure!(
        foreign == 0 || !own.is_empty(),
        "{} has a lab called `{}` that this project did not make; it is left alone: choose another --title",
        target.address,
        args.title
    );
    for (lab, own) in &own {
        nothing_added(lab, own)?;
    }
    let images = controller.images().await?;
    let image = image::choose(&images, args.image_definition.as_deref(), &target.address.to_string())?;
    if !own.is_empty() {
        let shown: Vec<String> = own.iter().map(|(lab, _)| describe(lab)).collect();
        session.ui.note(format_args!("{}:\n{}", target.address, shown.join("\n")));
        agree(target, args.yes, "Replace this, with all that is on its machine?").await?;
    }
    let (machine, shown) = machine(session, target, args, caller, image).await?;
    let topology = machine.topology(&session.repository.root)?;
    let id = match controller.import_lab(&topology).await {
        Ok(id) => id,
        Err(error) => return Err(life::explain(controller, error).await),
    };
    tell(session, &machine, shown.as_ref());
    session.ui.result(format_args!("{}  {id}  made", target.address))?;
    replace(controller, args, &own).await?;
    session.ui.note("`cargo xtask builder start` starts it and waits until it is prepared");
    Ok(())
}

/// The old ones go when the new one is there: a server that refuses it leaves everything as it was.
async fn replace(controller: &Controller<'_>, args: &Args, old: &[(Lab, Own)]) -> Result<()> {
    for (lab, _) in old {
        life::delete(controller, lab, args.wait.patience()).await.with_context(|| {
            format!(
                "the new lab is made, but the old one is still there; `cargo xtask builder delete --lab {}`",
                lab.id
            )
        })?;
    }
    Ok(())
}

async fn to_file(session: &Session<'_>, target: &Target<'_>, args: &Args, caller: Caller, file: &Path) -> Result<()> {
    let named =
        |id: &String| Image { id: id.clone(), node_definition_id: NODE_DEFINITION.to_owned(), ..Image::default() };
    let images = match &args.image_definition {
        // Then no server is needed.
        Some(id) => vec![named(id)],
        None => logged_in(target, async |controller| controller.images().await).await?,
    };
    let image = image::choose(&images, args.image_definition.as_deref(), &target.address.to_string())?;
    ensure!(!file.exists(), "{} is there already; it is not overwritten", file.display());
    let (machine, shown) = machine(session, target, args, caller, image).await?;
    let topology = machine.topology(&session.repository.root)?;
    // It holds the hash of a password.
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(topology.as_bytes()));
    written.with_context(|| format!("{} can't be written", file.display()))?;
    tell(session, &machine, shown.as_ref());
    session.ui.note("import it in CML's web pages: Dashboard, Import");
    session.ui.result(file.display())
}

async fn machine(
    session: &Session<'_>,
    target: &Target<'_>,
    args: &Args,
    caller: Caller,
    image: &Image,
) -> Result<(Machine, Option<Secret>)> {
    let (password, shown) = choose_password(session, target, args, !caller.keys.is_empty()).await?;
    let password_hash = password.map(|password| password::hash(&password)).transpose()?;
    let machine = Machine {
        title: args.title.clone(),
        node_definition: image.node_definition_id.clone(),
        image_definition: image.id.clone(),
        cpus: args.cpus,
        ram: args.ram,
        disk: args.disk,
        user: args.user.clone(),
        password_hash,
        keys: caller.keys,
        time_zone: caller.time_zone,
        locale: caller.locale,
        repository: caller.repository,
        server: caller.server,
        server_user: caller.server_user,
    };
    Ok((machine, shown))
}

/// The password, if there is to be one; and again if it was made up, to be shown.
async fn choose_password(
    session: &Session<'_>,
    target: &Target<'_>,
    args: &Args,
    has_keys: bool,
) -> Result<(Option<Secret>, Option<Secret>)> {
    let (ui, user) = (session.ui, &args.user);
    let made_up = || password::generate().map(|secret| (Some(secret.clone()), Some(secret)));
    if args.generate_password {
        return made_up();
    }
    if let Some(set) = std::env::var(PASSWORD).ok().filter(|text| !text.is_empty()).map(Secret::new) {
        password::check(&set, user).context(PASSWORD)?;
        return Ok((Some(set), None));
    }
    if !ui.can_ask() {
        ensure!(
            has_keys,
            "nobody could log in: there is no SSH public key (--key FILE) and no password ({PASSWORD}, or --generate-password)"
        );
        ui.note(format_args!(
            "`{user}` gets no password: one logs in by key ({PASSWORD} or --generate-password gives one)"
        ));
        return Ok((None, None));
    }
    let _one_at_a_time = target.access.questions.lock().await;
    let typed = Secret::new(
        ui.ask_secret(&format!("Password for `{user}` on the new machine (empty: one is made up): ")).await?,
    );
    if typed.reveal().is_empty() {
        return made_up();
    }
    password::check(&typed, user)?;
    if typed.reveal() != ui.ask_secret("Once more: ").await? {
        bail!("the two differ; nothing was changed");
    }
    Ok((Some(typed), None))
}

fn tell(session: &Session<'_>, machine: &Machine, made_up: Option<&Secret>) {
    let ui = session.ui;
    let keys = match machine.keys.len() {
        0 => "no SSH key".to_owned(),
        1 => "1 SSH key".to_owned(),
        n => format!("{n} SSH keys"),
    };
    let Machine { image_definition, cpus, ram, disk, time_zone, locale, user, repository, .. } = machine;
    ui.note(format_args!("{image_definition}, {cpus} CPUs, {ram} MB, {disk} GB; {time_zone}, {locale}"));
    ui.note(format_args!("`{user}` with {keys}; clones {}", repository.url));
    if let Some(password) = made_up {
        ui.note(format_args!("password of `{user}`, shown this once: {}", password.reveal()));
    }
}
