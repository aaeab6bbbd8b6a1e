//! How far something long has come: a bar on a terminal, and nothing anywhere else.

use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over sooner than this shows no bar.
const QUICK: Duration = Duration::from_secs(2);
/// How often what is shown moves.
const TICK: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    /// Things that the message names.
    Things,
}

/// A bar on stderr, if that is a terminal, after two seconds.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Progress {
    /// A bar that begins at zero.
    pub(crate) fn new(message: &str, unit: Unit) -> Self {
        let counts = match unit {
            Unit::Bytes => "{binary_bytes} of {binary_total_bytes}",
            Unit::Things => "{pos} of {len}",
        };
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            // A template that is not understood would show a plainer bar.
            let style =
                ProgressStyle::with_template(&format!("{{msg}} [{{bar:40}}] {counts}, {{eta}} to go"));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(message.to_owned());
            bar
        });
        Self { bar, began: Instant::now() }
    }

    /// Whether there is somebody to see it.
    pub(crate) fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// So much of so much is done.
    pub(crate) fn set(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if bar.is_hidden() && self.began.elapsed() >= QUICK {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_length(total);
        bar.set_position(done);
    }
}

/// Waits for something whose end cannot be foreseen; after two seconds a terminal shows for how long.
pub(crate) async fn during<T>(message: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(QUICK, &mut work).await {
        return done;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {spinner} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(TICK);
    let done = work.await;
    bar.finish_and_clear();
    done
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
