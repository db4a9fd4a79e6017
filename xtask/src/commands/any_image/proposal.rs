//! From what an image says of itself, and what a run of it has shown, to the values of a node definition. Plain values
//! in, plain values out. All texts of the image are a stranger's: they are shortened and kept to harmless characters
//! here, and quoted where they are written.

use std::collections::BTreeSet;
use std::time::Duration;

use console::AnsiCodeIterator;

use crate::engine::images::said::Said;
use crate::lab::Measured;

/// The longest text for CML to wait for. [docs/cml.md 4: `completed`]
pub const LONGEST_TEXT: usize = 128;

/// A shorter text may be on the console for another reason.
const SHORTEST_TEXT: usize = 4;

/// CML's palette cuts off longer labels, and no published one is longer.
pub const LONGEST_LABEL: usize = 26;

/// How many ports a description names.
const SHOWN_PORTS: usize = 8;

/// A node has this much memory at least, in MiB, and a multiple of the step.
const LEAST_RAM: u64 = 128;
const RAM_STEP: u64 = 64;

/// How often the memory fits in that was measured at the start: what the node will be used for needs some, too.
const RAM_MARGIN: u64 = 2;

/// How long CML waits for a text, in seconds; and if there is none, until it takes the node as booted.
pub const TIMEOUT: u32 = 120;
const TIMEOUT_WITHOUT_TEXT: u32 = 10;

/// An engine kills a container that has not stopped after 10 s.
const KILLED_AFTER: Duration = Duration::from_secs(9);
const STOP_LIMIT_OF_KILLED: u32 = 13;

/// What Docker grants by default, and NET_ADMIN: the partial `capabilities/host.yaml`.
pub const CAPABILITIES_OF_ROOT: &str = "host";

/// What another user than root can use, if a program has them as capabilities of its file.
const CAPABILITIES_OF_USER: [&str; 3] = ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"];

/// What the user of this program asked for.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The image's name, whose tag may be its version.
    pub image: String,
    pub node: String,
    pub label: Option<String>,
    pub ready: Option<String>,
    pub without_shell: bool,
    pub env: Vec<String>,
    /// How long it may take to boot, in seconds.
    pub timeout: u32,
    pub interfaces: usize,
}

/// The values of the new node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    pub title: String,
    pub description: String,
    pub version: String,
    /// As CML's palette shows it.
    pub label: String,
    /// Empty for those of the partial `host`.
    pub capabilities: Vec<&'static str>,
    pub env: Vec<String>,
    /// What CML waits for; empty if there is nothing to wait for.
    pub completed: Vec<String>,
    pub timeout: u32,
    /// What runs `boot.sh`, if there is a shell.
    pub day0_shell: Option<&'static str>,
    /// Whether `boot.sh` writes READY.
    pub says_ready: bool,
    /// What the second console runs.
    pub console: Option<&'static str>,
    pub interfaces: usize,
    /// In MiB.
    pub ram: u64,
    pub stop_seconds: Option<u32>,
}

/// What of the definition is known before the image has run: enough for a trial run.
pub fn before_running(said: &Said, wishes: &Wishes) -> Proposal {
    let version = version(said, wishes);
    let title = title(said, wishes);
    let label = label(wishes, &version);
    Proposal {
        description: description(said, &title),
        title,
        version,
        label,
        capabilities: if is_root(&said.user) { Vec::new() } else { CAPABILITIES_OF_USER.to_vec() },
        env: wishes.env.clone(),
        interfaces: wishes.interfaces,
        ..Proposal::default()
    }
}

/// All of it, after the run.
pub fn propose(said: &Said, measured: &Measured, wishes: &Wishes) -> Proposal {
    let says_ready = wishes.ready.is_none() && measured.can_say_ready;
    let completed = match &wishes.ready {
        Some(text) => vec![text.clone()],
        None if says_ready => vec!["READY".to_owned()],
        None => last_in_common(measured).into_iter().collect(),
    };
    let is_killed = measured.stopped > KILLED_AFTER;
    Proposal {
        timeout: if completed.is_empty() { TIMEOUT_WITHOUT_TEXT } else { wishes.timeout },
        completed,
        day0_shell: measured.shell,
        says_ready,
        console: measured.shell.filter(|_| !wishes.without_shell),
        ram: ram(measured.memory),
        stop_seconds: is_killed.then_some(STOP_LIMIT_OF_KILLED),
        ..before_running(said, wishes)
    }
}

