//! Answers ssh's password prompt when the password is known.
//!
//! ssh reads passwords from a terminal, or from the program that `SSH_ASKPASS` names. That program is this one, started
//! by ssh: it fetches the password from its parent through a socket in a private folder. So the password is in no
//! argument, no environment variable and no file.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::settings::Secret;

const VARIABLE: &str = "CML_NODES_ASKPASS";

/// Whether ssh has started this program to ask for a password; then the password has been printed.
pub fn answered() -> bool {
    let Some(socket) = std::env::var_os(VARIABLE) else { return false };
    let prompt = std::env::args().nth(1).unwrap_or_default();
    // If there is no answer, ssh gives up.
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

/// Gives the password to the program that ssh starts, once: a wrong password is not repeated.
pub struct PasswordServer {
    socket: PathBuf,
}

impl PasswordServer {
    /// `folder` must be accessible to this user only.
    pub fn start(folder: &Path, password: Secret) -> Result<Self> {
        let socket = folder.join("p");
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot create {}", socket.display()))?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut prompt = String::new();
                let asked = stream.read_to_string(&mut prompt).is_ok();
                if prompt.is_empty() && asked {
                    return;
                }
                // Not for the passphrase of a key, nor for a yes or no.
                if prompt.to_ascii_lowercase().contains("password") {
                    let _ = stream.write_all(password.reveal().as_bytes());
                    return;
                }
            }
        });
        Ok(Self { socket })
    }

    pub fn environment(&self) -> Result<[(&'static str, std::ffi::OsString); 3]> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        Ok([
            ("SSH_ASKPASS", program.into()),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            (VARIABLE, self.socket.clone().into()),
        ])
    }
}

impl Drop for PasswordServer {
    fn drop(&mut self) {
        // Ends the thread, if ssh has not asked.
        let _ = UnixStream::connect(&self.socket);
    }
}
