//! The files `mounts` and `environment`, which users edit and CML's docker-shim reads: a mount or a variable a line.
//! [docs/cml.md 5, cisco]
//!
//! What is not known to be harmless is not applied, and named instead.

use crate::config::config_json;
use crate::finding::Example::Node;
use crate::finding::{Finding, MOST_FINDINGS, Rule};
use crate::schema::NodeDefinition;
use crate::yaml::{Mark, quoted};

pub(crate) const MOUNTS: &str = "mounts";
pub(crate) const ENVIRONMENT: &str = "environment";

/// The most volumes that a node gets here.
const MOST_VOLUMES: usize = 16;

pub(crate) static SHIM_FILE_LINE: Rule = Rule::warning(
    "shim-file-line",
    "Every line of `mounts` and `environment` can be applied",
    "The docker-shim reads these two files: `mounts` has a mount a line, `environment` a variable. By default CML's \
     shim allows `type=volume` only (`/etc/default/docker-shim.env` on the server), with the name of a volume that \
     exists there. A variable without a value would be the host's. `run` and `verify` give a node new volumes, \
     which are removed with it; they ignore a line that is not like that, and say so. Lines that begin with `#` are \
     comments.",
    Node(concat!(
        config_json!(r#"{"docker": {"image": "tiny:1.0"}}"#),
        "      - name: mounts\n        editable: true\n        content: type=bind,source=/srv,target=/srv\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"image": "tiny:1.0"}}"#),
        "      - name: mounts\n        editable: true\n        content: type=volume,source=data,target=/srv\n"
    )),
);

/// A volume that the engine keeps, not a folder of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On a CML server. Without one, the volume is the node's own.
    pub name: Option<String>,
    /// The mount's other fields.
    fields: Vec<String>,
}

impl Volume {
    /// `type=volume,source=NAME,target=/path`
    ///
    /// # Errors
    /// If it is anything else, or has a field that is not known to be harmless: why.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if text.contains(['"', '\'', '\\']) || text.chars().any(char::is_control) {
            return Err("quotes, backslashes and control characters are read differently by engines");
        }
        let (mut name, mut kinds, mut targets, mut fields) = (None, 0, 0, Vec::new());
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "type" if value == "volume" => kinds += 1,
                "type" => return Err("only `type=volume` is allowed by default"),
                "source" | "src" if name.is_some() => return Err("it has two sources"),
                "source" | "src" if is_name(value) => name = Some(value.to_owned()),
                "source" | "src" => return Err("its source is not the name of a volume"),
                "target" | "dst" | "destination" if value.starts_with('/') && !value.contains("..") => targets += 1,
                "target" | "dst" | "destination" => return Err("its target is not an absolute path"),
                "readonly" | "ro" if matches!(value, "" | "true" | "false" | "1" | "0") => {}
                _ => return Err("accepted are only type, source, target and readonly"),
            }
            match key {
                "source" | "src" => {}
                // Podman 4.3 knows only the short form, of a volume.
                "readonly" | "ro" if matches!(value, "" | "true" | "1") => fields.push("ro".to_owned()),
                "readonly" | "ro" => {}
                _ => fields.push(field.to_owned()),
            }
        }
        match (kinds, targets) {
            (1, 1) => Ok(Self { name, fields }),
            _ => Err("it needs `type=volume` and a target, once each"),
        }
    }

    /// The argument of `--mount`, for the engine's volume of that name.
    pub fn argument(&self, volume: &str) -> String {
        format!("{},source={volume}", self.fields.join(","))
    }
}

/// [Docker: names/names.go, RestrictedNamePattern]
fn is_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A line that is not applied.
#[derive(Debug)]
pub(crate) struct Ignored {
    /// Counted from 1.
    line: usize,
    /// The file, the line, and why.
    pub message: String,
}

type Lines<T> = (Vec<T>, Vec<Ignored>);

/// What `mounts` asks for.
pub(crate) fn volumes(text: &str) -> Lines<Volume> {
    let (mut volumes, mut ignored) = lines(MOUNTS, text, Volume::read);
    for _ in volumes.drain(MOST_VOLUMES.min(volumes.len())..) {
        let message = format!("{MOUNTS}: only {MOST_VOLUMES} volumes are applied");
        ignored.push(Ignored { line: 1, message });
    }
    (volumes, ignored)
}

/// What `environment` asks for.
pub(crate) fn variables(text: &str) -> Lines<String> {
    lines(ENVIRONMENT, text, |line| match line.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(line.to_owned()),
        _ => Err("it is not NAME=VALUE"),
    })
}

fn lines<T>(file: &str, text: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Lines<T> {
    let (mut applied, mut ignored) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match read(line) {
            Ok(value) => applied.push(value),
            Err(_) if ignored.len() >= MOST_FINDINGS => {}
            Err(why) => {
                let message = format!("{file}: the line {} is not applied: {why}", quoted(line));
                ignored.push(Ignored { line: index + 1, message });
            }
        }
    }
    (applied, ignored)
}

/// The lines that are not applied.
pub(crate) fn ignored_lines(definition: &NodeDefinition) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, file) in definition.files().iter().enumerate() {
        let (Some(name), Some(content)) = (&file.name, &file.content) else { continue };
        let ignored = match name.value.as_str() {
            MOUNTS => volumes(&file.text()).1,
            ENVIRONMENT => variables(&file.text()).1,
            _ => continue,
        };
        findings.extend(ignored.into_iter().map(|Ignored { line, message }| {
            let at = content.place_inside(Mark { line, column: 1 });
            Finding::new(&SHIM_FILE_LINE, at, format!("configuration.provisioning.files[{index}].content"), message)
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_are_mounted() {
        let volume = Volume::read("type=volume,source=data,target=/srv,readonly").unwrap();
        assert_eq!(volume.name.as_deref(), Some("data"));
        assert_eq!(volume.argument("lab-1"), "type=volume,target=/srv,ro,source=lab-1");
        assert_eq!(Volume::read("type=volume,dst=/srv").unwrap().name, None);
        for refused in [
            "type=bind,source=/etc,target=/x",
            "type=volume,source=/etc,target=/x",
            "type=volume,source=../etc,target=/x",
            "type=volume,source=./etc,target=/x",
            "type=volume,source=a,src=b,target=/x",
            "type=volume,type=bind,source=a,target=/x",
            "type=volume,target=/x,volume-opt=type=none,volume-opt=device=/etc,volume-opt=o=bind",
            "type=volume,target=/x,volume-driver=local",
            "type=volume,\"target=/x,source=/etc\"",
            "type=volume,target=x",
            "type=volume,target=/../x",
            "type=volume",
            "target=/x",
            "type=tmpfs,target=/x",
        ] {
            assert!(Volume::read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn lines_that_are_not_applied_are_named() {
        let (volumes, ignored) = volumes("# type=volume,target=/a\n\n  type=volume,target=/b  \ntype=bind,target=/c\n");
        assert_eq!((volumes.len(), ignored.len(), ignored[0].line), (1, 1, 4));
        let said = "mounts: the line `type=bind,target=/c` is not applied: only `type=volume`";
        assert!(ignored[0].message.starts_with(said), "{}", ignored[0].message);
        let (variables, ignored) = variables("A=b c=d\n#B=1\nPATH\n=x\nC=\n");
        assert_eq!(variables, ["A=b c=d", "C="]);
        assert_eq!(ignored.iter().map(|one| one.line).collect::<Vec<_>>(), [3, 4]);
    }
}
