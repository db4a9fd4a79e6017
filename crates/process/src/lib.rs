//! Running programs. With `--verbose` each command line is shown before it runs.

use std::io;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xshell::Cmd;

use ui::Ui;

/// Runs a program to its end. Its output goes to stderr: stdout is for the result of the user's command.
pub fn run(ui: &Ui, cmd: Cmd<'_>) -> Result<()> {
    let (text, mut command) = prepare(ui, cmd);
    let status = command.stdout(io::stderr()).status().with_context(|| cannot_run(&text))?;
    ensure!(status.success(), "`{text}` failed ({status})");
    Ok(())
}

/// What a program prints to stdout, trimmed. If it fails, the error has what it printed to stderr.
pub fn read(ui: &Ui, cmd: Cmd<'_>) -> Result<String> {
    let (text, mut command) = prepare(ui, cmd);
    let output = command.output().with_context(|| cannot_run(&text))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{text}` failed ({}): {}", output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Hands the terminal over to a program until it ends, and returns its exit code.
pub fn hand_over(ui: &Ui, cmd: Cmd<'_>) -> Result<i32> {
    let (text, mut command) = prepare(ui, cmd);
    let status = command.status().with_context(|| cannot_run(&text))?;
    Ok(status.code().unwrap_or(1))
}

fn prepare(ui: &Ui, cmd: Cmd<'_>) -> (String, Command) {
    ui.command(&cmd);
    (cmd.to_string(), cmd.into())
}

fn cannot_run(text: &str) -> String {
    format!("cannot run `{text}`")
}
