//! Builds of a few lines, without files, on top of an image that is there already. Engines that build with Buildah need
//! them for labels, and for checks where no container runs.

use anyhow::{Context, Result};
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use futures_util::StreamExt;

use crate::engine::build::client::{client, id_in};
use crate::engine::handle::Engine;
use crate::engine::images::retrying::{is_disturbed, retry_while};

/// How a small build ended.
pub struct Outcome {
    /// The engine's ID of the image, if one was made.
    pub id: Option<String>,
    /// What the engine and the steps printed, message by message.
    pub output: Vec<String>,
    pub error: Option<String>,
}

/// Builds `dockerfile` without the cache, and tags the result if there is a `tag`. A failed step is an outcome, not an
/// error.
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
    let docker = client(engine);
    let body = bollard::body_full(archive::pack([("Dockerfile", dockerfile.as_bytes())])?.into());
    let mut answers = std::pin::pin!(docker.build_image(options.build(), None, Some(body)));
    let mut outcome = Outcome { id: None, output: Vec::new(), error: None };
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(message) => {
                outcome.id = id_in(&message).or(outcome.id);
                outcome.output.extend(message.stream);
            }
            Err(EngineError::DockerStreamError { error }) => outcome.error = Some(error),
            Err(error) => return Err(error).context("the connection to the engine was lost"),
        }
    }
    Ok(outcome)
}

/// A word of a Dockerfile that stands for exactly this text.
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
}
