//! What happens, on stderr, as the setting `log` says, in the syntax of tracing's filters.

use std::io;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config;

/// Starts the logging of a command: it tells only what is wrong, unless the environment wants more.
pub(crate) fn start_command() -> anyhow::Result<()> {
    let wanted = config::log_filter(&|name| std::env::var(name));
    start(wanted.as_deref().unwrap_or("warn"))
}

/// Starts logging.
pub(crate) fn start(filter: &str) -> anyhow::Result<()> {
    let wrong = || format!("the setting log is {filter:?}, expected for example info");
    let filter = EnvFilter::try_new(filter).with_context(wrong)?;
    // What cannot be written, to a full disk or a reader that is gone, is lost: the layer would say so with a macro
    // that panics for the same reason.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    log.log_internal_errors(false).init();
    Ok(())
}
