//! Whatever goes wrong at any request of an upload by the API: the controller has the complete old node or the complete
//! new one, and a repeat completes the upload.

use std::path::PathBuf;

use crate::common::cml::controller::{Controller, Snapshot, Trouble};
use crate::common::cml::{PASSWORD, Stage};
use crate::common::{Outcome, copy, image_id_of_archive, noise, wait_until};
use tempfile::TempDir;

/// An upload that can be repeated from the same starting point.
struct Play {
    controller: Controller,
    stage: Stage,
    old: Snapshot,
    new: Snapshot,
    /// What this machine had recorded at the start.
    memory: Option<PathBuf>,
    /// Every request of an upload without errors, in order.
    requests: Vec<String>,
}

impl Play {
    /// The first upload of a node.
    fn first() -> Self {
        let controller = Controller::start();
        let stage = Stage::of(&controller);
        Self::begin(controller, stage, None)
    }

    /// The upload of a node whose archive and both definitions differ on the server.
    fn replacement() -> Self {
        let controller = Controller::start();
        let stage = Stage::of(&controller);
        stage.repo.xtask(&["upload"]).success();
        stage.change_node("changed\n");
        stage.repo.edit_manifest("A node for tests", "A changed node");
        let memory = stage.home.path().join("memory");
        copy(&installed(&stage), &memory);
        Self::begin(controller, stage, Some(memory))
    }

    fn begin(controller: Controller, stage: Stage, memory: Option<PathBuf>) -> Self {
        stage.repo.xtask(&["save"]).success();
        let old = controller.state().snapshot();
        controller.take_log();
        stage.repo.xtask(&["upload"]).success();
        let (requests, new) = (controller.take_log(), controller.state().snapshot());
        assert!(requests.len() >= 10, "{requests:?}");
        let archive = std::fs::read(stage.repo.archive()).unwrap();
        assert!(new.2[&stage.repo.id()].1 == archive && new.3.is_empty() && old != new);
        Self { controller, stage, old, new, memory, requests }
    }

    /// Returns to the starting point.
    fn reset(&self) {
        self.controller.end_all_trouble();
        self.controller.state().restore(&self.old);
        let _ = std::fs::remove_dir_all(installed(&self.stage));
        if let Some(memory) = &self.memory {
            copy(memory, &installed(&self.stage));
        }
        self.controller.take_log();
    }

    fn holds(&self, what: &Snapshot) -> bool {
        self.controller.state().snapshot() == *what
    }

    /// Whether the controller has the new node as it is in dist/. On an engine that another machine also uses, it may
    /// have been built again since the start.
    fn holds_what_is_here(&self) -> bool {
        let (id, archive) = (self.stage.repo.id(), self.stage.repo.archive());
        let (nodes, image_definitions, images, drop_folder) = self.controller.state().snapshot();
        nodes == self.new.0
            && drop_folder.is_empty()
            && image_definitions[&id]["sha256"] == image_id_of_archive(&archive)
            && images[&id].1 == std::fs::read(archive).unwrap()
    }

    /// The index of a request in the upload.
    fn place_of(&self, end: &str) -> usize {
        let changes = |request: &String| request.ends_with(end) && !request.starts_with("GET");
        self.requests.iter().position(changes).unwrap_or_else(|| panic!("{end}: {:?}", self.requests))
    }

    /// A client that loses the controller between the two definitions cannot revert anything: then the node definition
    /// is the new one and the image is still the old one, or does not exist yet. Nothing else may ever be mixed, least
    /// of all an image definition and its archive.
    fn holds_what_was_done_until(&self, index: usize, case: &str) {
        let (node, image) = (self.place_of(" node_definitions"), self.place_of(" image_definitions"));
        let now = self.controller.state().snapshot();
        let part = |whole: &Snapshot| (whole.1.clone(), whole.2.clone());
        assert_eq!(now.0, if index > node { self.new.0.clone() } else { self.old.0.clone() }, "{case}");
        assert!(part(&now) == part(if index > image { &self.new } else { &self.old }), "{case}: {now:?}");
    }

    /// Asserts that one more upload, without errors, completes.
    fn repeat_completes(&self, case: &str) {
        self.controller.end_all_trouble();
        let outcome = self.stage.repo.xtask(&["upload"]);
        assert!(outcome.code == Some(0) && self.holds(&self.new), "{case}: {outcome}");
    }

    /// One failure at each request in turn, which the client notices.
    fn meets_at_every_request(&self, trouble: &Trouble) {
        for (index, request) in self.requests.iter().enumerate() {
            self.reset();
            self.controller.trouble_after(index, 1, trouble.clone());
            let outcome = self.stage.repo.xtask(&["upload", "--timeout", "1"]);
            let case = format!("{trouble:?} at request {index}, {request}");
            let (old, new) = (self.holds(&self.old), self.holds(&self.new));
            assert!(old || new, "{case}: a mixture is left\n{:?}\n{outcome}", self.controller.state().snapshot());
            assert!(new || outcome.code == Some(1), "{case}: {outcome}");
            assert!(!outcome.stderr.contains(PASSWORD), "{case}: {outcome}");
            self.repeat_completes(&case);
        }
    }
}

