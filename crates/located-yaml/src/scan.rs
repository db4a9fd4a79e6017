//! From characters to tokens.
//!
//! In YAML a key is recognized only at its `:`. So a token waits while it may still turn out to be the start of a key
//! (`SimpleKey`); then `Key`, and perhaps the start of a block, are inserted before it.

use std::collections::VecDeque;

use crate::model::{Block, Mark, Text};
use crate::problem::Problem;

/// A key and its `:` are on one line, and not further apart than this. (YAML 1.1, 7.3.1)
const LONGEST_KEY: usize = 1024;

type Result<T> = std::result::Result<T, Problem>;

#[derive(Debug)]
pub(super) struct Token {
    pub at: Mark,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directive(Directive),
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag(Tag),
    Scalar { text: Text, plain: bool },
}

#[derive(Debug)]
pub(super) enum Directive {
    Yaml { major: String },
    Tag { handle: String, prefix: String },
    Other,
}

/// A tag as written: `!!str` has the handle `!!`; `!<…>` and a lone `!` have none.
#[derive(Debug)]
pub(super) struct Tag {
    pub handle: Option<String>,
    pub suffix: String,
}

impl Kind {
    /// The text of a scalar; nothing else has one.
    pub fn into_text(self) -> Text {
        match self {
            Self::Scalar { text, .. } => text,
            _ => Text::default(),
        }
    }

    pub fn describe(&self) -> &'static str {
        match self {
            Self::Directive(_) => "a directive",
            Self::DocumentStart => "the start of a document (`---`)",
            Self::DocumentEnd => "the end of the document (`...`)",
            Self::StreamEnd => "the end of the file",
            Self::BlockSequenceStart => "an indented list",
            Self::BlockMappingStart => "an indented mapping",
            Self::BlockEnd => "the end of an indented block",
            Self::FlowSequenceStart => "`[`",
            Self::FlowSequenceEnd => "`]`",
            Self::FlowMappingStart => "`{`",
            Self::FlowMappingEnd => "`}`",
            Self::BlockEntry => "`-`",
            Self::FlowEntry => "`,`",
            Self::Key => "a key",
            Self::Value => "`:`",
            Self::Alias(_) => "an alias",
            Self::Anchor(_) => "an anchor",
            Self::Tag(_) => "a tag",
            Self::Scalar { .. } => "a value",
        }
    }
}

/// A place at which a key may have begun.
#[derive(Clone, Copy)]
struct SimpleKey {
    /// The number of its token, counted from the start of the file.
    token: usize,
    /// Only a key is possible there.
    required: bool,
    index: usize,
    at: Mark,
}

