//! `unsafe` lives in a named list of leaf files; every crate forbids or denies it.

use super::layers::{manifest, members};
use crate::{
    house::{Finding, House},
    source::Scan,
};

/// The files that may say `unsafe`.
const LEAVES: [&str; 3] =
    ["crates/io/src/disk/mapped.rs", "crates/io/src/disk/write_back.rs", "crates/io/src/sync/sharded.rs"];

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in house.rust().filter(|file| !LEAVES.contains(&file.path.as_str())) {
        for token in Scan::all(&file.text).tokens.iter().filter(|token| token.is_word("unsafe")) {
            let message = format!("unsafe belongs in {}", LEAVES.join(", "));
            findings.push(Finding::new(&file.path, token.line, message));
        }
    }
    findings.extend(roots(house).iter().filter_map(|path| root(house, path)));
    findings
}

/// The roots of libraries and binaries.
fn roots(house: &House) -> Vec<String> {
    let mut roots = Vec::new();
    for package in members(&house.metadata) {
        let directory = manifest(package);
        let directory = directory.trim_end_matches("Cargo.toml");
        for target in package["targets"].as_array().into_iter().flatten() {
            let path = target["src_path"].as_str().unwrap_or_default();
            // Tests and examples are caught by the word itself.
            if let Some(at) = path.find(directory).filter(|at| path[*at..].contains("/src/")) {
                roots.push(path[at..].to_string());
            }
        }
    }
    roots
}

fn root(house: &House, path: &str) -> Option<Finding> {
    let text: String = house.text(path)?.split_whitespace().collect();
    // A crate with a leaf cannot forbid: an inner permission would be an error.
    let directory = &path[..path.find("/src/")? + 1];
    let leaf = LEAVES.iter().any(|leaf| leaf.starts_with(directory));
    let wanted = if leaf { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
    (!text.contains(wanted)).then(|| Finding::new(path, 0, format!("begins without {wanted}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check;
    use crate::house::House;

    fn findings(path: &str, text: &str) -> usize {
        let mut house = House::of(&[(path, text)]);
        let directory = path.split("src/").next().unwrap();
        house.metadata = json!({"packages": [{
            "name": "a", "source": null, "manifest_path": format!("/x/{directory}Cargo.toml"),
            "targets": [{"src_path": format!("/x/{path}")}],
        }]});
        check(&house).len()
    }

    #[test]
    fn the_word_is_found_in_code_only() {
        let text = "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";";
        assert_eq!(findings("crates/engine/src/lib.rs", text), 0);
        assert_eq!(
            findings("crates/engine/src/lib.rs", "#![forbid(unsafe_code)] fn f() { unsafe { g() } }"),
            1
        );
    }

    #[test]
    fn each_crate_says_so() {
        assert_eq!(findings("crates/engine/src/lib.rs", "#![deny(unsafe_code)]"), 1);
        assert_eq!(findings("crates/io/src/lib.rs", "#![deny(unsafe_code)]"), 0);
        assert_eq!(findings("crates/io/src/lib.rs", ""), 1);
    }

    #[test]
    fn a_leaf_may() {
        assert_eq!(findings("crates/io/src/sync/sharded.rs", "#![deny(unsafe_code)] unsafe fn f() {}"), 0);
    }
}
