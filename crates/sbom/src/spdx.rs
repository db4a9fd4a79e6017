//! The list itself, in the JSON of SPDX 2.3. <https://spdx.github.io/spdx-spec/v2.3/>
//!
//! Nothing in it is random or tells the time: the same archive gives the same bytes.

use anyhow::Result;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use archive::System;
use digests::Digest;

use crate::clean;
use crate::dpkg::Package as DebianPackage;
use crate::image::Image;
use crate::origins::{Base, Source};

const NOASSERTION: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const BASE: &str = "SPDXRef-Base";

/// What a part of a package URL keeps as it is.
/// <https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst>
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<String>,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

impl Package {
    /// One of which nothing else is known.
    fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            version_info: None,
            package_file_name: None,
            supplier: None,
            download_location: NOASSERTION.to_owned(),
            files_analyzed: false,
            checksums: Vec::new(),
            source_info: None,
            license_concluded: NOASSERTION,
            license_declared: NOASSERTION.to_owned(),
            copyright_text: NOASSERTION,
            comment: None,
            external_refs: Vec::new(),
            primary_package_purpose: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

impl Checksum {
    fn sha256(digest: &Digest) -> Self {
        Self { algorithm: "SHA256", checksum_value: digest.hex().to_owned() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

impl ExternalRef {
    fn purl(purl: String) -> Self {
        Self { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

fn relationship(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { spdx_element_id: from.to_owned(), relationship_type: kind, related_spdx_element: to.to_owned() }
}

/// An image that is saved in an archive.
pub struct Saved<'a> {
    /// The id of its definitions.
    pub id: &'a str,
    pub tag: &'a str,
    pub image_id: &'a Digest,
    /// The file name of the archive.
    pub file: &'a str,
    /// Of the archive.
    pub digest: &'a Digest,
}

/// The list of what is in an image, as its archive has it.
///
/// # Errors
/// If the image's list of packages is larger than any real one.
pub fn document(saved: &Saved<'_>, system: &System) -> Result<String> {
    let image = Image::read(system)?;
    let mut packages = vec![image_package(saved)];
    packages.extend(image.origins.base.as_ref().map(base_package));
    packages.extend(image.origins.sources.iter().filter_map(|(name, source)| source_package(&image, name, source)));
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
    relationships.extend(packages[1..].iter().map(|package| relationship(IMAGE, "GENERATED_FROM", &package.id)));
    for (number, package) in image.packages.iter().enumerate() {
        let package = debian_package(&image, number, package);
        relationships.push(relationship(IMAGE, "CONTAINS", &package.id));
        packages.push(package);
    }
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: saved.id.to_owned(),
        document_namespace: format!("https://spdx.org/spdxdocs/{}-{}", saved.id, saved.digest),
        creation_info: CreationInfo {
            created: image.created.as_deref().and_then(in_seconds).unwrap_or("1970-01-01T00:00:00Z".to_owned()),
            creators: ["Tool: cml-nodes"],
        },
        comment: incomplete(system.unread_layers),
        packages,
        relationships,
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

fn incomplete(unread_layers: usize) -> Option<String> {
    let layers = text::plural(unread_layers, "layer");
    (unread_layers > 0).then(|| format!("The packages of {layers} are missing: their compression is not known here."))
}

fn image_package(saved: &Saved<'_>) -> Package {
    let Saved { tag, image_id, file, digest, .. } = saved;
    let (name, version) = tag.split_once(':').unwrap_or((tag, "latest"));
    Package {
        version_info: Some(version.to_owned()),
        package_file_name: Some((*file).to_owned()),
        checksums: vec![Checksum::sha256(digest)],
        comment: Some(format!("Image ID: sha256:{image_id}. The checksum is the archive's.")),
        external_refs: vec![ExternalRef::purl(format!("pkg:docker/{}@sha256:{image_id}", part(name)))],
        primary_package_purpose: Some("CONTAINER"),
        ..Package::new(IMAGE, name)
    }
}

fn base_package(base: &Base) -> Package {
    let digest = base.digest.as_deref().and_then(|digest| Digest::parse(digest.strip_prefix("sha256:")?));
    let instead = base.instead_of.as_deref().map(|other| format!(" It takes the place of {}.", clean(other)));
    Package {
        version_info: base.digest.as_deref().map(clean),
        checksums: digest.iter().map(Checksum::sha256).collect(),
        comment: Some(format!("The checksum is the ChainID of its layers.{}", instead.unwrap_or_default())),
        primary_package_purpose: Some("CONTAINER"),
        ..Package::new(BASE, clean(&base.name))
    }
}

/// None for a source that is a package without a source package of its own: it is listed with the packages, if it is in
/// the image.
fn source_package(image: &Image<'_>, name: &str, source: &Source) -> Option<Package> {
    let id = format!("SPDXRef-Source-{}", identifier(name));
    let new = Package { primary_package_purpose: Some("SOURCE"), ..Package::new(id, clean(name)) };
    if let Some(commit) = source.commit.as_deref().map(clean) {
        let url = source.git.as_deref().map(clean).filter(|url| is_url(url));
        return Some(Package {
            download_location: url.map_or_else(|| NOASSERTION.to_owned(), |url| format!("git+{url}@{commit}")),
            source_info: source.reference.as_deref().map(|reference| format!("branch or tag {}", clean(reference))),
            version_info: Some(commit),
            ..new
        });
    }
    if let Some(digest) = source.sha256.as_deref().and_then(Digest::parse) {
        let checksums = vec![Checksum::sha256(&digest)];
        let version_info = Some(image.origins.version.as_str()).filter(|version| !version.is_empty()).map(clean);
        return Some(Package { package_file_name: source.file.as_deref().map(clean), checksums, version_info, ..new });
    }
    let package = clean(source.package.as_deref()?);
    let (version, digest) = image.source_package(name)?;
    let distribution = part(&image.distribution.id);
    let purl = format!("pkg:deb/{distribution}/{}@{}?arch=source", part(&package), part(&version));
    Some(Package {
        package_file_name: Some(format!("{package}_{version}.dsc")),
        checksums: vec![Checksum::sha256(&digest)],
        external_refs: vec![ExternalRef::purl(purl)],
        license_declared: image.licence_in(name).unwrap_or_else(|| NOASSERTION.to_owned()),
        version_info: Some(version),
        ..new
    })
}

fn debian_package(image: &Image<'_>, number: usize, package: &DebianPackage) -> Package {
    let DebianPackage { name, version, architecture, maintainer, source: (source, source_version), .. } = package;
    let distribution = &image.distribution;
    let namespace = if distribution.id.is_empty() { "debian" } else { &distribution.id };
    let mut purl = format!("pkg:deb/{}/{}@{}?arch={}", part(namespace), part(name), part(version), part(architecture));
    if !distribution.version.is_empty() {
        purl.push_str(&format!("&distro={}-{}", part(namespace), part(&distribution.version)));
    }
    if (source, source_version) != (name, version) {
        purl.push_str(&format!("&upstream={}", part(&format!("{source}@{source_version}"))));
    }
    Package {
        version_info: Some(version.clone()),
        supplier: Some(supplier(maintainer)),
        checksums: image.digest(package).map(Checksum::sha256).into_iter().collect(),
        source_info: Some(format!("built from source package {source} {source_version}")),
        license_declared: image.licence_in(name).unwrap_or_else(|| NOASSERTION.to_owned()),
        comment: Some(format!("Architecture: {architecture}")),
        external_refs: vec![ExternalRef::purl(purl)],
        ..Package::new(format!("SPDXRef-deb-{number}-{}", identifier(name)), name)
    }
}

/// `Name <address>` → `Organization: Name (address)`. Most maintainers of packages are teams.
fn supplier(maintainer: &str) -> String {
    let (name, address) = maintainer.split_once('<').unwrap_or((maintainer, ""));
    let without = |text: &str| text.replace(['(', ')', '<', '>'], "").trim().to_owned();
    match (without(name), without(address)) {
        (name, _) if name.is_empty() => NOASSERTION.to_owned(),
        (name, address) if address.is_empty() => format!("Organization: {name}"),
        (name, address) => format!("Organization: {name} ({address})"),
    }
}

/// What SPDX accepts in an identifier: letters, digits, `.` and `-`.
fn identifier(name: &str) -> String {
    let accepted = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    name.chars().take(100).map(accepted).collect()
}

/// A part of a package URL.
fn part(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// Whether SPDX accepts it as a place to download from.
fn is_url(url: &str) -> bool {
    ["https://", "http://", "git://", "ssh://"].iter().any(|scheme| url.starts_with(scheme))
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`#@".contains(&byte))
}

/// `2026-11-26T12:00:00.123456789Z` without the fractions, which SPDX does not accept. Engines write UTC.
fn in_seconds(time: &str) -> Option<String> {
    let shape = "0000-00-00T00:00:00";
    let seconds = time.get(..shape.len())?;
    let fits = |(c, wanted): (char, char)| if wanted == '0' { c.is_ascii_digit() } else { c == wanted };
    let is_utc = time.ends_with('Z') || time.ends_with("+00:00");
    (is_utc && seconds.chars().zip(shape.chars()).all(fits)).then(|| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use archive::Kept;
    use serde_json::{Value, json};

    use super::*;
    use crate::origins::Origins;

    fn system(origins: &Value, files: &[(&str, Kept)]) -> System {
        let labels = json!({crate::ORIGINS: origins.to_string()});
        let config = json!({"created": "2026-01-02T03:04:05.678Z", "config": {"Labels": labels}}).to_string();
        let files = files.iter().map(|(path, kept)| ((*path).to_owned(), kept.clone())).collect();
        System { config: config.into_bytes(), files, unread_layers: 0 }
    }

    fn listed(system: &System) -> Result<String> {
        let (image_id, digest) = (&Digest::of("image"), &Digest::of("archive"));
        document(&Saved { id: "tiny-1-0", tag: "tiny:1.0", image_id, file: "tiny-1-0.tar.gz", digest }, system)
    }

    fn list(system: &System) -> Value {
        serde_json::from_str(&listed(system).unwrap()).unwrap()
    }

    #[test]
    fn sources_are_told_with_commit_or_digest_and_place() {
        let git = Source {
            git: Some("https://example.org/frr.git".to_owned()),
            reference: Some("stable/10.4".to_owned()),
            commit: Some("0123abcd".to_owned()),
            ..Source::default()
        };
        let file = Source { file: Some("x.tar.gz".to_owned()), sha256: Some("ab".repeat(32)), ..Source::default() };
        let package = |name: &str| Source { package: Some(name.to_owned()), ..Source::default() };
        let sources = BTreeMap::from([
            ("frr".to_owned(), git),
            ("libyang".to_owned(), file),
            ("other".to_owned(), package("other-src")),
            ("tools".to_owned(), package("tools-dev")),
        ]);
        let origins = Origins { version: "10.4".to_owned(), sources, ..Origins::default() };
        let sums =
            format!("{}  other-src_1.2-3.dsc\n{}  other-src_1.2.orig.tar.xz\n", "cd".repeat(32), "ef".repeat(32));
        let list = list(&system(
            &serde_json::to_value(origins).unwrap(),
            &[
                ("usr/share/doc/other/source-package.sha256", Kept::File(sums.into_bytes())),
                ("etc/os-release", Kept::File(b"ID=debian\n".to_vec())),
            ],
        ));
        let told = |at: usize, key: &str| list["packages"][at][key].as_str().unwrap_or_default().to_owned();
        assert_eq!(list["packages"].as_array().unwrap().len(), 4, "tools-dev is a package like others: {list:#}");
        assert_eq!(told(1, "downloadLocation"), "git+https://example.org/frr.git@0123abcd");
        assert_eq!(told(1, "versionInfo"), "0123abcd");
        assert_eq!(list["packages"][2]["checksums"][0]["checksumValue"], "ab".repeat(32));
        assert_eq!(told(3, "versionInfo"), "1.2-3");
        assert_eq!(list["packages"][3]["checksums"][0]["checksumValue"], "cd".repeat(32));
        assert_eq!(list["creationInfo"]["created"], "2026-01-02T03:04:05Z");
        assert_eq!(list["relationships"][3]["relationshipType"], "GENERATED_FROM");
    }

    #[test]
    fn what_a_stranger_writes_is_bounded_and_printable() {
        let origins = json!({
            "node": "x", "variant": "x", "version": "x\u{1b}[31m",
            "base": {"name": "\u{7}base".repeat(10_000), "digest": "sha256:\n"},
            "sources": {"../\n": {"git": "https://example.org/ <x>", "commit": "\u{0}"}},
        });
        let list = list(&system(&origins, &[]));
        assert!(!list.to_string().contains("\\u00"), "{list:#}");
        assert!(list.to_string().len() < 10_000);
        assert_eq!(list["packages"][2]["SPDXID"], "SPDXRef-Source-..--");
        assert_eq!(list["packages"][2]["downloadLocation"], "NOASSERTION");
        // And a label that is none of this project's says nothing.
        assert_eq!(super::tests::list(&system(&json!(7), &[]))["packages"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_list_of_packages_larger_than_any_is_refused() {
        let huge = system(&Value::Null, &[("var/lib/dpkg/status", Kept::TooLarge)]);
        let said = listed(&huge).unwrap_err().to_string();
        assert!(said.contains("var/lib/dpkg/status of the image is larger than"), "{said}");
    }

    #[test]
    fn layers_that_cannot_be_read_are_told() {
        let mut system = system(&Value::Null, &[]);
        system.unread_layers = 2;
        assert!(list(&system)["comment"].as_str().unwrap().starts_with("The packages of 2 layers are missing"));
    }

    #[test]
    fn maintainers_are_suppliers() {
        assert_eq!(supplier("A Team <a@example.org>"), "Organization: A Team (a@example.org)");
        assert_eq!(supplier("A (B) Team"), "Organization: A B Team");
        assert_eq!(supplier("<a@example.org>"), NOASSERTION);
    }

    #[test]
    fn times_are_in_seconds_or_unknown() {
        assert_eq!(in_seconds("2026-01-02T03:04:05.6+00:00").as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(in_seconds("2026-01-02T03:04:05+02:00"), None);
        assert_eq!(in_seconds("2026-01-0éT03:04:05Z"), None);
    }
}
