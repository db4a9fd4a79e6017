//! Reads and judges any bytes as a definition, and as every other reader does: nothing panics, and every finding has a
//! place in the file.

#![no_main]

use definitions::Document;
use definitions::compare;
use definitions::container::Container;
use definitions::lint::{Subject, Surroundings, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let around = Surroundings { folder: Some(Default::default()), archive: None, image_files: Some(Vec::new()) };
    let document = Document::read(bytes);
    let subjects = [Subject { document: &document, around }];
    for finding in judge(&subjects, &[]).concat() {
        assert!(finding.at.line >= 1 && finding.at.column >= 1 && finding.at.line <= bytes.len() + 1, "{finding:?}");
        assert!(!finding.message.is_empty() && finding.message.len() < 8192, "{finding:?}");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Container::read(text, "definition");
        if let Ok(form) = compare::normal_form(text) {
            assert!(compare::differences(&form, &form).is_empty(), "{form}");
        }
    }
});
