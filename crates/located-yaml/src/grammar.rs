//! From tokens to values: the productions of YAML 1.1, each a function.

use std::collections::HashMap;
use std::sync::Arc;

use crate::compose::{self, Composer};
use crate::model::{Document, Mark, Node, Text, quoted};
use crate::problem::{DEEPEST, Problem};
use crate::scan::{Directive, Kind, Scanner, Tag};

type Result<T> = std::result::Result<T, Problem>;

/// Reads a stream that holds at most one document; without any, its value is null.
pub(super) fn document(characters: Vec<char>) -> Result<Document> {
    let mut parser =
        Parser { scanner: Scanner::new(characters), handles: HashMap::new(), composer: Composer::default(), depth: 0 };
    let root = parser.root()?;
    compose::refuse_special(std::slice::from_ref(&root))?;
    let duplicates = parser.composer.duplicates;
    Ok(Document { root, duplicates })
}

struct Parser {
    scanner: Scanner,
    /// The full forms of abbreviated tags.
    handles: HashMap<String, String>,
    composer: Composer,
    depth: usize,
}

/// The properties before a value: `&anchor !!tag`.
#[derive(Default)]
struct Properties {
    at: Option<Mark>,
    anchor: Option<(Mark, String)>,
    tag: Option<String>,
}

/// The place of a value decides what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Block,
    /// The value of a key. A list may have the same indentation as the key itself.
    BlockOrFlushList,
    Flow,
}

impl Parser {
    fn root(&mut self) -> Result<Arc<Node>> {
        let explicit = matches!(self.kind()?, Kind::Directive(_) | Kind::DocumentStart);
        self.directives()?;
        if explicit {
            self.expect(|kind| matches!(kind, Kind::DocumentStart), "the start of the document (`---`)")?;
        }
        let root = match self.kind()? {
            Kind::StreamEnd => self.empty(None),
            Kind::Directive(_) | Kind::DocumentStart | Kind::DocumentEnd if explicit => self.empty(None),
            _ => self.node(Place::Block),
        }?;
        while matches!(self.kind()?, Kind::DocumentEnd) {
            self.scanner.next()?;
        }
        match self.scanner.peek()? {
            token if matches!(token.kind, Kind::StreamEnd) => Ok(root),
            token if matches!(token.kind, Kind::DocumentStart) => {
                Err(Problem::new(token.at, "a second document begins here; each definition needs its own file"))
            }
            token => Err(Problem::new(
                token.at,
                format!("expected the end of the document, found {}", token.kind.describe()),
            )),
        }
    }

    fn directives(&mut self) -> Result<()> {
        let mut version_seen = false;
        while matches!(self.kind()?, Kind::Directive(_)) {
            let token = self.scanner.next()?;
            match token.kind {
                Kind::Directive(Directive::Yaml { .. }) if version_seen => {
                    return Err(Problem::new(token.at, "the YAML version is given twice"));
                }
                Kind::Directive(Directive::Yaml { major }) if major.trim_start_matches('0') != "1" => {
                    return Err(Problem::new(token.at, "CML reads YAML 1"));
                }
                Kind::Directive(Directive::Yaml { .. }) => version_seen = true,
                Kind::Directive(Directive::Tag { handle, .. }) if self.handles.contains_key(&handle) => {
                    return Err(Problem::new(token.at, format!("the handle {} is given twice", quoted(&handle))));
                }
                Kind::Directive(Directive::Tag { handle, prefix }) => drop(self.handles.insert(handle, prefix)),
                _ => {}
            }
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            self.handles.entry(handle.to_owned()).or_insert_with(|| prefix.to_owned());
        }
        Ok(())
    }

    fn kind(&mut self) -> Result<&Kind> {
        Ok(&self.scanner.peek()?.kind)
    }

    fn expect(&mut self, is_it: fn(&Kind) -> bool, wanted: &str) -> Result<Mark> {
        let token = self.scanner.peek()?;
        if !is_it(&token.kind) {
            return Err(Problem::new(token.at, format!("expected {wanted}, found {}", token.kind.describe())));
        }
        Ok(self.scanner.next()?.at)
    }

