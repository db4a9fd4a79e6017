//! Ctrl-C and SIGTERM, caught on a thread of their own: whatever the rest of the program does, and even if it is stuck,
//! the second one ends it.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::interrupt::Interrupt;

/// How long the program may take to end by itself after the second signal. It needs a moment to end the programs that
/// it started, and to remove its temporary files.
const LAST_MOMENT: Duration = Duration::from_millis(400);

/// How long the last message may take: nobody may be reading it.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What [`end`] restores.
static TERMINAL: OnceLock<TerminalSettings> = OnceLock::new();

/// What [`end`] prints on stdout.
static LAST_RESULT: OnceLock<LastResult> = OnceLock::new();

/// Makes a result of the last message, if stdout needs one.
pub type LastResult = fn(&str) -> Option<String>;

/// Lets [`end`] print a result, too. The first call counts.
pub fn set_last_result(make: LastResult) {
    LAST_RESULT.get_or_init(|| make);
}

/// The settings of the terminal as they were when the program started, if it has one.
#[derive(Clone, Debug)]
pub struct TerminalSettings(Option<Termios>);

impl TerminalSettings {
    pub fn now() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Undoes what this program, or one that it started and ended, has set: a hidden prompt of ssh, for instance.
    pub fn restore(&self) {
        let Some(before) = &self.0 else { return };
        // A process in the background would be stopped. What the terminal has still to show is not waited for.
        if tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp()) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Catches Ctrl-C and SIGTERM from now on. The first asks the program to stop. After the second the program ends with
/// this exit code: by itself, or else a moment later by this.
///
/// # Errors
/// If the signals cannot be caught.
pub fn catch(interrupt: Interrupt, terminal: TerminalSettings, code: i32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupts, mut terminations) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let catching = async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            interrupt.ask();
        }
        tokio::time::sleep(LAST_MOMENT).await;
    };
    TERMINAL.get_or_init(|| terminal);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(catching);
        end("ended at once, whatever it was doing", code);
    })?;
    Ok(())
}

/// Ends the program at once, whatever its other threads are doing.
pub fn end(message: &str, code: i32) -> ! {
    if let Some(terminal) = TERMINAL.get() {
        terminal.restore();
    }
    let result = LAST_RESULT.get().and_then(|make| make(message));
    let message = text::printable(message);
    // Other threads may hold the locks of stdout and stderr for ever, if nobody reads those.
    #[expect(clippy::print_stderr, reason = "the usual way to stderr may have to wait")]
    std::thread::spawn(move || eprintln!("{message}"));
    #[expect(clippy::print_stdout, reason = "the usual way to stdout may have to wait")]
    std::thread::spawn(move || result.iter().for_each(|json| println!("{}", text::printable_json(json))));
    std::thread::sleep(LAST_WORDS);
    std::process::exit(code);
}
