//! Refuses Dockerfiles that could reach files of the machine while Buildah builds them.
//!
//! Older versions of Buildah follow links in the sources of mounts, and take places of the machine for images; see
//! the table in `quirks.rs`. A Dockerfile is judged by its text, as Buildah reads it: it has no heredocs there, and a
//! backslash joins lines, since another escape character is refused.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use crate::engine::images::transports::refuse_places;

/// An instruction on one line, and where it starts, counted from 1.
struct Instruction {
    line: usize,
    text: String,
}

/// Judges a Dockerfile that is built with these arguments. What the images that it starts from bring along (ONBUILD)
/// cannot be judged: Podman does not tell.
///
/// # Errors
///
/// If it could reach files of the machine. They begin with the line: `:5: …`
pub fn judge(dockerfile: &str, args: &BTreeMap<String, String>) -> Result<()> {
    let mut defaults = BTreeMap::new();
    let mut is_in_stage = false;
    for Instruction { line, text } in instructions(dockerfile)? {
        let at = |error: anyhow::Error| anyhow::anyhow!(":{line}: {error}");
        judge_flags(&text).map_err(at)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        if words[0].eq_ignore_ascii_case("ARG") && !is_in_stage {
            // Of several variables on a line, or several values of a variable, versions of Buildah take different ones.
            if let [_, word] = words[..] {
                let (name, value) = owned(word.split_once('=').unwrap_or((word, "")));
                defaults.entry(name).and_modify(String::clear).or_insert(value);
            }
        }
        if words[0].eq_ignore_ascii_case("FROM") {
            is_in_stage = true;
            ensure!(
                text.is_ascii() && !text.contains(['"', '\'', '\\']),
                ":{line}: quotes, backslashes and other letters than ASCII are refused in `FROM` with this engine"
            );
            let mut words = words[1..].iter().skip_while(|word| word.starts_with("--"));
            let image = expand(words.next().unwrap_or(&""), &defaults, args).map_err(at)?;
            refuse_places(&image).map_err(at)?;
        }
    }
    Ok(())
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    let value = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value);
    (name.to_owned(), value.to_owned())
}

fn instructions(dockerfile: &str) -> Result<Vec<Instruction>> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut continues = false;
    for (index, line) in dockerfile.trim_start_matches('\u{feff}').lines().enumerate() {
        if let Some(comment) = line.trim_start().strip_prefix('#') {
            ensure!(
                !comment.trim_start().to_lowercase().starts_with("escape"),
                ":{}: `{}` is refused with this engine: leave the escape character as it is, or {ELSEWHERE}",
                index + 1,
                line.trim()
            );
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let joined = line.trim_end_matches([' ', '\t']).strip_suffix('\\');
        let text = joined.unwrap_or(line);
        match found.last_mut() {
            Some(last) if continues => last.text.push_str(text),
            _ => found.push(Instruction { line: index + 1, text: text.to_owned() }),
        }
        continues = joined.is_some();
    }
    found.retain(|one| !one.text.trim().is_empty());
    Ok(found)
}

const ELSEWHERE: &str = "build it with Docker (`--engine docker`)";

/// Judges every `--mount=` and `--from=`, wherever it is. Buildah removes quotes and backslashes within flags.
fn judge_flags(text: &str) -> Result<()> {
    let bare = text.replace(['"', '\'', '\\'], "");
    for flag in ["--mount=", "--from="] {
        ensure!(
            bare.matches(flag).count() == text.matches(flag).count(),
            "quotes or backslashes within `{flag}` are refused with this engine; write it without them"
        );
        for (start, _) in text.match_indices(flag) {
            let rest = &text[start + flag.len()..];
            let is_blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
            let argument = rest.split(is_blank).next().unwrap_or_default();
            if flag == "--from=" {
                refuse_places(argument)?;
            } else if let Err(why) = judge_mount(argument) {
                bail!(
                    "`--mount={argument}` is refused with this engine: {why}. Its builds follow links in mounts to \
                     your machine's own files, so only `type=cache` with an id of its own and `type=tmpfs` work; \
                     copy files with COPY instead, or {ELSEWHERE}"
                );
            }
        }
    }
    Ok(())
}

