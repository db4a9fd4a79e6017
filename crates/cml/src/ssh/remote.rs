//! The one place where command lines for a server's shell are made.
//!
//! A script is a constant of this program, in POSIX sh. What comes from outside (paths, ids, texts) is never part of a
//! script: it becomes an argument, `$1`, `$2`, …, and each word is quoted. Nothing else can be run on a server, since
//! only a [`CommandLine`] reaches ssh.

use tokio::process::Command;

use crate::Address;

/// A command line whose words are quoted.
pub struct CommandLine(String);

impl CommandLine {
    /// The command that runs a script with arguments.
    pub fn new(script: &'static str, arguments: &[&str]) -> Self {
        Self(join(&[&["sh", "-c", script, "sh"], arguments].concat()))
    }

    /// The same, run by a program such as sudo.
    #[must_use]
    pub fn by(&self, program: &[&'static str]) -> Self {
        Self(format!("{} {}", join(program), self.0))
    }

    /// Completes an `ssh` that has its options.
    pub fn run_by(&self, ssh: &mut Command, address: &Address) {
        ssh.args(["--", &address.host, &self.0]);
    }
}

/// Completes an `ssh` that is to print its configuration for a server, and runs nothing.
pub fn print_configuration(ssh: &mut Command, address: &Address) {
    ssh.args(["-G", "--", &address.host]);
}

/// The command that a user types here to run `words` on the server's terminal.
pub fn to_type(user: &str, address: &Address, port: u16, words: &[&str]) -> String {
    let login = format!("{user}@{}", address.host);
    let here = join(&["ssh", "-t", "-p", &port.to_string(), &login]);
    // Once for the shell there, once for the one here.
    let there: Vec<String> = words.iter().map(|word| quote(&quote(word))).collect();
    format!("{here} {}", there.join(" "))
}

/// Words as a user would type them.
pub fn join(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a user would type it.
pub fn quote(word: &str) -> String {
    // `@` is not special in any shell, and logins are easier to read without quotes.
    if word.split('@').all(|part| !part.is_empty() && shell_escape::unix::escape(part.into()) == part) {
        return word.to_owned();
    }
    shell_escape::unix::escape(word.into()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 8] =
        ["", "a b", "it's a \"test\" $HOME; `x` !\n", ";id;", "$(id)", "-rf", "~/x*?[a]{b,c}", "\u{fc}\u{1f600}\\"];

    /// What `sh` prints when it runs this.
    fn ran(command_line: &str) -> String {
        let output = std::process::Command::new("sh").args(["-c", command_line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn arguments_survive_a_shell() {
        for argument in HOSTILE {
            let line = CommandLine::new("printf '%s|' \"$@\"", &[argument, "end"]);
            for line in [line.by(&["env", "A=it's; exit"]), line] {
                assert_eq!(ran(&line.0), format!("{argument}|end|"), "{}", line.0);
            }
        }
    }

    #[test]
    fn what_a_user_types_survives_both_shells() {
        let address = Address::parse("cml").unwrap();
        for word in HOSTILE {
            // In place of ssh, something that gives all words to a second shell, as sshd does.
            let typed = to_type("me", &address, 22, &["printf", "%s|", word]);
            let there = typed.strip_prefix("ssh -t -p 22 me@cml ").unwrap();
            let both = format!("over_there() {{ sh -c \"$*\"; }}; over_there {there}");
            assert_eq!(ran(&both), format!("{word}|"), "{typed}");
        }
    }
}