/// Where this machine records what it installed.
fn installed(stage: &Stage) -> PathBuf {
    stage.home.path().join("state/cml-nodes/installed")
}

fn both_meet(trouble: &Trouble) {
    for play in [Play::first(), Play::replacement()] {
        play.meets_at_every_request(trouble);
    }
}

#[test]
fn a_token_that_expires() {
    for play in [Play::first(), Play::replacement()] {
        for index in 0..play.requests.len() {
            play.reset();
            play.controller.trouble_after(index, 1, Trouble::Expired);
            play.stage.repo.xtask(&["upload"]).success();
            assert!(play.holds(&play.new));
        }
    }
}

#[test]
fn too_many_requests() {
    both_meet(&Trouble::Status(429, "Too many requests."));
}

#[test]
fn an_internal_error() {
    both_meet(&Trouble::Status(500, "The database is on fire."));
}

#[test]
fn a_gateway_without_its_server() {
    both_meet(&Trouble::Status(503, "Starting."));
}

#[test]
fn a_refusal() {
    both_meet(&Trouble::Status(400, "no"));
}

#[test]
fn a_proxys_page() {
    both_meet(&Trouble::Html(200));
    both_meet(&Trouble::Html(502));
}

#[test]
fn a_connection_that_is_cut() {
    both_meet(&Trouble::CutAfter(0));
    both_meet(&Trouble::CutAfter(1000));
}

#[test]
fn an_answer_that_is_lost() {
    both_meet(&Trouble::AnswerLost);
}

#[test]
fn a_server_that_falls_silent() {
    both_meet(&Trouble::Silence);
}

#[test]
fn a_server_that_fails_from_then_on() {
    for play in [Play::first(), Play::replacement()] {
        for (index, request) in play.requests.iter().enumerate() {
            play.reset();
            play.controller.trouble_after(index, u32::MAX, Trouble::Status(500, "The database is gone."));
            let case = format!("from request {index} on, {request}");
            // At the logout everything is done.
            let code = if request == "DELETE logout" { 0 } else { 1 };
            assert_eq!(play.stage.repo.xtask(&["upload"]).code, Some(code), "{case}");
            play.holds_what_was_done_until(index, &case);
            play.repeat_completes(&case);
        }
    }
}

#[test]
fn a_client_that_is_killed_before_or_after_any_request_is_carried_out() {
    for play in [Play::first(), Play::replacement()] {
        for (index, request) in play.requests.iter().enumerate() {
            for (trouble, done) in [(Trouble::Held, index), (Trouble::AnswerHeld, index + 1)] {
                play.reset();
                play.controller.trouble_after(index, 1, trouble.clone());
                let upload = play.stage.repo.start(&["upload"]);
                play.controller.wait_for_held();
                upload.signal("KILL");
                assert_eq!(upload.end().code, None);
                let case = format!("killed while request {index}, {request}, is {trouble:?}");
                play.controller.release();
                play.holds_what_was_done_until(done, &case);
                play.repeat_completes(&case);
            }
        }
    }
}

#[test]
fn ctrl_c_during_any_request_reverts_what_was_done() {
    for play in [Play::first(), Play::replacement()] {
        let last = play.place_of(" image_definitions");
        for (index, request) in play.requests.iter().enumerate() {
            play.reset();
            play.controller.trouble_after(index, 1, Trouble::Held);
            let upload = play.stage.repo.start(&["upload"]);
            play.controller.wait_for_held();
            upload.signal("INT");
            upload.wait_for("interrupted");
            play.controller.release();
            let outcome = upload.end();
            let case = format!("Ctrl-C during request {index}, {request}");
            // After the image definition everything is done; then the upload continues to the end. Its exit code says
            // that it was interrupted all the same.
            let left = if index < last { &play.old } else { &play.new };
            assert!(outcome.code == Some(130) && play.holds(left), "{case}: {outcome}");
            play.repeat_completes(&case);
        }
    }
}

#[test]
fn ctrl_c_does_not_wait_for_the_archive_to_be_sent() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    // Larger than what the connection's buffers swallow.
    let greeting = stage.repo.path(&format!("docker/{}/greeting", stage.repo.node()));
    std::fs::write(greeting, noise(3, 40_000_000)).unwrap();
    stage.repo.xtask(&["save"]).success();
    controller.trouble("POST images/upload", 1, Trouble::Silence);
    let upload = stage.repo.start(&["upload"]);
    wait_until("the archive comes", || controller.state().log.iter().any(|line| line == "POST images/upload"));
    upload.signal("INT");
    let outcome = upload.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    outcome.says(["interrupted", "nothing was changed on", "were undone"]);
    assert!(controller.state().node_definitions.is_empty());
}

