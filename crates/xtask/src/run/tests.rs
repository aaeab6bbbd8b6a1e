use super::{has_doctests, sim_flags};
use crate::house::House;

fn flags(text: &str) -> Result<(), String> {
    let words: Vec<String> = text.split_whitespace().map(String::from).collect();
    sim_flags(&words).map_err(|error| error.to_string())
}

#[test]
fn sim_takes_numbers_only() {
    assert_eq!(flags("--seeds 10 --from 3"), Ok(()));
    assert_eq!(flags("--seconds 180"), Ok(()));
    assert!(flags("--seed").unwrap_err().contains("--seed takes a number"));
    assert!(flags("--seed x").unwrap_err().contains("--seed takes a number"));
    assert!(flags("--sede 1").unwrap_err().contains("unknown flag --sede"));
}

#[test]
fn drawings_are_not_doctests() {
    let drawing = "//! ```text\n//! a | b\n//! ```\nfn f() {}\n";
    assert!(!has_doctests(&House::of(&[("crates/format/src/lib.rs", drawing)])));
    let example = "/// ```\n/// f();\n/// ```\nfn f() {}\n";
    assert!(has_doctests(&House::of(&[("crates/format/src/lib.rs", example)])));
}
