//! One home for each dangerous thing: who in the engine may call the object store.

use crate::{
    house::{Finding, House},
    source::{Kind, Scan, Token},
};

/// A call of the store and the only modules of the engine that may make it.
struct Home {
    call: &'static str,
    modules: &'static [&'static str],
    /// Whether other types have methods of that name, so that the receiver decides.
    common: bool,
}

/// `probe` tests what a store can do and cleans up after itself; `upload` reads back a name that was taken.
const HOMES: [Home; 4] = [
    Home { call: "put_new", modules: &["upload", "probe"], common: false },
    Home { call: "delete", modules: &["reclaim", "probe"], common: true },
    Home { call: "get", modules: &["fetch", "upload", "probe"], common: true },
    Home { call: "list", modules: &["fetch", "probe"], common: true },
];

/// The modules that may hold the store at all.
const HOLDERS: [&str; 4] = ["fetch", "upload", "reclaim", "probe"];

const ENGINE: &str = "crates/engine/src/";

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, scan) in house.production() {
        let Some(inside) = file.path.strip_prefix(ENGINE) else { continue };
        for (line, message) in calls(inside, &scan).into_iter().chain(holding(inside, &scan)) {
            findings.push(Finding::new(&file.path, line, message));
        }
    }
    findings
}

/// Whether a file of the engine is this module or lies in it.
fn in_module(inside: &str, module: &str) -> bool {
    inside.trim_end_matches(".rs").split('/').any(|part| part == module)
}

fn calls(inside: &str, scan: &Scan<'_>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, three) in scan.tokens.windows(3).enumerate() {
        let called = three[0].is_mark(".") && three[1].kind == Kind::Word && three[2].is_mark("(");
        let Some(home) = HOMES.iter().find(|home| called && three[1].text == home.call) else { continue };
        let allowed = home.modules.iter().any(|module| in_module(inside, module));
        if !allowed && (!home.common || store(&scan.tokens[..at])) {
            let message =
                format!("only {} may call .{}( on the store", home.modules.join(" and "), home.call);
            found.push((three[1].line, message));
        }
    }
    found
}

/// Whether the expression that ends here is the store, by its name.
fn store(before: &[Token<'_>]) -> bool {
    let call = before.len().saturating_sub(2);
    let name = match before {
        [.., open, close] if open.is_mark("(") && close.is_mark(")") => before[..call].last(),
        _ => before.last(),
    };
    name.is_some_and(|token| ["objects", "store", "retry"].contains(&token.text))
}

fn holding(inside: &str, scan: &Scan<'_>) -> Vec<(usize, String)> {
    if HOLDERS.iter().any(|module| in_module(inside, module)) {
        return Vec::new();
    }
    let message = |what: &str| format!("{what} hands out the store: only {} may hold it", HOLDERS.join(", "));
    let tokens = &scan.tokens;
    let traits = tokens.iter().filter(|token| token.is_word("Objects"));
    let fields =
        tokens.iter().enumerate().filter(|(at, token)| token.is_word("objects") && of_world(&tokens[..*at]));
    let fields = fields.map(|(_, token)| (token.line, message("world.objects")));
    traits.map(|token| (token.line, message("Objects"))).chain(fields).collect()
}

/// Whether a field that follows here is one of `world` or `world()`.
fn of_world(before: &[Token<'_>]) -> bool {
    match before {
        [.., name, open, close, dot] if open.is_mark("(") && close.is_mark(")") => {
            dot.is_mark(".") && name.is_word("world")
        }
        [.., name, dot] => dot.is_mark(".") && name.is_word("world"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
