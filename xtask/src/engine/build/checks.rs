//! The checks of a manifest: commands that are run in a container of the fresh image.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::WaitContainerOptions;
use futures_util::StreamExt;

use crate::engine::build::request::small_build;
use crate::engine::handle::Engine;
use crate::engine::images::store::Image;
use catalog::manifest::Check;
use catalog::{BuildPlan, labels};
use ui::Ui;

/// How long a check may run.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many processes it may have.
const PROCESSES: i64 = 4096;

/// Fails if the image is larger than its manifest allows, or does not pass one of its checks.
pub async fn accept(engine: &Engine, ui: &Ui, plan: &BuildPlan, image: &Image) -> Result<()> {
    if let Some(limit) = plan.limits.image_mb {
        anyhow::ensure!(
            image.size <= limit * 1_000_000,
            "the image has {}, its manifest allows {limit} MB (limits.image_mb)",
            text::size(image.size)
        );
    }
    run(engine, ui, plan, &image.engine_id).await
}

/// Runs every check of `plan` on `image`; fails with the first that does not exit or print as it should.
async fn run(engine: &Engine, ui: &Ui, plan: &BuildPlan, image: &str) -> Result<()> {
    if plan.checks.is_empty() {
        return Ok(());
    }
    let context = plan.check_context();
    for check in &plan.checks {
        let wanted = check.prints.as_ref().map(|pattern| pattern.render(&context)).transpose()?;
        let command = check.run.join(" ");
        let in_time = tokio::time::timeout(TIMEOUT, run_one(engine, ui, plan, image, check)).await;
        let outcome =
            in_time.unwrap_or_else(|_| Err(anyhow!("`{command}` did not end within {} s", TIMEOUT.as_secs())));
        let (code, output) = outcome.with_context(|| format!("check `{}`", check.name))?;
        let printed = wanted.as_ref().is_none_or(|wanted| output.contains(wanted.as_str()));
        if code != check.exits || !printed {
            let wanted = wanted.map(|wanted| format!(" and print `{wanted}`")).unwrap_or_default();
            return Err(anyhow!(
                "the image fails its check `{}`: `{command}` should exit with {}{wanted}; \
                 it exited with {code} and printed:\n{}",
                check.name,
                check.exits,
                ui::tail(&output, 30).trim_end()
            ));
        }
    }
    ui.note(format_args!("{} passed", text::plural(plan.checks.len(), "check")));
    Ok(())
}

/// Removes the containers of this node's checks that a killed command has left behind.
pub async fn remove_left_behind(engine: &Engine, node: &str) -> Result<()> {
    for container in engine.containers(&format!("{}={node}", labels::CHECK)).await? {
        engine.remove_container(&container.id).await?;
    }
    Ok(())
}

/// Runs a check in a container; if containers do not run, as a step of a build whose result is removed.
async fn run_one(engine: &Engine, ui: &Ui, plan: &BuildPlan, image: &str, check: &Check) -> Result<(i64, String)> {
    if engine.abilities.runs_containers.is_err() {
        return in_build(engine, &plan.platform, image, &check.run).await;
    }
    ui.command(format_args!(
        "docker run --rm --network none --entrypoint {} {image} {}",
        check.run[0],
        check.run[1..].join(" ")
    ));
    in_container(engine, plan, image, check).await
}

async fn in_container(engine: &Engine, plan: &BuildPlan, image: &str, check: &Check) -> Result<(i64, String)> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(check.run[..1].to_vec()),
        cmd: Some(check.run[1..].to_vec()),
        labels: Some(HashMap::from([(labels::CHECK.to_owned(), plan.node.clone())])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            pids_limit: Some(PROCESSES),
            log_config: Some(engine.abilities.bounded_log()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let container = Container { engine, id: engine.create(body).await? };
    engine.start(&container.id).await?;
    let mut wait = engine.docker.wait_container(&container.id, None::<WaitContainerOptions>);
    let code = match wait.next().await {
        Some(Ok(ended)) => ended.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(error.into()),
        None => return Err(anyhow!("the engine did not report how it ended")),
    };
    Ok((code, engine.console_log(&container.id).await?))
}

async fn in_build(engine: &Engine, platform: &str, image: &str, run: &[String]) -> Result<(i64, String)> {
    let id = image.trim_start_matches("sha256:");
    let dockerfile = format!("FROM {id}\nRUN {}\n", serde_json::to_string(run)?);
    let outcome = small_build(engine, &dockerfile, platform, None).await?;
    if let Some(made) = &outcome.id {
        engine.remove_image(made).await?;
    }
    if let Some(why) = outcome.output.iter().find_map(|text| never_started(text)) {
        return Err(anyhow!("could not run `{}`: {}", run.join(" "), why.trim()));
    }
    let output = step_output(&outcome.output);
    match outcome.error.as_deref().map(str::trim) {
        None => Ok((0, output)),
        Some(error) => match error.rsplit_once("exit status ").and_then(|(_, code)| code.parse().ok()) {
            Some(code) => Ok((code, output)),
            None => Err(anyhow!("{error}")),
        },
    }
}

/// What the second of two steps printed: what comes between the line of its start and that of its end.
fn step_output(messages: &[String]) -> String {
    let begins = |text: &String| text.starts_with("STEP 2/2: ");
    let ends = |text: &String| text.starts_with("COMMIT") || text.starts_with("--> ");
    let begin = messages.iter().position(begins).map_or(messages.len(), |at| at + 1);
    let end = messages.iter().rposition(ends).map_or(messages.len(), |at| {
        // The line of the commit comes before that of the end.
        messages[..at].iter().rposition(|text| text.starts_with("COMMIT")).unwrap_or(at)
    });
    let output = messages.get(begin..end.max(begin)).unwrap_or_default();
    // In this line the chroot's own process reports how the program ended.
    output.iter().filter(|text| !text.starts_with("subprocess exited ")).map(String::as_str).collect()
}

/// The message of a runtime, or of the chroot's process, about a program that it could not start; the exit code would
/// be 1.
fn never_started(text: &str) -> Option<&str> {
    ["error running container: ", "process failed to start with error: "]
        .iter()
        .find_map(|start| text.strip_prefix(start))
}

/// Removed when dropped, also because of Ctrl-C.
struct Container<'a> {
    engine: &'a Engine,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let id = std::mem::take(&mut self.id);
        self.engine.finish(|engine| async move { engine.remove_container(&id).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_check_is_cut_out_of_the_messages_of_a_build() {
        let output = |lines: &[&str]| step_output(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
        let begin = ["STEP 1/2: FROM 5369\n", "STEP 2/2: RUN [\"cat\", \"/number\"]\n"];
        let whole = [&begin[..], &["one\n", "COMMIT\n", "--> 5369e809fb09\n", "5369e809\n"]].concat();
        assert_eq!(output(&whole), "one\n");
        assert_eq!(output(&[&begin[..], &["two\n", "three"]].concat()), "two\nthree");
        assert_eq!(output(&begin[..1]), "");
        assert_eq!(output(&[&begin[..], &["hi\n", "subprocess exited with status 4\n"]].concat()), "hi\n");
        assert!(never_started("process failed to start with error: fork/exec /nope: no such file").is_some());
        assert!(never_started("hi\n").is_none());
    }
}