pub(super) struct Scanner {
    characters: Vec<char>,
    index: usize,
    at: Mark,
    tokens: VecDeque<Token>,
    taken: usize,
    ended: bool,
    /// The columns of the enclosing blocks, from 0; -1 outside all blocks.
    indent: isize,
    indents: Vec<isize>,
    /// Whether a key may begin here.
    key_allowed: bool,
    /// The possible key of each level of `[` and `{`, the outermost first.
    keys: Vec<Option<SimpleKey>>,
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A line break, or the end.
fn is_line_end(c: char) -> bool {
    c == '\0' || is_break(c)
}

fn is_space_or_line_end(c: char) -> bool {
    c == ' ' || is_line_end(c)
}

fn is_blank_or_line_end(c: char) -> bool {
    c == '\t' || is_space_or_line_end(c)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

impl Scanner {
    pub fn new(characters: Vec<char>) -> Self {
        Self {
            characters,
            index: 0,
            at: Mark::START,
            tokens: VecDeque::new(),
            taken: 0,
            ended: false,
            indent: -1,
            indents: Vec::new(),
            key_allowed: true,
            keys: vec![None],
        }
    }

    pub fn peek(&mut self) -> Result<&Token> {
        while self.needs_more()? {
            self.fetch()?;
        }
        let at = self.at;
        self.tokens.front().ok_or_else(|| Problem::new(at, "the file ends too early"))
    }

    pub fn next(&mut self) -> Result<Token> {
        self.peek()?;
        self.taken += 1;
        let at = self.at;
        self.tokens.pop_front().ok_or_else(|| Problem::new(at, "the file ends too early"))
    }

    fn needs_more(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.tokens.is_empty() {
            return Ok(true);
        }
        self.drop_stale_keys()?;
        Ok(self.keys.iter().flatten().map(|key| key.token).min() == Some(self.taken))
    }

    // Characters

    fn ahead(&self, distance: usize) -> char {
        self.characters.get(self.index + distance).copied().unwrap_or('\0')
    }

    fn here(&self) -> char {
        self.ahead(0)
    }

    /// The column from 0.
    fn column(&self) -> isize {
        self.at.column as isize - 1
    }

    fn forward(&mut self, count: usize) {
        for _ in 0..count {
            let Some(&c) = self.characters.get(self.index) else { return };
            self.index += 1;
            if is_break(c) && !(c == '\r' && self.here() == '\n') {
                self.at = Mark { line: self.at.line + 1, column: 1 };
            } else if c != '\u{feff}' {
                self.at.column += 1;
            }
        }
    }

    /// Takes `count` characters that contain no line break.
    fn take(&mut self, count: usize) -> String {
        let end = (self.index + count).min(self.characters.len());
        let taken: String = self.characters[self.index..end].iter().collect();
        self.at.column += end - self.index - taken.matches('\u{feff}').count();
        self.index = end;
        taken
    }

    fn take_while(&mut self, test: impl Fn(char) -> bool) -> String {
        let count = self.characters[self.index..].iter().take_while(|c| test(**c)).count();
        self.take(count)
    }

    fn skip_spaces(&mut self) {
        while self.here() == ' ' {
            self.forward(1);
        }
    }

    fn skip_comment(&mut self) {
        if self.here() == '#' {
            self.take_while(|c| !is_line_end(c));
        }
    }

    /// Takes a line break, if there is one; returns its meaning in a text.
    fn line_break(&mut self) -> Option<char> {
        let c = self.here();
        if !is_break(c) {
            return None;
        }
        self.forward(if c == '\r' && self.ahead(1) == '\n' { 2 } else { 1 });
        Some(if matches!(c, '\u{2028}' | '\u{2029}') { c } else { '\n' })
    }

    /// Whether a `---` or `...` by itself is here.
    fn is_document_mark(&self) -> bool {
        let c = self.here();
        matches!(c, '-' | '.') && self.ahead(1) == c && self.ahead(2) == c && is_blank_or_line_end(self.ahead(3))
    }

    fn problem<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Problem::new(self.at, message))
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        let found = match self.here() {
            '\0' => "the end of the file".to_owned(),
            '\t' => "a tab".to_owned(),
            c if is_break(c) => "the end of the line".to_owned(),
            c => format!("`{c}`"),
        };
        self.problem(format!("{wanted}, found {found}"))
    }

    // Possible keys

    fn level(&self) -> usize {
        self.keys.len() - 1
    }

    fn in_flow(&self) -> bool {
        self.keys.len() > 1
    }

    fn not_a_key<T>(key: SimpleKey) -> Result<T> {
        Err(Problem::new(key.at, "expected a `:` after this key"))
    }

    fn drop_stale_keys(&mut self) -> Result<()> {
        let (line, index) = (self.at.line, self.index);
        for key in &mut self.keys {
            if let Some(stale) = key.filter(|key| key.at.line != line || index - key.index > LONGEST_KEY) {
                if stale.required {
                    return Self::not_a_key(stale);
                }
                *key = None;
            }
        }
        Ok(())
    }

