use super::has_doctests;
use crate::house::House;

#[test]
fn drawings_are_not_doctests() {
    let drawing = "//! ```text\n//! a | b\n//! ```\nfn f() {}\n";
    assert!(!has_doctests(&House::of(&[("crates/format/src/lib.rs", drawing)])));
    let example = "/// ```\n/// f();\n/// ```\nfn f() {}\n";
    assert!(has_doctests(&House::of(&[("crates/format/src/lib.rs", example)])));
}
