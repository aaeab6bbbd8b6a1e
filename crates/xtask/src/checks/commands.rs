//! Documents: every `esker` command that one shows exists. Whether it works is a test of crate esker.

use crate::house::{Finding, House};

/// One file a command.
const COMMANDS: &str = "crates/esker/src/commands";

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in house.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, command) in shown(&file.text) {
            let module = command.replace('-', "_");
            if !house.exists(&format!("{COMMANDS}/{module}.rs"))
                && !house.exists(&format!("{COMMANDS}/{module}"))
            {
                let message = format!("esker has no command {command}: there is no {COMMANDS}/{module}.rs");
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

/// The first word after `esker` in the shell blocks of a document, with its line.
fn shown(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut shell = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("```") {
            shell = ["console", "sh"].contains(&info);
            continue;
        }
        let mut words = line.trim_start_matches("$ ").split_whitespace();
        if shell && words.next() == Some("esker") {
            let command = words.find(|word| !word.starts_with('-'));
            found.extend(command.map(|command| (at + 1, command.to_string())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::house::House;

    #[test]
    fn shown_commands_exist() {
        let text = "esker none\n```console\n$ esker serve --volume a=1G\n$ esker --json volume list\nesker wish\n```\n";
        let files = [
            ("README.md", text),
            ("crates/esker/src/commands/serve.rs", ""),
            ("crates/esker/src/commands/volume/list.rs", ""),
        ];
        let found: Vec<String> = check(&House::of(&files)).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["README.md:5: esker has no command wish: there is no crates/esker/src/commands/wish.rs"]
        );
    }
}
