//! Documents: every file that one names exists.

use crate::house::{Finding, House};

/// How a path from the root begins; a name without a directory is prose.
const BEGINNINGS: [&str; 5] = ["crates/", "docs/", ".ci/", ".config/", ".cargo/"];

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in house.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, line) in file.text.lines().enumerate() {
            for path in paths(line).into_iter().chain(links(line, &file.path)) {
                if !house.exists(&path) {
                    findings.push(Finding::new(&file.path, at + 1, format!("there is no {path}")));
                }
            }
        }
    }
    findings
}

/// Paths in back ticks, and bare ones in drawings.
fn paths(line: &str) -> Vec<String> {
    let separators = |character: char| character.is_whitespace() || "`()[]<>,;:|\"'".contains(character);
    let words = line.split(separators).map(|word| word.trim_end_matches('.'));
    let begins = |word: &&str| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning));
    words.filter(begins).filter(|word| !word.contains(['*', '{', '…'])).map(String::from).collect()
}

/// Targets of links to other files.
fn links(line: &str, document: &str) -> Vec<String> {
    let directory = document.rsplit_once('/').map_or("", |(directory, _)| directory);
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    local.map(|target| resolve(directory, target)).collect()
}

fn resolve(directory: &str, target: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::house::House;

    fn findings(document: &str, text: &str) -> Vec<String> {
        let files = [(document, text), ("crates/engine/src/seal.rs", ""), ("docs/DURABILITY.md", "")];
        check(&House::of(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn named_files_exist() {
        let good = "Sealing is `crates/engine/src/seal.rs`, in crates/engine/; see docs/DURABILITY.md. crates/*/x.rs";
        assert_eq!(findings("ARCHITECTURE.md", good), Vec::<String>::new());
        assert_eq!(
            findings("ARCHITECTURE.md", "\n`crates/engine/src/gone.rs`"),
            ["ARCHITECTURE.md:2: there is no crates/engine/src/gone.rs"]
        );
    }

    #[test]
    fn links_are_followed_from_their_document() {
        assert!(
            findings(
                "docs/a.md",
                "[x](DURABILITY.md#top) [y](../crates/engine/src/seal.rs) [z](https://a/b)"
            )
            .is_empty()
        );
        assert_eq!(findings("README.md", "[x](DURABILITY.md)"), ["README.md:1: there is no DURABILITY.md"]);
    }
}
