//! Any bytes, read and judged as a definition: nothing panics, and every finding has a place in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use definitions::lint::{Document, Subject, Surroundings, judge};

fuzz_target!(|bytes: &[u8]| {
    let around = Surroundings { folder: Some(Default::default()), archive: None, image_files: Some(Vec::new()) };
    let subjects = [Subject { document: Document::read(bytes), around }];
    for finding in judge(&subjects, &[]).concat() {
        assert!(finding.at.line >= 1 && finding.at.column >= 1 && finding.at.line <= bytes.len() + 1, "{finding:?}");
        assert!(!finding.message.is_empty() && finding.message.len() < 8192, "{finding:?}");
    }
});
