//! A built `esker serve`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::Plan;

/// How Esker is set up.
#[derive(Debug, Clone)]
pub struct EskerSettings {
    /// The built program.
    pub program: PathBuf,
    /// The pool's URL; none for the default, files in the data directory.
    pub pool: Option<String>,
    /// The volumes' durability: `ephemeral` or `bounded(Ns)`.
    pub durability: String,
    /// Log bytes at which writes wait.
    pub dirty_bound: String,
    /// Memory for decoded frames.
    pub cache: String,
    /// How long dead objects stay; none: as it is unless somebody says otherwise.
    pub grace: Option<String>,
    /// What its environment has besides ours: where a store is, and who may use it.
    pub environment: Vec<(String, String)>,
}

impl EskerSettings {
    /// In a few words, for tables.
    pub fn describe(&self) -> String {
        let pool = self.pool.as_deref().unwrap_or("file://");
        format!("{}, dirty bound {}, cache {}, pool {pool}", self.durability, self.dirty_bound, self.cache)
    }
}

pub(super) fn command(directory: &Path, settings: &EskerSettings) -> (Command, PathBuf) {
    let mut command = Command::new(&settings.program);
    command.arg("serve").arg("--data").arg(directory);
    command.args(["--dirty-bound", &settings.dirty_bound, "--cache", &settings.cache]);
    if let Some(pool) = &settings.pool {
        command.args(["--pool", pool]);
    }
    if let Some(grace) = &settings.grace {
        command.args(["--grace", grace]);
    }
    command.envs(settings.environment.iter().cloned());
    (command, directory.join("nbd.sock"))
}

/// Makes the volumes that are not there yet.
pub(super) fn make_volumes(directory: &Path, settings: &EskerSettings, plan: &Plan) -> Result<()> {
    let made = directory.join("volumes-made");
    if made.exists() {
        return Ok(());
    }
    for number in 0..plan.exports {
        let output = Command::new(&settings.program)
            .args(["volume", "create", &format!("v{number}"), &plan.size_bytes.to_string()])
            .args(["--durability", &settings.durability])
            .arg("--data")
            .arg(directory)
            .output()
            .context("start esker")?;
        ensure!(output.status.success(), "make a volume: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(made, "")?;
    Ok(())
}