/// What the user should know of the proposal and cannot see in it.
pub fn remarks(said: &Said, measured: &Measured, proposal: &Proposal) -> Vec<String> {
    let mut remarks = Vec::new();
    let shown = |list: &[String]| list.iter().map(|text| text::excerpt(text, 60)).collect::<Vec<_>>().join(", ");
    remarks.push(match proposal.completed.first() {
        Some(_) if proposal.says_ready => {
            "CML waits for READY, which boot.sh writes to the console: it means that the container has started, not \
             that its service answers (--ready TEXT waits for a text that the image prints)"
                .to_owned()
        }
        Some(text) => format!("CML waits for `{}` on the console", text::excerpt(text, LONGEST_TEXT)),
        None => format!(
            "{}, so CML takes it as booted after {} s; `--ready TEXT` makes CML wait for a text",
            nothing_to_wait_for(measured),
            proposal.timeout
        ),
    });
    match measured.memory {
        Some(bytes) => {
            remarks.push(format!("it used {} at its start and gets {} MiB", text::size(bytes), proposal.ram));
        }
        None => remarks.push(format!("its memory could not be measured; it gets {} MiB", proposal.ram)),
    }
    match proposal.day0_shell {
        Some(shell) => remarks.push(format!("{shell} runs boot.sh, which its users edit")),
        None => remarks.push("it has no shell, so there is no second console and no boot.sh".to_owned()),
    }
    if !is_root(&said.user) {
        remarks.push(format!("it runs as the user {}, who cannot set addresses", text::excerpt(&said.user, 60)));
    }
    if !said.volumes.is_empty() {
        let volumes = shown(&said.volumes);
        remarks.push(format!(
            "what it keeps in {volumes} is lost with the container: CML keeps files of a definition only"
        ));
    }
    if said.has_healthcheck {
        remarks.push("CML does not look at its HEALTHCHECK".to_owned());
    }
    if proposal.stop_seconds.is_some() {
        remarks.push("it does not end on SIGTERM, so each stop takes 10 s".to_owned());
    }
    remarks
}

fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}

/// The last line that the console showed at both starts: it has no time, number or address of one start.
fn last_in_common(measured: &Measured) -> Option<String> {
    let lines = |text| str::split(text, ['\r', '\n']).map(str::trim);
    let second: BTreeSet<&str> = lines(measured.printed_again.as_deref()?).collect();
    lines(&measured.printed).rev().filter(|line| second.contains(line)).find_map(distinct)
}

/// What CML can wait for of a line. It looks for the text in what the console shows, colours and all: so this is the
/// longest piece between what terminals act on, and of that the beginning, if it is long.
fn distinct(line: &str) -> Option<String> {
    let shown = AnsiCodeIterator::new(line).filter(|(_, is_code)| !is_code).map(|(piece, _)| piece);
    let pieces = shown.flat_map(|piece| {
        let printable = text::printable_line(piece);
        printable.split('\u{fffd}').map(|piece| piece.trim().to_owned()).collect::<Vec<_>>()
    });
    let longest = pieces.max_by_key(|piece| piece.chars().count())?;
    let text: String = longest.chars().take(LONGEST_TEXT).collect();
    (text.chars().count() >= SHORTEST_TEXT).then(|| text.trim_end().to_owned())
}

/// Why there is no text for CML to wait for.
fn nothing_to_wait_for(measured: &Measured) -> String {
    let shell = match measured.shell {
        None => "it has no shell",
        Some(_) => "its shell cannot write to the console",
    };
    let again = measured.printed_again.as_deref().unwrap_or_default();
    if measured.printed.trim().is_empty() || again.trim().is_empty() {
        return format!("{shell}, and it prints nothing");
    }
    format!("{shell}, and no line of {SHORTEST_TEXT} characters or more is the same at two starts")
}

fn ram(measured: Option<u64>) -> u64 {
    const MIB: u64 = 1 << 20;
    let needed = measured.unwrap_or_default().saturating_mul(RAM_MARGIN).div_ceil(MIB);
    needed.max(LEAST_RAM).div_ceil(RAM_STEP) * RAM_STEP
}

