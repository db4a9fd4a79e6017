//! Licences of Debian's packages, from their copyright files.
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>

use std::collections::BTreeSet;

/// Debian's short names that mean what SPDX calls otherwise, lower-cased. [copyright-format 1.0, 7.1.1]
/// <https://spdx.org/licenses/>
const NAMES: [(&str, &str); 39] = [
    ("agpl-3", "AGPL-3.0-only"),
    ("agpl-3+", "AGPL-3.0-or-later"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic-2", "Artistic-2.0"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsl-1.0", "BSL-1.0"),
    ("bzip2-1.0.6", "bzip2-1.0.6"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("expat", "MIT"),
    ("gfdl-1.2+", "GFDL-1.2-or-later"),
    ("gfdl-1.3", "GFDL-1.3-only"),
    ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("gpl-1", "GPL-1.0-only"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("isc", "ISC"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("python-2.0", "Python-2.0"),
    ("unlicense", "Unlicense"),
    ("zlib", "Zlib"),
];

/// The licences of everything in a package, as SPDX writes them: of its source, too, since the file does not say which
/// of it is in the package. None unless the file is in the machine-readable format and every name in it is known.
pub fn declared(copyright: &str) -> Option<String> {
    let first = copyright.lines().next()?;
    if !first.starts_with("Format:") || !first.contains("copyright-format/1.0") {
        return None;
    }
    let names = copyright.lines().filter_map(|line| line.strip_prefix("License:"));
    let known: BTreeSet<String> = names.map(expression).collect::<Option<_>>()?;
    let joined = known.into_iter().collect::<Vec<_>>().join(" AND ");
    (!joined.is_empty()).then_some(joined)
}

/// `GPL-2+ or Expat` → `(GPL-2.0-or-later OR MIT)`
fn expression(names: &str) -> Option<String> {
    // A choice that is among other things is more than is understood here.
    let names = names.trim().to_ascii_lowercase();
    let known = |name: &str| NAMES.iter().find(|(debian, _)| *debian == name).map(|(_, spdx)| *spdx);
    let choice: Vec<&str> = names.split(" or ").map(|name| known(name.trim())).collect::<Option<_>>()?;
    match choice.as_slice() {
        [one] => Some((*one).to_owned()),
        several => Some(format!("({})", several.join(" OR "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n";

    #[test]
    fn a_licence_is_told_only_if_every_name_is_known() {
        let of = |rest: &str| declared(&format!("{FORMAT}{rest}"));
        assert_eq!(
            of("\nFiles: *\nLicense: GPL-2+\n\nFiles: a\nLicense: Expat\n text\n").unwrap(),
            "GPL-2.0-or-later AND MIT"
        );
        assert_eq!(of("License: GPL-1+ or Artistic-2\n").unwrap(), "(GPL-1.0-or-later OR Artistic-2.0)");
        assert_eq!(of("License: GPL-2+\nLicense: GPL-2+ with OpenSSL exception\n"), None);
        assert_eq!(of("Files: *\n"), None);
        assert_eq!(declared("License: GPL-2+\n"), None);
        assert_eq!(declared(""), None);
    }
}
