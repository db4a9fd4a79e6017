//! Passwords and tokens: values that do not print themselves.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text, for the code that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without this secret: servers may repeat what they were sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < 3 { text.to_owned() } else { text.replace(&self.0, "•••") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "•••");
        assert_eq!(secret.redact("wrong password s3cret!"), "wrong password •••!");
    }
}
