//! What the pipeline begins: each step looks at the state, asks the policy, and puts a future into its slot.

use std::{collections::btree_map::Entry, time::Duration};

use esker_format::head::{HeadKind, TAIL_SEGMENTS_MAX};
use esker_io::{Bug, planted};

use super::{
    super::{
        StoredMap, Writer,
        stages::{CutFacts, Done, STORE_RETRY, Taken, apply, seal_and_upload, write_pages},
    },
    CommitEnd, Pipeline,
};
use crate::{
    commit::{Change, HEADS_COMMIT_MAX},
    core::policy::{self, CHECKPOINT_AT, Choice, Commit, Ready, View},
};

/// A root waits for the next commit, unless the tail has become so long.
const ROOT_WAITS_BELOW: usize = TAIL_SEGMENTS_MAX / 4 * 3;
/// How often it is asked at least whether a head is older than the history, as long as there is one that will be.
const EXPIRY_LOOK_MS: u64 = 3_600_000;

impl Pipeline {
    /// Begins every seal that the policy wants now; returns what it saw last.
    pub(super) fn begin_seals(&mut self, writer: &Writer, hurry: bool) -> View {
        self.timer = None;
        loop {
            // Before the log is looked at: a write after the look sees it, and wakes us.
            writer.wake_at_once();
            let view = self.view(writer, hurry || self.point_wants_seals(writer));
            let durability = self.volume.effective().durability;
            let choice = policy::next_seal(&view, durability, &self.stored);
            if let Choice::Seal { blocks_max } = choice {
                self.begin_seal(writer, blocks_max, view.backlog_blocks);
                continue;
            }
            let counts_time = durability.bound_seconds().is_some();
            if view.oldest_age_ms.is_some() && (view.uncommitted_age_ms.is_some() || !counts_time) {
                // What is there waits for time, for room or for a seal: a further write alone changes little. The first
                // one that is in no head is another matter: its time begins.
                writer.wake_after(policy::next_look(&view, durability, &self.stored));
            }
            if let Choice::Wait { ms } = choice {
                self.look_again_after(ms);
            }
            return view;
        }
    }

    fn begin_seal(&mut self, writer: &Writer, blocks_max: u64, backlog_blocks: u64) {
        let cut = writer.log.cut(blocks_max).expect("a backlog was seen, and only this task cuts");
        let taken = Taken { cuts: [cut].into(), full: backlog_blocks >= blocks_max };
        self.seals.push(Box::pin(seal_and_upload(self.volume.clone(), taken)));
    }

    /// Sets the timer; it is set anew in each round, and the first time counts.
    pub(super) fn look_again_after(&mut self, ms: u64) {
        let sooner = self.timer.as_ref().is_none_or(|(set_ms, _)| ms < *set_ms);
        if sooner {
            self.timer = Some((ms, self.world().clock.sleep(Duration::from_millis(ms.max(1)))));
        }
    }

    fn now_ms(&self) -> u64 {
        self.world().clock.monotonic().as_millis() as u64
    }

    fn view(&self, writer: &Writer, hurry: bool) -> View {
        let backlog = writer.log.backlog();
        let now_ms = self.now_ms();
        let uncommitted = writer.log.uncommitted();
        let age = |at: u64| now_ms.saturating_sub(at);
        let committed = *writer.committed.lock();
        View {
            uncommitted_blocks: uncommitted.blocks,
            uncommitted_age_ms: uncommitted.oldest_ms.map(age),
            unsealed_blocks: writer.log.unsealed_blocks(),
            seal_age_ms: writer.limits.seal_age.as_millis() as u64,
            pieces: if planted(Bug::TailUnbounded) { 0 } else { committed.pieces },
            flush_waits: writer.store.wanted() > committed.sequence,
            backlog_blocks: backlog.blocks,
            oldest_age_ms: backlog.oldest_ms.map(age),
            dirty_bytes: writer.log.dirty_bytes(),
            dirty_bound: writer.pacer.bound(),
            pressed: writer.budget.is_pressed() || writer.log.is_cramped(now_ms),
            sealing: self.seals.len(),
            ready: self.ready.len(),
            draining: hurry,
        }
    }

    pub(super) fn begin_checkpoint(&mut self, writer: &Writer) {
        let Some(chain) = &self.chain else { return };
        let tail = chain.newest().tail.len();
        let wanted = self.hurries() || writer.wants_root_beyond(self.root_sequence);
        if tail >= self.checkpoint_at() || (tail > 0 && wanted) {
            let head = chain.newest();
            assert_eq!(head.tail.len(), self.tail.len(), "the indexes at hand are those of the tail");
            let (old, sequence) = (StoredMap::of(head), head.covered());
            self.checkpoint =
                Some(Box::pin(write_pages(self.volume.clone(), old, self.tail.clone(), sequence)));
        }
    }

    /// Sooner when maps are short of memory: leaves that are in no root stay.
    fn checkpoint_at(&self) -> usize {
        let memory = self.volume.pool.maps().memory();
        match (memory.is_full(), memory.is_short()) {
            (true, _) => 1,
            (false, true) => CHECKPOINT_AT / 4,
            (false, false) => CHECKPOINT_AT,
        }
    }

