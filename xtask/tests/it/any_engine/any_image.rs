//! Any image becomes a node by one command: linted, saved and proved as it is.

use std::process::Command;

use crate::common::Repo;
use crate::common::engine::Engine;

/// Says what it does, and ends on SIGTERM. What it prints first is never the same. With `FAILS`, it ends without a
/// word; with `TOUCHES`, a process of it wants so many MiB of memory.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
int main(void) {
  struct timespec now;
  signal(SIGTERM, end);
  if (getenv("FAILS")) { sleep(5); return 1; }
  if (getenv("TOUCHES")) {
    if (fork() == 0) {
      for (long left = atol(getenv("TOUCHES")) << 20; left > 0; left -= 4096) *(char *) malloc(4096) = 1;
      _exit(0);
    }
    wait(NULL);
  }
  clock_gettime(CLOCK_REALTIME, &now);
  printf("started at %ld.%09ld\n", (long) now.tv_sec, now.tv_nsec);
  printf("serving \"everything\" {{ soon }}\n");
  fflush(stdout);
  for (;;) pause();
}
"#;

/// The repository's templates, an image that was built from `node` in the engine, and the name of a new node.
struct Given {
    repo: Repo,
    image: String,
    new: String,
}

/// Adds what the real repository's templates share.
pub fn add_partials(repo: &Repo) {
    for folder in ["node-definitions/partials", "node-definitions/partials/capabilities", "image-definitions"] {
        for entry in std::fs::read_dir(crate::common::real_root().join(folder)).unwrap().flatten() {
            if entry.path().is_file() {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                repo.write(&format!("{folder}/{}", entry.file_name().display()), &text);
            }
        }
    }
}

impl Given {
    /// An image of this Dockerfile, with the files of [`Repo::with_shell`] or others beside it.
    fn image(mut repo: Repo, options: &[&str]) -> Self {
        add_partials(&repo);
        repo.xtask(&[&["build"], options].concat()).success();
        let (image, new) = (repo.image(), format!("{}-any", repo.node()));
        repo.own(&new);
        Self { repo, image, new }
    }

    fn new_node(&self, options: &[&str]) -> crate::common::Outcome {
        self.repo.xtask(&[&["new", &self.new, "--image", &self.image], options].concat())
    }

    /// The node is as good as any other: without a finding, saved, and proved, and the image is still the same.
    fn is_proved(&self) -> crate::common::Outcome {
        let engine = Engine::here();
        let tag = format!("{}:{}", self.new, "1.0");
        assert_eq!(engine.id(&tag), engine.id(&self.image), "the image is taken as it is");
        drop(engine);
        self.repo.xtask(&["lint", "--deny", "warnings"]).success();
        self.repo.xtask(&["save", &self.new]).success();
        self.repo.xtask(&["verify", &self.new]).success()
    }

    fn definition(&self) -> String {
        self.repo.read(&format!("dist/node-definitions/{}-1-0.yaml", self.new))
    }

    fn is_not_there(&self) {
        assert!(!self.repo.path(&format!("docker/{}", self.new)).exists());
        assert!(!self.repo.path(&format!("node-definitions/{}.yaml", self.new)).exists());
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        Engine::here().remove(&format!("{}:1.0", self.new));
    }
}

/// An image with nothing but one static program.
fn without_shell() -> Repo {
    let mut repo = Repo::empty();
    let node = repo.add_node(
        "FROM scratch\nCOPY program /program\nLABEL org.opencontainers.image.title=\"{{ id }} % \\\" x: y\"\n\
         EXPOSE 80\nENTRYPOINT [\"/program\"]\n",
    );
    repo.write("program.c", PROGRAM);
    let (source, program) = (repo.path("program.c"), repo.path(&format!("docker/{node}/program")));
    let compiled = Command::new("cc").arg("-static").arg("-o").args([&program, &source]).status().unwrap();
    assert!(compiled.success());
    repo
}

