//! What the engine's errors about containers mean.

use anyhow::Result;
use bollard::errors::Error;

/// Whether the engine answered and refused. An engine that does not answer is not asked again.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let is_answer = |cause: &Error| matches!(cause, Error::DockerResponseServerError { .. });
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_answer)
}

/// Whether the answer has a value that is not in Docker's API: Podman has a container state of its own, `stopped`.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::JsonDataError { .. } | Error::JsonSerdeError { .. })
}

/// Success also if what was to be removed was not there.
pub(super) fn ignore_missing(removed: Result<(), Error>) -> Result<()> {
    match removed {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
