//! The end of what another program has printed.

/// The last `count` lines of a log or console that are not empty, each as `  | line\n`, without terminal sequences.
pub fn tail(log: &str, count: usize) -> String {
    let plain =
        log.split(['\r', '\n']).map(|line| text::printable(&console::strip_ansi_codes(line)).trim_end().to_owned());
    let lines: Vec<String> = plain.filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("  | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_safe_for_a_terminal() {
        let log = "one\r\n\r\n\u{1b}[1;32m[  OK  ]\u{1b}[0m two\u{7}\n";
        assert_eq!(tail(log, 5), "  | one\n  | [  OK  ] two\u{fffd}\n");
        assert_eq!(tail(log, 1), "  | [  OK  ] two\u{fffd}\n");
        assert_eq!(tail("", 3), "");
    }
}
