//! Scalars, as pydantic 2 reads them in its lax mode: what each type accepts was tried with pydantic itself.
//! [docs/cml.md 4]

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::reader::Reader;
use super::rules;
use crate::yaml::{Mark, Node, Value, quoted, saturated};

/// Python does not convert a longer text to an integer.
const MOST_DIGITS: usize = 4300;

#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub at: Mark,
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// A text that may be null as well as absent.
pub(super) fn or_null<T>(
    read: impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<T>,
) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<T> {
    move |reader, node| if matches!(node.value, Value::Null) { None } else { read(reader, node) }
}

/// A text of any length, on any number of lines.
pub(super) fn any_text(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<At<String>> {
    match lax_text(node) {
        Some(text) => Some(At { value: text.into_owned(), at: node.at }),
        None => {
            let help = matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Date(_))
                .then(|| "quote it, so that it is text".to_owned());
            reader.wrong_type(node, "text", help)
        }
    }
}

/// A text whose number of characters is in that range.
pub(super) fn text(length: RangeInclusive<usize>) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<String>> {
    move |reader, node| {
        let text = any_text(reader, node)?;
        let count = text.value.chars().count();
        if length.contains(&count) {
            return Some(text);
        }
        let message = format!("expected {} characters, found {count}: {}", describe(&length), quoted(&text.value));
        reader.report(&rules::LENGTH, node.at, message, None);
        None
    }
}

/// The same, on one line.
pub(super) fn line(length: RangeInclusive<usize>) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<String>> {
    move |reader, node| {
        let text = text(length.clone())(reader, node)?;
        one_line(reader, text)
    }
}

fn one_line(reader: &mut Reader<'_>, text: At<String>) -> Option<At<String>> {
    if text.value.contains(['\n', '\r']) {
        let message = format!("expected one line, found several: {}", quoted(&text.value));
        let help = text
            .value
            .ends_with('\n')
            .then(|| "a block (`|`, `>`) ends with a line break; write `|-` or `>-`, or quote it".to_owned());
        reader.report(&rules::PATTERN, text.at, message, help);
        return None;
    }
    Some(text)
}

/// A line that passes `test`; `expected` describes those that do.
pub(super) fn line_that(
    length: RangeInclusive<usize>,
    expected: &'static str,
    test: fn(&str) -> bool,
) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<String>> {
    move |reader, node| {
        let text = line(length.clone())(reader, node)?;
        if test(&text.value) {
            return Some(text);
        }
        reader.report(&rules::PATTERN, node.at, format!("expected {expected}, found {}", quoted(&text.value)), None);
        None
    }
}

/// One of some words, exactly.
pub(super) fn one_of(
    words: &'static [&'static str],
) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<&'static str>> {
    move |reader, node| {
        let word = lax_text(node).and_then(|text| words.iter().find(|word| **word == text));
        if let Some(word) = word {
            return Some(At { value: *word, at: node.at });
        }
        not_one_of(reader, node, words);
        None
    }
}

/// The same, but without `!!binary`: pydantic's `Literal` is stricter than its enumerations.
pub(super) fn literally_one_of(
    words: &'static [&'static str],
) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<&'static str>> {
    move |reader, node| {
        if matches!(node.value, Value::Bytes(_)) {
            return reader.wrong_type(node, "text", None);
        }
        one_of(words)(reader, node)
    }
}

pub(super) fn not_one_of(reader: &mut Reader<'_>, node: &Node, words: &[&str]) {
    let message = format!("expected one of {}, found {}", words.join(", "), node.describe());
    let near = node.text().and_then(|text| text::nearest(text, words.iter().copied()));
    reader.report(&rules::CHOICE, node.at, message, near.map(|near| format!("did you mean `{near}`?")));
}

pub(super) fn whole(range: RangeInclusive<i64>) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<i64>> {
    move |reader, node| {
        let Some(value) = lax_int(node) else {
            return reader.wrong_type(node, "a whole number", None);
        };
        if range.contains(&value) {
            return Some(At { value, at: node.at });
        }
        let expected = if *range.start() == i64::MIN { format!("at most {}", range.end()) } else { describe(&range) };
        reader.report(&rules::RANGE, node.at, format!("expected {expected}, found {}", found(node, value)), None);
        None
    }
}

/// One of some numbers. Of other types, pydantic's `Literal` accepts only what equals one in Python.
pub(super) fn one_of_numbers(numbers: &'static [i64]) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<At<i64>> {
    move |reader, node| {
        let value = match node.value {
            Value::Int(_) | Value::Bool(_) => lax_int(node),
            Value::Float(float) if !(float == 0.0 && float.is_sign_negative()) => lax_int(node),
            _ => None,
        };
        let value = value.filter(|value| numbers.contains(value));
        if value.is_none() {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let message = format!("expected one of {}, found {}", numbers.join(", "), node.describe());
            reader.report(&rules::CHOICE, node.at, message, None);
        }
        value.map(|value| At { value, at: node.at })
    }
}