    /// A missing value is null.
    fn empty(&mut self, properties: impl Into<Option<Properties>>) -> Result<Arc<Node>> {
        let at = self.scanner.peek()?.at;
        let properties = properties.into().unwrap_or_default();
        let plain = properties.tag.as_deref().is_none_or(|tag| tag == "!");
        let at = properties.at.unwrap_or(at);
        let node = self.composer.scalar(at, properties.tag.as_deref(), plain, Text::default())?;
        self.composer.anchor(properties.anchor, &node)?;
        Ok(node)
    }

    fn node(&mut self, place: Place) -> Result<Arc<Node>> {
        let token = self.scanner.peek()?;
        if self.depth == DEEPEST {
            return Err(Problem::too_much(token.at, format!("expected at most {DEEPEST} levels of nesting")));
        }
        if let Kind::Alias(name) = &token.kind {
            let (at, name) = (token.at, name.clone());
            self.scanner.next()?;
            return self.composer.alias(at, &name);
        }
        self.depth += 1;
        let node = self.content(place);
        self.depth -= 1;
        node
    }

    fn content(&mut self, place: Place) -> Result<Arc<Node>> {
        let properties = self.properties()?;
        self.composer.begin_anchor(properties.anchor.as_ref())?;
        let (block, token) = (place != Place::Flow, self.scanner.peek()?);
        let at = properties.at.unwrap_or(token.at);
        let tag = properties.tag.as_deref();
        let node = match &token.kind {
            Kind::BlockEntry if place == Place::BlockOrFlushList => {
                let items = self.flush_list()?;
                self.composer.list(at, tag, items)
            }
            Kind::Scalar { plain, .. } => {
                let plain = tag.map_or(*plain, |tag| tag == "!");
                let text = self.scanner.next()?.kind.into_text();
                self.composer.scalar(at, tag, plain, text)
            }
            Kind::FlowSequenceStart => {
                let items = self.flow_list()?;
                self.composer.list(at, tag, items)
            }
            Kind::FlowMappingStart => {
                let pairs = self.flow_mapping()?;
                self.composer.mapping(at, tag, pairs)
            }
            Kind::BlockSequenceStart if block => {
                let items = self.block_list()?;
                self.composer.list(at, tag, items)
            }
            Kind::BlockMappingStart if block => {
                let pairs = self.block_mapping()?;
                self.composer.mapping(at, tag, pairs)
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                return self.empty(properties);
            }
            other => Err(Problem::new(token.at, format!("expected a value, found {}", other.describe()))),
        }?;
        self.composer.anchor(properties.anchor, &node)?;
        Ok(node)
    }

    fn properties(&mut self) -> Result<Properties> {
        let mut properties = Properties::default();
        loop {
            let is_new = match self.kind()? {
                Kind::Anchor(_) => properties.anchor.is_none(),
                Kind::Tag(_) => properties.tag.is_none(),
                _ => false,
            };
            if !is_new {
                return Ok(properties);
            }
            let token = self.scanner.next()?;
            properties.at = properties.at.or(Some(token.at));
            match token.kind {
                Kind::Anchor(name) => properties.anchor = Some((token.at, name)),
                Kind::Tag(tag) => properties.tag = Some(self.whole_tag(token.at, tag)?),
                _ => {}
            }
        }
    }

    fn whole_tag(&self, at: Mark, tag: Tag) -> Result<String> {
        match tag.handle {
            None => Ok(tag.suffix),
            Some(handle) => match self.handles.get(&handle) {
                Some(prefix) => Ok(format!("{prefix}{}", tag.suffix)),
                None => Err(Problem::new(at, format!("the tag handle {} is not declared", quoted(&handle)))),
            },
        }
    }

    /// The value after a `-`, `?` or `:`; null if there is none.
    fn value_or_empty(&mut self, place: Place, ends: fn(&Kind) -> bool) -> Result<Arc<Node>> {
        if ends(self.kind()?) { self.empty(None) } else { self.node(place) }
    }

