//! Answers ssh's question for a password, when that is known already.
//!
//! ssh takes passwords from a terminal, or from a program that `SSH_ASKPASS` names. That program is this one, started
//! anew by ssh: it fetches the password from its parent through a socket in a private folder. So the password
//! stands in no argument, no environment and no file.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::secret::Secret;

/// Names the socket.
const VARIABLE: &str = "CML_NODES_ASKPASS";

/// If ssh has started this program to ask for a password: prints it, and is true.
pub fn answered() -> bool {
    let Some(socket) = std::env::var_os(VARIABLE) else { return false };
    let prompt = std::env::args().nth(1).unwrap_or_default();
    // Without an answer, ssh gives up.
    let _ = ask(Path::new(&socket), &prompt).map(|answer| println!("{answer}"));
    true
}

fn ask(socket: &Path, prompt: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(prompt.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Gives the password once to whoever ssh starts, then no more: a wrong one is not repeated.
pub struct Answering {
    socket: PathBuf,
}

impl Answering {
    /// # Errors
    /// If no socket can be made in `folder`, which must be for this user only.
    pub fn start(folder: &Path, password: Secret) -> Result<Self> {
        let socket = folder.join("p");
        let listener = UnixListener::bind(&socket).with_context(|| format!("{} can't be made", socket.display()))?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut prompt = String::new();
                let asked = stream.read_to_string(&mut prompt).is_ok();
                if prompt.is_empty() && asked {
                    return;
                }
                // Never for a key's passphrase, nor for yes or no.
                if prompt.to_ascii_lowercase().contains("password") {
                    let _ = stream.write_all(password.reveal().as_bytes());
                    return;
                }
            }
        });
        Ok(Self { socket })
    }

    /// What ssh needs in its environment.
    pub fn environment(&self) -> Result<[(&'static str, std::ffi::OsString); 3]> {
        let program = std::env::current_exe().context("this program can't find itself")?;
        Ok([
            ("SSH_ASKPASS", program.into()),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            (VARIABLE, self.socket.clone().into()),
        ])
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        // Ends the thread, if nobody has asked.
        let _ = UnixStream::connect(&self.socket);
    }
}
