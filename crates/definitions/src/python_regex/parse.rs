//! Reads a pattern, and refuses what Python refuses. [Python: Lib/re/_parser.py]

use std::collections::BTreeMap;

/// For Python, a number of repetitions that means "without limit". [Python: Modules/_sre/sre_constants.h, MAXREPEAT]
pub(super) const NO_LIMIT: u64 = u32::MAX as u64;

/// How deep groups may be in each other. Python has no limit; `boot.completed` has at most 128 characters.
const DEEPEST: usize = 100;

pub(super) struct Pattern {
    pub root: Node,
    /// One more than there are groups: 0 is the whole match.
    pub groups: usize,
    /// Nothing in it is unknown to this program.
    pub is_known: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub ascii: bool,
    pub ignore_case: bool,
    pub multi_line: bool,
    pub dot_all: bool,
    pub unicode: bool,
    pub verbose: bool,
}

#[derive(Debug)]
pub(super) enum Node {
    /// One after another.
    All(Vec<Node>),
    /// The first that matches.
    Either(Vec<Node>),
    One(Class),
    At(Place),
    Group(usize, Box<Node>),
    /// A group that nothing is remembered of.
    Plain(Box<Node>),
    Atomic(Box<Node>),
    Repeat {
        node: Box<Node>,
        least: u64,
        most: u64,
        kind: Kind,
    },
    Look {
        node: Box<Node>,
        behind: Option<u64>,
        negated: bool,
    },
    /// The text of a group, again.
    Again(usize, Flags),
    /// The first if that group has matched, else the second.
    If(usize, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A set of characters. They are numbers, because Python's may be surrogates.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub negated: bool,
    pub ranges: Vec<(u32, u32)>,
    /// `d`, `s`, `w`, or the same in capitals.
    pub categories: Vec<char>,
    pub flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    TextStart,
    TextEnd,
    /// At the end, or before a line break at the end.
    LastLineEnd,
    LineStart,
    LineEnd,
    WordEdge(Flags),
    NoWordEdge(Flags),
}

type Result<T> = std::result::Result<T, String>;

/// A character, or one after a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Plain(char),
    Escaped(char),
}
use Token::{Escaped, Plain};

pub(super) fn parse(pattern: &str) -> Result<Pattern> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '\\' => Escaped(chars.next().ok_or("bad escape (end of pattern)")?),
            c => Plain(c),
        });
    }
    let parser = |verbose| Parser {
        tokens: &tokens,
        at: 0,
        flags: Flags { verbose, ..Flags::default() },
        groups: vec![None],
        names: BTreeMap::new(),
        conditions: Vec::new(),
        behind: None,
        is_known: true,
        depth: 0,
    };
    match parser(false).whole() {
        // Spaces before the flag count, too.
        Err(again) if again == VERBOSE => parser(true).whole(),
        done => done,
    }
}

/// Not an error: the whole pattern is to be read again, as a verbose one.
const VERBOSE: &str = "verbose";

struct Parser<'p> {
    tokens: &'p [Token],
    at: usize,
    flags: Flags,
    /// The width of each group, least and most; of an open one, nothing.
    groups: Vec<Option<Width>>,
    names: BTreeMap<String, usize>,
    /// Groups that conditions ask for.
    conditions: Vec<usize>,
    /// In a look-behind: how many groups there were before it.
    behind: Option<usize>,
    is_known: bool,
    depth: usize,
}

type Width = (u64, u64);

