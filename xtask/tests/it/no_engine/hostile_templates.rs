//! Templates and manifests that are made to exhaust memory or time when they are filled in: each command that does so
//! ends, in bounded memory, with an error that names the file.

use std::time::Duration;

use crate::common::Repo;

/// How much memory the program may have, reserved and used: without limits of its own, it would be killed at this.
const LIMIT: &str = "--data=4294967296";

/// A guard against one that hangs. The program gives a rendering 10 seconds.
const GUARD: Duration = Duration::from_secs(60);

/// All commands that fill in templates, of those that need no engine.
const COMMANDS: [&[&str]; 3] = [&["lint"], &["list"], &["lint", "--json"]];

fn repository() -> Repo {
    let mut repo = Repo::tiny();
    // Nothing answers there.
    repo.set("XTASK_ENGINE", "tcp://127.0.0.1:1");
    repo
}

/// `xtask ARGS` ends with an error that says all of this.
#[track_caller]
fn fails(repo: &Repo, args: &[&str], said: &[&str]) {
    let outcome = repo.start_within(&["prlimit", LIMIT], args).end_within(GUARD);
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome}");
    assert!(outcome.stderr.len() + outcome.stdout.len() < 8192, "{outcome}");
    if args.contains(&"--json") {
        outcome.json();
    }
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    for part in said {
        assert!(text.contains(part), "it should say `{part}`: {outcome}");
    }
}

/// `lint` refuses this as the template of the node definition.
#[track_caller]
fn template_is_refused(template: &str, said: &str) {
    let repo = repository();
    repo.write("node-definitions/tiny.yaml", template);
    fails(&repo, &["lint"], &["node-definitions/tiny.yaml", said]);
}

/// Loops in loops over lists, whose elements no budget counts.
fn nested(depth: usize, inner: &str) -> String {
    let list = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]";
    let starts: String = (0..depth).map(|depth| format!("{{% for a{depth} in {list} %}}")).collect();
    format!("{starts}{inner}{}", "{% endfor %}".repeat(depth))
}

#[test]
fn loops_in_loops_end() {
    let ranges = |inner: &str| {
        format!(
            "{{% for a in range(end=100000) %}}{{% for b in range(end=100000) %}}{inner}{{% endfor %}}{{% endfor %}}"
        )
    };
    template_is_refused(&ranges("x"), "`range` makes more than 100000 elements");
    template_is_refused(&ranges(""), "`range` makes more than 100000 elements");
    template_is_refused(&nested(12, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "more than 20000000 bytes");
}

#[test]
fn loops_without_output_end() {
    template_is_refused(&nested(12, ""), "takes more than 10 seconds");
}

#[test]
fn includes_that_multiply_end() {
    let repo = repository();
    for depth in 0..14 {
        let include = format!("{{% include \"partials/{}.yaml\" %}}\n", depth + 1);
        repo.write(&format!("node-definitions/partials/{depth}.yaml"), &include.repeat(16));
    }
    repo.write("node-definitions/partials/14.yaml", "");
    repo.write("node-definitions/tiny.yaml", "{% include \"partials/0.yaml\" %}");
    fails(&repo, &["lint"], &["node-definitions/tiny.yaml"]);
}

#[test]
fn texts_that_double_end() {
    // Of memory, or on a busy machine of time.
    let too_much = "rendering it takes more than";
    let double = "{% set_global a = a ~ a %}";
    template_is_refused(
        &format!("{{% set a = 'x' %}}{{% for i in range(end=60) %}}{double}{{% endfor %}}{{{{ a }}}}"),
        too_much,
    );
    template_is_refused(&format!("{{% set a = 'x' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60)), too_much);
    let replaced = "| replace(from='x', to='xxxxxxxxxx')".repeat(30);
    template_is_refused(&format!("{{{{ 'x' {replaced} }}}}"), too_much);
    template_is_refused(&format!("{{{{ '\"' {} }}}}", "| json".repeat(60)), too_much);
}

#[test]
fn every_command_that_fills_in_templates_ends() {
    let repo = repository();
    repo.write("image-definitions/container.yaml", &nested(2, "{% for a in range(end=1000) %}{% endfor %}"));
    fails(&repo, &["lint"], &["image-definitions/container.yaml"]);
    let double = "'x' | replace(from='x', to='xxxxxxxxxxxxxxxxxxxx')".to_owned();
    let double = double + &"| replace(from='x', to='xxxxxxxxxxxxxxxxxxxx')".repeat(8);
    for (key, args) in ["image", "id", "label"].into_iter().zip(COMMANDS) {
        let repo = repository();
        let manifest = repo.read(&repo.manifest());
        let line = manifest.lines().find(|line| line.starts_with(&format!("{key}: "))).unwrap();
        repo.edit_manifest(line, &format!("{key}: \"{{{{ {double} }}}}\""));
        fails(&repo, args, &["node.yaml", "'x' | replace", "rendering it takes more than"]);
    }
}

#[test]
fn patterns_of_the_manifest_are_refused_with_their_place() {
    let statement = "{% for a in range(end=100000) %}x{% endfor %}";
    let long = "x".repeat(1001);
    for (text, said) in [(statement, "a pattern with a statement"), (&long, "most")] {
        for (from, to) in [
            ("image: \"", format!("image: \"{text}")),
            ("id: \"", format!("id: \"{text}")),
            ("label: \"", format!("label: \"{text}")),
            ("    base:", format!("    source: {{git: \"https://example.org/x\", ref: \"{text}\"}}\n    base:")),
            ("variants:", format!("checks:\n  - run: [cat]\n    prints: \"{text}\"\nvariants:")),
            (
                "variants:",
                format!(
                    "scenes:\n  - name: s\n    nodes: {{a: {{}}}}\n    steps:\n      \
                     - {{check: c, on: a, run: [cat], prints: \"{text}\"}}\nvariants:"
                ),
            ),
        ] {
            let repo = repository();
            repo.edit_manifest(from, &to);
            for args in COMMANDS {
                fails(&repo, args, &["node.yaml:", said]);
            }
        }
    }
}

#[test]
fn files_of_scenes_may_have_statements() {
    let repo = repository();
    let scene = "scenes:\n  - name: s\n    nodes: {a: {files: {config.json: \"{% if version %}x{% endif %}\"}}}\n    \
                 steps:\n      \
                 - {check: c, on: a, run: [cat]}\nvariants:";
    repo.edit_manifest("variants:", scene);
    repo.xtask(&["lint"]).success();
}
