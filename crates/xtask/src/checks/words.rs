//! Words that stay out of the repository: notes to oneself, paths of one machine, private registries.

use crate::house::{Finding, House};

/// What is looked for, split so that this file does not contain it; and why.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

const PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/tm", "p/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

const REGISTRIES: [&str; 7] = [
    concat!("index", "-url"),
    concat!("replace", "-with"),
    concat!("trusted", "-host"),
    concat!("sparse", "+http"),
    concat!("GO", "PROXY"),
    concat!("npm_config_", "registry"),
    concat!("Acquire::", "http"),
];

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &house.files {
        for (at, line) in file.text.lines().enumerate() {
            findings.extend(judge(line).map(|message| Finding::new(&file.path, at + 1, message)));
        }
    }
    findings
}

fn judge(line: &str) -> Option<String> {
    let note =
        NOTES.iter().find(|word| found(line, word).any(|(before, after)| !part(before) && !part(after)));
    if let Some(word) = note {
        return Some(format!("{word}: do it, or open an issue"));
    }
    let path = PATHS.iter().find(|path| found(line, path).any(|(before, _)| !inside_path(before)));
    if let Some(path) = path {
        return Some(format!("{path} is a path of one machine"));
    }
    let registry = REGISTRIES.iter().find(|word| line.contains(**word));
    registry.map(|word| format!("{word} names a registry of one machine"))
}

/// The characters before and after each place where `word` stands.
fn found<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (Option<char>, Option<char>)> + 'a {
    let around = move |(at, _)| (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
    line.match_indices(word).map(around)
}

fn part(character: Option<char>) -> bool {
    character.is_some_and(|character| character.is_alphanumeric() || character == '_')
}

/// Whether a slash after this character continues a path.
fn inside_path(character: Option<char>) -> bool {
    part(character) || character.is_some_and(|character| "./-~*}>$".contains(character))
}

#[cfg(test)]
mod tests {
    use super::{NOTES, PATHS, REGISTRIES, judge};

    #[test]
    fn notes_are_words() {
        for note in NOTES {
            assert!(judge(&format!("// {note}: later")).is_some());
            assert!(judge(&format!("MY{note}S")).is_none());
        }
    }

    #[test]
    fn machine_paths_begin_a_path() {
        for path in PATHS {
            assert!(judge(&format!("see \"{path}main\"")).is_some());
            assert!(judge(&format!("{path}main")).is_some());
            assert!(judge(&format!("src{path}main")).is_none());
        }
    }

    #[test]
    fn registries_are_not_named() {
        for word in REGISTRIES {
            assert!(judge(&format!("{word} = \"x\"")).is_some());
        }
    }
}
