//! By the API over loopback, to the tests' stand-in for CML's controller.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::commands::args::NodeArgs;
use crate::commands::flow::Saved;
use crate::commands::session::Session;
use crate::dev::bench::figures::{Figure, Times, figure};
use crate::dev::bench::upload::{Uploaded, upload};

pub async fn measure(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let saved = Saved::up_to_date(session, node).await?;
    let (mut whole, mut repeat) = (Times::default(), Times::default());
    for round in 1..=rounds {
        session.ui.headline(format_args!("upload by the API, round {round} of {rounds}"));
        let server = Server::start(session)?;
        let first = server.upload(session)?;
        anyhow::ensure!(first.sent == saved.bundle.archive.size, "{} bytes were sent", first.sent);
        whole.0.push(first.time);
        let again = server.upload(session)?;
        anyhow::ensure!(again.sent == 0, "a repeat sent {} bytes", again.sent);
        repeat.0.push(again.time);
    }
    let size = text::size(saved.bundle.archive.size);
    Ok(vec![
        figure(format!("upload of {size} by the API, whole command"), whole, ""),
        figure("upload with nothing to do, by the API", repeat, "at most 2 s, no archive bytes"),
    ])
}

/// The last variable that the stand-in prints.
const LAST: &str = "FINGERPRINT";

/// The stand-in, in a process of its own, which ends when this is dropped.
struct Server {
    process: Child,
    /// What it prints: `VIRL2_URL=…`
    variables: BTreeMap<String, String>,
    memory: tempfile::TempDir,
}

impl Server {
    fn start(session: &Session<'_>) -> Result<Self> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut process = Command::new(cargo)
            .args(["run", "--quiet", "--locked", "--package", "xtask", "--example", "stand-in-controller"])
            .current_dir(&session.repository.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start the stand-in controller")?;
        let lines = BufReader::new(process.stdout.take().context("the stand-in controller has no output")?).lines();
        let mut variables = BTreeMap::new();
        for line in lines {
            let line = line?;
            let (name, value) = line.split_once('=').context("cannot parse the output of the stand-in controller")?;
            variables.insert(name.to_owned(), value.to_owned());
            if name == LAST {
                break;
            }
        }
        Ok(Self { process, variables, memory: tempfile::tempdir_in(&session.cache)? })
    }

    fn upload(&self, session: &Session<'_>) -> Result<Uploaded> {
        let mut environment = vec![("XDG_STATE_HOME", self.memory.path().into()), ("NO_PROXY", "127.0.0.1".into())];
        environment.extend(self.variables.iter().map(|(name, value)| (name.as_str(), value.into())));
        let variable = |name: &str| {
            self.variables.get(name).with_context(|| format!("the stand-in controller did not print its {name}"))
        };
        upload(session, variable("VIRL2_URL")?, &environment, &["--fingerprint", variable(LAST)?])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends at the end of its input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
