//! Servers and credentials by the conventions of CML's own client: the environment first, then
//! `.virlrc` in the working folder, then in the home folder. [docs/cml.md 2]
//!
//! As in that client, a `.virlrc` in a parent folder is not read: a user who can write there could have the next
//! password sent to a server of their own. The working folder may be a stranger's repository, so its file is not
//! trusted either, where that client trusts it: what is secret in the environment or at home does not go to a server
//! that only this file names, unless the user agrees; and it does not decide whose certificates are accepted.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};

use crate::Address;
use crate::virlrc::{NAME, Virlrc};
use text::printable;
use ui::Ui;

/// The variables that no other program gets. Only those listed here are found.
pub const SECRETS: [&str; 5] = ["VIRL2_PASS", "VIRL_PASSWORD", "VIRL2_JWT", "CML_SSH_PASS", "CML_BUILDER_PASS"];

const URL: [&str; 2] = ["VIRL2_URL", "VIRL_HOST"];
const PASSWORD: [&str; 2] = ["VIRL2_PASS", "VIRL_PASSWORD"];
const TOKEN: [&str; 1] = ["VIRL2_JWT"];
const SSH_PASSWORD: [&str; 1] = ["CML_SSH_PASS"];

/// What decides how certificates are verified.
const VERIFICATION: [&str; 2] = ["CA_BUNDLE", "CML_VERIFY_CERT"];

/// What counts for the servers of one command.
#[derive(Clone, Default)]
pub struct Settings {
    pub url: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    /// A file of CA certificates that may sign the server's.
    pub authorities: Option<PathBuf>,
    pub ssh_user: Option<String>,
    pub ssh_password: Option<Secret>,
}

impl Settings {
    /// The servers of a command (those named by `--cml`, else the one in the settings; at least one, none twice), and
    /// the settings that count for them. Asks before a secret may go to a server that only a file in the working folder
    /// names.
    ///
    /// # Errors
    ///
    /// If no server is named, an address is wrong, a file cannot be read, or the user does not agree.
    pub async fn discover(ui: &Ui, named: &[String]) -> Result<(Self, Vec<Address>)> {
        let read = |folder: Option<PathBuf>| folder.map_or(Ok(None), |folder| Virlrc::read(&folder));
        let (work, home) = (read(std::env::current_dir().ok())?, read(std::env::home_dir())?);
        let sources = Sources::new(variable, work, home);
        for warning in sources.warnings() {
            ui.warn(warning);
        }
        let settings = sources.settings();
        let addresses = settings.servers(named)?;
        match addresses.as_slice() {
            [server] if named.is_empty() => Ok((sources.confirm(ui, settings, server).await?, addresses)),
            _ => Ok((settings, addresses)),
        }
    }

    fn servers(&self, named: &[String]) -> Result<Vec<Address>> {
        let mut found: Vec<Address> = Vec::new();
        let words: Vec<&String> = if named.is_empty() { self.url.iter().collect() } else { named.iter().collect() };
        for text in words {
            let address = Address::parse(text).map_err(|error| match named.is_empty() {
                true => anyhow!("VIRL2_URL: {error}"),
                false => error.into(),
            })?;
            let is_repeated = found.iter().any(|other| (&other.host, other.port) == (&address.host, address.port));
            ensure!(!is_repeated, "{address} is named twice");
            found.push(address);
        }
        ensure!(
            !found.is_empty(),
            "which CML server? Name it with --cml HOST, or set VIRL2_URL in the environment or in {NAME}"
        );
        Ok(found)
    }

    /// Whether a login to the API needs no prompt.
    pub fn can_log_in(&self) -> bool {
        self.token.is_some() || (self.user.is_some() && self.password.is_some())
    }

    fn has_secret(&self) -> bool {
        self.password.is_some() || self.token.is_some() || self.ssh_password.is_some()
    }

    /// The credentials alone.
    fn credentials(get: impl Fn(&[&str]) -> Option<String>) -> Self {
        Self {
            user: get(&["VIRL2_USER", "VIRL_USERNAME"]),
            password: get(&PASSWORD).map(Secret::new),
            token: get(&TOKEN).map(Secret::new),
            ssh_user: get(&["CML_SSH_USER"]),
            ssh_password: get(&SSH_PASSWORD).map(Secret::new),
            ..Self::default()
        }
    }
}

