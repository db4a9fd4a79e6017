//! Time and memory of a rendering. Tera cannot be interrupted, so the program ends if a template needs too much.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(50);

/// 10 seconds. Periods are counted, so that the time during which the program was stopped does not count.
const PERIODS: u32 = 200;

/// How much the program may grow, in KiB.
const GROWTH: u64 = 512 << 10;

/// What `work`, the rendering of `what`, returns. If it takes more than 10 seconds, or more than 512 MiB of memory, the
/// program ends with an error that names `what`.
///
/// # Errors
/// If no thread can be started that watches.
pub fn watched<T>(what: &str, work: impl FnOnce() -> T) -> io::Result<T> {
    let (working, ended) = channel::<()>();
    std::thread::scope(|scope| {
        std::thread::Builder::new().name("templates".to_owned()).spawn_scoped(scope, move || watch(what, &ended))?;
        let result = work();
        drop(working);
        Ok(result)
    })
}

fn watch(what: &str, ended: &Receiver<()>) {
    let before = resident();
    for period in 1.. {
        if ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let grown = before.zip(resident()).is_some_and(|(before, now)| now > before + GROWTH);
        let excess = if grown {
            "more than 512 MiB of memory"
        } else if period >= PERIODS {
            "more than 10 seconds"
        } else {
            continue;
        };
        let advice = "look for loops, and for texts that double themselves";
        ui::signals::end(&format!("error: {what}: rendering it takes {excess}; {advice}"), 1);
    }
}

/// The memory of this process in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_the_memory_of_the_process() {
        assert!(super::resident().is_some_and(|kib| kib > 100));
    }
}
