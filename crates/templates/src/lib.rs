//! Tera templates of a repository that may be a stranger's, rendered within limits: of the text, of the elements of
//! `range`, and, with [`watched`], of time and memory.

mod watch;

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use tera::{Context, Error, ErrorKind, Kwargs, State, Tera, TeraResult};

pub use watch::watched;

/// The largest text in bytes: a larger definition is not read.
pub const LARGEST: usize = 20_000_000;

/// How many elements all calls of `range` may make together. A definition with the most interfaces makes a few hundred.
const MOST_ELEMENTS: usize = 100_000;

/// An engine for one rendering, without templates.
pub fn engine() -> Tera {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<String>::new());
    let left = AtomicUsize::new(MOST_ELEMENTS);
    tera.register_function("range", move |kwargs: Kwargs, _: &State<'_>| range(&left, &kwargs));
    tera
}

/// Renders a template of `tera`, to at most [`LARGEST`] bytes.
///
/// # Errors
/// If the template is wrong, or its text would be larger.
pub fn render(tera: &Tera, name: &str, context: &Context) -> TeraResult<String> {
    bounded(LARGEST, |text| tera.render_to(name, context, text))
}

/// Fills in `template`, to at most `most` bytes.
///
/// # Errors
/// If the template is wrong, or its text would be larger.
pub fn fill(template: &str, context: &Context, most: usize) -> TeraResult<String> {
    bounded(most, |text| engine().render_str_to(template, context, false, text))
}

/// What is wrong with a template that has no file, as one sentence without its place: Tera would show the template with
/// a name that it made up.
pub fn sentence(error: &Error) -> String {
    let text = match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => report.message().to_owned(),
        _ => error.to_string(),
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn bounded(most: usize, render: impl FnOnce(&mut Bounded) -> TeraResult<()>) -> TeraResult<String> {
    let mut bounded = Bounded { text: Vec::new(), most, is_full: false };
    let rendered = render(&mut bounded);
    if bounded.is_full {
        return Err(Error::message(format!("it makes a text of more than {most} bytes")));
    }
    rendered?;
    Ok(String::from_utf8(bounded.text)?)
}

struct Bounded {
    text: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_full |= self.text.len() + bytes.len() > self.most;
        if self.is_full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As Tera's own, which limits a single call only: loops in loops would multiply.
fn range(left: &AtomicUsize, kwargs: &Kwargs) -> TeraResult<Vec<i128>> {
    let (start, end) = (kwargs.get::<i128>("start")?.unwrap_or_default(), kwargs.must_get::<i128>("end")?);
    let step = kwargs.get::<i128>("step_by")?.unwrap_or(1);
    if step == 0 || (step > 0 && start > end) {
        return Err(Error::message("`range` counts from `start` to `end`, by a `step_by` that leads there"));
    }
    let mut values = Vec::new();
    let mut next = Some(start);
    while let Some(value) = next.filter(|value| if step > 0 { *value < end } else { *value > end }) {
        let take = |left: usize| left.checked_sub(1);
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Error::message(format!("`range` makes more than {MOST_ELEMENTS} elements in one rendering")));
        }
        values.push(value);
        next = value.checked_add(step);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        fill(template, &Context::new(), 1000).map_err(|error| error.to_string())
    }

    #[test]
    fn range_counts_as_teras_own() {
        for arguments in [
            "end=3",
            "start=1, end=4",
            "end=10, step_by=4",
            "start=9, end=1, step_by=-3",
            "end=0",
            "end=-1",
            "step_by=1",
        ] {
            let template = format!("{{% for i in range({arguments}) %}}{{{{ i }}}},{{% endfor %}}");
            let own = Tera::one_off(&template, &Context::new(), false);
            assert_eq!(filled(&template).ok(), own.ok(), "{arguments}");
        }
        assert!(filled("{{ range(end=1, step_by=0) }}").unwrap_err().contains("leads there"));
    }

    #[test]
    fn all_calls_of_range_share_a_budget() {
        assert!(filled("{% for i in range(end=100000) %}{% endfor %}").is_ok());
        let nested = "{% for a in range(end=1000) %}{% for b in range(end=1000) %}{% endfor %}{% endfor %}";
        assert!(filled(nested).unwrap_err().contains("`range` makes more than 100000 elements"));
    }

    #[test]
    fn an_error_is_one_sentence_without_a_made_up_name() {
        for (template, said) in [
            ("{{ verison }}", "verison"),
            ("{{ a", "Unexpected end of input"),
            ("{{ range(end=1, step_by=0) }}", "leads"),
        ] {
            let sentence = sentence(&fill(template, &Context::new(), 1000).unwrap_err());
            assert!(sentence.contains(said) && !sentence.contains(['\n', '^']), "{sentence}");
            assert!(!sentence.contains("one_off") && !sentence.contains("error:"), "{sentence}");
        }
    }

    #[test]
    fn a_text_is_not_larger_than_asked_for() {
        assert_eq!(filled("{% for i in range(end=1000) %}x{% endfor %}").unwrap().len(), 1000);
        let error = filled("{% for i in range(end=1001) %}x{% endfor %}").unwrap_err();
        assert!(error.contains("more than 1000 bytes"), "{error}");
    }
}