fn variable(name: &str) -> Option<String> {
    if SECRETS.contains(&name) { process::secret(name) } else { std::env::var(name).ok() }
}

/// Where settings are looked for.
struct Sources<V> {
    variable: V,
    /// The file in the working folder, if it is not also the one at home.
    work: Option<Virlrc>,
    home: Option<Virlrc>,
}

/// A setting, and what it is called in messages: `VIRL2_PASS of the environment`.
struct Found {
    value: String,
    name: String,
}

impl<V: Fn(&str) -> Option<String>> Sources<V> {
    fn new(variable: V, work: Option<Virlrc>, home: Option<Virlrc>) -> Self {
        let is_home = |work: &Virlrc| home.as_ref().is_some_and(|home| home.is(work));
        Self { variable, work: work.filter(|work| !is_home(work)), home }
    }

    /// As CML's own client finds them: in a file it knows only the first name of each.
    fn find(&self, names: &[&str], files: &[&Option<Virlrc>]) -> Option<Found> {
        for name in names {
            if let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) {
                return Some(Found { value, name: format!("{name} of the environment") });
            }
        }
        let first = names.first()?;
        let mut files = files.iter().filter_map(|file| file.as_ref());
        files.find_map(|file| {
            Some(Found { value: file.get(first)?, name: format!("{first} of {}", file.path.display()) })
        })
    }

    fn settings(&self) -> Settings {
        let get = |names: &[&str]| Some(self.find(names, &[&self.work, &self.home])?.value);
        Settings { url: get(&URL), authorities: self.authorities(), ..Settings::credentials(get) }
    }

    fn authorities(&self) -> Option<PathBuf> {
        let is_switch = |text: &String| matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "0" | "1");
        // A forgotten setting does not switch verification off: only --insecure does.
        let found = self.find(&VERIFICATION, &[]).map(|found| found.value);
        let at_home = || {
            let home = self.home.as_ref()?;
            // Not relative to the working folder, where others may have put a file of that name.
            Some(home.path.parent()?.join(home.get("CA_BUNDLE").filter(|text| !is_switch(text))?))
        };
        match found {
            Some(text) => (!is_switch(&text)).then(|| text.into()),
            None => at_home(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for file in [&self.work, &self.home].into_iter().flatten() {
            let path = file.path.display();
            if file.is_open_to_others() && SECRETS.iter().any(|name| file.get(name).is_some()) {
                warnings.push(format!(
                    "{path} contains a password, and its mode lets other users read or change it: chmod 600 {}",
                    quoted(&path.to_string())
                ));
            }
        }
        if let Some(file) = &self.work {
            let named: Vec<&str> = VERIFICATION.into_iter().filter(|name| file.get(name).is_some()).collect();
            if !named.is_empty() {
                let (path, verb) = (file.path.display(), if named.len() > 1 { "do" } else { "does" });
                warnings.push(format!(
                    "{path}: {} {verb} not count in a file of the working folder, \
                     only in the environment or in ~/{NAME}",
                    named.join(" and ")
                ));
            }
        }
        warnings
    }

    /// The file in the working folder, if nothing that is under the user's control names this server as well.
    fn named_only_by(&self, server: &Address) -> Option<&Virlrc> {
        let is_same = |text: &str| Address::parse(text).is_ok_and(|address| address == *server);
        self.find(&URL, &[&self.home]).is_none_or(|own| !is_same(&own.value)).then_some(self.work.as_ref()?)
    }

    /// What of the settings may be sent to the server that they name.
    async fn confirm(&self, ui: &Ui, settings: Settings, server: &Address) -> Result<Settings> {
        let Some(file) = self.named_only_by(server) else { return Ok(settings) };
        let path = file.path.display();
        let own = Settings::credentials(|names| file.get(names.first()?));
        if own.has_secret() {
            ui.note(format_args!("{path} names the server {server}; only the credentials in that file are used"));
            let (user, ssh_user) = (own.user.or(settings.user), own.ssh_user.or(settings.ssh_user));
            return Ok(Settings { url: settings.url, authorities: settings.authorities, user, ssh_user, ..own });
        }
        let secrets = [&PASSWORD[..], &TOKEN, &SSH_PASSWORD];
        let others: Vec<Found> = secrets.iter().filter_map(|names| self.find(names, &[&self.home])).collect();
        if others.is_empty() {
            ui.note(format_args!("{path} names the server {server}"));
            return Ok(settings);
        }
        let others: Vec<&str> = others.iter().map(|found| found.name.as_str()).collect();
        let others = others.join(" and ");
        let question = format!("{path} in the working folder names the server {server}. May {others} be sent there?");
        let is_allowed = ui.can_ask() && ui.ask(&question).await?;
        ensure!(
            is_allowed,
            "only {path}, a file in the working folder, names the server {server}, \
             so this was not sent there: {others}\n\
             If it is your server, name it yourself: --cml {}, or VIRL2_URL in the environment or in ~/{NAME}. \
             If it has credentials of its own, put them into {path} too",
            quoted(settings.url.as_deref().unwrap_or_default())
        );
        Ok(settings)
    }
}

