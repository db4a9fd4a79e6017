//! The scenes of a manifest: small labs, and what must be true in them. `cargo xtask verify` runs them.
//! `docs/manifest.md` explains the keys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::names::{Content, Name, Pattern, line, one_line, quote};
use crate::place::{Place, Wrong};

/// A few nodes, the links between them, and steps in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    #[serde(deserialize_with = "one_line")]
    pub name: String,
    pub nodes: BTreeMap<Name, SceneNode>,
    #[serde(default)]
    pub links: Vec<[Name; 2]>,
    #[serde(deserialize_with = "steps")]
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneNode {
    pub node: Option<Name>,
    #[serde(default)]
    pub files: BTreeMap<String, Content>,
    #[serde(default)]
    pub without: Vec<String>,
    #[serde(default)]
    pub switches: BTreeMap<String, bool>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Check(Check),
    Restart(Name),
    Recreate(Name),
    Rewrite(Rewrite),
    Crash(Crash),
}

#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub on: Name,
    pub run: Vec<Pattern>,
    pub expected: Expectation,
    pub within: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Expectation {
    pub prints: Vec<Pattern>,
    pub lacks: Vec<Pattern>,
    pub matches: Option<Pattern>,
    pub exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i64),
    /// With any code but 0.
    Failure,
}

impl Default for Exit {
    fn default() -> Self {
        Self::Code(0)
    }
}

#[derive(Clone, Debug)]
pub struct Rewrite {
    pub file: String,
    pub of: Name,
    pub from: Command,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub on: Name,
    pub run: Vec<Pattern>,
}

/// Nodes are killed again and again while a command runs in them.
#[derive(Clone, Debug)]
pub struct Crash {
    pub name: String,
    pub on: Vec<Name>,
    pub times: u32,
    pub run: Vec<Pattern>,
    /// What the command prints when the critical part begins. It is an error if the command ends before.
    pub once: Option<Pattern>,
    /// The longest time from the start of the command, or from `once`, to the kill.
    pub within: Duration,
    pub then: Option<Then>,
}

