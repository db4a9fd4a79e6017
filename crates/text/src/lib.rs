//! Words and figures as people read them: sizes, durations, names that were probably meant, text of unknown origin.
//!
//! A leaf: crates that know nothing of terminals or engines use it.

use std::time::Duration;

/// Text of unknown origin, fit for a terminal: control characters are shown as such.
pub fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// A size as people read it: `69.4 MB` (powers of ten, as Docker counts).
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

/// A duration as people read it: `4.2 s`, `2 min 31 s`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// The end of an error message about a name that is not known: ``did you mean `frr`?``, or the list of all.
pub fn near<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// The name that was probably meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time by the product of both lengths.
    let given: String = given.chars().take(64).collect();
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(&given, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // In a short name one slip weighs too much for the first measure.
    (score > 0.75 || strsim::damerau_levenshtein(&given, name) == 1).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(69_400_000), "69.4 MB");
        assert_eq!(size(1_700_000_000), "1.70 GB");
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(near("frrr", ["frr", "snmp"]), "did you mean `frr`?");
        assert_eq!(near("vfr", ["vrf"]), "did you mean `vrf`?");
        assert_eq!(near("q", ["frr", "snmp"]), "there are: frr, snmp");
    }
}
