//! What engines' errors mean, and requests that are repeated after some of them.

use std::time::Duration;

use anyhow::Result;
use bollard::errors::Error;
use retry::Retry;

/// What Podman says when its storage misses what it had just seen, because somebody removed an image (see `quirks.rs`).
/// A resolver's `Name or service not known` is something else.
const SIGNS: [&str; 3] = ["layer not known", "image not known", "locating item named"];

/// Whether the engine answered and refused. An engine that does not answer is not asked again.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let is_answer = |cause: &Error| matches!(cause, Error::DockerResponseServerError { .. });
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_answer)
}

/// Whether the engine can say more of a container in a moment: Podman has a state of its own, `stopped`, that is not in
/// Docker's API, and for a moment after a container's end it fails to read what the kernel says of its process.
pub(super) fn is_unreadable(error: &Error) -> bool {
    let is_gone = |message: &str| message.contains("/proc/") && message.contains("no such process");
    match error {
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => true,
        Error::DockerResponseServerError { status_code: 500, message } => is_gone(message),
        _ => false,
    }
}

/// Success also if what was to be removed was not there.
pub(super) fn ignore_missing(removed: Result<(), Error>) -> Result<()> {
    match removed {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The first line of an engine's error, without the HTTP status in front.
pub(super) fn shorten(text: &str) -> String {
    let text = match text.strip_prefix("Docker responded with status code ") {
        Some(answer) => answer.split_once(": ").map_or(answer, |(_code, message)| message),
        None => text,
    };
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Whether an engine's error says that a layer or an image vanished.
pub fn is_disturbed(message: &str) -> bool {
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// Sends a request, and repeats it while others' removals disturb it.
pub async fn retry_disturbed<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let disturbed = |answer: &Result<T, Error>| match answer {
        // That there is no such image (404) is said in the same words.
        Err(Error::DockerResponseServerError { status_code: 500, message })
        | Err(Error::DockerStreamError { error: message }) => is_disturbed(message),
        _ => false,
    };
    retry_while(disturbed, ask).await
}

/// Runs `ask`, and repeats it up to five times while its answer is such a failure: a repetition fails only if another
/// removal came in between.
pub async fn retry_while<T>(failed: impl Fn(&T) -> bool, ask: impl AsyncFn() -> T) -> T {
    Retry::times(5, Duration::from_millis(50)).run_while(failed, ask).await
}
