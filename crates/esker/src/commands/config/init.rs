//! `esker config init [FILE]`

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use anyhow::Context;

use crate::{access::Local, config, exit::Exit, output::say};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file [default: esker.toml in the data directory]
    file: Option<PathBuf>,
    #[command(flatten)]
    local: Local,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => {
            let data = args.local.directory();
            fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
            config::file_in(&data)
        }
    };
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.write_all(config::template().as_bytes())?;
        file.sync_all()
    };
    match write() {
        Ok(()) => say(&format!("wrote {}; nothing is set in it yet", path.display()))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!("{} exists and was left as it is", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
    Ok(Exit::Done)
}
