//! Patterns and what Python makes of them.

use super::*;

/// Pattern and text as JSON, and what Python 3.11 makes of them: `refused`, `match` or `no`. Some are written by hand,
/// the others are random.
const TABLE: &str = include_str!("../../testdata/python-regex.tsv");

fn outcome(pattern: &str, text: &str) -> &'static str {
    match Regex::new(pattern).map(|regex| regex.is_match(text)) {
        Err(_) => "refused",
        Ok(Ok(true)) => "match",
        Ok(Ok(false)) => "no",
        Ok(Err(_)) => "unknown",
    }
}

#[test]
fn patterns_are_judged_and_matched_as_python_does() {
    let rows: Vec<&str> = TABLE.lines().skip(1).collect();
    assert!(rows.len() > 200);
    for row in rows {
        let cells: Vec<&str> = row.split('\t').collect();
        let [pattern, text] = [cells[0], cells[1]].map(|cell| serde_json::from_str::<String>(cell).unwrap());
        assert_eq!(outcome(&pattern, &text), cells[2], "{row}");
    }
}

#[test]
fn a_refusal_says_why() {
    for (pattern, why) in [
        ("(READY", "missing ), unterminated subpattern"),
        ("*", "nothing to repeat"),
        ("(?<=a+)b", "look-behind requires fixed-width pattern"),
        ("x(?i)y", "global flags not at the start of the expression"),
        (r"\p{L}", r"bad escape \p"),
    ] {
        assert_eq!(Regex::new(pattern).unwrap_err(), why);
    }
}

/// Each would take longer than anybody waits, or more memory or stack than there is.
#[test]
fn hostile_patterns_and_texts_have_an_end() {
    let long = "a".repeat(1 << 17);
    for pattern in [
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+$b",
        "(?:a?){4000000000}b",
        "((a{1,1000}){1,1000}){1,1000}b",
        "(?=(a*))*b",
        "(?>(a|b)*)c",
        "(.*)(.*)(.*)(.*)(.*)x",
        r"(a+)\1b",
        "(a*?)*?b",
    ] {
        let matched = Regex::new(pattern).unwrap().is_match(&long);
        assert!(matches!(matched, Ok(false) | Err(Unknown(_))), "{pattern}");
    }
    assert_eq!(outcome("a*", &long), "match");
    assert_eq!(outcome(&format!("{}a{}", "(".repeat(64), ")".repeat(64)), "a"), "match");
    assert_eq!(outcome(&"(".repeat(100_000), ""), "refused");
    assert_eq!(outcome(&"|".repeat(100_000), "a"), "match");
}

#[test]
fn names_of_characters_are_left_to_python() {
    assert_eq!(outcome(r"\N{DIGIT ONE}", "1"), "unknown");
    assert_eq!(outcome(r"\N1", "1"), "refused");
}
