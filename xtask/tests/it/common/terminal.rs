//! A terminal for the program, by script(1): its screen can be read, and keys pressed once something is shown.

use std::io::{PipeWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{Outcome, PATIENCE, Repo, children, wait_until};

/// A program on its own terminal.
pub struct Terminal {
    program: duct::Handle,
    keys: PipeWriter,
    folder: TempDir,
    /// How many bytes of the screen were already waited for.
    read: usize,
}

impl Repo {
    /// Runs a command line on a terminal.
    pub fn on_a_terminal(&self, line: &str) -> Terminal {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (reader, keys) = std::io::pipe().expect("a pipe");
        let args = ["--quiet", "--return", "--flush", "--command", line];
        let script = duct::cmd("script", args.map(Into::into).into_iter().chain([screen(&folder).into_os_string()]));
        let script = self.with_environment(script).stdin_file(reader).stdout_null().unchecked();
        Terminal { program: script.start().expect("script is part of bsdutils"), keys, folder, read: 0 }
    }

    /// Runs a command line on a terminal and, each time the first text of a pair is shown, types the second.
    #[track_caller]
    pub fn in_dialogue(&self, line: &str, dialogue: &[(&str, &str)]) -> Outcome {
        let mut terminal = self.on_a_terminal(line);
        for (shown, typed) in dialogue {
            terminal.wait_for(shown);
            if *shown != "[y/N]" {
                terminal.wait_for_a_hidden_prompt();
            }
            terminal.type_in(typed);
        }
        terminal.end()
    }
}

fn screen(folder: &TempDir) -> PathBuf {
    folder.path().join("screen")
}

impl Terminal {
    fn shown(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(screen(&self.folder)).unwrap_or_default()).into_owned()
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let mut found = None;
        wait_until(text, || {
            let shown = self.shown();
            found = shown.get(self.read..).and_then(|new| new.find(text)).map(|at| self.read + at + text.len());
            assert!(found.is_some() || !self.has_ended(), "it ended without `{text}`:\n{shown}");
            found.is_some()
        });
        self.read = found.expect("it was waited for");
    }

    /// Waits until the echo is off: what is typed before would be lost.
    #[track_caller]
    fn wait_for_a_hidden_prompt(&self) {
        wait_until("the echo is off", || self.has_ended() || self.settings().contains("-echo "));
    }

    /// The settings of its terminal, as stty prints them.
    fn settings(&self) -> String {
        let Some(program) = children(self.program.pids()[0]).last().copied() else { return String::new() };
        let terminal = std::fs::read_link(format!("/proc/{program}/fd/0")).unwrap_or_default();
        duct::cmd!("stty", "-a", "-F", terminal).stderr_null().unchecked().read().unwrap_or_default()
    }

    /// The process of this program that runs on it.
    #[track_caller]
    pub fn program(&self, name: &str) -> u32 {
        let is_named =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        children(self.program.pids()[0]).into_iter().find(is_named).expect("it runs on the terminal")
    }

    pub fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("script reads them");
    }

    /// Presses the keys that leave the program until it reacts: keys pressed before it reads its terminal are lost, and
    /// Podman recognizes only keys that arrive one by one. Waits for the end.
    pub fn leave_by(mut self, keys: &str) -> Outcome {
        wait_until("the program leaves at these keys", || {
            for key in keys.bytes() {
                // Nobody reads them once it has ended.
                let _ = self.keys.write_all(&[key]);
                std::thread::sleep(Duration::from_millis(100));
            }
            self.program.wait_timeout(Duration::from_secs(1)).expect("waiting for the program").is_some()
        });
        self.end()
    }

    fn has_ended(&self) -> bool {
        self.program.try_wait().expect("asking for the program").is_some()
    }

    /// Waits for the end. All that was shown is in `stdout`.
    pub fn end(self) -> Outcome {
        let Some(ended) = self.program.wait_timeout(PATIENCE).expect("waiting for the program") else {
            panic!("the program did not end within {} s:\n{}", PATIENCE.as_secs(), self.shown());
        };
        Outcome { code: ended.status.code(), stdout: self.shown(), stderr: String::new() }
    }
}