/// A cache needs an id, and one without slashes: else its folder could be within another cache, behind a link that an
/// earlier step left there.
fn judge_mount(argument: &str) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for part in argument.split(',') {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        let is_number = |value: &str| !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
        let is_good = match (key, value) {
            ("type", Some(value)) => ["cache", "tmpfs"].contains(&value),
            ("id", Some(value)) => is_plain(value, "._-") && !value.starts_with('.'),
            ("target" | "dst" | "destination", Some(value)) => {
                value.starts_with('/') && is_plain(value, "._-/+@") && !value.split('/').any(|part| part == "..")
            }
            ("sharing", Some(value)) => ["shared", "private"].contains(&value),
            ("mode" | "uid" | "gid", Some(value)) => is_number(value),
            ("size" | "tmpfs-size", Some(value)) => is_plain(value, ""),
            ("ro" | "rw" | "readonly", None | Some("true" | "false")) => true,
            _ => false,
        };
        let key = if ["dst", "destination"].contains(&key) { "target" } else { key };
        if !is_good || seen.insert(key, value).is_some() {
            return Err(format!("`{part}` is not accepted"));
        }
    }
    let has = |key: &str| seen.contains_key(key);
    match seen.get("type").copied().flatten() {
        Some("cache") if !has("id") => Err("the cache has no `id=`".to_owned()),
        Some("cache") if has("target") && !has("size") && !has("tmpfs-size") => Ok(()),
        Some("tmpfs") if seen.keys().all(|key| ["type", "target", "size", "tmpfs-size"].contains(key)) => Ok(()),
        Some(_) => Err("its keys do not fit its type".to_owned()),
        None => Err("it has no `type=`, and is a bind mount then".to_owned()),
    }
}

fn is_plain(value: &str, further: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || further.contains(c))
}

