//! Secrets that a user passes in environment variables.
//!
//! A child inherits the environment, and so do its own children: git, a container engine, the ProxyCommand of ssh. None
//! of them needs these secrets, so the program executes itself again without them, once, before it does anything else.
//! Then nothing that it starts can inherit them, whichever library starts it, and `/proc/PID/environ` has none either.
//!
//! The new program gets the values as a message on a socket that is its standard input for that moment, together with
//! the true standard input. So they are in no argument and no file, and no other descriptor is left open.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// The name of the program (`argv[0]`) that finds the secrets on its standard input.
const WITHOUT_SECRETS: &str = "xtask-without-secrets";

static KEPT: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Takes these variables out of the environment; [`secret`] still knows them. To be called first: if one is set, this
/// does not return, and the program begins again.
///
/// # Errors
/// If the program cannot be executed again, or a value is not UTF-8.
pub fn withhold(names: &[&str]) -> Result<()> {
    if std::env::args_os().next().is_some_and(|name| name == WITHOUT_SECRETS) {
        let kept = receive().context("cannot read the secret variables from standard input")?;
        let _ = KEPT.set(kept);
        return Ok(());
    }
    let set = names.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect::<Vec<_>>();
    if set.is_empty() {
        return Ok(());
    }
    match begin_again(set)? {}
}

/// The value of a variable that was taken out of the environment, if it was set and not empty.
pub fn secret(name: &str) -> Option<String> {
    let (_, value) = KEPT.get()?.iter().find(|(kept, value)| kept == name && !value.is_empty())?;
    Some(value.clone())
}

fn begin_again(secrets: Vec<(&str, OsString)>) -> Result<Infallible> {
    let names: Vec<&str> = secrets.iter().map(|(name, _)| *name).collect();
    let mut message = String::new();
    for (name, value) in secrets {
        let value = value.into_string().ok().with_context(|| format!("the value of {name} is not UTF-8"))?;
        // Neither part of a variable can contain a zero.
        message.extend([name, "=", &value, "\0"]);
    }
    let received = send(message.as_bytes()).context("cannot take the secret variables out of the environment")?;
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let mut again = Command::new(&program);
    again.arg0(WITHOUT_SECRETS).args(std::env::args_os().skip(1)).stdin(Stdio::from(received));
    for name in &names {
        again.env_remove(name);
    }
    let error = again.exec();
    let names = names.join(", ");
    Err(error).with_context(|| format!("cannot execute {} again without {names}", program.display()))
}

/// Sends a message together with the standard input. Returns the end of the socket where both wait.
fn send(message: &[u8]) -> Result<OwnedFd> {
    let (here, there) = UnixStream::pair()?;
    // Nobody reads yet: what does not fit must fail.
    here.set_nonblocking(true)?;
    let stdin = io::stdin();
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    attached.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::net::sendmsg(&here, &[IoSlice::new(message)], &mut attached, SendFlags::empty())?;
    ensure!(sent == message.len(), "together they are too long");
    Ok(there.into())
}

/// Reads the message, and puts the true standard input back.
fn receive() -> Result<Vec<(String, String)>> {
    let socket = io::stdin();
    let (mut message, mut piece) = (Vec::new(), [0; 4096]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let first = &mut [IoSliceMut::new(&mut piece)];
    let length = rustix::net::recvmsg(&socket, first, &mut attached, RecvFlags::empty())?.bytes;
    message.extend_from_slice(&piece[..length]);
    loop {
        match rustix::io::read(&socket, &mut piece)? {
            0 => break,
            length => message.extend_from_slice(&piece[..length]),
        }
    }
    let descriptors = attached.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let stdin = descriptors.and_then(|mut descriptors| descriptors.next()).context("it was not sent")?;
    rustix::stdio::dup2_stdin(&stdin)?;
    let message = String::from_utf8(message)?;
    let pairs = message.split_terminator('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