/// The version that the image states, else the tag of its name.
fn version(said: &Said, wishes: &Wishes) -> String {
    let stated = said.labels.get("org.opencontainers.image.version").map(String::as_str);
    let name = wishes.image.split('@').next().unwrap_or_default();
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/') && *tag != "latest");
    let is_plain = |text: &&str| {
        text.len() <= 24
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    tag.filter(is_plain).or(stated.filter(is_plain)).unwrap_or("1.0").to_owned()
}

fn title(said: &Said, wishes: &Wishes) -> String {
    let stated = said.labels.get("org.opencontainers.image.title").map(|text| plain(text, 60));
    wishes.label.clone().or(stated).filter(|text| !text.is_empty()).unwrap_or_else(|| wishes.node.clone())
}

fn description(said: &Said, title: &str) -> String {
    let stated = said.labels.get("org.opencontainers.image.description").map(|text| plain(text, 300));
    let about = stated.filter(|text| !text.is_empty()).unwrap_or_else(|| title.to_owned());
    let mut ports: Vec<String> = said.ports.iter().take(SHOWN_PORTS).map(|port| plain(port, 20)).collect();
    if let Some(more) = said.ports.len().checked_sub(SHOWN_PORTS).filter(|more| *more > 0) {
        ports.push(format!("and {more} more"));
    }
    if ports.is_empty() { about } else { format!("{about} (ports {})", ports.join(", ")) }
}

fn label(wishes: &Wishes, version: &str) -> String {
    let label = wishes.label.clone().unwrap_or_else(|| format!("{} {version}", wishes.node));
    label.chars().take(LONGEST_LABEL).collect::<String>().trim().to_owned()
}

/// One line of harmless characters: letters, digits, and what sentences need.
fn plain(text: &str, most: usize) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || " .,:;()/+-_'!?&@".contains(*c);
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(is_plain).take(most).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn wishes(image: &str) -> Wishes {
        Wishes { image: image.to_owned(), node: "web".to_owned(), interfaces: 2, timeout: TIMEOUT, ..Wishes::default() }
    }

    fn labelled(key: &str, value: &str) -> Said {
        let labels = [(format!("org.opencontainers.image.{key}"), value.to_owned())].into();
        Said { labels, ..Said::default() }
    }

    #[test]
    fn the_version_is_that_of_the_tag_or_of_the_label() {
        let version = |said: &Said, image| before_running(said, &wishes(image)).version;
        assert_eq!(version(&Said::default(), "nginx:1.27"), "1.27");
        assert_eq!(version(&labelled("version", "2.0"), "registry:5000/nginx"), "2.0");
        assert_eq!(version(&labelled("version", "2.0"), "nginx:latest"), "2.0");
        assert_eq!(version(&labelled("version", "{{ x }}"), "nginx.tar.gz"), "1.0");
    }

    #[test]
    fn with_a_shell_boot_sh_says_ready() {
        let measured = Measured { shell: Some("/bin/sh"), can_say_ready: true, ..Measured::default() };
        let proposal = propose(&Said::default(), &measured, &wishes("a:1"));
        assert!(proposal.says_ready && proposal.completed == ["READY"] && proposal.timeout == 120);
        assert_eq!((proposal.console, proposal.day0_shell), (Some("/bin/sh"), Some("/bin/sh")));
        let without = propose(&Said::default(), &measured, &Wishes { without_shell: true, ..wishes("a:1") });
        assert_eq!((without.console, without.day0_shell), (None, Some("/bin/sh")));
    }

    #[test]
    fn a_text_that_the_user_names_is_waited_for_instead() {
        let measured = Measured { shell: Some("/bin/sh"), can_say_ready: true, ..Measured::default() };
        let wishes = Wishes { ready: Some("listening".to_owned()), ..wishes("a:1") };
        let proposal = propose(&Said::default(), &measured, &wishes);
        assert!(!proposal.says_ready && proposal.completed == ["listening"]);
    }

    #[test]
    fn without_a_shell_cml_waits_for_what_two_starts_have_in_common() {
        let completed = |first: &str, second: &str| {
            let (printed, printed_again) = (first.to_owned(), Some(second.to_owned()));
            let measured = Measured { printed, printed_again, ..Measured::default() };
            propose(&Said::default(), &measured, &wishes("a:1")).completed
        };
        assert_eq!(completed("at 12:01\r\nserving\r\npid 7\r\n", "at 12:02\r\nserving\r\npid 9\r\n"), ["serving"]);
        assert!(completed("pid 7\n", "pid 9\n").is_empty());
        let colours = "\u{1b}[32mINFO\u{1b}[0m \u{1b}]0;title\u{7}now \u{1b}[1mserving all\u{1b}[0m\n";
        assert_eq!(completed(colours, colours), ["serving all"], "CML sees the codes, too");
        let long = format!("{} end", "x".repeat(127));
        assert_eq!(completed(&long, &long), ["x".repeat(127)], "a text of CML's has 128 characters at most");
        assert!(completed("ok\n", "ok\n").is_empty());
    }

    #[test]
    fn why_there_is_nothing_to_wait_for_is_said() {
        let why = |shell, first: &str, second: &str| {
            let (printed, printed_again) = (first.to_owned(), Some(second.to_owned()));
            let measured = Measured { shell, printed, printed_again, ..Measured::default() };
            let proposal = propose(&Said::default(), &measured, &wishes("a:1"));
            remarks(&Said::default(), &measured, &proposal).remove(0)
        };
        assert!(why(None, "", "").starts_with("it has no shell, and it prints nothing, so CML"));
        let differs = why(Some("/bin/sh"), "at 12:01\n", "at 12:02\n");
        assert!(differs.starts_with("its shell cannot write to the console, and no line"), "{differs}");
        assert!(differs.contains("`--ready TEXT`"), "{differs}");
    }

    #[test]
    fn a_label_of_the_user_stays_as_it_is() {
        let label = r#"A "label" \ #1 100%"#;
        let wishes = Wishes { label: Some(label.to_owned()), ..wishes("a:1") };
        let proposal = before_running(&labelled("title", "other"), &wishes);
        assert_eq!((proposal.title.as_str(), proposal.label.as_str()), (label, label));
    }

    #[test]
    fn many_ports_are_counted() {
        let described = |ports: u16| {
            let ports = (1..=ports).map(|port| format!("{port}/tcp")).collect();
            before_running(&Said { ports, ..Said::default() }, &wishes("a:1")).description
        };
        assert!(described(8).ends_with(", 8/tcp)") && described(9).ends_with(", 8/tcp, and 1 more)"));
    }

    #[test]
    fn memory_is_doubled_and_rounded_up() {
        assert_eq!(ram(None), 128);
        assert_eq!(ram(Some(10 * MIB)), 128);
        assert_eq!(ram(Some(100 * MIB)), 256);
        assert_eq!(ram(Some(100 * MIB + 1)), 256);
        assert_eq!(ram(Some(1000 * MIB)), 2048);
    }

    #[test]
    fn capabilities_are_dockers_for_root_and_few_for_another_user() {
        let of = |user: &str| {
            let said = Said { user: user.to_owned(), ..Said::default() };
            before_running(&said, &wishes("a:1")).capabilities
        };
        assert!(of("").is_empty() && of("root").is_empty() && of("0:0").is_empty());
        assert_eq!(of("101"), CAPABILITIES_OF_USER);
        assert_eq!(of("nginx:nginx"), CAPABILITIES_OF_USER);
    }

    #[test]
    fn texts_of_the_image_are_short_and_harmless() {
        let hostile = "a\"b{{ get_env(name='HOME') }}{% raw %}\u{1b}[2J\nid: x #}".repeat(100);
        let proposal = before_running(&labelled("title", &hostile), &wishes("a:1"));
        assert!((50..=60).contains(&proposal.title.chars().count()), "{}", proposal.title);
        assert!(!proposal.title.contains(['"', '{', '}', '%', '\n', '#', '\u{1b}']), "{}", proposal.title);
        let said = Said { ports: vec![hostile.clone(); 100], ..labelled("description", &hostile) };
        let described = before_running(&said, &wishes("a:1")).description;
        assert!(described.chars().count() < 600 && !described.contains(['"', '{', '\n']), "{described}");
    }

    #[test]
    fn what_is_not_seen_in_a_definition_is_said() {
        let said = Said {
            user: "app".to_owned(),
            volumes: vec!["/data".to_owned()],
            has_healthcheck: true,
            ..Said::default()
        };
        let measured = Measured { stopped: Duration::from_secs(10), ..Measured::default() };
        let proposal = propose(&said, &measured, &wishes("a:1"));
        assert_eq!((proposal.timeout, proposal.stop_seconds), (10, Some(13)));
        let remarks = remarks(&said, &measured, &proposal).join("\n");
        for text in ["booted after 10 s", "no shell", "the user app", "/data is lost", "HEALTHCHECK", "SIGTERM"] {
            assert!(remarks.contains(text), "{text}: {remarks}");
        }
    }
}