#[test]
fn a_second_ctrl_c_ends_the_upload_at_once_and_a_repeat_completes() {
    let play = Play::replacement();
    play.reset();
    play.controller.trouble("PUT node_definitions", 1, Trouble::Held);
    let upload = play.stage.repo.start(&["upload"]);
    play.controller.wait_for_held();
    upload.signal("INT");
    upload.wait_for("Ctrl-C again abandons it");
    assert!(!upload.has_ended(), "the first one waits for what is under way");
    upload.signal("INT");
    let outcome = upload.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    outcome.says(["abandoned; run the same command again"]);
    play.repeat_completes("a second Ctrl-C");
}

/// Another machine, with its own node under the same id and its own records.
struct OtherMachine(TempDir);

impl OtherMachine {
    fn beside(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(stage.repo.folder.path(), folder.path());
        let greeting = format!("docker/{}/greeting", stage.repo.node());
        std::fs::write(folder.path().join(greeting), "from another machine\n").unwrap();
        Self(folder)
    }

    fn upload(&self, stage: &mut Stage) -> Outcome {
        stage.repo.set("XDG_STATE_HOME", self.0.path().join("state"));
        let outcome = stage.repo.xtask_at(self.0.path(), &["upload"]);
        stage.repo.set("XDG_STATE_HOME", stage.home.path().join("state"));
        outcome
    }
}

#[test]
fn uploads_from_two_machines_at_once_never_mix() {
    let mut play = Play::replacement();
    let other = OtherMachine::beside(&play.stage);
    let cases = [
        ("PUT node_definitions", 0, Trouble::Held, true),
        // The first one makes it writable.
        ("PUT image_definitions", 0, Trouble::Held, true),
        ("POST images/upload", 0, Trouble::Held, true),
        ("POST images/upload", 0, Trouble::AnswerHeld, false),
        ("PUT image_definitions", 1, Trouble::Held, false),
    ];
    for (request, skip, trouble, other_is_first) in cases {
        play.reset();
        let _ = std::fs::remove_dir_all(other.0.path().join("state"));
        play.controller.trouble_from(request, skip, 1, trouble.clone());
        let upload = play.stage.repo.start(&["upload"]);
        play.controller.wait_for_held();
        let before = play.controller.state().snapshot();
        let outcome = other.upload(&mut play.stage);
        let case = format!("{request}, {skip}, {trouble:?}");
        if other_is_first {
            assert!(outcome.code == Some(0) && !play.holds(&before), "{case}: {outcome}");
        } else {
            outcome.failure().says([
                "the drop folder already has a file",
                "another upload of it is under way",
                "--force",
            ]);
            assert!(play.holds(&before), "{case}: it changes nothing");
        }
        play.controller.release();
        let outcome = upload.end();
        assert!(outcome.code == Some(0) && play.holds_what_is_here(), "{case}: {outcome}");
        other.upload(&mut play.stage).success();
        assert!(!play.holds_what_is_here(), "{case}: then it is the other's turn");
    }
}

#[test]
fn an_archive_that_somebody_removes_meanwhile_is_noticed() {
    let play = Play::replacement();
    play.reset();
    play.controller.trouble("POST images/upload", 1, Trouble::AnswerHeld);
    let upload = play.stage.repo.start(&["upload"]);
    play.controller.wait_for_held();
    play.controller.state().drop_folder.clear();
    play.controller.release();
    upload.end().failure().says(["has gone from the drop folder", "nothing was changed"]);
    assert!(play.holds(&play.old));
    play.repeat_completes("the archive was taken away");
}

#[test]
fn a_repeat_completes_a_rollback_that_was_killed_halfway() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    let old = controller.state().snapshot();
    // Both definitions change and the archive does not: only then can the API roll back.
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    let template = stage.repo.read("image-definitions/container.yaml");
    stage.repo.write("image-definitions/container.yaml", &format!("{template}description: another\n"));
    stage.repo.xtask(&["upload"]).success();
    controller.trouble("PUT node_definitions", 1, Trouble::AnswerHeld);
    let words = ["cml", "rollback", stage.repo.node()];
    let rollback = stage.repo.start(&words);
    controller.wait_for_held();
    rollback.signal("KILL");
    assert_eq!(rollback.end().code, None);
    let halfway = controller.state().snapshot();
    assert!(halfway.0 == old.0 && halfway.1 != old.1);
    stage.repo.xtask(&words).success();
    assert!(controller.state().snapshot() == old);
}