#[test]
fn an_image_without_a_shell_becomes_a_node_that_is_proved() {
    let given = Given::image(without_shell(), &[]);
    let archive = given.repo.cache.path().join("vendor.tar");
    Engine::here().save(&given.image, &archive);
    let made = given.repo.xtask(&["new", &given.new, "--image", archive.to_str().unwrap(), "--interfaces", "2"]);
    let made = made.success().says(["it has no shell", "waits for `serving \"everything\" {{ soon }}`"]);
    assert!(made.stdout.contains("images/vendor.tar\n"), "{made}");
    let definition = given.definition();
    assert!(definition.contains("    - \"serving \\\"everything\\\" {{ soon }}\"\n"), "{definition}");
    assert!(definition.contains("serial_ports: 1\n") && !definition.contains("\"shell\""), "{definition}");
    assert!(!definition.contains("day0cmd") && definition.contains("- eth1\n"), "{definition}");
    given.is_proved();
    assert!(given.repo.read("images/.gitignore").ends_with("*\n"));
    // Another clone has the archive alone.
    Engine::here().remove(&format!("{}:1.0", given.new));
    Engine::here().remove(&given.image);
    given.repo.xtask(&["build", &given.new]).success().says(["loading"]);
}

#[test]
fn an_image_of_another_user_with_a_health_check_becomes_a_node_that_is_proved() {
    let entry = r#"["/bin/sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"]"#;
    let given = Given::image(
        Repo::with_shell(&format!("HEALTHCHECK CMD [\"/bin/sh\", \"-c\", \"true\"]\nUSER 1000\nENTRYPOINT {entry}\n")),
        &[],
    );
    given
        .new_node(&["--label", "A \"label\" \\ #1 50%"])
        .success()
        .says(["it runs as the user 1000", "/bin/sh runs boot.sh"]);
    let definition = given.definition();
    assert!(definition.contains(r#"label: "A \"label\" \\ #1 50%""#), "{definition}");
    assert!(definition.contains("\"CAP_NET_BIND_SERVICE\"") && !definition.contains("SETUID"), "{definition}");
    assert!(definition.contains("\"day0cmd\": [\"/bin/sh\", \"/config/boot.sh\"]"), "{definition}");
    let proved = given.is_proved();
    assert!(proved.stdout.contains("day0cmd succeeds") && proved.stdout.contains("second console"), "{proved}");
}

#[test]
fn a_text_that_never_comes_and_an_image_that_ends_leave_nothing_behind() {
    let given = Given::image(without_shell(), &[]);
    let late = given.new_node(&["--ready", "never printed", "--timeout", "1"]).failure();
    late.says(["did not print `never printed` within 1 s", "serving \"everything\"", "does not run by itself"]);
    given.is_not_there();
    given.new_node(&["--console", "sh"]).failure().says(["has no shell for a second console"]);
    given.is_not_there();
    given.new_node(&["--ready", "serving", "--console", "none"]).success();
    assert!(given.repo.read(&format!("node-definitions/{}.yaml", given.new)).contains("completed = [\"serving\"]"));
    let files = format!("delete docker/{0}, node-definitions/{0}.yaml first", given.new);
    given.new_node(&[]).failure().says(["already exists: choose another name", &files]);
    // As that says.
    std::fs::remove_dir_all(given.repo.path(&format!("docker/{}", given.new))).unwrap();
    std::fs::remove_file(given.repo.path(&format!("node-definitions/{}.yaml", given.new))).unwrap();
    given.new_node(&["--ready", "serving", "--timeout", "60"]).success();
    let ending = Given::image(Repo::with_shell("CMD [\"/bin/sh\", \"-c\", \"echo no licence; exit 3\"]\n"), &[]);
    ending.new_node(&[]).failure().says(["with exit code 3", "no licence", "--env KEY=VALUE"]);
    ending.is_not_there();
}

#[test]
fn wrong_usage_is_told_before_anything_is_looked_for() {
    let repo = Repo::tiny();
    for (options, why) in [
        (["--label", ""], "1 to 26 printable characters"),
        (["--label", "{{ id }}"], "begins a pattern"),
        (["--ready", ""], "1 to 128 printable characters"),
        (["--env", "KEY"], "must be KEY=VALUE"),
        (["--env", "=x"], "must be KEY=VALUE"),
        (["--env=A=1", "--env=A=2"], "sets `A` twice"),
        (["--label", "web"], "nothing.tar.gz is not there"),
    ] {
        let image = ["new", "web", "--image", "nothing.tar.gz"];
        let outcome = repo.xtask(&[&image[..], &options].concat());
        assert_eq!(outcome.code, Some(2), "{outcome}");
        outcome.says([why]);
    }
    for (node, image, why) in [
        ("web-", "nginx:1", "one that ends in `-`"),
        ("web", "", "expected the name of an image"),
        ("web", "Nginx:1", "cannot be the name of an image"),
        ("web", ".", "is a folder"),
    ] {
        let outcome = repo.xtask(&["new", node, "--image", image]);
        assert_eq!(outcome.code, Some(2), "{outcome}");
        outcome.says([why]);
    }
}

#[test]
fn what_keeps_an_image_from_starting_is_named() {
    let repo = without_shell();
    repo.edit(&repo.dockerfile(), "ENTRYPOINT", "USER nosuch\nENTRYPOINT");
    let given = Given::image(repo, &[]);
    let refused = given.new_node(&[]).failure();
    refused.says(["USER is a user or group that does not exist in it", "the image itself is at fault"]);
    let without_tag = given.repo.xtask(&["new", &given.new, "--image", given.repo.node()]).failure();
    without_tag.says([&format!("the engine has {}", given.image)]);
    given.is_not_there();
}

#[test]
fn an_image_that_fails_soon_or_wants_more_memory_than_there_is_becomes_no_node() {
    let given = Given::image(without_shell(), &[]);
    given.new_node(&["--env", "FAILS=1"]).failure().says(["with exit code 1 during the trial run", "printed nothing"]);
    given.is_not_there();
    // Podman 4.3 says of memory only that the first process was killed, and an ordinary user's may not limit it.
    if std::env::var_os("XTASK_ENGINE").is_none_or(|engine| engine != "docker") {
        return;
    }
    // It prints its text when it has touched all of the memory, or what did was killed.
    let greedy = given.new_node(&["--env", "TOUCHES=5000", "--ready", "serving"]).failure();
    greedy.says(["wants more memory than the 4096 MiB"]);
    given.is_not_there();
    given.new_node(&["--env", "TOUCHES=1"]).success();
    let template = format!("node-definitions/{}.yaml", given.new);
    given.repo.edit(&template, "TOUCHES=1", "TOUCHES=300");
    let outcome = given.repo.xtask(&["verify", &given.new]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["its memory is enough", "processes were killed, because the node used all of its memory, 128 MiB"]);
}

#[test]
fn nginx_of_debian_becomes_a_node_that_is_proved() {
    let mut repo = Repo::empty();
    let node = repo.add_node(
        "ARG BASE\nFROM ${BASE}\nRUN apt-get update && apt-get install --yes --no-install-recommends nginx-light\n\
         EXPOSE 80\nSTOPSIGNAL SIGQUIT\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n",
    );
    let base = "image: debian:trixie-slim\n      bootstrap: {suite: trixie}\n";
    repo.edit(&format!("docker/{node}/node.yaml"), "image: scratch\n", base);
    let given = Given::image(repo, &["--yes"]);
    given.new_node(&[]).success().says(["CML waits for READY", "/bin/bash runs boot.sh"]);
    let manifest = format!("docker/{}/node.yaml", given.new);
    assert!(given.repo.read(&manifest).contains("ports 80/tcp"));
    let scene = "
scenes:
  - name: web
    nodes: {www: {}}
    steps:
      - check: it answers
        on: www
        run: [bash, -c, \"exec 3<> /dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3\"]
        prints: 200 OK
        within: 30
";
    given.repo.write(&manifest, &(given.repo.read(&manifest) + scene));
    let proved = given.is_proved();
    assert!(proved.stdout.contains("it answers"), "{proved}");
}
