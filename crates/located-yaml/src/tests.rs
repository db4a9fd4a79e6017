//! The behaviour of PyYAML's safe loader, as it was seen.

use super::*;

/// The document in one line, with types: `{a: 1, b: 'x'}`.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(text) => format!("{:?}", text.text),
        Value::Bytes(bytes) => format!("bytes {}", String::from_utf8_lossy(bytes)),
        Value::Date(_) => "date".to_owned(),
        Value::Pair => "pair".to_owned(),
        Value::List(list) => format!("[{}]", list.iter().map(|item| shown(item)).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map.entries().map(|entry| format!("{}: {}", shown(&entry.key), shown(&entry.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[track_caller]
fn reads(text: &str, wanted: &str) {
    match read(text.as_bytes()) {
        Ok(document) => assert_eq!(shown(&document.root), wanted, "{text}"),
        Err(problem) => panic!("{text}\n{problem:?}"),
    }
}

#[track_caller]
fn refuses(bytes: impl AsRef<[u8]>) -> Problem {
    let bytes = bytes.as_ref();
    read(bytes).expect_err(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
}

#[test]
fn plain_scalars_have_the_types_of_yaml_1_1() {
    for (text, wanted) in [
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("oFF", "\"oFF\""),
        ("~", "null"),
        ("", "null"),
        ("010", "8"),
        ("08", "\"08\""),
        ("0b_1", "1"),
        ("0x1F", "31"),
        ("0o7", "\"0o7\""),
        ("1_000", "1000"),
        ("190:20:30", "685230"),
        ("-1:30", "-90"),
        ("1:60", "\"1:60\""),
        ("99999999999999999999", "9223372036854775807"),
        ("1e3", "\"1e3\""),
        ("1.e+3", "1000.0"),
        (".5", "0.5"),
        ("-.5", "\"-.5\""),
        ("1:30.5", "90.5"),
        ("-.inf", "-inf"),
        (".NaN", "NaN"),
        ("2001-12-14", "date"),
        ("2001-1-1", "\"2001-1-1\""),
        ("2001-1-1 1:00:00.5 -05:30", "date"),
        ("2001-12-14t21:59:43Z", "date"),
        ("\"yes\"", "\"yes\""),
        ("! 5", "5"),
        ("!!str 5", "\"5\""),
        ("!!int \"5\"", "5"),
        ("!!binary aGk=", "bytes hi"),
        ("!!set {a, b}", "[\"a\", \"b\"]"),
        ("!!omap [a: 1]", "[pair]"),
    ] {
        reads(text, wanted);
    }
}

#[test]
fn structure_is_that_of_yaml_1_1() {
    reads("a: 1\nb:\n- x\n- y: z\n", r#"{"a": 1, "b": ["x", {"y": "z"}]}"#);
    reads("[a: b, {c, d: }, [e],]", r#"[{"a": "b"}, {"c": null, "d": null}, ["e"]]"#);
    reads("? a\n: b\n? c\n", r#"{"a": "b", "c": null}"#);
    reads("a: b\n  c\n\n  d # e\n", r#"{"a": "b c\nd"}"#);
    reads("a: |\n  x\n   y\n\nb: >-\n  x\n  y\n", r#"{"a": "x\n y\n", "b": "x y"}"#);
    reads("a: |2+\n   x\n\nb: 'it''s\n\n  z'\n", r#"{"a": " x\n\n", "b": "it's\nz"}"#);
    reads("\"\\x41\\u00e9\\\n  b\\tc\"", "\"Aéb\\tc\"");
    reads("%YAML 1.1\n---\na\n...\n", "\"a\"");
    reads("%TAG !y! tag:yaml.org,2002:\n---\n!y!str 5", "\"5\"");
    reads("\u{feff}a: b\r\nc: d\r\n", r#"{"a": "b", "c": "d"}"#);
    reads("a: {\"b\":1}", r#"{"a": {"b": 1}}"#);
}

#[test]
fn aliases_and_merges_are_followed() {
    reads("a: &x {b: 1}\nc: *x\n", r#"{"a": {"b": 1}, "c": {"b": 1}}"#);
    reads("x: &x {b: 1, c: 2}\ny:\n  c: 3\n  <<: *x\n", r#"{"x": {"b": 1, "c": 2}, "y": {"b": 1, "c": 2, "c": 3}}"#);
    let document = read(b"{<<: [{a: 1}, {a: 2, b: 3}], c: 4}").unwrap();
    let value = |key: &str| shown(document.root.get(key).unwrap());
    assert_eq!([value("a"), value("b"), value("c")], ["1", "3", "4"], "the first of the list wins");
    assert!(document.duplicates.is_empty(), "what is merged is no duplicate");
}

#[test]
fn what_pyyaml_refuses_is_refused() {
    for text in [
        "a:\tb",
        "\ta: b",
        "a: b: c",
        "a: [b",
        "a: 'b",
        "a: \"\\q\"",
        "a: @b",
        "a: `b",
        "a: %b",
        "- a\nb: c",
        "a: b\n c: d",
        "*x",
        "&a [*a]",
        "&a 1\n--- 2",
        "[a, b]]",
        "{a: b}}",
        "a: |0\n x",
        "a: |x\n",
        "!x y",
        "!!int x",
        "!!map []",
        "!!seq {}",
        "a: <<",
        "- =",
        "{[a]: b}",
        "<<: 1",
        "<<: [1]",
        "[&a 1, &a 2]",
        "%YAML 2.0\n---\n",
        "%YAML 1.1\n%YAML 1.1\n---\n",
        "\"\\ud800\"",
        "a\n---\nb",
        "!!binary a",
        "? [a]\n: b",
        "a: 'x\n--- y'",
        "0b_",
    ] {
        refuses(text);
    }
}

#[test]
fn places_are_counted_in_lines_and_characters_from_one() {
    let document = read("é: x\nb:\n  - 1\n  - {c: d}\n".as_bytes()).unwrap();
    let list = document.root.get("b").unwrap();
    let place = |node: &Node| (node.at.line, node.at.column);
    assert_eq!(place(&document.root), (1, 1));
    assert_eq!(place(document.root.get("é").unwrap()), (1, 4));
    assert_eq!(place(&list.list().unwrap()[0]), (3, 5));
    assert_eq!(place(list.list().unwrap()[1].get("c").unwrap()), (4, 9));
    assert_eq!(refuses("a: b\nc: [d\n").at, Mark { line: 3, column: 1 });
}

#[test]
fn places_inside_a_literal_block_are_those_of_the_file() {
    let document = read(b"a:\n  b: |\n\n    x\n    y z\n").unwrap();
    let block = document.root.get("a").unwrap().get("b").unwrap();
    assert_eq!(block.text(), Some("\nx\ny z\n"));
    assert_eq!(block.place_inside(Mark { line: 3, column: 3 }), Mark { line: 5, column: 7 });
}

#[test]
fn duplicate_keys_are_told_with_both_places() {
    let document = read(b"a: 1\nb: 2\na: 3\n").unwrap();
    let wanted = Duplicate { key: "a".to_owned(), at: Mark { line: 3, column: 1 }, first: Mark::START };
    assert_eq!(document.duplicates, [wanted]);
    assert_eq!(shown(document.root.get("a").unwrap()), "3");
}

#[test]
fn other_encodings_are_read_or_refused() {
    let wide = |unit: fn(u16) -> [u8; 2]| "\u{feff}a: 'é😀'".encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for bytes in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
        assert_eq!(shown(&read(&bytes).unwrap().root), "{\"a\": \"é😀\"}");
        refuses(&bytes[..bytes.len() - 3]);
        refuses(&bytes[..bytes.len() - 1]);
    }
    assert_eq!(refuses(b"a: b\nc: \xff").at, Mark { line: 2, column: 4 });
    assert_eq!(refuses(b"a: \x00").at, Mark { line: 1, column: 4 });
}

#[test]
fn what_is_too_much_is_refused_as_such() {
    let too_much = |text: String| assert_eq!(refuses(&text).kind, ProblemKind::TooMuch, "{}", &text[..40]);
    too_much("[".repeat(1_000_000));
    too_much("- ".repeat(100_000));
    too_much("{a: ".repeat(10_000));
    too_much(format!("[{}]", "a,".repeat(400_000)));
    too_much(" ".repeat(LARGEST + 1));
    let doubled = (1..40).map(|n| format!("a{n}: &a{n} {{<<: [*a{0}, *a{0}], k{n}: x}}\n", n - 1));
    too_much(format!("a0: &a0 {{k: x}}\n{}", doubled.collect::<String>()));
}

#[test]
fn aliases_that_would_explode_are_shared() {
    let lines = (1..60).map(|n| format!("- &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1));
    let text = format!("- &a0 x\n{}", lines.collect::<String>());
    assert_eq!(read(text.as_bytes()).unwrap().root.list().unwrap().len(), 60);
}

/// A generator of numbers that is the same each time. (xorshift64)
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn no_bytes_make_it_panic() {
    const PIECES: &[&[u8]] = &[
        b"- ", b": ", b"? ", b"\n", b"  ", b"\t", b"a", b"&a ", b"*a", b"<<: ", b"[", b"]", b"{", b"}", b",", b"'",
        b"\"", b"\\", b"|\n", b">-\n", b"|2\n", b"#", b"!", b"!x ", b"!!int ", b"!!set ", b"!!binary ", b"%TAG ! x\n",
        b"---\n", b"...", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xa8", b"\xc2\x85", b"\\x4", b"\\u00e9",
        b"1:30", b"0b", b"-.5e+", b"2001-12-14 ", b"=", b"\x00", b"\xf0\x9f",
    ];
    let mut numbers = Numbers(0x5eed);
    for _ in 0..20_000 {
        let count = 1 + numbers.below(24);
        let text: Vec<u8> = (0..count).flat_map(|_| PIECES[numbers.below(PIECES.len())].iter().copied()).collect();
        if let Ok(document) = read(&text) {
            // The place of everything is inside the text.
            assert!(document.root.at.line <= text.len() + 1);
        }
    }
}
