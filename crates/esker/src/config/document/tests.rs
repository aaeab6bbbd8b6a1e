//! What is read, with its lines, and what is not TOML.

use super::{Entry, Value, parse};

fn entries(text: &str) -> Vec<(String, usize, Value)> {
    let document = parse(text);
    assert_eq!(document.faults, [], "{text}");
    document.entries.into_iter().map(|entry| (entry.path, entry.line, entry.value)).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn keys_have_paths_and_lines() {
    let read = entries(
        "# a comment\na = \"x\\u0041\" # behind\n\nb.c = 1_000\n[t]\nd = 'C:\\d'\ne = true\n[t.u]\nf = 4.5e1\r\n\"g h\" = \
         \"\"\"\nlong\ntext\"\"\"\nlast = +7",
    );
    let number = |digits: &str| Value::Number(digits.into());
    let expected = [
        ("a", 2, text("xA")),
        ("b.c", 4, number("1000")),
        ("t", 5, Value::Table),
        ("t.d", 6, text("C:\\d")),
        ("t.e", 7, Value::Boolean(true)),
        ("t.u", 8, Value::Table),
        ("t.u.f", 9, number("4.5e1")),
        ("t.u.\"g h\"", 10, text("long\ntext")),
        ("t.u.last", 13, number("+7")),
    ];
    assert_eq!(read, expected.map(|(path, line, value)| (path.to_owned(), line, value)));
}

#[test]
fn tables_in_line_and_arrays_of_tables() {
    let read = entries("t = { a = 1, u = { b = 'x' } }\nafter = 2");
    let paths: Vec<&str> = read.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["t.a", "t.u.b", "after"]);
    let document = parse("[[v]]\nname = 'a'\n[[v]]\nname = 'b'\n[o]\nname = 'c'");
    assert_eq!(document.faults, []);
    let elements: Vec<_> =
        document.entries.iter().map(|entry| (entry.path.as_str(), entry.element)).collect();
    let expected = [("v", Some(0)), ("v.name", Some(0)), ("v", Some(1)), ("v.name", Some(1)), ("o", None)];
    assert_eq!(elements[..5], expected);
    assert_eq!(
        document.entries[5],
        Entry { path: "o.name".into(), element: None, line: 6, value: text("c") }
    );
}

#[test]
fn what_no_setting_is_keeps_its_name() {
    let read = entries("a = [1, { b = [2] }, 'x']\nd = 1979-05-27\nh = 0x10\nlast = 1");
    let other = Value::Other;
    let values: Vec<_> = read.into_iter().map(|(path, _, value)| (path, value)).collect();
    let expected = [
        ("a", other("an array")),
        ("d", other("a date or time")),
        ("h", other("a number that is not decimal")),
        ("last", Value::Number("1".into())),
    ];
    assert_eq!(values, expected.map(|(path, value)| (path.to_owned(), value)));
}

fn faults(text: &str) -> Vec<(usize, String)> {
    parse(text).faults.into_iter().map(|fault| (fault.line, fault.found)).collect()
}

#[test]
fn a_key_is_there_once() {
    for (text, line, what) in [
        ("a = 1\nb = 2\na = 3", 3, "a again; it is in line 1"),
        ("[t]\na = 1\n[t]\nb = 2", 3, "[t] again; it is in line 1"),
        ("t.a = 1\n[t]\nb = 1", 2, "[t] again; it is in line 1"),
        ("t = { a = 1 }\n[t]\nb = 1", 2, "[t] again"),
        ("[[v]]\na = 1\na = 2", 3, "v.a again"),
        ("t = { a = 1, a = 2 }", 1, "t.a again"),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].0 == line && found[0].1.starts_with(what), "{text}: {found:?}");
    }
}

#[test]
fn all_that_is_wrong_is_found_and_what_is_right_too() {
    let document = parse("a = \nb = 2\nc == 3\n[t\nd = 'open\ne = 5\n= 6\nf = nope\n");
    let lines: Vec<usize> = document.faults.iter().map(|fault| fault.line).collect();
    for line in [1, 3, 4, 5, 7, 8] {
        assert!(lines.contains(&line), "line {line}: {:?}", document.faults);
    }
    let right = |path: &str| document.entries.iter().any(|entry| entry.path.ends_with(path));
    assert!(right("b") && right("e"), "{:?}", document.entries);
}

#[test]
fn nothing_makes_it_panic() {
    let deep = [("[", "]"), ("{a=", "}"), ("[{a=", "}]")];
    for (open, close) in deep {
        let text = format!("a = {}1{}", open.repeat(50_000), close.repeat(50_000));
        assert!(!parse(&text).faults.is_empty(), "{open}");
        parse(&format!("a = {}", open.repeat(50_000)));
    }
    parse(&"[".repeat(100_000));
    parse(&"a.".repeat(20_000));
    let pieces = [
        "a",
        ".",
        "=",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\"\"\"",
        "\\",
        "#",
        "\n",
        "\r",
        ",",
        " ",
        "1",
        "é",
        "\u{0}",
        "\u{feff}",
        "${",
        "true",
        "[[",
        "]]",
        "-",
        "_",
        "1979-05-27",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        parse(&text);
    }
}