    fn save_possible_key(&mut self) -> Result<()> {
        if self.key_allowed {
            let required = !self.in_flow() && self.indent == self.column();
            self.drop_possible_key()?;
            let token = self.taken + self.tokens.len();
            let level = self.level();
            self.keys[level] = Some(SimpleKey { token, required, index: self.index, at: self.at });
        }
        Ok(())
    }

    fn drop_possible_key(&mut self) -> Result<()> {
        let level = self.level();
        match self.keys[level].take() {
            Some(key) if key.required => Self::not_a_key(key),
            _ => Ok(()),
        }
    }

    // Indentation

    fn unwind_indent(&mut self, column: isize) {
        if self.in_flow() {
            return;
        }
        while self.indent > column {
            self.indent = self.indents.pop().unwrap_or(-1);
            self.push(self.at, Kind::BlockEnd);
        }
    }

    fn add_indent(&mut self, column: isize) -> bool {
        let deeper = self.indent < column;
        if deeper {
            self.indents.push(self.indent);
            self.indent = column;
        }
        deeper
    }

    // Tokens

    fn push(&mut self, at: Mark, kind: Kind) {
        self.tokens.push_back(Token { at, kind });
    }

    fn push_and_skip(&mut self, kind: Kind, count: usize) {
        self.push(self.at, kind);
        self.forward(count);
    }

    fn fetch(&mut self) -> Result<()> {
        self.skip_to_token();
        self.drop_stale_keys()?;
        self.unwind_indent(self.column());
        let (c, next) = (self.here(), self.ahead(1));
        let separated = is_blank_or_line_end(next);
        match c {
            '\0' if self.index >= self.characters.len() => self.fetch_end(),
            '%' if self.column() == 0 => self.fetch_directive(),
            '-' if self.column() == 0 && self.is_document_mark() => self.fetch_document_mark(Kind::DocumentStart),
            '.' if self.column() == 0 && self.is_document_mark() => self.fetch_document_mark(Kind::DocumentEnd),
            '[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            '{' => self.fetch_flow_start(Kind::FlowMappingStart),
            ']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            '}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            ',' => self.fetch_flow_entry(),
            '-' if separated => self.fetch_block_entry(),
            '?' if self.in_flow() || separated => self.fetch_key(),
            ':' if self.in_flow() || separated => self.fetch_value(),
            '*' | '&' => self.fetch_anchor(),
            '!' => self.fetch_tag(),
            '|' | '>' if !self.in_flow() => self.fetch_block_scalar(),
            '\'' | '"' => self.fetch_quoted(),
            _ if self.starts_plain() => self.fetch_plain(),
            '\t' => self.problem("a tab cannot separate values or indent them; use spaces"),
            _ => self.problem(format!("`{c}` cannot begin a value; quote the text")),
        }
    }

    fn skip_to_token(&mut self) {
        if self.index == 0 && self.here() == '\u{feff}' {
            self.forward(1);
        }
        loop {
            self.skip_spaces();
            self.skip_comment();
            if self.line_break().is_none() {
                return;
            }
            if !self.in_flow() {
                self.key_allowed = true;
            }
        }
    }

    fn starts_plain(&self) -> bool {
        let (c, next) = (self.here(), self.ahead(1));
        let indicator = "-?:,[]{}#&*!|>'\"%@`".contains(c);
        (!is_blank_or_line_end(c) && !indicator)
            || (!is_blank_or_line_end(next) && (c == '-' || (!self.in_flow() && matches!(c, '?' | ':'))))
    }

    fn fetch_end(&mut self) -> Result<()> {
        self.unwind_indent(-1);
        self.drop_possible_key()?;
        self.keys = vec![None];
        self.key_allowed = false;
        self.push(self.at, Kind::StreamEnd);
        self.ended = true;
        Ok(())
    }

