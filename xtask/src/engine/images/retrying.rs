//! Retrying requests that failed because somebody removed an image while the engine looked at all images. Podman's
//! storage then gives up on a layer that it had just seen. (See `quirks.rs`.)

use std::time::Duration;

use bollard::errors::Error;
use retry::Retry;

/// What such an error says. (A resolver's `Name or service not known` is something else.)
const SIGNS: [&str; 3] = ["layer not known", "image not known", "locating item named"];

/// How many times a request is repeated. Each repetition fails only if another removal came in between.
const REPETITIONS: u32 = 5;

const PAUSE: Duration = Duration::from_millis(50);

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

/// Runs `ask`, and repeats it while its answer is such a failure.
pub async fn retry_while<T>(failed: impl Fn(&T) -> bool, ask: impl AsyncFn() -> T) -> T {
    Retry::times(REPETITIONS, PAUSE).run_while(failed, ask).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn attempts(message: &str, failures: u32) -> (bool, u32) {
        attempts_at(500, message, failures)
    }

    fn attempts_at(status_code: u16, message: &str, failures: u32) -> (bool, u32) {
        let error = || Error::DockerResponseServerError { status_code, message: message.to_owned() };
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            let answer = if asked.get() <= failures { Err(error()) } else { Ok(()) };
            async move { answer }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (runtime.block_on(retry_disturbed(ask)).is_ok(), asked.get())
    }

    #[test]
    fn only_a_request_that_was_disturbed_is_repeated() {
        let disturbed = "getting top layer info: layer not known";
        assert_eq!(attempts(disturbed, 2), (true, 3));
        assert_eq!(attempts(disturbed, 100), (false, REPETITIONS + 1));
        assert_eq!(attempts_at(404, "failed to find image none:1: image not known", 2), (false, 1));
        assert_eq!(attempts("no space left on device", 2), (false, 1));
        assert_eq!(attempts("could not resolve host: Name or service not known", 2), (false, 1));
    }
}
