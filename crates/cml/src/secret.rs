//! Passwords and tokens: values that don't print themselves.

use std::fmt;

/// A password or a token. There is no way to print it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A text of somebody else's, with this secret blotted out: servers like to repeat what they were sent.
    pub fn blot_out(&self, text: &str) -> String {
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
        assert_eq!(secret.blot_out("wrong password s3cret!"), "wrong password •••!");
    }
}
