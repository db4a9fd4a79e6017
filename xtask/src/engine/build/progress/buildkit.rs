//! BuildKit's story of a build: a graph of vertices, each with its times and its output.

use std::time::Duration;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};

use crate::engine::build::progress::{End, Steps};

pub struct BuildKit<'a> {
    pub steps: Steps<'a>,
}

impl<'a> BuildKit<'a> {
    pub fn new(steps: Steps<'a>) -> Self {
        Self { steps }
    }

    pub fn update(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            self.vertex(&vertex);
        }
        for log in status.logs {
            self.steps.log(&log.vertex, &log.msg, true);
        }
    }

    fn vertex(&mut self, vertex: &Vertex) {
        self.steps.know(&vertex.digest, &vertex.name).error.clone_from(&vertex.error);
        if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            let seconds =
                (completed.seconds - started.seconds) as f64 + f64::from(completed.nanos - started.nanos) / 1e9;
            let how = match (vertex.error.as_str(), vertex.cached) {
                ("", true) => End::Cached,
                ("", false) => End::Done(Duration::from_secs_f64(seconds.max(0.0))),
                (error, _) if error.contains("context canceled") => End::Stopped,
                _ => End::Failed,
            };
            self.steps.end(&vertex.digest, &how);
        } else if vertex.started.is_some() {
            self.steps.begin(&vertex.digest);
        }
    }
}

/// The reason without the step.
pub fn reason(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("executor failed running [")?;
    Some(rest.rsplit_once("]: ")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_without_the_step() {
        let error = "executor failed running [/bin/sh -c [ -f x ]: exit code: 9]: exit code: 2";
        assert_eq!(reason(error), Some("exit code: 2"));
        assert_eq!(reason("no such file"), None);
    }
}