    fn fetch_document_mark(&mut self, kind: Kind) -> Result<()> {
        self.unwind_indent(-1);
        self.drop_possible_key()?;
        self.key_allowed = false;
        self.push_and_skip(kind, 3);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind) -> Result<()> {
        self.save_possible_key()?;
        self.keys.push(None);
        self.key_allowed = true;
        self.push_and_skip(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind) -> Result<()> {
        self.drop_possible_key()?;
        if !self.in_flow() {
            return self.problem(format!("{} does not close anything", kind.describe()));
        }
        self.keys.pop();
        self.key_allowed = false;
        self.push_and_skip(kind, 1);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<()> {
        self.key_allowed = true;
        self.drop_possible_key()?;
        self.push_and_skip(Kind::FlowEntry, 1);
        Ok(())
    }

    fn begin_block(&mut self, kind: Kind, what: &str) -> Result<()> {
        if self.in_flow() {
            return Ok(());
        }
        if !self.key_allowed {
            return self.problem(format!("{what} cannot begin here; check the indentation"));
        }
        if self.add_indent(self.column()) {
            self.push(self.at, kind);
        }
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<()> {
        self.begin_block(Kind::BlockSequenceStart, "a list")?;
        self.key_allowed = true;
        self.drop_possible_key()?;
        self.push_and_skip(Kind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<()> {
        self.begin_block(Kind::BlockMappingStart, "a mapping")?;
        self.key_allowed = !self.in_flow();
        self.drop_possible_key()?;
        self.push_and_skip(Kind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<()> {
        let level = self.level();
        if let Some(key) = self.keys[level].take() {
            let place = key.token - self.taken;
            self.tokens.insert(place, Token { at: key.at, kind: Kind::Key });
            if !self.in_flow() && self.add_indent(key.at.column as isize - 1) {
                self.tokens.insert(place, Token { at: key.at, kind: Kind::BlockMappingStart });
            }
            self.key_allowed = false;
        } else {
            self.begin_block(Kind::BlockMappingStart, "a mapping")?;
            self.key_allowed = !self.in_flow();
            self.drop_possible_key()?;
        }
        self.push_and_skip(Kind::Value, 1);
        Ok(())
    }

    fn fetch_anchor(&mut self) -> Result<()> {
        self.save_possible_key()?;
        self.key_allowed = false;
        let (at, is_alias) = (self.at, self.here() == '*');
        self.forward(1);
        let name = self.take_while(is_word);
        if name.is_empty() {
            return self.unexpected("expected the name of an anchor");
        }
        let c = self.here();
        if !is_blank_or_line_end(c) && !"?:,]}%@`".contains(c) {
            return self.unexpected("expected the end of an anchor's name");
        }
        self.push(at, if is_alias { Kind::Alias(name) } else { Kind::Anchor(name) });
        Ok(())
    }

    // Directives and tags

    fn fetch_directive(&mut self) -> Result<()> {
        self.unwind_indent(-1);
        self.drop_possible_key()?;
        self.key_allowed = false;
        let at = self.at;
        self.forward(1);
        let name = self.take_while(is_word);
        if name.is_empty() || !is_space_or_line_end(self.here()) {
            return self.unexpected("expected the name of a directive");
        }
        let directive = match name.as_str() {
            "YAML" => self.yaml_directive()?,
            "TAG" => self.tag_directive()?,
            _ => {
                while !is_line_end(self.here()) {
                    self.forward(1);
                }
                Directive::Other
            }
        };
        self.end_line("directive")?;
        self.push(at, Kind::Directive(directive));
        Ok(())
    }

    fn yaml_directive(&mut self) -> Result<Directive> {
        self.skip_spaces();
        let major = self.take_while(|c| c.is_ascii_digit());
        if major.is_empty() || self.here() != '.' {
            return self.unexpected("expected the version of YAML");
        }
        self.forward(1);
        let minor = self.take_while(|c| c.is_ascii_digit());
        if minor.is_empty() || !is_space_or_line_end(self.here()) {
            return self.unexpected("expected the version of YAML");
        }
        Ok(Directive::Yaml { major })
    }

    fn tag_directive(&mut self) -> Result<Directive> {
        self.skip_spaces();
        let handle = self.tag_handle()?;
        if self.here() != ' ' {
            return self.unexpected("expected a space");
        }
        self.skip_spaces();
        let prefix = self.tag_uri()?;
        if !is_space_or_line_end(self.here()) {
            return self.unexpected("expected the end of a tag");
        }
        Ok(Directive::Tag { handle, prefix })
    }

    /// What may follow a directive or the header of a block: a comment.
    fn end_line(&mut self, what: &str) -> Result<()> {
        self.skip_spaces();
        self.skip_comment();
        if !is_line_end(self.here()) {
            return self.unexpected(&format!("expected the end of the line after the {what}"));
        }
        self.line_break();
        Ok(())
    }

    fn fetch_tag(&mut self) -> Result<()> {
        self.save_possible_key()?;
        self.key_allowed = false;
        let at = self.at;
        let tag = match self.ahead(1) {
            '<' => {
                self.forward(2);
                let suffix = self.tag_uri()?;
                if self.here() != '>' {
                    return self.unexpected("expected `>`");
                }
                self.forward(1);
                Tag { handle: None, suffix }
            }
            c if is_blank_or_line_end(c) => {
                self.forward(1);
                Tag { handle: None, suffix: "!".to_owned() }
            }
            _ => self.short_tag()?,
        };
        if !is_space_or_line_end(self.here()) {
            return self.unexpected("expected a space after the tag");
        }
        self.push(at, Kind::Tag(tag));
        Ok(())
    }

    fn short_tag(&mut self) -> Result<Tag> {
        let mut distance = 1;
        while !is_space_or_line_end(self.ahead(distance)) && self.ahead(distance) != '!' {
            distance += 1;
        }
        let handle = if self.ahead(distance) == '!' {
            self.tag_handle()?
        } else {
            self.forward(1);
            "!".to_owned()
        };
        Ok(Tag { handle: Some(handle), suffix: self.tag_uri()? })
    }

    fn tag_handle(&mut self) -> Result<String> {
        if self.here() != '!' {
            return self.unexpected("expected `!`");
        }
        let mut length = 1;
        if self.ahead(length) != ' ' {
            while is_word(self.ahead(length)) {
                length += 1;
            }
            if self.ahead(length) != '!' {
                self.forward(length);
                return self.unexpected("expected `!`");
            }
            length += 1;
        }
        Ok(self.take(length))
    }

    fn tag_uri(&mut self) -> Result<String> {
        let mut uri = String::new();
        loop {
            uri += &self.take_while(|c| is_word(c) || ";/?:@&=+$,.!~*'()[]".contains(c));
            if self.here() != '%' {
                break;
            }
            uri += &self.uri_escapes()?;
        }
        if uri.is_empty() {
            return self.unexpected("expected the name of a tag");
        }
        Ok(uri)
    }

    fn uri_escapes(&mut self) -> Result<String> {
        let (at, mut bytes) = (self.at, Vec::new());
        while self.here() == '%' {
            self.forward(1);
            let code = self.hex(2)?;
            bytes.push(code as u8);
        }
        String::from_utf8(bytes).map_err(|_| Problem::new(at, "the escapes of the tag are not UTF-8"))
    }

    fn hex(&mut self, count: usize) -> Result<u32> {
        let mut code = 0_u32;
        for distance in 0..count {
            match self.ahead(distance).to_digit(16) {
                Some(digit) => code = code << 4 | digit,
                None => return self.problem(format!("expected {count} hexadecimal digits")),
            }
        }
        self.forward(count);
        Ok(code)
    }

    // Scalars

    fn fetch_block_scalar(&mut self) -> Result<()> {
        self.key_allowed = true;
        self.drop_possible_key()?;
        let (at, folded) = (self.at, self.here() == '>');
        self.forward(1);
        let (chomping, increment) = self.block_head()?;
        self.end_line("block")?;
        let first_line = self.at.line;
        let least = (self.indent + 1).max(1);
        let (mut breaks, indent) = match increment {
            Some(increment) => {
                let indent = least + increment - 1;
                (self.block_breaks(indent), indent)
            }
            None => {
                let (breaks, deepest) = self.block_indentation();
                (breaks, least.max(deepest))
            }
        };
        let (mut text, mut last_break) = (String::new(), None);
        while self.column() == indent && self.here() != '\0' {
            text += &breaks;
            let flush = !matches!(self.here(), ' ' | '\t');
            text += &self.take_while(|c| !is_line_end(c));
            last_break = self.line_break();
            breaks = self.block_breaks(indent);
            if self.column() != indent || self.here() == '\0' {
                break;
            }
            if folded && last_break == Some('\n') && flush && !matches!(self.here(), ' ' | '\t') {
                if breaks.is_empty() {
                    text.push(' ');
                }
            } else {
                text.extend(last_break);
            }
        }
        if chomping != Some('-') {
            text.extend(last_break);
        }
        if chomping == Some('+') {
            text += &breaks;
        }
        let block = (!folded).then_some(Block { first_line, indent: indent as usize });
        self.push(at, Kind::Scalar { text: Text { text, block }, plain: false });
        Ok(())
    }

    /// `+` or `-`, and a digit, in any order.
    fn block_head(&mut self) -> Result<(Option<char>, Option<isize>)> {
        let (mut chomping, mut increment) = (None, None);
        for _ in 0..2 {
            match self.here() {
                c @ ('+' | '-') if chomping.is_none() => chomping = Some(c),
                '0' if increment.is_none() => return self.problem("the indentation of a block must be 1 to 9, not 0"),
                c @ '1'..='9' if increment.is_none() => increment = Some(c as isize - '0' as isize),
                _ => break,
            }
            self.forward(1);
        }
        if !is_space_or_line_end(self.here()) {
            return self.unexpected("expected the end of a block's header");
        }
        Ok((chomping, increment))
    }

    /// The blank lines before a block's first line, and the deepest indentation among them.
    fn block_indentation(&mut self) -> (String, isize) {
        let (mut breaks, mut deepest) = (String::new(), 0);
        loop {
            if self.here() == ' ' {
                self.forward(1);
                deepest = deepest.max(self.column());
            } else if let Some(c) = self.line_break() {
                breaks.push(c);
            } else {
                return (breaks, deepest);
            }
        }
    }

    fn block_breaks(&mut self, indent: isize) -> String {
        let mut breaks = String::new();
        loop {
            while self.column() < indent && self.here() == ' ' {
                self.forward(1);
            }
            match self.line_break() {
                Some(c) => breaks.push(c),
                None => return breaks,
            }
        }
    }

    fn fetch_quoted(&mut self) -> Result<()> {
        self.save_possible_key()?;
        self.key_allowed = false;
        let (at, quote, mut text) = (self.at, self.here(), String::new());
        self.forward(1);
        self.quoted_words(quote, &mut text)?;
        while self.here() != quote {
            self.quoted_spaces(at, &mut text)?;
            self.quoted_words(quote, &mut text)?;
        }
        self.forward(1);
        self.push(at, Kind::Scalar { text: Text { text, block: None }, plain: false });
        Ok(())
    }

    fn quoted_words(&mut self, quote: char, text: &mut String) -> Result<()> {
        let double = quote == '"';
        loop {
            *text += &self.take_while(|c| !matches!(c, '\'' | '"' | '\\') && !is_blank_or_line_end(c));
            match self.here() {
                '\'' if !double && self.ahead(1) == '\'' => {
                    text.push('\'');
                    self.forward(2);
                }
                c @ ('\'' | '"' | '\\') if c != quote && !(double && c == '\\') => {
                    text.push(c);
                    self.forward(1);
                }
                '\\' if double => self.escape(text)?,
                _ => return Ok(()),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let at = self.at;
        self.forward(1);
        let c = self.here();
        let plain = match c {
            '0' => '\0',
            'a' => '\x07',
            'b' => '\x08',
            't' | '\t' => '\t',
            'n' => '\n',
            'v' => '\x0b',
            'f' => '\x0c',
            'r' => '\r',
            'e' => '\x1b',
            ' ' | '"' | '\\' | '/' => c,
            'N' => '\u{85}',
            '_' => '\u{a0}',
            'L' => '\u{2028}',
            'P' => '\u{2029}',
            'x' | 'u' | 'U' => {
                self.forward(1);
                let code = self.hex(match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                })?;
                let Some(character) = char::from_u32(code) else {
                    return Err(Problem::new(at, format!("there is no character with the code {code:x}")));
                };
                text.push(character);
                return Ok(());
            }
            _ if is_break(c) => {
                self.line_break();
                *text += &self.quoted_breaks()?;
                return Ok(());
            }
            _ => return self.unexpected("expected a valid escape after `\\`"),
        };
        text.push(plain);
        self.forward(1);
        Ok(())
    }

    fn quoted_spaces(&mut self, start: Mark, text: &mut String) -> Result<()> {
        let spaces = self.take_while(|c| matches!(c, ' ' | '\t'));
        if self.here() == '\0' {
            return Err(Problem::new(start, "this quote is never closed"));
        }
        match self.line_break() {
            Some(c) => {
                let breaks = self.quoted_breaks()?;
                if c != '\n' {
                    text.push(c);
                } else if breaks.is_empty() {
                    text.push(' ');
                }
                *text += &breaks;
            }
            None => *text += &spaces,
        }
        Ok(())
    }

    fn quoted_breaks(&mut self) -> Result<String> {
        let mut breaks = String::new();
        loop {
            if self.is_document_mark() {
                return self.problem("a document ends or begins inside a quoted text");
            }
            while matches!(self.here(), ' ' | '\t') {
                self.forward(1);
            }
            match self.line_break() {
                Some(c) => breaks.push(c),
                None => return Ok(breaks),
            }
        }
    }

    fn fetch_plain(&mut self) -> Result<()> {
        self.save_possible_key()?;
        self.key_allowed = false;
        let (at, indent) = (self.at, self.indent + 1);
        let (mut text, mut spaces) = (String::new(), String::new());
        loop {
            let length = if self.here() == '#' { 0 } else { self.plain_length() };
            if length == 0 {
                break;
            }
            self.key_allowed = false;
            text += &spaces;
            text += &self.take(length);
            spaces = self.plain_spaces();
            if spaces.is_empty() || self.here() == '#' || (!self.in_flow() && self.column() < indent) {
                break;
            }
        }
        self.push(at, Kind::Scalar { text: Text { text, block: None }, plain: true });
        Ok(())
    }

    fn plain_length(&self) -> usize {
        let flow = self.in_flow();
        let mut length = 0;
        loop {
            let (c, next) = (self.ahead(length), self.ahead(length + 1));
            let ends = is_blank_or_line_end(c)
                || (c == ':' && (is_blank_or_line_end(next) || (flow && ",[]{}".contains(next))))
                || (flow && ",?[]{}".contains(c));
            if ends {
                return length;
            }
            length += 1;
        }
    }

    /// The text between two words of a plain text; empty at its end.
    fn plain_spaces(&mut self) -> String {
        let spaces = self.take_while(|c| c == ' ');
        let Some(first) = self.line_break() else { return spaces };
        self.key_allowed = true;
        let mut breaks = String::new();
        loop {
            if self.at.column == 1 && self.is_document_mark() {
                return String::new();
            }
            self.skip_spaces();
            match self.line_break() {
                Some(c) => breaks.push(c),
                None => break,
            }
        }
        match (first, breaks.is_empty()) {
            ('\n', true) => " ".to_owned(),
            ('\n', false) => breaks,
            (other, _) => format!("{other}{breaks}"),
        }
    }
}
