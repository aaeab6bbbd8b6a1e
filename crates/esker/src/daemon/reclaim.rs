//! Reclaim by a daemon: rounds in the background when something has changed, and when somebody asks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use esker_control::{ApiError, api};
use esker_engine::{
    EngineError,
    core::victims::Share,
    reclaim::round::{Class, Options, Report},
};
use esker_io::{Random, SystemRandom};

use super::{
    Daemon,
    space::{objects, reasons},
};
use crate::errors;

/// The first round is made no later than this after the start.
const FIRST_MAX: Duration = Duration::from_secs(600);
/// Rounds are made this often in each grace.
const ROUNDS_PER_GRACE: u32 = 4;
/// Not more often than this, however short the grace is.
const PERIOD_MIN: Duration = Duration::from_millis(500);

/// What rounds did since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) rounds: u64,
    pub(crate) failed: u64,
    pub(crate) deleted: Class,
    /// Segments that were rewritten, with what they take now.
    pub(crate) rewritten: Class,
    /// Blocks that volumes wrote anew.
    pub(crate) resealed: u64,
    /// Dead after the last round, and not deleted yet.
    pub(crate) waiting: Class,
    /// How much lived in the last round.
    pub(crate) share: Share,
    /// Dead in segments that live on.
    pub(crate) dead_inside: Class,
}

impl Daemon {
    /// Makes a round, and counts it.
    pub(crate) async fn reclaim_now(
        &self,
        request: api::ReclaimPool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<api::Reclaimed, EngineError> {
        let (grace, api::ReclaimPool { dry_run, force, gently }) = (self.told.grace, request);
        let outcome = self
            .host
            .reclaim(Options { grace, force, dry_run, gently, limits: Default::default() }, progress)
            .await;
        let mut inside = self.inside();
        let totals = &mut inside.reclaim;
        match &outcome {
            Err(_) => totals.failed += 1,
            Ok(_) if dry_run => {}
            Ok(report) => {
                totals.rounds += 1;
                totals.deleted.objects += report.deleted.objects;
                totals.deleted.bytes += report.deleted.bytes;
                totals.rewritten.objects += report.rewritten.objects;
                totals.rewritten.bytes += report.rewritten.bytes;
                totals.resealed += report.resealed;
                totals.waiting = Class {
                    objects: report.waiting.objects + report.due.objects,
                    bytes: report.waiting.bytes + report.due.bytes,
                };
                totals.share = report.planned.plan.now;
                totals.dead_inside = report.planned.dead_inside();
            }
        }
        drop(inside);
        outcome.map(|report| told(&report, grace, dry_run))
    }

    /// Makes rounds for as long as it is polled. After the first one, a pool in which nothing changes and nothing waits
    /// costs no request.
    pub(crate) async fn reclaim_for_ever(self: Arc<Self>) {
        let period = (self.told.grace / ROUNDS_PER_GRACE).max(PERIOD_MIN);
        let (mut seen, mut expires) = (None, None::<Instant>);
        let mut pause = jittered(period.min(FIRST_MAX));
        loop {
            tokio::time::sleep(pause).await;
            pause = jittered(period);
            let changes = self.changes();
            let expired = expires.is_some_and(|at| at <= Instant::now());
            if seen == Some(changes) && self.inside().reclaim.waiting.objects == 0 && !expired {
                continue;
            }
            expires = None;
            // What a round itself deletes is no reason for another one, unless that are heads: what they reached is dead.
            let mut heads_deleted = 0;
            match self.reclaim_now(api::ReclaimPool { gently: true, ..Default::default() }, &|_, _| ()).await
            {
                Ok(report) => {
                    let api::Objects { objects, bytes } = report.deleted;
                    if objects > 0 {
                        tracing::info!(objects, bytes, "reclaimed");
                    }
                    heads_deleted = report.heads_deleted;
                    let wait = report.next_expiry_ms.map(Duration::from_millis);
                    expires = wait.and_then(|wait| Instant::now().checked_add(wait));
                }
                Err(error) => tracing::warn!(%error, "nothing can be reclaimed now"),
            }
            seen = (heads_deleted == 0).then(|| self.changes());
        }
    }

    /// Grows when this daemon changes the pool.
    fn changes(&self) -> u64 {
        let traffic = self.traffic.counted.snapshot();
        traffic.puts + traffic.deletes
    }

    pub(super) async fn reclaim_asked(&self, request: api::ReclaimPool) -> Result<api::Reclaimed, ApiError> {
        self.check_not_draining()?;
        self.reclaim_now(request, &|_, _| ()).await.map_err(|error| errors::api(&error))
    }
}

/// Three to five quarters of `period`, so that daemons do not stay in step.
fn jittered(period: Duration) -> Duration {
    let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX / 2);
    Duration::from_micros(micros - micros / 4 + SystemRandom.below(micros / 2 + 1))
}

fn told(report: &Report, grace: Duration, dry_run: bool) -> api::Reclaimed {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    api::Reclaimed {
        dry_run,
        grace_ms: ms(grace),
        volumes: report.volumes,
        roots: report.roots,
        pages: report.pages,
        live: objects(report.live),
        in_flight: objects(report.in_flight),
        waiting: objects(report.waiting),
        next_due_ms: report.next_due.map(ms),
        due: objects(report.due),
        deleted: objects(report.deleted),
        heads_deleted: report.heads_deleted,
        next_expiry_ms: report.next_expiry.map(ms),
        buried: report.buried,
        live_percent: report.planned.plan.now.percent(),
        dead_inside: objects(report.planned.dead_inside()),
        why: dry_run.then(|| reasons(&report.planned)),
        rewritten: objects(report.rewritten),
        resealed: report.resealed,
    }
}