impl Parser<'_> {
    fn whole(mut self) -> Result<Pattern> {
        let root = self.alternatives(true)?;
        if self.at < self.tokens.len() {
            return Err("unbalanced parenthesis".to_owned());
        }
        if self.conditions.iter().any(|group| *group >= self.groups.len()) {
            return Err("invalid group reference".to_owned());
        }
        Ok(Pattern { root, groups: self.groups.len(), is_known: self.is_known })
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn take(&mut self, c: char) -> bool {
        let is_next = self.peek() == Some(Plain(c));
        self.at += usize::from(is_next);
        is_next
    }

    /// Up to `most` characters of a kind, as they are after a backslash or in a count.
    fn take_while(&mut self, most: usize, is_meant: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(Plain(c)) = self.peek().filter(|_| taken.len() < most) {
            if !is_meant(c) {
                break;
            }
            taken.push(c);
            self.at += 1;
        }
        taken
    }

    fn until(&mut self, end: char, what: &str) -> Result<String> {
        let mut name = String::new();
        loop {
            match self.next() {
                None if name.is_empty() => return Err(format!("missing {what}")),
                None => return Err(format!("missing {end}, unterminated name")),
                Some(Plain(c)) if c == end && name.is_empty() => return Err(format!("missing {what}")),
                Some(Plain(c)) if c == end => return Ok(name),
                Some(Plain(c)) => name.push(c),
                Some(Escaped(c)) => name.extend(['\\', c]),
            }
        }
    }

    fn close(&mut self) -> Result<()> {
        if self.take(')') { Ok(()) } else { Err("missing ), unterminated subpattern".to_owned()) }
    }

    fn alternatives(&mut self, is_top: bool) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("groups are more than {DEEPEST} deep in each other"));
        }
        let mut all = vec![self.sequence(is_top)?];
        while self.take('|') {
            all.push(self.sequence(false)?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Either(all) })
    }

    /// Everything up to `|`, `)` or the end.
    fn sequence(&mut self, is_first: bool) -> Result<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        while let Some(token) = self.peek().filter(|token| !matches!(token, Plain('|' | ')'))) {
            self.at += 1;
            if self.flags.verbose && self.skipped(token) {
                continue;
            }
            match token {
                Escaped(c) => {
                    let node = self.escape(c)?;
                    nodes.push(node);
                }
                Plain('[') => {
                    let class = self.class()?;
                    nodes.push(Node::One(class));
                }
                Plain(c @ ('*' | '+' | '?' | '{')) => match self.count(c)? {
                    Some((least, most)) => self.repeat(&mut nodes, least, most)?,
                    None => nodes.push(self.literal(c)),
                },
                Plain('.') => {
                    let ranges = if self.flags.dot_all { vec![] } else { vec![(10, 10)] };
                    nodes.push(Node::One(Class { negated: true, ranges, ..Class::default() }));
                }
                Plain('^') => {
                    let place = if self.flags.multi_line { Place::LineStart } else { Place::TextStart };
                    nodes.push(Node::At(place));
                }
                Plain('$') => {
                    let place = if self.flags.multi_line { Place::LineEnd } else { Place::LastLineEnd };
                    nodes.push(Node::At(place));
                }
                Plain('(') => {
                    let may_set = is_first && nodes.is_empty();
                    nodes.extend(self.group(may_set)?);
                }
                Plain(c) => nodes.push(self.literal(c)),
            }
        }
        Ok(Node::All(nodes))
    }

    fn literal(&self, c: char) -> Node {
        self.literal_of(u32::from(c))
    }

    fn literal_of(&self, code: u32) -> Node {
        Node::One(Class { ranges: vec![(code, code)], flags: self.flags, ..Class::default() })
    }

    /// Whether this is white space or a comment, in a verbose pattern.
    fn skipped(&mut self, token: Token) -> bool {
        match token {
            Plain(' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') => true,
            Plain('#') => {
                while !matches!(self.next(), None | Some(Plain('\n'))) {}
                true
            }
            _ => false,
        }
    }

    /// How often the node before it is repeated; nothing, if the brace is only a brace.
    fn count(&mut self, c: char) -> Result<Option<(u64, u64)>> {
        match c {
            '*' => return Ok(Some((0, NO_LIMIT))),
            '+' => return Ok(Some((1, NO_LIMIT))),
            '?' => return Ok(Some((0, 1))),
            _ => {}
        }
        let start = self.at;
        if self.peek() == Some(Plain('}')) {
            return Ok(None);
        }
        let least = self.take_while(usize::MAX, |c| c.is_ascii_digit());
        let most = if self.take(',') { self.take_while(usize::MAX, |c| c.is_ascii_digit()) } else { least.clone() };
        if !self.take('}') {
            self.at = start;
            return Ok(None);
        }
        let number = |digits: &str, absent| match digits {
            "" => Ok(absent),
            digits => digits.parse().ok().filter(|n| *n < NO_LIMIT).ok_or("the repetition number is too large"),
        };
        let (least, most) = (number(&least, 0)?, number(&most, NO_LIMIT)?);
        if most < least {
            return Err("min repeat greater than max repeat".to_owned());
        }
        Ok(Some((least, most)))
    }

    fn repeat(&mut self, nodes: &mut Vec<Node>, least: u64, most: u64) -> Result<()> {
        let node = match nodes.pop() {
            None | Some(Node::At(_)) => return Err("nothing to repeat".to_owned()),
            Some(Node::Repeat { .. }) => return Err("multiple repeat".to_owned()),
            Some(node) => Box::new(node),
        };
        let kind = match () {
            () if self.take('?') => Kind::Lazy,
            () if self.take('+') => Kind::Possessive,
            () => Kind::Greedy,
        };
        nodes.push(Node::Repeat { node, least, most, kind });
        Ok(())
    }

    /// What follows `(`. Nothing, for a comment and for flags.
    fn group(&mut self, may_set: bool) -> Result<Option<Node>> {
        if !self.take('?') {
            return self.remembered(None).map(Some);
        }
        match self.next().ok_or("unexpected end of pattern")? {
            Plain('P') => self.named().map(Some),
            Plain(':') => self.inside(Node::Plain).map(Some),
            Plain('>') => self.inside(Node::Atomic).map(Some),
            Plain('#') => loop {
                match self.next() {
                    None => return Err("missing ), unterminated comment".to_owned()),
                    Some(Plain(')')) => return Ok(None),
                    Some(_) => {}
                }
            },
            Plain(c @ ('=' | '!')) => self.look(c == '!', false).map(Some),
            Plain('<') => match self.next().ok_or("unexpected end of pattern")? {
                Plain(c @ ('=' | '!')) => self.look(c == '!', true).map(Some),
                _ => Err("unknown extension ?<".to_owned()),
            },
            Plain('(') => self.condition().map(Some),
            Plain(c) if c == '-' || is_flag(c) => self.flags(c, may_set),
            Plain(c) => Err(format!("unknown extension ?{c}")),
            Escaped(c) => Err(format!("unknown extension ?\\{c}")),
        }
    }

    fn inside(&mut self, node: fn(Box<Node>) -> Node) -> Result<Node> {
        let inner = self.alternatives(false)?;
        self.close()?;
        Ok(node(Box::new(inner)))
    }

    fn remembered(&mut self, name: Option<String>) -> Result<Node> {
        let group = self.groups.len();
        if name.is_some_and(|name| self.names.insert(name, group).is_some()) {
            return Err("redefinition of group name".to_owned());
        }
        self.groups.push(None);
        let inner = self.alternatives(false)?;
        self.close()?;
        self.groups[group] = Some(self.width(&inner));
        Ok(Node::Group(group, Box::new(inner)))
    }

    /// `(?P<name>…)` or `(?P=name)`
    fn named(&mut self) -> Result<Node> {
        if self.take('<') {
            let name = self.until('>', "group name")?;
            is_identifier(&name)?;
            return self.remembered(Some(name));
        }
        if !self.take('=') {
            self.next().ok_or("unexpected end of pattern")?;
            return Err("unknown extension ?P".to_owned());
        }
        let name = self.until(')', "group name")?;
        is_identifier(&name)?;
        let group = *self.names.get(&name).ok_or_else(|| format!("unknown group name '{name}'"))?;
        self.again(group)
    }

    fn again(&self, group: usize) -> Result<Node> {
        match self.groups.get(group) {
            None => Err(format!("invalid group reference {group}")),
            Some(None) => Err("cannot refer to an open group".to_owned()),
            Some(_) => {
                self.is_before_the_look_behind(group)?;
                Ok(Node::Again(group, self.flags))
            }
        }
    }

    fn is_before_the_look_behind(&self, group: usize) -> Result<()> {
        match self.behind {
            Some(before) if self.groups.get(group).is_some_and(Option::is_none) || group >= before => {
                Err("cannot refer to a group of the same look-behind".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn look(&mut self, negated: bool, is_behind: bool) -> Result<Node> {
        let outer = self.behind;
        if is_behind {
            self.behind = outer.or(Some(self.groups.len()));
        }
        let inner = self.alternatives(false)?;
        self.behind = outer;
        self.close()?;
        let (least, most) = self.width(&inner);
        if is_behind && least != most {
            return Err("look-behind requires fixed-width pattern".to_owned());
        }
        Ok(Node::Look { node: Box::new(inner), behind: is_behind.then_some(least), negated })
    }

    /// `(?(1)yes|no)` or `(?(name)yes|no)`
    fn condition(&mut self) -> Result<Node> {
        let name = self.until(')', "group name")?;
        let group = if is_identifier(&name).is_ok() {
            *self.names.get(&name).ok_or_else(|| format!("unknown group name '{name}'"))?
        } else {
            let is_number = name.bytes().all(|b| b.is_ascii_digit());
            let number = name.parse().ok().filter(|_| is_number);
            number.ok_or_else(|| format!("bad character in group name '{name}'"))?
        };
        if group == 0 {
            return Err("bad group number".to_owned());
        }
        self.conditions.push(group);
        self.is_before_the_look_behind(group)?;
        let yes = self.nested_sequence()?;
        let no = if self.take('|') { self.nested_sequence()? } else { Node::All(Vec::new()) };
        if self.peek() == Some(Plain('|')) {
            return Err("conditional backref with more than two branches".to_owned());
        }
        self.close()?;
        Ok(Node::If(group, Box::new(yes), Box::new(no)))
    }

    fn nested_sequence(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("groups are more than {DEEPEST} deep in each other"));
        }
        let sequence = self.sequence(false);
        self.depth -= 1;
        sequence
    }

    /// `(?i)` for the whole pattern, or `(?i-s:…)` for a part of it.
    fn flags(&mut self, first: char, may_set: bool) -> Result<Option<Node>> {
        let (mut added, mut removed) = (String::new(), String::new());
        let mut end = first;
        if end != '-' {
            added.push(end);
            end = self.flag_or(&mut added, ")-:", "missing -, : or )")?;
        }
        if added.contains('L') {
            return Err("bad inline flags: cannot use 'L' flag with a str pattern".to_owned());
        }
        if added.contains('a') && added.contains('u') {
            return Err("bad inline flags: flags 'a', 'u' and 'L' are incompatible".to_owned());
        }
        if end == ')' {
            return self.set_for_all(&added, may_set).map(|()| None);
        }
        if end == '-' {
            match self.next() {
                Some(Plain(c)) if is_flag(c) => removed.push(c),
                _ => return Err("missing flag".to_owned()),
            }
            self.flag_or(&mut removed, ":", "missing :")?;
        }
        if removed.contains(['a', 'u', 'L']) {
            return Err("bad inline flags: cannot turn off flags 'a', 'u' and 'L'".to_owned());
        }
        if added.contains(|c| removed.contains(c)) {
            return Err("bad inline flags: flag turned on and off".to_owned());
        }
        let outer = self.flags;
        added.chars().for_each(|flag| self.flags.set(flag, true));
        removed.chars().for_each(|flag| self.flags.set(flag, false));
        let inner = self.inside(Node::Plain);
        self.flags = outer;
        inner.map(Some)
    }

    /// Reads further flags, up to one of these ends.
    fn flag_or(&mut self, flags: &mut String, ends: &str, missing: &str) -> Result<char> {
        loop {
            match self.next() {
                Some(Plain(c)) if ends.contains(c) => return Ok(c),
                Some(Plain(c)) if is_flag(c) => flags.push(c),
                Some(Plain(c)) if c.is_alphabetic() => return Err(format!("unknown flag {c}")),
                _ => return Err(missing.to_owned()),
            }
        }
    }

    fn set_for_all(&mut self, flags: &str, may_set: bool) -> Result<()> {
        if (self.flags.ascii && flags.contains('u')) || (self.flags.unicode && flags.contains('a')) {
            return Err("ASCII and UNICODE flags are incompatible".to_owned());
        }
        let was_verbose = self.flags.verbose;
        flags.chars().for_each(|flag| self.flags.set(flag, true));
        if self.flags.verbose && !was_verbose {
            return Err(VERBOSE.to_owned());
        }
        if !may_set {
            return Err("global flags not at the start of the expression".to_owned());
        }
        Ok(())
    }

    fn escape(&mut self, c: char) -> Result<Node> {
        Ok(match c {
            'A' => Node::At(Place::TextStart),
            'Z' => Node::At(Place::TextEnd),
            'b' => Node::At(Place::WordEdge(self.flags)),
            'B' => Node::At(Place::NoWordEdge(self.flags)),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                Node::One(Class { categories: vec![c], flags: self.flags, ..Class::default() })
            }
            '1'..='9' => return self.reference(c),
            c => {
                let code = self.code(c)?;
                self.literal_of(code)
            }
        })
    }

    /// `\1` or, with three octal digits, a character.
    fn reference(&mut self, c: char) -> Result<Node> {
        let mut digits = String::from(c);
        digits += &self.take_while(1, |c| c.is_ascii_digit());
        if digits.len() == 2 && digits.bytes().all(is_octal) {
            digits += &self.take_while(1, |c| c.is_ascii() && is_octal(c as u8));
        }
        if digits.len() == 3 {
            return octal(&digits).map(|code| self.literal_of(code));
        }
        self.again(digits.parse().unwrap_or(usize::MAX))
    }

    /// The character that an escape stands for, inside and outside of sets.
    fn code(&mut self, c: char) -> Result<u32> {
        Ok(match c {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => self.hexadecimal(2)?,
            'u' => self.hexadecimal(4)?,
            'U' => {
                let code = self.hexadecimal(8)?;
                if code > u32::from(char::MAX) {
                    return Err("bad escape \\U".to_owned());
                }
                code
            }
            'N' => {
                if !self.take('{') {
                    return Err("missing {".to_owned());
                }
                self.until('}', "character name")?;
                self.is_known = false;
                0
            }
            '0' => {
                let more = self.take_while(2, |c| c.is_ascii() && is_octal(c as u8));
                octal(&format!("0{more}"))?
            }
            c if c.is_ascii_alphanumeric() => return Err(format!("bad escape \\{c}")),
            c => u32::from(c),
        })
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32> {
        let text = self.take_while(digits, |c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
        code.ok_or_else(|| "incomplete escape".to_owned())
    }

    /// What follows `[`.
    fn class(&mut self) -> Result<Class> {
        const OPEN: &str = "unterminated character set";
        let mut class = Class { negated: self.take('^'), flags: self.flags, ..Class::default() };
        let mut is_first = true;
        loop {
            let token = self.next().ok_or(OPEN)?;
            if token == Plain(']') && !is_first {
                return Ok(class);
            }
            is_first = false;
            let start = self.member(token, &mut class)?;
            if !self.take('-') {
                class.ranges.extend(start.map(|code| (code, code)));
                continue;
            }
            let token = self.next().ok_or(OPEN)?;
            if token == Plain(']') {
                class.ranges.extend(start.map(|code| (code, code)));
                class.ranges.push((u32::from('-'), u32::from('-')));
                return Ok(class);
            }
            match (start, self.member(token, &mut class)?) {
                (Some(start), Some(end)) if start <= end => class.ranges.push((start, end)),
                _ => return Err("bad character range".to_owned()),
            }
        }
    }

    /// A character of a set; nothing if it was a category, which is in the set now.
    fn member(&mut self, token: Token, class: &mut Class) -> Result<Option<u32>> {
        let c = match token {
            Plain(c) => return Ok(Some(u32::from(c))),
            Escaped(c) => c,
        };
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                class.categories.push(c);
                Ok(None)
            }
            'b' => Ok(Some(8)),
            '0'..='7' => {
                let more = self.take_while(2, |c| c.is_ascii() && is_octal(c as u8));
                octal(&format!("{c}{more}")).map(Some)
            }
            c => self.code(c).map(Some),
        }
    }

    /// How many characters a node matches, least and most.
    fn width(&self, node: &Node) -> Width {
        let (least, most) = match node {
            Node::All(nodes) => nodes.iter().fold((0, 0), |sum: Width, node| {
                let (least, most) = self.width(node);
                (sum.0.saturating_add(least), sum.1.saturating_add(most))
            }),
            Node::Either(nodes) => nodes.iter().map(|node| self.width(node)).fold((u64::MAX, 0), wider),
            Node::One(_) => (1, 1),
            Node::At(_) | Node::Look { .. } => (0, 0),
            Node::Group(_, node) | Node::Plain(node) | Node::Atomic(node) => self.width(node),
            Node::Repeat { node, least, most, .. } => {
                let width = self.width(node);
                (width.0.saturating_mul(*least), width.1.saturating_mul(*most))
            }
            Node::Again(group, _) => self.groups[*group].unwrap_or_default(),
            Node::If(_, yes, no) => wider(self.width(yes), self.width(no)),
        };
        (least.min(NO_LIMIT - 1), most.min(NO_LIMIT))
    }
}

fn wider(one: Width, other: Width) -> Width {
    (one.0.min(other.0), one.1.max(other.1))
}

impl Flags {
    fn set(&mut self, flag: char, is_on: bool) {
        match flag {
            'a' => (self.ascii, self.unicode) = (is_on, self.unicode && !is_on),
            'u' => (self.unicode, self.ascii) = (is_on, self.ascii && !is_on),
            'i' => self.ignore_case = is_on,
            'm' => self.multi_line = is_on,
            's' => self.dot_all = is_on,
            _ => self.verbose = is_on,
        }
    }
}

fn is_flag(c: char) -> bool {
    matches!(c, 'a' | 'i' | 'L' | 'm' | 's' | 'u' | 'x')
}

fn is_octal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

fn octal(digits: &str) -> Result<u32> {
    let code = u32::from_str_radix(digits, 8).ok().filter(|code| *code <= 0o377);
    code.ok_or_else(|| format!("octal escape value \\{digits} outside of range 0-0o377"))
}

fn is_identifier(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if starts && chars.all(|c| c.is_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(format!("bad character in group name '{name}'"))
}
