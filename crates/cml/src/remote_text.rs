//! Reads text that a server sent: only an excerpt of it is shown, and nothing that a terminal would act on.

/// The beginning of a text, at most `limit` characters, printable and in one line.
pub fn excerpt(text: &str, limit: usize) -> String {
    text::printable_line(text.trim()).chars().take(limit).collect()
}

/// Why something failed, in the server's words.
pub fn reason(text: &str) -> String {
    let beginning: String = text.trim().chars().take(600).collect();
    let lines: Vec<String> = beginning.lines().map(text::printable_line).collect();
    // Indented, so that none looks like a line of this program.
    if lines.is_empty() { "no reason given".to_owned() } else { lines.join("\n  ") }
}

/// The last line that is not empty: there most programs say why they failed.
pub fn last_line(text: &str) -> String {
    reason(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_excerpt_is_shown_and_it_is_printable() {
        assert_eq!(excerpt(" \x1b[31mRED\n", 6), "\u{fffd}[31mR");
        assert_eq!((reason(" "), last_line("\n\n")), ("no reason given".to_owned(), "no reason given".to_owned()));
        assert_eq!(last_line("one\n two \n\n"), "two");
        assert_eq!(
            (reason("one\n\x1btwo\n"), excerpt("one\ntwo", 9)),
            ("one\n  \u{fffd}two".into(), "one\u{fffd}two".into())
        );
    }
}
