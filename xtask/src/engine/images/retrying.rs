//! Asking again when somebody removed an image while the engine looked at all of them. Podman's storage does not stand that: it
//! gives up on a layer that it had just seen. [containers/storage]

use std::time::Duration;

use bollard::errors::Error;

/// What stands in such an answer. (A name server's `Name or service not known` is something else.)
const WORDS: [&str; 3] = ["layer not known", "image not known", "locating item named"];

/// How often one asks again. Each time somebody else's removal must have come between.
const REPETITIONS: u32 = 5;

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
    let disturbed = |answer: &Result<T, Error>| match answer {
        // That there is no such image is another answer, in the same words.
        Err(Error::DockerResponseServerError { status_code: 500, message: said })
        | Err(Error::DockerStreamError { error: said }) => is_disturbed(said),
        _ => false,
    };
    again_while(disturbed, ask).await
}

/// The same, of whatever is asked.
pub async fn again_while<A, F>(disturbed: impl Fn(&A) -> bool, ask: impl Fn() -> F) -> A
where
    F: Future<Output = A>,
{
    for _ in 0..REPETITIONS {
        let answer = ask().await;
        if !disturbed(&answer) {
            return answer;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn times(message: &str, fails: u32) -> (bool, u32) {
        times_of(500, message, fails)
    }

    fn times_of(status_code: u16, message: &str, fails: u32) -> (bool, u32) {
        let answer = || Error::DockerResponseServerError { status_code, message: message.to_owned() };
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            let now = asked.get();
            let answer = if now <= fails { Err(answer()) } else { Ok(()) };
            async move { answer }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (runtime.block_on(undisturbed(ask)).is_ok(), asked.get())
    }

    #[test]
    fn an_engine_that_was_disturbed_is_asked_again_and_no_other() {
        let disturbed = "getting top layer info: layer not known";
        assert_eq!(times(disturbed, 2), (true, 3));
        assert_eq!(times(disturbed, 100), (false, REPETITIONS + 1));
        assert_eq!(times_of(404, "failed to find image none:1: image not known", 2), (false, 1));
        assert_eq!(times("no space left on device", 2), (false, 1));
        assert_eq!(times("could not resolve host: Name or service not known", 2), (false, 1));
    }
}
