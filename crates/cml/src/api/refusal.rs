//! The controller's refusals, in its own words.

use anyhow::Result;
use serde_json::Value;

use crate::remote_text::{self, excerpt};

/// The controller understood a request and refused it.
#[derive(Debug, thiserror::Error)]
#[error("{request} was refused ({status}): {reason}")]
pub struct Refused {
    pub status: u16,
    pub reason: String,
    /// What was asked of which server.
    pub request: String,
}

/// The result of a request; nothing if the controller said that there is no such thing.
pub fn if_present<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 404) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether the controller rejected the request itself, so that it has changed nothing.
pub fn is_rejection(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| (400..500).contains(&refused.status))
}

/// Whether the controller does not let this user, or anybody, do that.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 403)
}

/// The description in `{"code": …, "description": "…"}`, or the beginning of whatever else the body is.
pub fn reason(body: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(body).ok();
    let description = json.as_ref().and_then(|value| value.get("description")).map(|text| match text {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    remote_text::reason(&description.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

/// The title of a web page, or the beginning of whatever else the body is.
pub fn title(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|at| Some((at + 7, at + lower[at..].find("</title>")?)));
    let title = title.and_then(|(from, to)| text.get(from..to)).unwrap_or(&text);
    format!("`{}`", excerpt(&title.replace('\n', " "), 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_reported_in_the_controllers_words() {
        assert_eq!(
            reason(br#"{"code": 400, "description": "Node definition is read-only."}"#),
            "Node definition is read-only."
        );
        assert_eq!(reason(b""), "no reason given");
        assert_eq!(title(b"<html><head><title>502 Bad Gateway</title></head>"), "`502 Bad Gateway`");
    }
}
