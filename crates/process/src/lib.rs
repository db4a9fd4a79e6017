//! Running programs. With `--verbose` each command line is shown before it runs. None inherits the user's secrets.
//!
//! A program is waited for on the caller's thread, but Ctrl-C is not: see [`wait`].

mod secrets;

pub use secrets::{secret, withhold};

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use duct::{Expression, Handle};
use rustix::process::{Pid, Signal, kill_process};
use xshell::Cmd;

use ui::Ui;
use ui::interrupt::Interrupted;

/// How often it is looked whether the user wants to stop.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a program to its end. Its output goes to stderr: stdout is for the result of the user's command.
pub fn run(ui: &Ui, cmd: Cmd<'_>) -> Result<()> {
    let (text, program) = prepare(ui, cmd);
    let output = finish(ui, &text, &program.stdout_to_stderr())?;
    ensure!(output.status.success(), "`{text}` failed ({})", output.status);
    Ok(())
}

/// What a program prints to stdout, trimmed. If it fails, the error has what it printed to stderr.
pub fn read(ui: &Ui, cmd: Cmd<'_>) -> Result<String> {
    let (text, program) = prepare(ui, cmd);
    let output = finish(ui, &text, &program.stdin_null().stdout_capture().stderr_capture())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{text}` failed ({}): {}", output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Hands the terminal over to a program until it ends, and returns its exit code.
pub fn hand_over(ui: &Ui, cmd: Cmd<'_>) -> Result<i32> {
    let (text, program) = prepare(ui, cmd);
    let running = program.start().with_context(|| cannot_run(&text))?;
    match wait(ui, &running, None) {
        Ok(output) => Ok(output.and_then(|output| output.status.code()).unwrap_or(1)),
        Err(error) => {
            // It would go on reading the terminal.
            let _ = running.kill();
            Err(error)
        }
    }
}

/// Waits until a program ends, or until the time is over: then there is no output.
///
/// If the user asks to stop, the program is told by SIGINT, as a terminal does, and may clean up. If the user insists,
/// it is not waited for any longer; what ignores SIGINT, as apt does while it installs, completes its work.
///
/// # Errors
/// [`Interrupted`] if the user insists.
pub fn wait<'a>(ui: &Ui, running: &'a Handle, limit: Option<Duration>) -> Result<Option<&'a Output>> {
    let (since, mut asked) = (Instant::now(), 0_u32);
    loop {
        let left = limit.map_or(PAUSE, |limit| limit.saturating_sub(since.elapsed()));
        if let Some(output) = running.wait_timeout(left.min(PAUSE))? {
            return Ok(Some(output));
        }
        if ui.interrupt().is_insisted() {
            bail!(Interrupted);
        }
        if ui.interrupt().is_asked() {
            asked = asked.saturating_add(1);
            // Not at once: if the user pressed Ctrl-C, the terminal has told it already.
            if asked == 2 {
                tell(running);
            }
        }
        if left.is_zero() {
            return Ok(None);
        }
    }
}

fn tell(running: &Handle) {
    for pid in running.pids() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile, or belong to root.
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

/// Runs a program to its end, which Ctrl-C does not wait for. If it fails, that is an error unless it is unchecked.
pub fn output(ui: &Ui, program: &Expression) -> Result<Output> {
    let running = program.start()?;
    wait(ui, &running, None)?.cloned().context("it has not ended")
}

fn finish(ui: &Ui, text: &str, program: &Expression) -> Result<Output> {
    output(ui, program).with_context(|| cannot_run(text))
}

fn prepare(ui: &Ui, cmd: Cmd<'_>) -> (String, Expression) {
    ui.command(&cmd);
    let (text, command) = (cmd.to_string(), Command::from(cmd));
    let mut program = duct::cmd(command.get_program(), command.get_args()).unchecked();
    if let Some(folder) = command.get_current_dir() {
        program = program.dir(folder);
    }
    for (name, value) in command.get_envs() {
        program = match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    (text, program)
}

fn cannot_run(text: &str) -> String {
    format!("cannot run `{text}`")
}

#[cfg(test)]
mod tests {
    use xshell::{Shell, cmd};

    use super::*;

    #[test]
    fn a_program_that_is_waited_for_is_told_when_the_user_wants_to_stop() {
        let (ui, sh) = (Ui::new(false), Shell::new().unwrap());
        ui.interrupt().ask();
        let script = "trap 'echo told; exit 7' INT; echo ready; while :; do sleep 0.05; done";
        let said = read(&ui, cmd!(sh, "sh -c {script}")).unwrap_err().to_string();
        // On a slow machine it may not have set its trap yet.
        assert!(said.contains("exit status: 7") || said.contains("signal: 2"), "{said}");
    }

    #[test]
    fn a_program_that_ignores_it_is_not_waited_for_if_the_user_insists() {
        let (ui, sh) = (Ui::new(false), Shell::new().unwrap());
        ui.interrupt().ask();
        ui.interrupt().ask();
        let script = "trap '' INT; while :; do sleep 0.1; done";
        assert!(hand_over(&ui, cmd!(sh, "sh -c {script}")).unwrap_err().is::<Interrupted>());
    }

    #[test]
    fn a_limit_of_time_ends_the_wait() {
        let running = duct::cmd!("sleep", "1000").start().unwrap();
        assert!(wait(&Ui::new(false), &running, Some(PAUSE)).unwrap().is_none());
        running.kill().unwrap();
    }
}
