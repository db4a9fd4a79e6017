//! Ids of definitions as names of files, here and on a server.
//!
//! CML accepts more [docs/cml.md 3], but not all of that is safe in a shell or a URL, and some names are taken by files
//! of this program. The install script on the server, `cml_install_image.sh`, has the same rules.

/// What is called so beside folders that are named after ids, in lower case: some file systems ignore case.
const RESERVED: [&str; 3] = ["lock", "cml_install_image.sh", "sha256sums"];

/// How files end that are being written.
const ENDINGS: [&str; 2] = [".part", ".new"];

/// File names have at most 255 bytes, and some have more than the id in them.
const LONGEST: usize = 200;

/// Why `id` cannot be an id although CML accepts it; `None` if it can be.
pub fn why_reserved(id: &str) -> Option<String> {
    let lower = id.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) {
        return Some("a file that this program keeps beside those of the nodes has that name".to_owned());
    }
    let ending = ENDINGS.into_iter().find(|ending| lower.ends_with(ending))?;
    Some(format!("files that are being written end in `{ending}`"))
}

/// Whether files can have `id` as their name, and CML accepts it.
///
/// # Errors
///
/// Says what is wrong, with the id in a printable form.
pub fn check(id: &str) -> Result<(), String> {
    let shown = text::printable_line(id);
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.starts_with(['.', '-']) || !id.bytes().all(is_safe) {
        return Err(format!(
            "`{shown}` is not an id: use letters and digits of ASCII, `-`, `_` and `.`, and neither `.` nor `-` first"
        ));
    }
    if id.len() > LONGEST {
        return Err(format!("`{shown}` is not an id: it has {} characters, more than {LONGEST}", id.len()));
    }
    why_reserved(id).map_or(Ok(()), |why| Err(format!("`{shown}` cannot be an id: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_names_of_files() {
        for right in ["frr-10-4", "a", "A.b_c", "locks", "x.part.y", "new", &"x".repeat(LONGEST)] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        let wrong = ["", ".", "..", ".frr", "-frr", "a/b", "a b", "a;b", "a\nb", "a'b", "$(id)", "*", "\u{fc}"];
        for wrong in wrong {
            assert!(check(wrong).unwrap_err().contains("is not an id"), "{wrong}");
        }
        assert!(check(&"x".repeat(LONGEST + 1)).unwrap_err().contains("201 characters"));
        assert!(!check("\u{1b}[31m").unwrap_err().contains('\u{1b}'));
    }

    #[test]
    fn names_of_other_files_are_no_ids_in_any_case() {
        for wrong in ["lock", "Lock", "script.part", "SHA256SUMS", "cml_install_image.sh", "x.NEW"] {
            assert!(check(wrong).unwrap_err().starts_with(&format!("`{wrong}` cannot be an id: ")), "{wrong}");
        }
    }
}