#[derive(Clone, Debug)]
pub struct Then {
    pub run: Vec<Pattern>,
    pub expected: Expectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    check: Option<String>,
    restart: Option<Name>,
    recreate: Option<Name>,
    rewrite: Option<String>,
    crash: Option<String>,
    on: Option<OneOrMore<Name>>,
    of: Option<Name>,
    from: Option<Command>,
    run: Option<Vec<Pattern>>,
    once: Option<Pattern>,
    then: Option<Vec<Pattern>>,
    times: Option<u32>,
    within: Option<f64>,
    within_ms: Option<u64>,
    prints: Option<OneOrMore<String>>,
    lacks: Option<OneOrMore<String>>,
    matches: Option<Pattern>,
    exits: Option<i64>,
    fails: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> From<OneOrMore<T>> for Vec<T> {
    fn from(some: OneOrMore<T>) -> Self {
        match some {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

/// The steps of a scene. An error has the number of the step: serde_yaml tells none for a value that it could read.
fn steps<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Step>, D::Error> {
    let numbered = Vec::<RawStep>::deserialize(from)?.into_iter().enumerate();
    let wrong = |index: usize, why: String| de::Error::custom(format!("steps[{index}]: {why}"));
    numbered.map(|(index, raw)| Step::try_from(raw).map_err(|why| wrong(index, why))).collect()
}

impl TryFrom<RawStep> for Step {
    type Error = String;

    fn try_from(mut raw: RawStep) -> Result<Self, String> {
        raw.check.iter().chain(&raw.crash).chain(&raw.rewrite).try_for_each(|text| line(text))?;
        let step = if let Some(name) = raw.check.take() {
            Self::Check(raw.take_check(name)?)
        } else if let Some(name) = raw.crash.take() {
            Self::Crash(raw.take_crash(name)?)
        } else if let Some(file) = raw.rewrite.take() {
            let (of, from) = (required(&mut raw.of, "of")?, required(&mut raw.from, "from")?);
            Self::Rewrite(Rewrite { file, of, from })
        } else if let Some(node) = raw.restart.take() {
            Self::Restart(node)
        } else if let Some(node) = raw.recreate.take() {
            Self::Recreate(node)
        } else {
            return Err("a step is a `check`, `restart`, `recreate`, `rewrite` or `crash`".to_owned());
        };
        match raw.unused_key() {
            Some(key) => Err(format!("`{key}` is not allowed in this kind of step")),
            None => Ok(step),
        }
    }
}

impl RawStep {
    fn take_check(&mut self, name: String) -> Result<Check, String> {
        let within = self.within.take().unwrap_or_default();
        Ok(Check {
            name,
            on: self.take_one_node()?,
            run: args(&mut self.run, "run")?,
            expected: self.take_expected()?,
            within: Duration::try_from_secs_f64(within).map_err(|_| "`within` must be a number of seconds")?,
        })
    }

    fn take_crash(&mut self, name: String) -> Result<Crash, String> {
        let crash = Crash {
            name,
            on: self.take_nodes()?,
            times: required(&mut self.times, "times")?,
            run: args(&mut self.run, "run")?,
            once: self.once.take(),
            within: Duration::from_millis(required(&mut self.within_ms, "within_ms")?),
            then: self.take_then()?,
        };
        if crash.times == 0 {
            return Err("`times` must be at least 1, or nothing is killed".to_owned());
        }
        if crash.once.as_ref().is_some_and(Pattern::is_empty) {
            return Err("`once` must not be empty".to_owned());
        }
        if crash.once.is_none() && crash.then.is_none() {
            return Err(
                "a `crash` needs `then`, or `once` and a `run` that checks the node before it prints that".into()
            );
        }
        Ok(crash)
    }

    fn take_then(&mut self) -> Result<Option<Then>, String> {
        let then = self.then.is_some();
        then.then(|| Ok(Then { run: args(&mut self.then, "then")?, expected: self.take_expected()? })).transpose()
    }

    fn take_nodes(&mut self) -> Result<Vec<Name>, String> {
        let nodes = Vec::from(required(&mut self.on, "on")?);
        if nodes.is_empty() { Err("`on` must name a node".to_owned()) } else { Ok(nodes) }
    }

    fn take_one_node(&mut self) -> Result<Name, String> {
        let [node] = <[Name; 1]>::try_from(self.take_nodes()?).map_err(|_| "a `check` runs on one node")?;
        Ok(node)
    }

    fn take_expected(&mut self) -> Result<Expectation, String> {
        let exit = match (self.exits.take(), self.fails.take()) {
            (None, None | Some(false)) => Exit::default(),
            (Some(code), None | Some(false)) => Exit::Code(code),
            (None, Some(true)) => Exit::Failure,
            (Some(_), Some(true)) => return Err("`exits` and `fails` contradict each other".to_owned()),
        };
        if let Some(text) = self.matches.as_ref().and_then(Pattern::literal) {
            line_expression(text)?;
        }
        let (prints, lacks) = (texts(self.prints.take(), "prints")?, texts(self.lacks.take(), "lacks")?);
        Ok(Expectation { prints, lacks, matches: self.matches.take(), exit })
    }

    /// The first key that this kind of step has not taken.
    fn unused_key(&self) -> Option<&'static str> {
        macro_rules! first_of {
            ($($key:ident)+) => { None$(.or(self.$key.is_some().then_some(stringify!($key))))+ };
        }
        first_of! {
            check restart recreate rewrite crash on of from run once then times
            within within_ms prints lacks matches exits fails
        }
    }
}

fn required<T>(value: &mut Option<T>, key: &str) -> Result<T, String> {
    value.take().ok_or_else(|| format!("this step needs the key `{key}`"))
}

/// The regular expression that an output must match; `^` and `$` match at every line.
///
/// # Errors
/// If it is none, or every output matches it, so that it checks nothing.
pub fn line_expression(text: &str) -> Result<regex_lite::Regex, String> {
    let expression = regex_lite::RegexBuilder::new(text).multi_line(true).build();
    let shown = quote(text);
    let expression = expression.map_err(|error| format!("`{shown}` is not a regular expression: {error}"))?;
    // An output of nothing, and one of a long line with whatever a line may have.
    let line: String = ('\u{1}'..='~').filter(|c| *c != '\n').chain(['é']).collect();
    if expression.is_match("") && expression.is_match(&line.repeat(20)) {
        return Err(format!("`{shown}` is a pattern that every output matches, so it checks nothing"));
    }
    Ok(expression)
}

/// The texts of an expectation. An empty one is in every output.
// Patterns in an untagged enum would not say what is wrong with them.
fn texts(value: Option<OneOrMore<String>>, key: &str) -> Result<Vec<Pattern>, String> {
    let Some(texts) = value.map(Vec::from) else { return Ok(Vec::new()) };
    let texts: Vec<Pattern> = texts.into_iter().map(Pattern::try_from).collect::<Result<_, _>>()?;
    let is_empty = texts.is_empty() || texts.iter().any(Pattern::is_empty);
    if is_empty { Err(format!("`{key}` must not be empty")) } else { Ok(texts) }
}

fn args(value: &mut Option<Vec<Pattern>>, key: &str) -> Result<Vec<Pattern>, String> {
    let args = required(value, key)?;
    if args.is_empty() { Err(format!("`{key}` must not be empty")) } else { Ok(args) }
}

impl Scene {
    /// Refuses links and steps that name a node which the scene does not have, a node that is linked to itself, and a
    /// scene that has no name or would check nothing. `at` is the place of the scene.
    pub(crate) fn check(&self, at: &Place) -> Result<(), Wrong> {
        if self.name.trim().is_empty() {
            return Err(at.key("name").wrong("it is empty, but results name the scene"));
        }
        if self.steps.is_empty() {
            let why = format!("scene `{}` has no steps, so it checks nothing", self.name);
            return Err(at.key("steps").wrong(why));
        }
        for (index, link) in self.links.iter().enumerate() {
            let at = at.key("links").index(index);
            link.iter().enumerate().try_for_each(|(end, name)| self.check_node(name, &at.index(end)))?;
            if link[0] == link[1] {
                return Err(at.wrong(format!("`{}` cannot be linked to itself: name two nodes", link[0])));
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            let nodes = step.nodes(&at.key("steps").index(index));
            nodes.iter().try_for_each(|(at, name)| self.check_node(name, at))?;
        }
        Ok(())
    }

    fn check_node(&self, name: &Name, at: &Place) -> Result<(), Wrong> {
        if self.nodes.contains_key(name) {
            return Ok(());
        }
        let near = text::near(name.as_str(), self.nodes.keys().map(Name::as_str));
        Err(at.wrong(format!("scene `{}` has no node `{name}`: {near}", self.name)))
    }
}

impl Step {
    /// The nodes that a step at this place names, with the place of each name.
    fn nodes(&self, at: &Place) -> Vec<(Place, &Name)> {
        match self {
            Self::Check(check) => vec![(at.key("on"), &check.on)],
            Self::Restart(node) => vec![(at.key("restart"), node)],
            Self::Recreate(node) => vec![(at.key("recreate"), node)],
            Self::Rewrite(rewrite) => {
                vec![(at.key("of"), &rewrite.of), (at.key("from").key("on"), &rewrite.from.on)]
            }
            Self::Crash(Crash { on, .. }) => match &on[..] {
                // Not a list, perhaps.
                [node] => vec![(at.key("on"), node)],
                nodes => nodes.iter().enumerate().map(|(index, node)| (at.key("on").index(index), node)).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<Step, String> {
        let raw: RawStep = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        Step::try_from(raw)
    }

    #[test]
    fn the_first_key_says_what_kind_of_step_it_is() {
        let check = step("{check: it answers, on: r1, run: [true], prints: yes it does, within: 2.5}").unwrap();
        assert!(matches!(check, Step::Check(check) if check.within == Duration::from_millis(2500)));
        assert!(matches!(step("{restart: r1}").unwrap(), Step::Restart(_)));
        let rewrite = step("{rewrite: keys, of: r1, from: {on: pc, run: [cat, x]}}").unwrap();
        assert!(matches!(rewrite, Step::Rewrite(rewrite) if rewrite.from.on.as_str() == "pc"));
        let crash = step("{crash: c, on: [r1, r2], times: 2, run: [a], within_ms: 5, then: [b]}").unwrap();
        assert!(matches!(crash, Step::Crash(crash) if crash.times == 2 && crash.on.len() == 2));
        let crash = step("{crash: c, on: r1, times: 2, run: [a], once: now, within_ms: 5}").unwrap();
        assert!(matches!(crash, Step::Crash(crash) if crash.once.is_some() && crash.then.is_none()));
    }

    #[test]
    fn keys_of_another_kind_of_step_and_missing_ones_are_refused() {
        assert!(step("{restart: r1, within: 3}").unwrap_err().contains("`within` is not allowed"));
        assert!(step("{check: a, restart: r1, on: r1, run: [x]}").unwrap_err().contains("`restart` is not allowed"));
        assert!(step("{check: a, run: [x]}").unwrap_err().contains("needs the key `on`"));
        assert!(step("{check: a, on: [r1, r2], run: [x]}").unwrap_err().contains("runs on one node"));
        assert!(step("{check: a, on: r1, run: []}").unwrap_err().contains("must not be empty"));
        assert!(step("{on: r1}").unwrap_err().contains("a step is a `check`"));
        assert!(step("{crash: c, on: r1, times: 2, run: [a], within_ms: 5}").unwrap_err().contains("needs `then`"));
        let unused = step("{crash: c, on: r1, times: 2, run: [a], once: now, within_ms: 5, prints: x}");
        assert!(unused.unwrap_err().contains("`prints` is not allowed"));
        assert!(step("{check: a, on: r1, run: [x], exits: 1, fails: true}").unwrap_err().contains("contradict"));
    }

    #[test]
    fn what_would_check_nothing_is_refused() {
        let crash = step("{crash: c, on: r1, times: 0, run: [a], once: now, within_ms: 5}");
        assert!(crash.unwrap_err().contains("`times` must be at least 1"));
        for (key, value) in [("prints", "''"), ("prints", "[]"), ("prints", "[a, '']"), ("lacks", "''")] {
            let error = step(&format!("{{check: a, on: r1, run: [x], {key}: {value}}}")).unwrap_err();
            assert!(error.contains(&format!("`{key}` ")) && error.contains("empty"), "{key}: {value}: {error}");
        }
        for matches in ["", ".*", "^.*$", "x?", "(a|)", "[a-z]*"] {
            let error = step(&format!("{{check: a, on: r1, run: [x], matches: '{matches}'}}")).unwrap_err();
            assert!(error.contains(&format!("`{matches}` is a pattern that every output matches")), "{error}");
        }
        for matches in [".", ".+", "^$", "^[^x]*$", "^.{0,80}$", "{{ version }}"] {
            assert!(step(&format!("{{check: a, on: r1, run: [x], matches: '{matches}'}}")).is_ok(), "{matches}");
        }
        let error = step("{check: a, on: r1, run: [x], matches: '('}").unwrap_err();
        assert!(error.contains("`(` is not a regular expression"), "{error}");
        let once = step("{crash: c, on: r1, times: 1, run: [a], once: '', within_ms: 5}");
        assert!(once.unwrap_err().contains("`once` must not be empty"));
        let scene: Scene = serde_yaml::from_str("{name: s, nodes: {left: {}}, steps: []}").unwrap();
        assert!(scene.check(&Place::default()).unwrap_err().why.contains("has no steps"));
    }

    #[test]
    fn an_unknown_node_of_a_scene_is_reported_with_a_suggestion() {
        let text = "{name: s, nodes: {left: {}}, links: [[left, lefd]], steps: [{restart: left}]}";
        let scene: Scene = serde_yaml::from_str(text).unwrap();
        assert!(scene.check(&Place::default()).unwrap_err().why.contains("no node `lefd`: did you mean `left`?"));
    }
}
