//! Programs of others that are written in Python, from its package registry.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python with these packages, given as `name==version`; made once in a folder `name` of the cache folder.
pub fn python(name: &str, packages: &[&str]) -> PathBuf {
    let folder = xtask::machine::cache_folder().unwrap().join(name);
    let lock = std::fs::File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let (python, stamp, wanted) = (folder.join("bin/python"), folder.join("installed"), packages.join(" "));
    if std::fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return python;
    }
    let _ = std::fs::remove_dir_all(&folder);
    let run = |program: &Path, args: &[&str]| {
        let output =
            Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        assert!(output.status.success(), "{} {args:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    };
    run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()]);
    run(&python, &[&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"], packages].concat());
    std::fs::write(stamp, wanted).unwrap();
    python
}
