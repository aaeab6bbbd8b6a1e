//! A volume's newest head, with strays told from true heads (rule H3).

use esker_format::{
    head::{Head, HeadKind, Previous},
    ids::{Hash, VolumeId},
    names::{self as object_names, ObjectName},
};
use esker_io::{Bug, planted};
use futures_util::future::{join, try_join_all};

use super::{Pool, damaged};
use crate::{EngineError, Result, birth::Pin};

mod history;

pub use history::{Point, state_at};

/// How many heads are read when the newest two do not chain.
const LOOK_BACK: usize = 16;
/// How often the newest head is looked for while heads come and go.
const TRIES_MAX: u32 = 5;

/// A volume's state in the store.
#[derive(Debug, Clone)]
pub struct Newest {
    /// The newest true head.
    pub head: Head,
    /// The hash of its bytes.
    pub hash: Hash,
    /// The numbers of all heads, ascending, without those known to be strays.
    pub numbers: Vec<u64>,
    /// The numbers known to be strays, ascending. Their numbers are taken.
    pub strays: Vec<u64>,
}

impl Newest {
    /// The next number that can be free.
    pub fn next_number(&self) -> u64 {
        let highest = self.numbers.iter().chain(&self.strays).max().copied();
        highest.unwrap_or(self.head.number).max(self.head.number) + 1
    }
}

/// A head as it was read.
#[derive(Debug, Clone)]
struct Read {
    head: Head,
    hash: Hash,
}

impl Read {
    /// How a successor names it.
    fn as_previous(&self) -> Previous {
        Previous { number: self.head.number, attempt: self.head.attempt, hash: self.hash }
    }
}

impl Pool {
    /// A volume's newest head: one LIST, then two GETs side by side.
    ///
    /// Strays above the newest true head come singly, because a writer sends the next head only when it
    /// knows the last to be its own (rule H1); so two that chain are true.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the volume has no head.
    pub async fn newest_head(&self, volume: VolumeId) -> Result<Newest> {
        let mut newest = Vec::new();
        for _ in 0..TRIES_MAX {
            newest = self.head_numbers(volume).await?;
            if newest.is_empty() {
                return Err(EngineError::NotFound(format!("volume {volume}")));
            }
            if let Some(found) = self.newest_of(volume, &newest).await? {
                // Rule W12: a member of a group that exists is born, by whoever meets it.
                let unborn = found.head.kind == HeadKind::Unborn && found.head.lineage.group.is_some();
                if !(unborn && Pin::of(&found).finish(self).await?) {
                    return Ok(found);
                }
            }
            // The newest head went after the LIST: then there is a newer one.
        }
        Err(EngineError::Damaged {
            object: object_names::heads(volume),
            message: format!(
                "expected to read the newest head, but head {:?} is listed and missing",
                newest.last()
            ),
        })
    }

    /// The newest head, if it is newer than this one.
    pub(crate) async fn newer_head(&self, than: &Head) -> Result<Option<Newest>> {
        let newest = self.newest_head(than.volume).await?;
        Ok(Some(newest).filter(|newest| newest.head.number > than.number))
    }

    /// Looks whether a head that was found when the segment table was `seen` is there still, now that its tail is read.
    ///
    /// 1. A round drops slots that no root shows, and the index of the rewrite says nothing of their blocks.
    /// 2. Somebody found a head before, which went meanwhile: he lays the new index, and sees older data below it.
    /// 3. So if there is a newer table now, the head has to be there still, and its volume too: then it was a root for
    ///    every round in between, or came after them from one that was. Numbers are never given again.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when it is not.
    pub(crate) async fn is_still_there(&self, head: &Head, seen: u64) -> Result<()> {
        if head.tail.is_empty() || self.fetcher.table().number() == seen {
            return Ok(());
        }
        let newest = self.newest_head(head.volume).await?;
        if newest.numbers.contains(&head.number) && newest.head.kind != HeadKind::Deleted {
            return Ok(());
        }
        let message = "it went while its tail was read".to_owned();
        Err(EngineError::Damaged { object: object_names::head(head.volume, head.number), message })
    }

