//! Arrows between crates point down: esker → {frontend, control, image} → engine → {io, format}.

use serde_json::Value;

use crate::house::{Finding, House};

/// Crate, the crates of the workspace that it may use, libraries of others that it may not use.
type Layer = (&'static str, &'static [&'static str], &'static [&'static str]);

const LAYERS: [Layer; 10] = [
    (
        "esker",
        &["esker-frontend", "esker-control", "esker-image", "esker-engine", "esker-io", "esker-format"],
        &["object_store"],
    ),
    ("esker-frontend", &["esker-engine", "esker-io", "esker-format"], &["object_store"]),
    ("esker-control", &[], &["object_store"]),
    ("esker-image", &["esker-engine", "esker-io", "esker-format"], &["object_store"]),
    ("esker-engine", &["esker-io", "esker-format"], AMBIENT),
    ("esker-io", &[], &[]),
    ("esker-format", &[], AMBIENT),
    ("esker-sim", &["esker-engine", "esker-io", "esker-format"], AMBIENT),
    ("esker-bench", &["esker-engine", "esker-io", "esker-format"], &["object_store"]),
    ("xtask", &[], &[]),
];

/// What brings its own threads, clock, randomness or store.
const AMBIENT: &[&str] = &[
    "tokio",
    "object_store",
    "rand",
    "getrandom",
    "rayon",
    "crossbeam-channel",
    "async-std",
    "smol",
    "rustix",
];

pub(super) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in members(&house.metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = manifest(package);
        let Some((_, below, banned)) = LAYERS.iter().find(|(layer, ..)| *layer == name) else {
            let message =
                format!("crate {name} has no layer: give it a row in crates/xtask/src/checks/layers.rs");
            findings.push(Finding::new(&manifest, 0, message));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string();
            if ours && !below.contains(&other) {
                let below = if below.is_empty() { "no other crate".into() } else { below.join(", ") };
                let message =
                    format!("{name} must not depend on {other}: arrows point down, it may use {below}");
                findings.push(Finding::new(&manifest, 0, message));
            }
            // Tests of io and of the simulator may use what they like.
            if banned.contains(&other) && dependency["kind"] != "dev" {
                let message = format!("{name} must not depend on {other}: the edges are in esker-io");
                findings.push(Finding::new(&manifest, 0, message));
            }
        }
    }
    findings
}

/// The packages of the workspace.
pub(super) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten().filter(|package| package["source"].is_null())
}

/// A package's manifest, from the root.
pub(super) fn manifest(package: &Value) -> String {
    let path = package["manifest_path"].as_str().unwrap_or_default();
    path.rfind("crates/").map_or(path, |at| &path[at..]).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;
    use crate::house::House;

    fn findings(name: &str, dependency: Value) -> Vec<String> {
        let mut house = House::of(&[]);
        let manifest = format!("/somewhere/crates/{name}/Cargo.toml");
        house.metadata = json!({"packages": [{"name": name, "source": null, "manifest_path": manifest, "dependencies": [dependency]}]});
        check(&house).iter().map(ToString::to_string).collect()
    }

    fn ours(name: &str) -> Value {
        json!({"name": name, "path": "/somewhere", "kind": null})
    }

    fn other(name: &str, kind: &str) -> Value {
        json!({"name": name, "kind": kind})
    }

    #[test]
    fn arrows_point_down() {
        assert!(findings("esker-engine", ours("esker-io")).is_empty());
        assert!(findings("esker-sim", ours("esker-engine")).is_empty());
        for (from, to) in [
            ("esker-io", "esker-format"),
            ("esker-format", "esker-io"),
            ("esker-control", "esker-engine"),
            ("esker-engine", "esker-sim"),
            ("esker", "xtask"),
            ("esker-frontend", "esker-control"),
        ] {
            let found = findings(from, ours(to));
            assert_eq!(found.len(), 1, "{from} → {to}: {found:?}");
            assert!(found[0].contains(&format!("{from} must not depend on {to}")), "{found:?}");
        }
    }

    #[test]
    fn engines_world_comes_from_io() {
        assert_eq!(findings("esker-engine", other("tokio", "")).len(), 1);
        assert!(findings("esker-engine", other("tokio", "dev")).is_empty());
        assert!(findings("esker-io", other("tokio", "")).is_empty());
    }

    #[test]
    fn a_new_crate_needs_a_layer() {
        assert!(findings("esker-new", ours("esker-io"))[0].contains("has no layer"));
    }
}
