//! The meaning of a scalar: the types of YAML 1.1 (<https://yaml.org/type/>), as PyYAML distinguishes them.

use crate::model::{Text, Value, quoted};

/// Python refuses to read a longer decimal number.
/// <https://docs.python.org/3/library/stdtypes.html#int-max-str-digits>
const MOST_DIGITS: usize = 4300;

/// The tag of a plain scalar, short for `tag:yaml.org,2002:…`.
pub(super) fn tag_of_plain(text: &str) -> &'static str {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => "null",
        "<<" => "merge",
        "=" => "value",
        _ if boolean(text).is_some() => "bool",
        // As in PyYAML, the first character rules out everything else for most texts.
        _ if !text.starts_with(|c: char| matches!(c, '0'..='9' | '+' | '-' | '.')) => "str",
        _ if is_float(text) => "float",
        _ if is_int(text) => "int",
        _ if is_date(text) => "timestamp",
        _ => "str",
    }
}

/// The value of a scalar with that tag. Fails if the text is not of the type that the tag names.
pub(super) fn value(tag: &str, text: Text) -> Result<Value, String> {
    let wrong = |what: &str| format!("{} is not {what}", quoted(&text.text));
    match tag {
        "str" => Ok(Value::Text(text)),
        "null" => Ok(Value::Null),
        "bool" => boolean_of_any_case(&text.text).map(Value::Bool).ok_or_else(|| wrong("a boolean")),
        "int" => int(&text.text).map(Value::Int).ok_or_else(|| wrong("a readable number")),
        "float" => float(&text.text).map(Value::Float).ok_or_else(|| wrong("a readable number")),
        "timestamp" if is_date(&text.text) => Ok(Value::Date(text.text)),
        "timestamp" => Err(wrong("a date")),
        "binary" => base64(&text.text).map(Value::Bytes).ok_or_else(|| wrong("Base64")),
        "merge" => Err("`<<` merges mappings and has a meaning only as a key; quote it if it is text".to_owned()),
        "value" => Err("`=` is a special value in YAML 1.1; quote it if it is text".to_owned()),
        other => Err(format!("the tag {} is unknown to CML", quoted(other))),
    }
}

fn boolean(text: &str) -> Option<bool> {
    let first_or_all_large = |word: &str| {
        text == word
            || text == word.to_ascii_uppercase()
            || text == format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..])
    };
    if text.len() > 5 || !text.is_ascii() {
        return None;
    }
    boolean_of_any_case(text).filter(|_| first_or_all_large(&text.to_ascii_lowercase()))
}

