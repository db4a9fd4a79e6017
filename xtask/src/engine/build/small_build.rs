//! Builds of a few lines, without files: what an engine that builds by Buildah is asked to do with
//! an image that is there already.

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use futures_util::StreamExt;

use crate::engine::build;
use crate::engine::handle::Engine;
use crate::engine::images::retrying::{is_disturbed, retry_while};

/// What became of a small build.
pub struct Outcome {
    /// The engine's ID of the image, if one was made.
    pub id: Option<String>,
    /// What the engine and the steps said, message by message.
    pub said: Vec<String>,
    pub error: Option<String>,
}

/// Carries out `dockerfile` without the cache and, if there is a `tag`, gives it to the result.
///
/// # Errors
/// If the engine goes away. That a step failed is an outcome.
pub async fn run(
    engine: &Engine,
    dockerfile: &str,
    platform: &str,
    tag: Option<&str>,
    network: &str,
) -> Result<Outcome> {
    let disturbed = |ended: &Result<Outcome>| match ended {
        Ok(Outcome { error: Some(error), .. }) => is_disturbed(error),
        _ => false,
    };
    retry_while(disturbed, || once(engine, dockerfile, platform, tag, network)).await
}

async fn once(engine: &Engine, dockerfile: &str, platform: &str, tag: Option<&str>, network: &str) -> Result<Outcome> {
    let options = BuildImageOptionsBuilder::default()
        .version(BuilderVersion::BuilderV1)
        .dockerfile("Dockerfile")
        .platform(platform)
        .nocache(true)
        .rm(true)
        .forcerm(true)
        .networkmode(network);
    let options = match tag {
        Some(tag) => options.t(tag),
        None => options,
    };
    let docker: Docker = build::client(engine);
    let body = bollard::body_full(archive::pack([("Dockerfile", dockerfile.as_bytes())])?.into());
    let mut answers = std::pin::pin!(docker.build_image(options.build(), None, Some(body)));
    let mut outcome = Outcome { id: None, said: Vec::new(), error: None };
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(message) => {
                outcome.id = id_in(&message).or(outcome.id);
                outcome.said.extend(message.stream);
            }
            Err(EngineError::DockerStreamError { error }) => outcome.error = Some(error),
            Err(error) => return Err(error).context("the engine went away"),
        }
    }
    Ok(outcome)
}

/// The engine's ID of what was built. The last one counts: steps may print what looks like one.
/// Podman's own API tells it as a line only.
pub fn id_in(message: &BuildInfo) -> Option<String> {
    if let Some(BuildInfoAux::Default(image)) = &message.aux {
        return image.id.clone();
    }
    let id = message.stream.as_deref()?.strip_suffix('\n')?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// A word of a Dockerfile that means exactly this text.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_meaning() {
        assert_eq!(quoted(r#"a "b" $HOME \ c"#), r#""a \"b\" \$HOME \\ c""#);
    }

    #[test]
    fn the_id_is_found_in_a_line_too() {
        let said = |text: &str| BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() };
        let id = "5".repeat(64);
        assert_eq!(id_in(&said(&format!("{id}\n"))), Some(id));
        assert_eq!(id_in(&said("--> 5369e809fb0\n")), None);
    }
}
