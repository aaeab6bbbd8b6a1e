//! A ceiling on dependencies, all from one registry.

use crate::house::{Finding, House};

const LOCK: &str = "Cargo.lock";

/// Raising it is a decision: say in the commit what the new package saves.
const PACKAGES_MAX: usize = 270;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(house: &House) -> Vec<Finding> {
    let Some(lock) = house.text(LOCK) else {
        return vec![Finding::new(LOCK, 0, "is missing: commit it")];
    };
    let mut findings = Vec::new();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    if packages > PACKAGES_MAX {
        findings.push(Finding::new(LOCK, 0, format!("{packages} packages, at most {PACKAGES_MAX}")));
    }
    for (at, line) in lock.lines().enumerate() {
        let Some(source) = line.strip_prefix("source = ") else { continue };
        if source.trim_matches('"') != REGISTRY {
            findings.push(Finding::new(LOCK, at + 1, format!("a source other than crates.io: {source}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{PACKAGES_MAX, check};
    use crate::house::House;

    fn findings(lock: &str) -> usize {
        check(&House::of(&[("Cargo.lock", lock)])).len()
    }

    #[test]
    fn packages_are_counted() {
        assert_eq!(findings(&"[[package]]\n".repeat(PACKAGES_MAX)), 0);
        assert_eq!(findings(&"[[package]]\n".repeat(PACKAGES_MAX + 1)), 1);
        assert_eq!(check(&House::of(&[])).len(), 1);
    }

    #[test]
    fn packages_come_from_crates_io() {
        assert_eq!(findings("source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"), 0);
        assert_eq!(findings("source = \"git+https://example.org/x\"\n"), 1);
    }
}
