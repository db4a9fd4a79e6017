//! The checks of a manifest: commands that are run in a container of the fresh image.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::WaitContainerOptions;
use futures_util::StreamExt;

use super::{Engine, detached};
use catalog::manifest::Check;
use catalog::{BuildPlan, labels};
use ui::Ui;

/// How long a check may run.
const TIME: Duration = Duration::from_secs(30);

/// Runs every check of `plan` in a container of `image`.
///
/// # Errors
/// If one does not exit or print as it must.
pub async fn run(engine: &Engine, ui: &Ui, plan: &BuildPlan, image: &str) -> Result<()> {
    if plan.checks.is_empty() {
        return Ok(());
    }
    let context = plan.check_context();
    for check in &plan.checks {
        let wanted = check.prints.as_ref().map(|pattern| pattern.render(&context)).transpose()?;
        ui.command(format_args!(
            "docker run --rm --network none --entrypoint {} {image} {}",
            check.run[0],
            check.run[1..].join(" ")
        ));
        let (code, said) = one(engine, plan, image, check).await.with_context(|| format!("check `{}`", check.name))?;
        let printed = wanted.as_ref().is_none_or(|wanted| said.contains(wanted.as_str()));
        if code != check.exits || !printed {
            let wanted = wanted.map(|wanted| format!(" and print `{wanted}`")).unwrap_or_default();
            return Err(anyhow!(
                "the image fails its check `{}`: `{}` should exit with {}{wanted}; it exited with {code} and printed:\n{}",
                check.name,
                check.run.join(" "),
                check.exits,
                indented(&said)
            ));
        }
    }
    ui.note(format_args!("{} checks passed", plan.checks.len()));
    Ok(())
}

async fn one(engine: &Engine, plan: &BuildPlan, image: &str, check: &Check) -> Result<(i64, String)> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(check.run[..1].to_vec()),
        cmd: Some(check.run[1..].to_vec()),
        labels: Some(HashMap::from([(labels::CHECK.to_owned(), plan.node.clone())])),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let id = engine.docker().create_container(None, body).await?.id;
    let container = Container { engine, id };
    let outcome = tokio::time::timeout(TIME, finish(engine, &container.id)).await;
    drop(container);
    outcome.map_err(|_| anyhow!("`{}` did not end within {} s", check.run.join(" "), TIME.as_secs()))?
}

/// Goes when it is dropped, also because of Ctrl-C.
struct Container<'a> {
    engine: &'a Engine,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let id = std::mem::take(&mut self.id);
        detached::finish(self.engine, |engine| async move { engine.remove_container(&id).await });
    }
}

async fn finish(engine: &Engine, id: &str) -> Result<(i64, String)> {
    let docker = engine.docker();
    docker.start_container(id, None).await?;
    let mut wait = docker.wait_container(id, None::<WaitContainerOptions>);
    let code = match wait.next().await {
        Some(Ok(ended)) => ended.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(error.into()),
        None => return Err(anyhow!("the engine did not say how it ended")),
    };
    Ok((code, engine.console_log(id).await?))
}

fn indented(said: &str) -> String {
    let lines: Vec<String> = said.lines().take(30).map(|line| format!("  | {line}")).collect();
    lines.join("\n")
}