    /// The numbers of all heads of a volume, ascending, strays among them. One LIST.
    pub async fn head_numbers(&self, volume: VolumeId) -> Result<Vec<u64>> {
        let listed = self.fetcher.list(&object_names::heads(volume)).await?;
        let number = |name: &str| match object_names::parse(name) {
            Some(ObjectName::Head { number, .. }) => Some(number),
            _ => None,
        };
        let mut numbers: Vec<_> = listed.iter().filter_map(|listed| number(&listed.name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// One head; `None` when there is none of that number.
    pub async fn head(&self, volume: VolumeId, number: u64) -> Result<Option<Head>> {
        Ok(self.read_head(volume, number).await?.map(|read| read.head))
    }

    async fn read_head(&self, volume: VolumeId, number: u64) -> Result<Option<Read>> {
        let object = object_names::head(volume, number);
        let Some(bytes) = self.fetcher.object(&object).await? else { return Ok(None) };
        let head = Head::parse(&bytes).and_then(|head| head.verify(self.id(), volume, number));
        let head = head.map_err(|error| damaged(&object, &error))?;
        Ok(Some(Read { head, hash: Hash::of(&bytes) }))
    }

    /// The newest true one of the heads of these numbers; `None` when the highest is gone.
    pub(crate) async fn newest_of(&self, volume: VolumeId, numbers: &[u64]) -> Result<Option<Newest>> {
        let (last, before) = (numbers[numbers.len() - 1], numbers.len().checked_sub(2).map(|at| numbers[at]));
        let below = async {
            match before {
                Some(number) => self.read_head(volume, number).await,
                None => Ok(None),
            }
        };
        let (last, below) = join(self.read_head(volume, last), below).await;
        let (Some(last), below) = (last?, below?) else { return Ok(None) };
        let chained = match &below {
            Some(below) => last.head.previous == Some(below.as_previous()),
            // Only one head is left, or the other one was thinned away just now.
            None => true,
        };
        if chained || planted(Bug::StrayBelieved) {
            let Read { head, hash } = last;
            return Ok(Some(Newest { head, hash, numbers: numbers.to_vec(), strays: Vec::new() }));
        }
        let looked_at = &numbers[numbers.len().saturating_sub(LOOK_BACK)..];
        let heads = try_join_all(looked_at.iter().map(|number| self.read_head(volume, *number))).await?;
        // The highest may have gone in the meantime, as a stray or because a newer one took its place: who can tell?
        if heads.last().is_none_or(Option::is_none) {
            return Ok(None);
        }
        let heads: Vec<_> = heads.into_iter().flatten().collect();
        let Some((newest, strays)) = judge(&heads) else { return Ok(None) };
        let numbers = numbers.iter().copied().filter(|number| !strays.contains(number)).collect();
        Ok(Some(Newest { head: newest.head, hash: newest.hash, numbers, strays }))
    }
}

/// Which of these heads, all that exist from some number on and in ascending order, is the newest true one,
/// and which are strays: never true, never history (rule H3).
fn judge(heads: &[Read]) -> Option<(Read, Vec<u64>)> {
    let (first, rest) = heads.split_first()?;
    let (mut tip, mut strays) = (first, Vec::new());
    // Whether the tip is known to be true by more than being there.
    let mut proven = first.head.number == 1;
    for next in rest {
        match follows(tip, proven, next) {
            Verdict::Chained => proven = true,
            Verdict::Gap => proven = false,
            Verdict::TipIsStray => {
                strays.push(tip.head.number);
                proven = false;
            }
            Verdict::NextIsStray => {
                strays.push(next.head.number);
                continue;
            }
        }
        tip = next;
    }
    strays.sort_unstable();
    Some((tip.clone(), strays))
}

enum Verdict {
    /// `next` names the tip as its predecessor.
    Chained,
    /// The predecessor of `next` was thinned away.
    Gap,
    TipIsStray,
    NextIsStray,
}

fn follows(tip: &Read, proven: bool, next: &Read) -> Verdict {
    // The format lets no head but number 1 be without a predecessor, and `next` is above another.
    let Some(previous) = next.head.previous else { return Verdict::NextIsStray };
    if previous == tip.as_previous() && next.head.epoch >= tip.head.epoch {
        return Verdict::Chained;
    }
    if previous.number > tip.head.number {
        // Epochs only grow along a chain. A claim of a stopped run can be created again below the heads of
        // the one it missed (rule H2): it is the lower one that never was.
        return if tip.head.epoch > next.head.epoch { Verdict::TipIsStray } else { Verdict::Gap };
    }
    if previous.number == tip.head.number && previous.attempt != tip.head.attempt {
        // It names another head of the tip's number. Its writer knew that one to be its own (rule H1), so it was
        // there; the tip came when it had been thinned away, and never was (rule H2).
        return Verdict::TipIsStray;
    }
    // It names a head below the tip. Nothing is known against a proven tip; of an unproven one, the claim that
    // went past it knew more.
    let went_past = previous.number < tip.head.number && next.head.epoch > tip.head.epoch;
    if went_past && !proven { Verdict::TipIsStray } else { Verdict::NextIsStray }
}

#[cfg(test)]
mod tests;