fn boolean_of_any_case(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_digit_or_line(b: u8) -> bool {
    b.is_ascii_digit() || b == b'_'
}

/// Any number of `:0` to `:59`.
fn are_sixties(text: &str) -> bool {
    !text.is_empty()
        && text.starts_with(':')
        && text[1..].split(':').all(|part| match part.as_bytes() {
            [b] => b.is_ascii_digit(),
            [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
            _ => false,
        })
}

fn is_int(text: &str) -> bool {
    let text = unsigned(text);
    if let Some(digits) = text.strip_prefix("0b") {
        return all(digits, |b| matches!(b, b'0' | b'1' | b'_'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |b| b.is_ascii_hexdigit() || b == b'_');
    }
    if let Some(digits) = text.strip_prefix('0') {
        return digits.bytes().all(|b| matches!(b, b'0'..=b'7' | b'_'));
    }
    let digits = text.find(':').map_or(text, |colon| &text[..colon]);
    let rest = &text[digits.len()..];
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(is_digit_or_line)
        && (rest.is_empty() || are_sixties(rest))
}

fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let bare = unsigned(text);
    if matches!(bare, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = bare.find(['e', 'E']).map_or((bare, None), |e| (&bare[..e], Some(&bare[e + 1..])));
    let exponent_is_good =
        exponent.is_none_or(|exponent| exponent.starts_with(['+', '-']) && all(&exponent[1..], |b| b.is_ascii_digit()));
    let Some((whole, fraction)) = mantissa.split_once('.') else { return false };
    let starts_well = |part: &str| part.starts_with(|c: char| c.is_ascii_digit()) && part.bytes().all(is_digit_or_line);
    if whole.is_empty() {
        // `-.5` is text.
        return bare == text && starts_well(fraction) && exponent_is_good;
    }
    if !fraction.bytes().all(is_digit_or_line) {
        return false;
    }
    match whole.find(':') {
        Some(colon) => starts_well(&whole[..colon]) && are_sixties(&whole[colon..]) && exponent.is_none(),
        None => starts_well(whole) && exponent_is_good,
    }
}

/// `2001-12-14`, possibly with a time.
fn is_date(text: &str) -> bool {
    let digits = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && all(text, |b| b.is_ascii_digit())
    };
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    if !digits(year, 4, 4) {
        return false;
    }
    let day = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    let time = &rest[day.len()..];
    if time.is_empty() {
        return digits(month, 2, 2) && digits(day, 2, 2);
    }
    let clock = time.strip_prefix(['T', 't']).unwrap_or_else(|| time.trim_start_matches([' ', '\t']));
    digits(month, 1, 2) && digits(day, 1, 2) && clock.len() < time.len() && is_clock(clock)
}

/// `21:59:43.10 -05:00`
fn is_clock(text: &str) -> bool {
    let digits = |text: Option<&str>, least: usize, most: usize| {
        text.is_some_and(|text| (least..=most).contains(&text.len()) && all(text, |b| b.is_ascii_digit()))
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(text.len());
    let (clock, zone) = (text[..end].split_once('.'), text[end..].trim_start_matches([' ', '\t']));
    let (clock, fraction) = clock.unwrap_or((&text[..end], ""));
    let mut parts = clock.split(':');
    let clock_is_good = digits(parts.next(), 1, 2) && digits(parts.next(), 2, 2) && digits(parts.next(), 2, 2);
    let zone_is_good = match zone.strip_prefix(['+', '-']) {
        Some(offset) => match offset.split_once(':') {
            Some((hours, minutes)) => digits(Some(hours), 1, 2) && digits(Some(minutes), 2, 2),
            None => digits(Some(offset), 1, 2),
        },
        None => zone == "Z" || (zone.is_empty() && end == text.len()),
    };
    clock_is_good && parts.next().is_none() && fraction.bytes().all(|b| b.is_ascii_digit()) && zone_is_good
}

fn int(text: &str) -> Option<i64> {
    let text = text.replace('_', "");
    let (negative, digits) = (text.starts_with('-'), unsigned(&text));
    let size = if let Some(digits) = digits.strip_prefix("0b") {
        saturated(digits, 2)?
    } else if let Some(digits) = digits.strip_prefix("0x") {
        saturated(digits, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        saturated(digits, 8)?
    } else {
        sixties(digits)?
    };
    Some(if negative { -size } else { size })
}

/// `190:20:30` is sexagesimal; a plain number is the same with one part.
fn sixties(text: &str) -> Option<i64> {
    text.split(':').try_fold(0_i64, |sum, part| {
        let part = if part.len() > MOST_DIGITS { None } else { saturated(part, 10) };
        Some(sum.saturating_mul(60).saturating_add(part?))
    })
}

/// The number with these digits, without a sign; too large a number becomes the largest. `None` if one is not a digit.
pub fn saturated(digits: &str, radix: u32) -> Option<i64> {
    let mut size = 0_i64;
    if digits.is_empty() {
        return None;
    }
    for digit in digits.chars() {
        size = size.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit.to_digit(radix)?));
    }
    Some(size)
}

fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let (sign, bare) = (if text.starts_with('-') { -1.0 } else { 1.0 }, unsigned(&text));
    let size = match bare {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ => bare.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.trim().parse::<f64>().ok()?))?,
    };
    Some(sign * size)
}

/// Base64 as Python's `base64.decodebytes` reads it: other characters are skipped.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut padding, mut bytes) = (0_u32, 0, 0, Vec::new());
    for b in text.bytes() {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                if count % 4 >= 2 && count % 4 + padding >= 4 {
                    return Some(bytes);
                }
                continue;
            }
            0x80.. => return None,
            _ => continue,
        };
        padding = 0;
        bits = bits << 6 | u32::from(six);
        count += 1;
        match count % 4 {
            2 => bytes.push((bits >> 4) as u8),
            3 => bytes.push((bits >> 2) as u8),
            0 => bytes.push(bits as u8),
            _ => {}
        }
    }
    (count % 4 == 0).then_some(bytes)
}