/// Text as a word of a command line.
fn quoted(word: &str) -> String {
    shell_escape::unix::escape(printable(word).into()).into_owned()
}

/// A password or a token, which does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text, for the code that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without this secret: servers may repeat what they were sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < 3 { text.to_owned() } else { text.replace(&self.0, "•••") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The settings of an environment and of two files; a file without text is not there.
    fn sources(variables: &[(&str, &str)], work: &str, home: &str) -> Sources<impl Fn(&str) -> Option<String>> {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut files = folders.iter().zip([work, home]).map(|(folder, text)| {
            if !text.is_empty() {
                let path = folder.path().join(NAME);
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            Virlrc::read(folder.path()).unwrap()
        });
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variable =
            move |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.to_owned());
        Sources::new(variable, files.next().unwrap(), files.next().unwrap())
    }

    fn found(variables: &[(&str, &str)], work: &str, home: &str) -> Settings {
        sources(variables, work, home).settings()
    }

    #[test]
    fn every_variable_with_a_secret_is_kept_from_other_programs() {
        let asked = std::cell::RefCell::new(Vec::new());
        let _ = Settings::credentials(|names| {
            asked.borrow_mut().extend(names.iter().map(|name| (*name).to_owned()));
            None
        });
        let is_secret =
            |name: &String| ["PASS", "JWT", "TOKEN", "SECRET", "KEY"].iter().any(|word| name.contains(word));
        let secrets: Vec<String> = asked.into_inner().into_iter().filter(is_secret).collect();
        assert!(secrets.len() >= 4 && secrets.iter().all(|name| SECRETS.contains(&name.as_str())), "{secrets:?}");
    }

    /// What counts without a terminal to ask on, if no server is named with `--cml`.
    async fn settled(variables: &[(&str, &str)], work: &str, home: &str) -> Result<Settings> {
        let sources = sources(variables, work, home);
        let settings = sources.settings();
        let server = settings.servers(&[]).unwrap().remove(0);
        assert!(!Ui::new(false).can_ask(), "run this test without a terminal");
        sources.confirm(&Ui::new(false), settings, &server).await
    }

    #[test]
    fn the_environment_wins_over_the_working_folder_and_that_over_home() {
        let home = "VIRL2_URL=home\nVIRL2_USER=me\nVIRL2_PASS=\"s p\"\n";
        let settings = found(&[("VIRL_HOST", "environment")], "VIRL2_URL=work\n", home);
        assert_eq!(settings.url.as_deref(), Some("environment"));
        assert_eq!(settings.password.unwrap().reveal(), "s p");
        assert_eq!(found(&[], "VIRL2_URL=work", home).url.as_deref(), Some("work"));
        assert_eq!(found(&[], "", home).url.as_deref(), Some("home"));
    }

    #[tokio::test]
    async fn secrets_do_not_go_to_a_server_that_only_the_working_folder_names() {
        let work = "VIRL2_URL=stranger\nVIRL2_USER=me\n";
        for (variables, home) in [
            (&[("VIRL2_PASS", "s3cret")][..], ""),
            (&[("VIRL_PASSWORD", "s3cret")], ""),
            (&[("VIRL2_JWT", "s3cret")], ""),
            (&[("CML_SSH_PASS", "s3cret")], ""),
            (&[], "VIRL2_URL=mine\nVIRL2_PASS=s3cret"),
            (&[], "VIRL2_JWT=s3cret"),
            (&[], "CML_SSH_PASS=s3cret"),
            // Another application of that host, or another way in.
            (&[], "VIRL2_URL=https://stranger\nVIRL2_PASS=s3cret"),
        ] {
            let message = settled(variables, work, home).await.err().unwrap().to_string();
            for text in ["names the server stranger", "--cml stranger", "VIRL2_URL in the environment"] {
                assert!(message.contains(text), "{message}");
            }
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[tokio::test]
    async fn secrets_go_to_the_server_that_the_user_names_or_that_is_named_beside_them() {
        let own = settled(&[("VIRL2_JWT", "a"), ("VIRL2_PASS", "b")], "VIRL2_URL=x\nVIRL2_PASS=c", "CML_SSH_PASS=d");
        let own = own.await.unwrap();
        assert_eq!(own.password.unwrap().reveal(), "c");
        assert!(own.token.is_none() && own.ssh_password.is_none());
        for (variables, work, home) in [
            (&[("VIRL2_URL", "x"), ("VIRL2_PASS", "a")][..], "VIRL2_URL=y", ""),
            (&[("VIRL2_PASS", "a")], "VIRL2_USER=me", "VIRL2_URL=x"),
            (&[], "VIRL2_URL=x", "VIRL2_URL=x\nVIRL2_PASS=a"),
        ] {
            assert_eq!(settled(variables, work, home).await.unwrap().password.unwrap().reveal(), "a", "{work} {home}");
        }
        assert!(!settled(&[], "VIRL2_URL=x", "VIRL2_USER=me").await.unwrap().has_secret());
    }

    #[test]
    fn the_file_at_home_is_trusted_in_the_home_folder_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "VIRL2_URL=x").unwrap();
        let read = || Virlrc::read(folder.path()).unwrap();
        assert!(Sources::new(|_| None, read(), read()).work.is_none());
    }

    #[test]
    fn verification_is_not_switched_off_by_a_setting() {
        assert!(found(&[("CML_VERIFY_CERT", "False")], "", "").authorities.is_none());
        assert_eq!(found(&[("CA_BUNDLE", "/ca.pem")], "", "").authorities, Some("/ca.pem".into()));
        assert_eq!(found(&[], "", "CA_BUNDLE=/ca.pem").authorities, Some("/ca.pem".into()));
        let at_home = found(&[], "", "CA_BUNDLE=ca.pem").authorities.unwrap();
        assert!(at_home.is_absolute() && at_home.ends_with("ca.pem"), "{}", at_home.display());
    }

    #[test]
    fn the_working_folder_does_not_decide_which_certificates_are_accepted() {
        let sources = sources(&[], "CA_BUNDLE=/theirs.pem\nCML_VERIFY_CERT=False\n", "CA_BUNDLE=/mine.pem\n");
        assert_eq!(sources.settings().authorities, Some("/mine.pem".into()));
        let warnings = sources.warnings();
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.contains("CA_BUNDLE and CML_VERIFY_CERT do not count"), "{warning}");
    }

    #[test]
    fn a_file_with_a_password_that_others_can_read_is_warned_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for (text, mode, count) in [
            ("VIRL2_PASS=a\nVIRL2_JWT=b", 0o640, 1),
            ("VIRL2_JWT=b", 0o604, 1),
            ("CML_SSH_PASS=b", 0o620, 1),
            ("VIRL2_PASS=a", 0o600, 0),
            ("VIRL2_URL=a", 0o644, 0),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = Sources::new(|_| None, None, Virlrc::read(folder.path()).unwrap()).warnings();
            assert_eq!(warnings.len(), count, "{text} {mode:o}");
            let remedy = format!("chmod 600 {}", path.display());
            assert!(warnings.iter().all(|warning| warning.contains(&remedy)), "{warnings:?}");
        }
    }

    #[test]
    fn without_a_server_the_error_says_where_to_name_one() {
        let message = found(&[], "", "").servers(&[]).unwrap_err().to_string();
        assert!(
            message.contains("--cml HOST") && message.contains("VIRL2_URL") && message.contains(".virlrc"),
            "{message}"
        );
        let twice = ["a".to_owned(), "me@a".to_owned()];
        assert!(found(&[], "", "").servers(&twice).unwrap_err().to_string().contains("named twice"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "•••");
        assert_eq!(secret.redact("wrong password s3cret!"), "wrong password •••!");
    }
}
