//! Words and figures for people: sizes, durations, tables, similar names, untrusted text.
//!
//! A leaf: crates that know nothing of terminals or engines use it.

use std::time::Duration;

/// Untrusted text, safe for a terminal: whatever it would act on or hide is replaced by U+FFFD. Ends of lines and tabs
/// stay; [`printable_line`] replaces those too.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) || c == '\n' || c == '\t' { c } else { '\u{fffd}' }).collect()
}

/// The same for a name or value, which must not look like a line of its own.
pub fn printable_line(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect()
}

/// The beginning of such a name or value, at most `most` characters.
pub fn excerpt(text: &str, most: usize) -> String {
    let mut chars = text.chars();
    let mut beginning: String = chars.by_ref().take(most).collect();
    beginning.extend(chars.next().map(|_| '…'));
    printable_line(&beginning)
}

/// A line in pieces of at most `width` characters, broken between words where it has any. Each piece but the first is
/// indented by two more than the line.
pub fn wrapped(line: &str, width: usize) -> Vec<String> {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let indent = (margin + 2).min(width / 2);
    let (mut pieces, mut rest) = (Vec::new(), line.trim_end().to_owned());
    while let Some((end, next)) = rest.char_indices().nth(width) {
        let indented = if pieces.is_empty() { margin } else { indent };
        let between = rest[..end].rfind(' ').filter(|at| *at > indented);
        let cut = if next == ' ' { end } else { between.unwrap_or(end) };
        pieces.push(rest[..cut].trim_end().to_owned());
        rest = format!("{:indent$}{}", "", rest[cut..].trim_start());
    }
    pieces.push(rest);
    pieces
}

/// JSON in which each such character is escaped, so that a terminal can show it, and a program reads it unchanged.
pub fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings, JSON has no characters but ASCII; ends of lines are part of its layout.
        if is_printable(c) || c == '\n' {
            printable.push(c);
        } else {
            printable.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    printable
}

/// Whether a character is shown, and changes nothing else. Not printable are control characters (a terminal obeys those
/// from U+0080 on, too), what reverses the direction of text (Unicode's `Bidi_Control`), and separators of lines.
fn is_printable(c: char) -> bool {
    let reverses = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !reverses && !matches!(c, '\u{2028}' | '\u{2029}')
}

/// A size such as `69.4 MB` (powers of ten, as Docker counts).
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2} GB")
}

/// A duration such as `4.2 s` or `2 min 31 s`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// `1 check`, `2 checks`.
pub fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The end of an error message about an unknown name: ``did you mean `frr`?``, or the list of all names.
pub fn near<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("choose from: {}", known.join(", ")),
    }
}

/// The most similar name, if one is similar enough to have been meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The time of a comparison grows with the product of both lengths.
    let given: String = given.chars().take(64).collect();
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(&given, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // In a short name the first measure punishes a single typo too much.
    (score > 0.75 || strsim::damerau_levenshtein(&given, name) == 1).then_some(name)
}

/// The lines of a printable table: each cell as wide as its column, two spaces between them.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| printable_line(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("short", 10), ["short"]);
        assert_eq!(wrapped("  one two three four", 11), ["  one two", "    three", "    four"]);
        assert_eq!(wrapped("a-word-that-is-longer", 10), ["a-word-tha", "  t-is-lon", "  ger"]);
        assert_eq!(wrapped("ääää ääää ä", 9), ["ääää ääää", "  ä"]);
        assert_eq!(wrapped(&" ".repeat(40), 10), [""]);
        let deep = format!("{}word", " ".repeat(20));
        assert!(wrapped(&deep, 10).iter().all(|piece| piece.len() <= 10));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(69_400_000), "69.4 MB");
        assert_eq!(size(1_700_000_000), "1.70 GB");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printable() {
        let hostile = "a\x1b]0;x\x07\u{7f}\u{9b}31m\u{202e}\u{2066}\u{61c}\u{2028}ü\r";
        assert_eq!(
            printable(hostile),
            "a\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}ü\u{fffd}"
        );
        assert_eq!((printable("a\tb\n").as_str(), printable_line("a\tb\n").as_str()), ("a\tb\n", "a\u{fffd}b\u{fffd}"));
        assert_eq!((excerpt("a\nbc", 2).as_str(), excerpt("ab", 2).as_str()), ("a\u{fffd}…", "ab"));
        assert_eq!(printable_json("[\n\"\u{9b}\u{202e}ü\"]"), "[\n\"\\u009b\\u202eü\"]");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NODE", "IS"], ["frr", "ünïque"], ["a-long-name", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["NODE         IS", "frr          ünïque", "a-long-name"]);
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(near("frrr", ["frr", "snmp"]), "did you mean `frr`?");
        assert_eq!(near("vfr", ["vrf"]), "did you mean `vrf`?");
        assert_eq!(near("q", ["frr", "snmp"]), "choose from: frr, snmp");
        assert_eq!(near("q", []), "there are none");
    }
}
