//! Reads any bytes as an image archive: nothing panics, memory is bounded (by the fuzzer's options), messages can be
//! shown, and the copy that an engine loads has the image that was examined.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;
/// The largest unpacked archive that is copied in memory.
const LARGEST_COPY: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    examine(bytes);
    examine(&with_checksums(bytes));
});

fn examine(bytes: &[u8]) {
    let open = || archive::unpacked(Cursor::new(bytes.to_vec())).expect("memory can be read");
    let contents = match archive::examine(open()) {
        Ok(contents) => contents,
        Err(error) => {
            let message = format!("{error:#}");
            assert!(!message.is_empty() && message.len() < 2048, "{message}");
            assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message:?}");
            return;
        }
    };
    let mut copy = Vec::new();
    if contents.size <= LARGEST_COPY && archive::retag(open(), "mine:1", &mut copy).is_ok() {
        let copied = archive::examine(copy.as_slice()).expect("the copy of an archive");
        assert_eq!((copied.image_id, copied.layers), (contents.image_id, contents.layers));
        assert_eq!(copied.tags, ["mine:1"]);
    }
}

/// The same bytes, with right checksums of everything that looks like a header: a mutation is to get further than that.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}