    fn block_list(&mut self) -> Result<Vec<Arc<Node>>> {
        self.scanner.next()?;
        let mut items = Vec::new();
        while matches!(self.kind()?, Kind::BlockEntry) {
            self.scanner.next()?;
            items.push(self.value_or_empty(Place::Block, |kind| matches!(kind, Kind::BlockEntry | Kind::BlockEnd))?);
        }
        self.expect(|kind| matches!(kind, Kind::BlockEnd), "the next `-`, or the end of the list")?;
        Ok(items)
    }

    fn flush_list(&mut self) -> Result<Vec<Arc<Node>>> {
        let mut items = Vec::new();
        while matches!(self.kind()?, Kind::BlockEntry) {
            self.scanner.next()?;
            let ends = |kind: &Kind| matches!(kind, Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd);
            items.push(self.value_or_empty(Place::Block, ends)?);
        }
        Ok(items)
    }

    fn block_mapping(&mut self) -> Result<Vec<(Arc<Node>, Arc<Node>)>> {
        let ends = |kind: &Kind| matches!(kind, Kind::Key | Kind::Value | Kind::BlockEnd);
        self.scanner.next()?;
        let mut pairs = Vec::new();
        loop {
            match self.kind()? {
                Kind::Key => {
                    self.scanner.next()?;
                    let key = self.value_or_empty(Place::BlockOrFlushList, ends)?;
                    let value = if matches!(self.kind()?, Kind::Value) {
                        self.scanner.next()?;
                        self.value_or_empty(Place::BlockOrFlushList, ends)?
                    } else {
                        self.empty(None)?
                    };
                    pairs.push((key, value));
                }
                _ => {
                    self.expect(|kind| matches!(kind, Kind::BlockEnd), "the next key, or the end of the mapping")?;
                    return Ok(pairs);
                }
            }
        }
    }

    fn flow_list(&mut self) -> Result<Vec<Arc<Node>>> {
        self.scanner.next()?;
        let mut items = Vec::new();
        while !matches!(self.kind()?, Kind::FlowSequenceEnd) {
            if !items.is_empty() {
                self.expect(|kind| matches!(kind, Kind::FlowEntry), "`,` or `]`")?;
                if matches!(self.kind()?, Kind::FlowSequenceEnd) {
                    break;
                }
            }
            if matches!(self.kind()?, Kind::Key) {
                items.push(self.single_pair()?);
            } else {
                items.push(self.node(Place::Flow)?);
            }
        }
        self.scanner.next()?;
        Ok(items)
    }

    /// `[key: value]` is a list of one mapping.
    fn single_pair(&mut self) -> Result<Arc<Node>> {
        let at = self.scanner.next()?.at;
        let key = self.value_or_empty(Place::Flow, |kind| {
            matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd)
        })?;
        let value = self.flow_value(|kind| matches!(kind, Kind::FlowEntry | Kind::FlowSequenceEnd))?;
        self.composer.mapping(at, None, vec![(key, value)])
    }

    fn flow_value(&mut self, ends: fn(&Kind) -> bool) -> Result<Arc<Node>> {
        if !matches!(self.kind()?, Kind::Value) {
            return self.empty(None);
        }
        self.scanner.next()?;
        self.value_or_empty(Place::Flow, ends)
    }

    fn flow_mapping(&mut self) -> Result<Vec<(Arc<Node>, Arc<Node>)>> {
        let ends = |kind: &Kind| matches!(kind, Kind::FlowEntry | Kind::FlowMappingEnd);
        self.scanner.next()?;
        let mut pairs = Vec::new();
        while !matches!(self.kind()?, Kind::FlowMappingEnd) {
            if !pairs.is_empty() {
                self.expect(|kind| matches!(kind, Kind::FlowEntry), "`,` or `}`")?;
                if matches!(self.kind()?, Kind::FlowMappingEnd) {
                    break;
                }
            }
            if matches!(self.kind()?, Kind::Key) {
                self.scanner.next()?;
                let key = self.value_or_empty(Place::Flow, |kind| {
                    matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd)
                })?;
                pairs.push((key, self.flow_value(ends)?));
            } else {
                let key = self.node(Place::Flow)?;
                pairs.push((key, self.empty(None)?));
            }
        }
        self.scanner.next()?;
        Ok(pairs)
    }
}
