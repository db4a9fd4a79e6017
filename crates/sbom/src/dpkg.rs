//! The packages that dpkg has installed, from its file `status`. [deb-control(5), dpkg(1)]

use anyhow::{Result, ensure};

use crate::clean;

/// A whole Debian has 70,000 packages; a large system has some thousands.
const MOST_PACKAGES: usize = 20_000;

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub maintainer: String,
    /// The source package that it was built from, and the version of that.
    pub source: (String, String),
}

/// The installed packages in the order of their names. What is half removed, or has no name or version, is left out.
pub fn packages(status: &str) -> Result<Vec<Package>> {
    let mut packages: Vec<Package> = status.split("\n\n").filter_map(package).take(MOST_PACKAGES + 1).collect();
    ensure!(packages.len() <= MOST_PACKAGES, "the image has more than {MOST_PACKAGES} packages");
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn package(stanza: &str) -> Option<Package> {
    let mut package = Package::default();
    let (mut is_installed, mut source) = (false, None);
    for line in stanza.lines() {
        // A line that begins with a blank continues the one before it; none of those below has such lines.
        let Some((field, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) else { continue };
        match field {
            "Package" => package.name = clean(value),
            "Version" => package.version = clean(value),
            "Architecture" => package.architecture = clean(value),
            "Maintainer" => package.maintainer = clean(value),
            "Source" => source = Some(clean(value)),
            "Status" => is_installed = value.split_whitespace().next_back() == Some("installed"),
            _ => {}
        }
    }
    let is_complete = is_installed && ![&package.name, &package.version].iter().any(|value| value.is_empty());
    // `glibc`, or `glibc (2.41-12)` if that differs from the package's own version.
    let source = source.unwrap_or_else(|| package.name.clone());
    package.source = match source.split_once(" (") {
        Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
        None => (source, package.version.clone()),
    };
    is_complete.then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libc-bin
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc (2.41-12)
Version: 2.41-12+b1
Description: binaries
 Package: not-this-one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.152\x1b[31m
";

    #[test]
    fn installed_packages_are_found_with_their_sources() {
        let found = packages(&STATUS.replace("\\x1b", "\x1b")).unwrap();
        let names: Vec<_> = found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(names, [("adduser", "3.152\u{fffd}[31m"), ("libc-bin", "2.41-12+b1")]);
        assert_eq!(found[0].source.0, "adduser");
        assert_eq!(found[1].source, ("glibc".to_owned(), "2.41-12".to_owned()));
        assert_eq!(found[1].maintainer, "GNU Libc Maintainers <debian-glibc@lists.debian.org>");
    }

    #[test]
    fn a_status_that_is_none_has_no_packages_and_a_bottomless_one_is_refused() {
        assert!(packages("\u{fffd}\n\n:\n\nPackage: x\n").unwrap().is_empty());
        let many: String = (0..=MOST_PACKAGES)
            .map(|number| format!("Package: p{number}\nVersion: 1\nStatus: a b installed\n\n"))
            .collect();
        assert!(packages(&many).unwrap_err().to_string().contains("more than 20000 packages"));
    }
}