pub(super) fn boolean(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<At<bool>> {
    match lax_bool(node) {
        Some(value) => Some(At { value, at: node.at }),
        None => reader.wrong_type(node, "true or false", None),
    }
}

/// A number as it was written, for a message: `100000`, or `"100000"` as text.
fn found(node: &Node, value: i64) -> String {
    if matches!(node.value, Value::Int(_)) { value.to_string() } else { node.describe() }
}

/// `1 to 32`
fn describe<T: std::fmt::Display>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// What pydantic accepts as text: text, and bytes that are UTF-8.
pub(super) fn lax_text(node: &Node) -> Option<Cow<'_, str>> {
    match &node.value {
        Value::Text(text) => Some(Cow::Borrowed(&text.text)),
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok().map(Cow::Owned),
        _ => None,
    }
}

fn lax_bool(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(value) => Some(*value),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Float(value) if *value == 0.0 => Some(false),
        Value::Float(value) if *value == 1.0 => Some(true),
        Value::Text(_) | Value::Bytes(_) => match lax_text(node)?.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn lax_int(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Int(value) => Some(*value),
        Value::Float(value) => whole_float(*value),
        Value::Text(_) | Value::Bytes(_) => int_of_text(&lax_text(node)?),
        _ => None,
    }
}

/// A float without a fraction that a 64-bit integer can hold.
fn whole_float(value: f64) -> Option<i64> {
    // The bounds are powers of two, thus exact.
    let fits = (i64::MIN as f64..i64::MAX as f64).contains(&value);
    (fits && value.fract() == 0.0).then_some(value as i64)
}

/// A number in a text: `" 1_000.0 "` is one, `"1__0"` and `"1e3"` are not. The order of these steps is pydantic's, and
/// it decides what is accepted: `"0-4"` is -4.
fn int_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) if rest.starts_with('-') => return None,
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => (false, text),
    };
    let digits = without_leading_zeros(digits)?;
    let digits = match digits.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => digits,
    };
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    // A second sign can only come from behind leading zeros.
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(_) if negative => return None,
        Some(rest) => (true, rest),
        None => (negative, digits.as_str()),
    };
    if digits.len() > MOST_DIGITS || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    saturated(digits, 10).map(|size| if negative { -size } else { size })
}

fn without_leading_zeros(digits: &str) -> Option<&str> {
    match digits.as_bytes().first()? {
        b'1'..=b'9' | b'-' => return Some(digits),
        b'0' => {}
        _ => return None,
    }
    let end = digits.find(|c| !matches!(c, '0' | '_'));
    match end.map(|end| (end, digits.as_bytes()[end])) {
        None => Some(&digits[digits.len() - 1..]),
        Some((end, b'1'..=b'9' | b'-')) => Some(&digits[end..]),
        Some((end, b'.')) => Some(&digits[end - 1..]),
        Some(_) => None,
    }
}

/// Whether CML allows a text as an id or a file name: none of these characters, no leading dot. [docs/cml.md 3]
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with('.') && !text.contains(|c| "!@#%^&*();$\n\r\t/\\".contains(c))
}

/// That rule, for a message.
pub(super) const NAME: &str = "a name without ! @ # % ^ & * ( ) ; $ / \\, tabs, line breaks or a leading dot";

/// Exactly 64 hexadecimal digits, as the schema's `[a-fA-F\d]` has them.
pub(super) fn is_sha256(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit() || is_digit(c))
}

/// `host`, `Westmere,+vmx`: the schema's `[a-zA-Z\d-]{1,32}(,[+!?^-][a-z\d._]{1,16})*`.
pub(super) fn is_cpu_model(text: &str) -> bool {
    let mut parts = text.split(',');
    let is_long = |part: &str, most: usize| (1..=most).contains(&part.chars().count());
    let model = parts.next().unwrap_or_default();
    is_long(model, 32)
        && model.chars().all(|c| c.is_ascii_alphabetic() || is_digit(c) || c == '-')
        && parts.all(|feature| {
            let name = feature.strip_prefix(['+', '!', '?', '^', '-']).unwrap_or_default();
            is_long(name, 16) && name.chars().all(|c| c.is_ascii_lowercase() || is_digit(c) || matches!(c, '.' | '_'))
        })
}

/// A picture as a `data:` URI with whole, padded Base64 that is not empty.
pub(super) fn is_icon(text: &str) -> bool {
    let kinds = ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/svg+xml;base64,"];
    let Some(data) = kinds.iter().find_map(|kind| text.strip_prefix(kind)) else { return false };
    let bare = data.trim_end_matches('=');
    data.len() % 4 == 0
        && data.len() - bare.len() <= 2
        && !bare.is_empty()
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// A decimal digit of any script: Unicode's category Nd, which `\d` means in CML's patterns.
fn is_digit(c: char) -> bool {
    // Digits come in runs from zero to nine; five runs of mathematical digits follow one another.
    const ZEROS: [u32; 75] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
        0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
        0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136,
        0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0,
        0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8,
        0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950,
    ];
    const LAST: u32 = 0x1fbf0;
    let code = u32::from(c);
    let run = ZEROS.partition_point(|zero| *zero <= code);
    let zero = if code >= LAST { LAST } else { run.checked_sub(1).map_or(u32::MAX, |run| ZEROS[run]) };
    code.checked_sub(zero).is_some_and(|digit| digit < 10)
}
