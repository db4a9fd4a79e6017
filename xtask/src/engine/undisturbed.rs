//! Asking again when somebody removed an image while the engine looked at all of them. Podman's storage does not stand that: it
//! gives up on a layer that it had just seen. [containers/storage]

use std::time::Duration;

use bollard::errors::Error;

/// How such an answer ends. (A name server's `Name or service not known` is something else.)
const WORDS: [&str; 2] = ["layer not known", "image not known"];

/// How often one asks again. Each time somebody else's removal must have come between.
pub const REPETITIONS: u32 = 5;

const BETWEEN: Duration = Duration::from_millis(50);

/// Whether the engine says that of a layer or an image.
pub fn is_disturbed(said: &str) -> bool {
    WORDS.iter().any(|words| said.contains(words))
}

/// The answer, or what keeps it away even without others' removals.
///
/// # Errors
/// Those of the engine.
pub async fn undisturbed<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..REPETITIONS {
        match ask().await {
            Err(Error::DockerResponseServerError { message, .. }) if is_disturbed(&message) => {
                tokio::time::sleep(BETWEEN).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn answer(message: &str) -> Error {
        Error::DockerResponseServerError { status_code: 500, message: message.to_owned() }
    }

    fn times(message: &str, fails: u32) -> (bool, u32) {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            let now = asked.get();
            async move { if now <= fails { Err(answer(message)) } else { Ok(()) } }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (runtime.block_on(undisturbed(ask)).is_ok(), asked.get())
    }

    #[test]
    fn an_engine_that_was_disturbed_is_asked_again_and_no_other() {
        let disturbed = "getting top layer info: layer not known";
        assert_eq!(times(disturbed, 2), (true, 3));
        assert_eq!(times(disturbed, 100), (false, REPETITIONS + 1));
        assert_eq!(times("no space left on device", 2), (false, 1));
        assert_eq!(times("could not resolve host: Name or service not known", 2), (false, 1));
    }
}
