//! What a module may name: no ambient clock, thread, file, randomness or printing below the daemon.

use crate::{
    house::{Finding, House},
    source::{Kind, Scan},
};

/// A path and what to use instead.
type Ban = (&'static str, &'static str);

/// Where bans hold: sources under `under`, but not under `except`.
struct Scope {
    under: &'static str,
    except: &'static str,
    paths: &'static [&'static [Ban]],
    macros: &'static [Ban],
}

const SCOPES: [Scope; 7] = [
    Scope {
        under: "crates/engine/src/",
        except: NONE,
        paths: &[AMBIENT, RANDOM_ORDER],
        macros: ENGINE_MACROS,
    },
    Scope { under: "crates/engine/src/core/", except: NONE, paths: &[EDGES], macros: &[] },
    Scope {
        under: "crates/format/src/",
        except: NONE,
        paths: &[AMBIENT, RANDOM_ORDER],
        macros: ENGINE_MACROS,
    },
    Scope {
        under: "crates/sim/src/",
        except: "crates/sim/src/bin/",
        paths: &[CLOCKS, THREADS, RANDOM, RANDOM_ORDER],
        macros: &[("thread_local", "state belongs to a seed")],
    },
    Scope { under: "crates/io/src/", except: NONE, paths: &[], macros: PRINTING },
    Scope { under: "crates/frontend/src/", except: NONE, paths: &[], macros: PRINTING },
    Scope { under: "crates/control/src/", except: NONE, paths: &[], macros: PRINTING },
];

/// A prefix of no path.
const NONE: &str = "\0";

const AMBIENT: &[Ban] = &[
    ("std::time::Instant", "World::clock"),
    ("std::time::SystemTime", "World::clock"),
    ("std::time::UNIX_EPOCH", "World::clock"),
    ("std::thread", "World::cpu"),
    ("rayon", "World::cpu"),
    ("std::fs", "World::disk"),
    ("std::net", "World::objects"),
    ("std::process", "an error to the caller"),
    ("std::env", "an argument"),
    ("tokio", "World, and channels of futures_channel"),
    ("rand", "World::random"),
    ("getrandom", "World::random"),
    ("object_store", "World::objects"),
    ("futures_util::select", "select_biased!"),
    ("futures::select", "select_biased!"),
    ("futures::executor", "an async fn that the daemon runs"),
];

const CLOCKS: &[Ban] = &[("std::time::Instant", "virtual time"), ("std::time::SystemTime", "virtual time")];

const THREADS: &[Ban] = &[
    ("std::thread", "the seeded executor"),
    ("rayon", "the seeded executor"),
    ("tokio", "the seeded executor"),
];

const RANDOM: &[Ban] = &[("rand", "the seed's generator"), ("getrandom", "the seed's generator")];

const RANDOM_ORDER: &[Ban] = &[
    ("std::collections::HashMap", "BTreeMap"),
    ("std::collections::HashSet", "BTreeSet"),
    ("std::collections::hash_map", "BTreeMap"),
    ("std::collections::hash_set", "BTreeSet"),
    ("std::hash::RandomState", "a hasher with a fixed seed"),
];

/// `core` takes values and returns values; of io it may use `sync` alone.
const EDGES: &[Ban] = &[
    ("esker_io", "values: core is pure, the caller touches the world"),
    ("std::io", "values: core is pure, the caller touches the world"),
];

const ENGINE_MACROS: &[Ban] = &[
    ("thread_local", "state that is handed down"),
    ("select", "select_biased!"),
    ("println", "tracing"),
    ("print", "tracing"),
    ("eprintln", "tracing"),
    ("eprint", "tracing"),
];

const PRINTING: &[Ban] =
    &[("println", "tracing"), ("print", "tracing"), ("eprintln", "tracing"), ("eprint", "tracing")];

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, scan) in house.production() {
        for scope in SCOPES.iter().filter(|scope| scope.holds(&file.path)) {
            scope.paths(&file.path, &scan, &mut findings);
            scope.macros(&file.path, &scan, &mut findings);
        }
        if file.path.starts_with("crates/engine/src/core/") {
            waiting(&file.path, &scan, &mut findings);
        }
    }
    findings
}

impl Scope {
    fn holds(&self, path: &str) -> bool {
        path.starts_with(self.under) && !path.starts_with(self.except)
    }

    fn paths(&self, file: &str, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for path in scan.paths() {
            // Atomics and guards are the one part of io that has no effect outside.
            if path.text.starts_with("esker_io::sync::") || path.text == "esker_io::sync" {
                continue;
            }
            let bans = self.paths.iter().copied().flatten();
            if let Some((banned, instead)) = bans.into_iter().find(|(banned, _)| path.reaches(banned)) {
                let message =
                    format!("{} is not for {}: {banned} is replaced by {instead}", path.text, self.under);
                findings.push(Finding::new(file, path.line, message));
            }
        }
    }

    fn macros(&self, file: &str, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for pair in scan.tokens.windows(2) {
            if pair[0].kind != Kind::Word || !pair[1].is_mark("!") {
                continue;
            }
            if let Some((banned, instead)) = self.macros.iter().find(|(banned, _)| pair[0].text == *banned) {
                let message = format!("{banned}! is not for {}: use {instead}", self.under);
                findings.push(Finding::new(file, pair[0].line, message));
            }
        }
    }
}

fn waiting(file: &str, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
    for token in scan.tokens.iter().filter(|token| token.is_word("async") || token.is_word("await")) {
        let message = format!("{} is not for core: core is synchronous, its caller waits", token.text);
        findings.push(Finding::new(file, token.line, message));
    }
}

#[cfg(test)]
mod tests;
