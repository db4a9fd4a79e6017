//! From bytes to characters, as in PyYAML: UTF-16 with a byte order mark, otherwise UTF-8.

use crate::model::Mark;
use crate::problem::Problem;

/// The characters of a file. Fails on other encodings, and on characters that YAML does not allow.
pub(super) fn characters(bytes: &[u8]) -> Result<Vec<char>, Problem> {
    let characters = match bytes {
        [0xff, 0xfe, ..] => utf16(bytes, u16::from_le_bytes)?,
        [0xfe, 0xff, ..] => utf16(bytes, u16::from_be_bytes)?,
        _ => utf8(bytes)?,
    };
    match characters.iter().position(|c| !is_allowed(*c)) {
        Some(index) => {
            let message = format!("the character {:?} is not allowed in YAML", characters[index]);
            Err(Problem::new(mark_of(&characters[..index]), message))
        }
        None => Ok(characters),
    }
}

fn utf8(bytes: &[u8]) -> Result<Vec<char>, Problem> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.chars().collect()),
        Err(error) => {
            let whole = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let before: Vec<char> = whole.chars().collect();
            Err(Problem::new(mark_of(&before), format!("the byte 0x{:02x} is not UTF-8", bytes[error.valid_up_to()])))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Vec<char>, Problem> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut characters = Vec::with_capacity(pairs.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match character {
            Ok(character) => characters.push(character),
            Err(_) => return Err(Problem::new(mark_of(&characters), "half of a character is missing here (UTF-16)")),
        }
    }
    if rest.is_empty() {
        Ok(characters)
    } else {
        Err(Problem::new(mark_of(&characters), "the last character is incomplete (UTF-16)"))
    }
}

/// YAML 1.1, section 5.1, with the supplementary planes.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}')
        || matches!(c, '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn mark_of(before: &[char]) -> Mark {
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').filter(|c| **c != '\u{feff}').count() + 1;
    Mark { line, column }
}