    /// Thins the heads after each commit, when one is older than the history, and as long as there are too many.
    pub(super) fn begin_reclaim(&mut self) {
        let expires_ms = self.heads.as_ref().and_then(|heads| heads.expires_ms());
        let wait_ms = expires_ms.map(|at| at.saturating_sub(self.world().clock.wall_ms()));
        if self.written.is_empty() && !self.too_many_heads() && wait_ms != Some(0) {
            // The clock that says so may be set meanwhile: it is asked now and then.
            wait_ms.into_iter().for_each(|ms| self.look_again_after(ms.min(EXPIRY_LOOK_MS)));
            return;
        }
        let Some(mut heads) = self.heads.take() else { return };
        self.written.drain(..).for_each(|head| heads.written(head));
        self.heads_known = heads.count();
        heads.keep_for(self.volume.effective().history);
        let volume = self.volume.clone();
        self.reclaim = Some(Box::pin(async move {
            let outcome = heads.pass(&volume.pool, volume.id).await;
            if let Err(error) = &outcome {
                tracing::warn!(volume = %volume.name, %error, "old heads could not be removed");
            }
            // Too many and nothing could go: ask again, but not at once.
            if heads.count() >= HEADS_COMMIT_MAX && !matches!(outcome, Ok(1..)) {
                volume.pool.world().clock.sleep(STORE_RETRY).await;
            }
            Box::new(heads)
        }));
    }

    /// Rule H8: at the bound the next commit waits until old heads are gone.
    pub(super) fn too_many_heads(&self) -> bool {
        self.heads_known + self.written.len() >= HEADS_COMMIT_MAX
    }

    /// Commits what is ready, in order, once the policy does not hold it any more; releases the volume when it drains
    /// and nothing is left.
    pub(super) fn begin_commit(&mut self, writer: &Writer, view: &View, draining: bool) {
        if self.chain.is_none() || self.too_many_heads() || self.is_held(writer, view) {
            return;
        }
        let mut chain = self.chain.take().expect("it was seen above");
        let root = self.new_root.take();
        let folded = root.as_ref().map_or(0, |root| root.sequence);
        let tail = chain.newest().tail.iter().filter(|segment| segment.last_sequence > folded).count();
        let mut done = Vec::new();
        let point = self.next_point(writer);
        // There stays room for the one that an opening makes of pieces.
        while tail + done.len() < TAIL_SEGMENTS_MAX - 1 {
            let next = self.ready.entry(self.next_commit);
            let Entry::Occupied(next) = next else { break };
            if Self::is_beyond(next.get(), point) {
                break;
            }
            let next = next.remove();
            self.next_commit = next.index.last_sequence + 1;
            done.push(next);
        }
        let nothing_left = self.seals.is_empty() && self.ready.is_empty() && self.checkpoint.is_none();
        // From here on a late write is refused: it would come behind the release and be in no store.
        let nothing_left = nothing_left && done.is_empty() && root.is_none();
        let release = draining && nothing_left && self.resizing.is_none() && writer.log.close_if_released();
        if done.is_empty() && root.is_none() && !release {
            self.chain = Some(chain);
            return;
        }
        let held = done.iter().map(|done| done.held.clone());
        let held = held.chain(root.iter().filter_map(|root| root.held.clone())).collect();
        let change = Change {
            kind: if release { HeadKind::Released } else { HeadKind::Data },
            segments: done.iter().map(|done: &Done| done.uploaded.clone()).collect(),
            root: root.clone(),
            held,
            ..Change::none(HeadKind::Data)
        };
        let volume = self.volume.clone();
        self.commit = Some(Box::pin(async move {
            let world = volume.pool.world();
            let outcome = chain.commit(world, change, || volume.gives_up()).await;
            if outcome.is_ok() {
                apply(&volume, &mut done).await;
            }
            Box::new(CommitEnd { chain, outcome, done, root, resized: false })
        }));
    }

    /// Whether what could be committed now is held for what follows soon; sets the timer for its end.
    fn is_held(&mut self, writer: &Writer, view: &View) -> bool {
        let tail = self.chain.as_ref().map_or(0, |chain| chain.newest().tail.len());
        let wanted = writer.wants_root_beyond(self.root_sequence);
        if self.new_root.is_some() && (tail >= ROOT_WAITS_BELOW || wanted) {
            return false;
        }
        let Some(ready) = self.ready_in_order() else {
            // A root alone: the segments that come next take it along.
            return self.new_root.is_some() && !view.draining && view.sealing > 0;
        };
        if !self.points.is_empty() {
            return false;
        }
        match policy::next_commit(view, &ready, self.volume.effective().durability) {
            Commit::Now => false,
            Commit::Idle => true,
            Commit::Wait { ms } => {
                self.look_again_after(ms);
                true
            }
        }
    }

    /// The seals that could be committed now.
    fn ready_in_order(&self) -> Option<Ready> {
        let mut next = self.next_commit;
        let follows = || {
            let done = self.ready.get(&next)?;
            next = done.index.last_sequence + 1;
            Some(&done.facts)
        };
        let run: Vec<&CutFacts> = std::iter::from_fn(follows).collect();
        let (first, last) = (run.first()?, run.last()?);
        Some(Ready {
            segments: run.len(),
            log_bytes: run.iter().map(|facts| facts.log_bytes).sum(),
            oldest_age_ms: self.now_ms().saturating_sub(first.oldest_ms),
            full: last.full,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_waits_leaves_the_tail_room_for_a_commit() {
        const { assert!(ROOT_WAITS_BELOW >= CHECKPOINT_AT) };
        const { assert!(ROOT_WAITS_BELOW + policy::COMMIT_SEGMENTS_MAX < TAIL_SEGMENTS_MAX) };
    }
}
