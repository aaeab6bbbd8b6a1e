//! The house rules, each a function from the repository to what it does not accept.

mod commands;
mod homes;
mod imports;
mod layers;
mod licences;
mod packages;
mod ratchet;
mod references;
mod unsafety;
mod words;

use crate::house::{Finding, House};

/// Every rule, findings in the order of files.
pub(crate) fn all(house: &House) -> Vec<Finding> {
    let rules = [
        commands::check,
        homes::check,
        imports::check,
        layers::check,
        licences::check,
        packages::check,
        ratchet::check,
        references::check,
        unsafety::check,
        words::check,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(house)).collect();
    findings.sort();
    findings
}
