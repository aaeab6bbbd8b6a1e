use super::tests_of;
use crate::source::{Scan, SourceFile};

fn kept(text: &str) -> (String, usize) {
    let scan = Scan::production(text);
    (scan.tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" "), scan.lines)
}

#[test]
fn test_items_are_left_out() {
    assert_eq!(
        kept("fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n"),
        ("fn a ( ) { } fn c ( ) { }".into(), 2)
    );
    assert_eq!(kept("#[cfg(test)]\nmod tests;\nstruct A;\n"), ("struct A ;".into(), 1));
    assert_eq!(kept("#[test]\n#[ignore]\nfn a() { }\n"), (String::new(), 0));
    assert_eq!(kept("#[cfg(test)]\nuse a::b;\nfn c() {}\n"), ("fn c ( ) { }".into(), 1));
}

#[test]
fn modules_of_tests_are_found_beside_their_file() {
    let text = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod testing;\nmod other;\n";
    let of = |path: &str| tests_of(&SourceFile { path: path.into(), text: text.into() });
    assert_eq!(of("crates/a/src/lib.rs"), ["crates/a/src/tests", "crates/a/src/testing"]);
    assert_eq!(of("crates/a/src/b/mod.rs"), ["crates/a/src/b/tests", "crates/a/src/b/testing"]);
    assert_eq!(of("crates/a/src/b.rs"), ["crates/a/src/b/tests", "crates/a/src/b/testing"]);
}
