//! The build machine's lab in CML's topology format, from the templates in `builder/`.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Serialize;
use tera::{Kwargs, State};

use crate::environment::Environment;
use crate::{HOSTNAME, MARK, lookup};
use files::Tree;

const FOLDER: &str = "builder";

/// The largest file there has a fraction of this.
const LARGEST: u64 = 1 << 20;

#[derive(Clone, Serialize)]
pub struct Machine {
    pub title: String,
    pub node_definition: String,
    pub image_definition: String,
    pub cpus: u32,
    /// In MB.
    pub ram: u32,
    /// In GB.
    pub disk: u32,
    pub user: String,
    /// As in `/etc/shadow`. Without it, passwords are not accepted.
    pub password_hash: Option<String>,
    #[serde(flatten)]
    pub environment: Environment,
}

impl Machine {
    /// The lab as CML imports it, from the templates of the repository at `root`.
    pub fn topology(&self, root: &Path) -> Result<String> {
        let mut context = self.context()?;
        context.insert("user_data", &self.user_data(root)?);
        context.insert("network_config", &read(root, "network-config.yaml")?);
        render(root, "lab.yaml", &context)
    }

    pub fn user_data(&self, root: &Path) -> Result<String> {
        let mut context = self.context()?;
        context.insert("prepare", &read(root, "prepare.sh")?);
        render(root, "user-data.yaml", &context)
    }

    fn context(&self) -> Result<tera::Context> {
        let mut context = tera::Context::from_serialize(self)?;
        let description = format!(
            "A machine that builds container nodes, created by `cargo xtask builder create`.\n{}",
            lookup::mark(&self.user)
        );
        let notes = format!(
            "It prepares itself when it starts for the first time. Then, as {}:\n\n    \
             cd {}\n    cargo xtask save --yes\n    cargo xtask upload --cml cml\n",
            self.user, self.environment.repository.folder
        );
        for (name, text) in
            [("description", description.as_str()), ("notes", &notes), ("hostname", HOSTNAME), ("tag", MARK)]
        {
            context.insert(name, text);
        }
        Ok(context)
    }
}

/// A file of the folder `builder/`.
fn read(root: &Path, name: &str) -> Result<String> {
    let text = Tree::at(root).read_to_string(Path::new(FOLDER).join(name), LARGEST)?;
    Ok(text.trim_end().to_owned())
}

fn render(root: &Path, name: &str, context: &tera::Context) -> Result<String> {
    let mut tera = templates::engine();
    tera.register_filter("quoted", quoted);
    let text = read(root, name)? + "\n";
    let path = root.join(FOLDER).join(name);
    let render = || tera.add_raw_template(name, &text).and_then(|()| templates::render(&tera, name, context));
    templates::watched(&path.display().to_string(), render)?
        .map_err(|error| anyhow!("{} is not a valid template: {error}", path.display()))
}

/// `{{ text | quoted }}`: one YAML scalar in ASCII, whatever the text contains. JSON's way of quoting would not do:
/// YAML has other printable characters, and does not join surrogate pairs.
fn quoted(text: &str, _: Kwargs, _: &State<'_>) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push_str(&format!("\\U{:08X}", u32::from(letter))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Origin;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
    }

    fn machine() -> Machine {
        Machine {
            title: "T: \"x\" #\u{2028}\u{1f600}\u{85}".into(),
            node_definition: "ubuntu".into(),
            image_definition: "ubuntu-24-04-20250503".into(),
            cpus: 4,
            ram: 4096,
            disk: 32,
            user: "me".into(),
            password_hash: Some("$6$salt$hash".into()),
            environment: Environment {
                keys: vec!["ssh-ed25519 AAAA me: {x} - \"{{ title }}\"\\n".into(), "ssh-rsa BBBB \u{7f}ü".into()],
                time_zone: "Asia/Tokyo".into(),
                locale: "ja_JP.UTF-8".into(),
                repository: Origin { url: "https://example.org/cml-nodes.git".into(), folder: "cml-nodes".into() },
                server: "192.0.2.1".into(),
                server_user: "admin".into(),
            },
        }
    }

    /// As CML and cloud-init read it: PyYAML's YAML, by the project's own reader.
    fn parsed(text: &str) -> serde_yaml::Value {
        assert!(text.is_ascii(), "{text}");
        assert!(located_yaml::read(text.as_bytes()).is_ok(), "{text}");
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn values_from_the_user_stay_single_scalars() {
        let machine = machine();
        let lab = parsed(&machine.topology(root()).unwrap());
        assert_eq!(lab["lab"]["title"], machine.title.as_str());
        let node = &lab["nodes"][1];
        assert_eq!(node["tags"][0], MARK);
        let user_data = node["configuration"][0]["content"].as_str().unwrap();
        assert_eq!(user_data.trim_end(), machine.user_data(root()).unwrap().trim_end());
        let user = &parsed(user_data)["users"][0];
        let keys: Vec<&str> =
            user["ssh_authorized_keys"].as_sequence().unwrap().iter().flat_map(|key| key.as_str()).collect();
        assert_eq!(keys, machine.environment.keys);
        assert_eq!(user["hashed_passwd"], "$6$salt$hash");
    }

    #[test]
    fn the_script_is_unchanged_in_the_user_data() {
        let user_data = parsed(&machine().user_data(root()).unwrap());
        let script = user_data["write_files"].as_sequence().unwrap().last().unwrap()["content"].as_str().unwrap();
        assert_eq!(script, std::fs::read_to_string(root().join("builder/prepare.sh")).unwrap());
    }

    #[test]
    fn without_a_password_hash_passwords_are_not_accepted() {
        let machine = Machine { password_hash: None, ..machine() };
        let user_data = parsed(&machine.user_data(root()).unwrap());
        assert_eq!(user_data["ssh_pwauth"], false);
        assert_eq!(user_data["users"][0]["lock_passwd"], true);
        assert!(user_data["users"][0].get("hashed_passwd").is_none());
    }
}
