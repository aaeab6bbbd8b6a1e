//! What happens, on stderr. `ESKER_LOG` says how much, in the syntax of tracing's filters.

use std::io;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::commands::Command;

const VARIABLE: &str = "ESKER_LOG";

/// Starts logging: a daemon tells what it does, other commands only what is wrong.
pub(crate) fn start(command: &Command) -> anyhow::Result<()> {
    let default = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .with_context(|| format!("{VARIABLE} is {text:?}, expected for example info"))?,
        _ => EnvFilter::new(default),
    };
    // What cannot be written, to a full disk or a reader that is gone, is lost: the layer would say so with a macro
    // that panics for the same reason.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    log.log_internal_errors(false).init();
    Ok(())
}
