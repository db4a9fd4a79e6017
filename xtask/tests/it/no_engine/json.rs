//! With `--json`, stdout is one JSON document, also if the command fails; stderr and the exit code say so as well.

use std::collections::BTreeSet;
use std::net::TcpListener;

use crate::common::cml::Stage;
use crate::common::{Outcome, Repo};

/// Where nothing answers.
const NOWHERE: &str = "https://127.0.0.1:1";

/// Calls that fail before they have a result, and what is said; at least one of each command that knows `--json`.
const FAILING: [(&[&str], &str); 12] = [
    (&["save"], "127.0.0.1:1"),
    (&["save", "nobody"], "there is no node `nobody`"),
    (&["verify"], "127.0.0.1:1"),
    (&["verify", "nobody"], "there is no node `nobody`"),
    (&["verify", "--definition", "/none.yaml", "--archive", "/none.tar"], "/none.yaml"),
    (&["upload", "--cml", NOWHERE], "127.0.0.1:1"),
    (&["upload", "nobody", "--cml", NOWHERE], "there is no node `nobody`"),
    (&["cml", "doctor", "--cml", NOWHERE, "--via", "api"], "doctor needs ssh"),
    (&["cml", "remove", "a b", "--cml", NOWHERE], "is not an id"),
    (&["cml", "rollback", "a b", "--cml", NOWHERE], "is not an id"),
    (&["builder", "status", "--cml", NOWHERE], "127.0.0.1:1"),
    (&["list", "--root", "/none"], "/none"),
];

/// Calls that are not understood, or name nothing that could be worked on.
const WRONG: [(&[&str], &str); 6] = [
    (&["cml", "status", "--cml", "127.0.0.1:99999"], "`99999` is not a port"),
    (&["cml", "prune", "--cml", "127.0.0.1:99999"], "`99999` is not a port"),
    (&["lint", "/none.yaml"], "/none.yaml"),
    (&["lint", "--deny", "nothing"], "invalid value 'nothing'"),
    (&["list", "--no-such-option"], "unexpected argument '--no-such-option'"),
    (&["cml", "remove"], "<NODE>"),
];

/// The error in the document: what failed, and why.
#[track_caller]
fn error(outcome: &Outcome) -> String {
    let document = outcome.json();
    let error = &document["error"];
    let (what, because) = (error["what"].as_str().unwrap(), error["because"].as_array().unwrap());
    assert!(outcome.stderr.contains(what.lines().next().unwrap()), "{outcome}");
    let reasons = because.iter().map(|reason| reason.as_str().unwrap());
    std::iter::once(what).chain(reasons).collect::<Vec<_>>().join(": ")
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.repo.set("XTASK_ENGINE", "tcp://127.0.0.1:1");
    for (name, value) in [("VIRL2_USER", "admin"), ("VIRL2_PASS", "secret")] {
        stage.repo.set(name, value);
    }
    stage
}

fn with_json<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--json"]].concat()
}

#[test]
fn a_command_that_fails_says_so_in_json_too() {
    let stage = stage();
    for (calls, code) in [(&FAILING[..], 1), (&WRONG[..], 2)] {
        for (args, said) in calls {
            let outcome = stage.repo.xtask(&with_json(args));
            assert_eq!(outcome.code, Some(code), "{args:?}: {outcome}");
            assert!(error(&outcome).contains(said), "{args:?}: {outcome}");
            outcome.says([said]);
        }
    }
}

#[test]
fn a_server_that_is_not_reached_is_in_the_list_of_servers() {
    let stage = stage();
    for args in [&["cml", "status"][..], &["cml", "remove", "tiny"], &["cml", "rollback", "tiny"]] {
        let outcome = stage.repo.xtask(&with_json(&[args, &["--cml", NOWHERE]].concat()));
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.json()[0]["error"].as_str().unwrap().contains("127.0.0.1:1"), "{outcome}");
    }
    let two = ["cml", "doctor", "--json", "--cml", "ssh://127.0.0.1:1", "--cml", "ssh://127.0.0.1:2"];
    let outcome = stage.repo.xtask(&two);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let servers = outcome.json();
    assert!(servers.as_array().unwrap().iter().all(|server| server["error"].is_string()), "{outcome}");
    assert_eq!(servers.as_array().unwrap().len(), 2);
}

#[test]
fn an_interrupted_command_says_so_in_json_too() {
    let (stage, silent) = (stage(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = format!("https://{}", silent.local_addr().unwrap());
    let status = stage.repo.start(&["cml", "status", "--json", "--cml", &address]);
    let _connection = silent.accept().unwrap();
    status.signal("INT");
    let outcome = status.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert!(error(&outcome).starts_with("interrupted"), "{outcome}");
    // A step may have been undone.
    assert!(!error(&outcome).contains("kept"), "{outcome}");
}

#[test]
fn every_command_that_knows_the_option_is_tested_here() {
    let repo = Repo::tiny();
    let commands = |of: &[&str]| -> Vec<String> {
        let help = repo.xtask(&[of, &["--help"]].concat()).success().stdout;
        let lines = help.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let words = lines.filter_map(|line| line.split_whitespace().next());
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
    };
    let mut known = BTreeSet::new();
    for command in commands(&[]).iter().map(String::as_str) {
        let inner = if ["cml", "builder", "dev"].contains(&command) { commands(&[command]) } else { Vec::new() };
        let paths = inner.iter().map(|inner| vec![command, inner]).chain([vec![command]]);
        for path in paths.filter(|path| path.len() == 2 || inner.is_empty()) {
            if repo.xtask(&[&path[..], &["--help"]].concat()).stdout.contains("--json") {
                known.insert(path.join(" "));
            }
        }
    }
    let is_tested = |command: &String| {
        let calls = FAILING.iter().chain(&WRONG).map(|(args, _)| args.join(" "));
        calls.into_iter().any(|call| call.starts_with(command))
    };
    assert!(known.len() >= 9 && known.iter().all(is_tested), "{known:?}");
}