/// The image's name with the values of its variables. These must be the same wherever Buildah looks for them: declared
/// before the first stage, with a value, and not among those that Buildah sets.
fn expand(word: &str, defaults: &BTreeMap<String, String>, args: &BTreeMap<String, String>) -> Result<String> {
    let mut pieces = word.split('$');
    let mut image = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = match piece.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or((braced, "")),
            None => piece.split_at(piece.find(|c| !is_name(c)).unwrap_or(piece.len())),
        };
        let is_set_by_engine = ["TARGET", "BUILD"].iter().any(|start| name.starts_with(start));
        let value = defaults.get(name).map(|default| args.get(name).unwrap_or(default));
        let value = value.filter(|value| !value.is_empty() && !is_set_by_engine && name.chars().all(is_name));
        let Some(value) = value else {
            bail!(
                "`FROM {word}`: with this engine, `${name}` must be a variable with a value, declared by \
                 `ARG NAME=value` before the first FROM; else {ELSEWHERE}"
            );
        };
        image.push_str(value);
        image.push_str(rest);
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(dockerfile: &str) -> Option<String> {
        let args = BTreeMap::from([("BASE", "debian:x"), ("EVIL", "oci:/x")].map(owned));
        judge(dockerfile, &args).err().map(|error| error.to_string())
    }

    #[test]
    fn mounts_and_images_that_stay_within_the_build_pass() {
        for good in [
            "FROM debian\nRUN --mount=type=cache,id=a.b_c-1,target=/var/cache/apt,mode=0755,uid=0,gid=0 \\\n \\\n\
             # --mount=type=bind\n  --mount=type=tmpfs,dst=/t,size=5m x",
            "FROM debian\nRUN --mount=type=ca\\  \nche,destination=/c,id=a,sharing=shared,readonly x",
            "ARG BASE=a\nARG SOURCE=\"package\"\nFROM ${BASE} AS source-package\nFROM --platform=x source-$SOURCE\n\
             COPY --from=source-package / /\nCOPY --from=0 / /\nADD --from=debian:1 / /",
            "FROM scratch\nRUN mount x --mount y",
        ] {
            assert_eq!(refusal(good), None, "{good}");
        }
    }

    #[test]
    fn mounts_that_lead_to_the_machine_are_refused() {
        for mount in [
            "type=bind,source=lnk,target=/h,rw",
            "source=lnk,target=/h",
            "target=/h",
            "",
            "type=secret,id=a",
            "type=ssh",
            "type=$T,id=a,target=/h",
            "type=cache,target=/c",
            "type=cache,id=../../x,target=/c",
            "type=cache,id=a/b,target=/c",
            "type=cache,id=.a,target=/c",
            "type=cache,id=,target=/c",
            "type=cache,id=a,id=b,target=/c",
            "type=cache,id=a,target=/c/../d",
            "type=cache,id=a,target=c",
            "type=cache,id=a,target=/c,from=s",
            "type=cache,id=a,target=/c,source=/x",
            "type=cache,id=a,target=/c,sharing=locked",
            "type=cache,id=a,target=/c,Type=bind",
            "type=cache,id=a,target=/c\u{2028},from=s",
            "type=cache,id=a,target=/c\u{a0}x",
            "type=cache,id=\"a\",target=/c",
            "type=cache,type=bind,id=a,target=/c",
            "type=tmpfs,target=/c,source=/x",
            "type=tmpfs,id=a,target=/c",
        ] {
            for steps in ["RUN ", "run --x=y ", "ONBUILD RUN ", "RUN <<EOF\nRUN ", "RUN \\\n# x\n\n"] {
                let error = refusal(&format!("FROM a\n{steps}--mount={mount} x")).expect(mount);
                assert!(error.contains("`--mount=") && error.contains("COPY"), "{mount}: {error}");
            }
        }
        for hidden in ["--mo\\\nunt=type=bind", "--mo'unt='type=bind", "--mo\\unt=type=bind", "'--mount=type=bind'"] {
            assert!(refusal(&format!("FROM a\nRUN {hidden},source=l,target=/h x")).is_some(), "{hidden}");
        }
        let error = refusal("FROM a\n\nRUN true\nRUN --mount=type=bind,target=/h x").expect("a refusal");
        assert!(error.starts_with(":4: `--mount=type=bind,target=/h` is refused"), "{error}");
    }

    #[test]
    fn images_that_lead_to_the_machine_are_refused() {
        for bad in [
            "FROM oci:/tmp/x",
            "from docker-archive:/tmp/x AS a",
            "FR\\\nOM dir:/tmp/x",
            "FROM --platform=x /tmp/x",
            "FROM \"oci:/tmp/x\"",
            "FROM",
            "ARG A=oci:/x\nFROM $A",
            "ARG A='oci:/x'\nFROM ${A}",
            "ARG A=oci\nARG B=:x\nFROM $A$B",
            "ARG A=b\nARG C=$A\nFROM $C",
            "ARG EVIL=debian\nFROM ${EVIL}",
            "ARG A\nFROM ${A}dir:x",
            "ARG A=oci:/x\nARG A=debian\nFROM $A",
            "FROM --platform=a\\ b dir:x",
            "FROM --platform=x\u{e0}dir:y debian",
            "ARG A=a B=b\nFROM ${B}dir:x",
            "FROM ${BASE}dir:x",
            "FROM a\nARG A=b\nFROM ${A}dir:x",
            "FROM ${A:-oci:/x}",
            "ARG TARGETARCH=a\nFROM ${TARGETARCH}",
            "FROM a\nCOPY --from=dir:/x / /",
            "FROM a\nCOPY --from=$A / /",
            "FROM a\nCOPY --fr\"om\"=dir:/x / /",
            "FROM a\nONBUILD COPY --from=/x / /",
            "# Escape = `\nFROM a",
        ] {
            let error = refusal(bad).expect(bad);
            assert!(error.starts_with(':'), "{bad}: {error}");
        }
    }

    #[test]
    fn the_dockerfiles_of_this_repository_pass() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let mut count = 0;
        for folder in ["docker", "xtask/helper/docker", "xtask/scaffold/docker"] {
            for node in std::fs::read_dir(root.join(folder)).expect("a folder") {
                for file in std::fs::read_dir(node.expect("a node").path()).expect("its folder") {
                    let path = file.expect("a file").path();
                    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Dockerfile")) {
                        let text = std::fs::read_to_string(&path).expect("text").replace(",sharing=locked", "");
                        assert_eq!(refusal(&text), None, "{}", path.display());
                        count += 1;
                        let is_own = folder == "xtask/helper/docker";
                        assert!(!is_own || !text.contains("type=cache"), "{} shares a cache", path.display());
                    }
                }
            }
        }
        assert!(count > 8, "{count}");
    }
}
