//! Quoting of everything that reaches a shell on a server.
//!
//! A script is a constant of this program, in POSIX sh; what comes from outside is passed to it as arguments.

/// A word for a POSIX shell.
pub fn quote(word: &str) -> String {
    shell_escape::unix::escape(word.into()).into_owned()
}

/// The command that runs a script with arguments `$1`, `$2`, ….
pub fn command(script: &str, arguments: &[&str]) -> String {
    if arguments.is_empty() { script.to_owned() } else { words(&[&["sh", "-c", script, "sh"], arguments].concat()) }
}

/// The command that runs a script in a shell of its own, after `prefix`, which is a constant.
pub fn command_after(prefix: &str, script: &str, arguments: &[&str]) -> String {
    format!("{prefix} {}", words(&[&["sh", "-c", script, "sh"], arguments].concat()))
}

/// Words, quoted where necessary.
pub fn words(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_a_shell() {
        let argument = "it's a \"test\" $HOME; `x` !\n";
        for command in [command("printf %s \"$1\"", &[argument]), command_after("env", "printf %s \"$1\"", &[argument])]
        {
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), argument, "{command}");
        }
    }
}
