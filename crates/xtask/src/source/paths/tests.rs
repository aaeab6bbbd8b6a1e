use super::Path;
use crate::source::Scan;

fn paths(text: &str) -> Vec<String> {
    Scan::all(text).paths().into_iter().map(|path| path.text).collect()
}

fn path(text: &str, import: bool) -> Path {
    Path { text: text.into(), line: 1, import }
}

#[test]
fn imports_are_spelled_out() {
    let text = "use std::{\n  io::{self, Write as W},\n  sync::*,\n};\npub use ::a::b;\nuse c;";
    assert_eq!(paths(text), ["std::io", "std::io::Write", "std::sync::*", "a::b", "c"]);
}

#[test]
fn expressions_name_paths() {
    assert_eq!(paths("fn f() { std::fs::read(x.y)?; Vec::<u8>::new() }"), ["std::fs::read"]);
    assert_eq!(paths("fn f() { a; b.c() }"), Vec::<String>::new());
}

#[test]
fn a_path_reaches_what_it_names_and_what_it_imports() {
    assert!(path("std::time::Instant::now", false).reaches("std::time::Instant"));
    assert!(path("std::time", true).reaches("std::time::Instant"));
    assert!(path("std::time::*", true).reaches("std::time::Instant"));
    assert!(!path("std::time::Duration", true).reaches("std::time::Instant"));
    assert!(!path("std::time::InstantLike", true).reaches("std::time::Instant"));
    assert!(!path("time::Duration", false).reaches("std::time"));
}

#[test]
fn a_broken_import_ends() {
    assert_eq!(paths("use a::{b, c"), ["a::b", "a::c"]);
    assert_eq!(paths("use"), Vec::<String>::new());
}
