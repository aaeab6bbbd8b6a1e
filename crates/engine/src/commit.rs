//! THE maker of heads. A volume's state in the store changes here and nowhere else.
//!
//! ```text
//! v/100 data ← v/101 claim (epoch 101) ← v/102 data ← v/103 data ← v/104 released ← v/105 claim …
//!        attempt and hash of the predecessor in each
//! ```
//!
//! A claim, in numbered steps:
//! 1. LIST, GET the newest head and its predecessor: the state to go on from.
//! 2. PUT the next number, create-only, settled: somebody else's head there means start again at 1.
//! 3. LIST once more: a higher number means that the claim is void (rule H2), start again at 1.
//!
//! A claim says what the head before it says, but for who writes. One that rewinds the volume says what an older state said,
//! of which a pin holds all that it names, and names a log that nobody has (rule H5).
//!
//! A commit, in numbered steps:
//! 1. The objects that the head names are in the store: only [`Uploaded`] ones can be named (I5).
//! 2. PUT the next number, create-only, settled (rule H4). At most one head PUT is outstanding (rule H1): the
//!    chain is borrowed while one is.
//! 3. Somebody else's head there means that this run is not the writer any more.

use std::sync::Arc;

use bytes::Bytes;
use esker_format::{
    head::{Head, HeadKind, Previous, TailPiece, TailSegment},
    ids::{AttemptId, DirectoryId, Hash, LogId, RunId, VolumeId},
    names,
    page::PageRef,
    property::Properties,
};
use esker_io::{Bug, World, planted};

use crate::{
    EngineError, Result,
    pool::{Newest, Pool},
    upload::{Settled, settle},
    uses::{InFlight, Sent},
};

/// How often [`try_claim`] should be tried against others who claim.
pub(crate) const CLAIM_TRIES_MAX: u32 = 16;
/// The highest number of heads of a volume that may exist; at it nothing is committed (rule H8).
pub const HEADS_MAX: usize = 1_000;
/// At this number the owner commits no more before old heads are gone, so that others can still claim.
pub(crate) const HEADS_COMMIT_MAX: usize = 900;

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The run of the daemon.
    pub run: RunId,
    /// The local directory it holds the lock of.
    pub directory: DirectoryId,
}

/// A segment that is durable in the store, and so may be named by a head. Made by [`crate::upload`] only.
#[derive(Debug, Clone)]
pub struct Uploaded(pub(crate) TailSegment);

/// What a commit changes.
pub(crate) struct Change {
    pub(crate) kind: HeadKind,
    /// Segments that follow the tail, in order of their sequences.
    pub(crate) segments: Vec<Uploaded>,
    /// A new map root that holds the tail up to a sequence.
    pub(crate) root: Option<NewRoot>,
    /// A stretch of the log that the head carries itself, without segments.
    pub(crate) piece: Option<CutPiece>,
    /// Another size, alone.
    pub(crate) resized: Option<Resized>,
    /// Other properties, alone.
    pub(crate) properties: Option<Properties>,
    /// The segments and packs that the head will name.
    pub(crate) held: Vec<Arc<InFlight>>,
}

impl Change {
    /// A head of this kind that changes nothing.
    pub(crate) fn none(kind: HeadKind) -> Self {
        let segments = Vec::new();
        Self { kind, segments, root: None, piece: None, resized: None, properties: None, held: Vec::new() }
    }
}

/// A piece for the next head: either what follows the newest head's sequence, or all that no segment holds.
#[derive(Debug)]
pub(crate) struct CutPiece {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A volume's new size, and its map root for that, whose pages are durable in the store. It holds what the old one
/// held.
#[derive(Clone)]
pub(crate) struct Resized {
    pub(crate) size_bytes: u64,
    pub(crate) root: Option<PageRef>,
    /// The pack of its new pages, where there are any.
    pub(crate) held: Option<Arc<InFlight>>,
}

/// A map root whose pages are durable in the store.
#[derive(Clone)]
pub(crate) struct NewRoot {
    pub(crate) root: Option<PageRef>,
    pub(crate) sequence: u64,
    /// The pack of its new pages, where there are any.
    pub(crate) held: Option<Arc<InFlight>>,
}

/// The chain of heads of a volume that this run may extend.
pub struct Chain {
    newest: Head,
    hash: Hash,
}

impl Chain {
    /// The newest head.
    pub fn newest(&self) -> &Head {
        &self.newest
    }

    /// Commits `change` as the next head.
    pub(crate) async fn commit(
        &mut self,
        world: &World,
        mut change: Change,
        give_up: impl Fn() -> bool,
    ) -> Result<()> {
        let sent = Sent::new(self.newest.volume, std::mem::take(&mut change.held));
        let head = self.next(world, change);
        let (encoded, hash) = encode(&head);
        match settle_head(world, &head, encoded, give_up).await? {
            Settled::Ours => {
                sent.settled();
                // Its bytes are in the store; nobody asks for them here.
                self.newest = Head { piece: Vec::new(), ..head };
                self.hash = hash;
                Ok(())
            }
            Settled::Theirs(bytes) => Err(EngineError::Fenced {
                volume: head.volume.to_string(),
                reason: format!("head {} is {}", head.number, who(&bytes)),
            }),
        }
    }

    fn next(&self, world: &World, change: Change) -> Head {
        assert!(
            matches!(change.kind, HeadKind::Data | HeadKind::Released),
            "claims and deletions are made by claim()"
        );
        let mut head = Head {
            number: self.newest.number + 1,
            attempt: AttemptId(world.random.id()),
            previous: Some(self.previous()),
            kind: change.kind,
            written_ms: world.clock.wall_ms(),
            ..self.newest.clone()
        };
        if let Some(Resized { size_bytes, root, .. }) = change.resized {
            assert!(change.root.is_none() && change.segments.is_empty(), "a size changes alone");
            head.size_bytes = size_bytes;
            head.root = root;
        }
        if let Some(properties) = change.properties {
            let alone = change.root.is_none() && change.segments.is_empty() && change.piece.is_none();
            assert!(alone, "properties change alone");
            head.properties = properties;
        }
        if let Some(new) = change.root {
            assert!(new.sequence > head.root_sequence, "a new root holds more than the old one");
            assert!(new.sequence <= head.covered(), "a root holds only what segments hold");
            head.tail.retain(|segment| segment.last_sequence > new.sequence);
            head.root = new.root;
            head.root_sequence = new.sequence;
        }
        for Uploaded(segment) in change.segments {
            assert_eq!(segment.first_sequence, head.covered() + 1, "commits are in the order of the log");
            head.tail.push(segment);
        }
        // Rule W7: what the segments hold is not replayed over them.
        let covered = head.covered();
        head.pieces.retain(|piece| piece.last_sequence > covered);
        head.sequence = head.sequence.max(covered);
        if let Some(piece) = change.piece {
            carry(&mut head, piece);
        }
        assert!(
            head.kind == HeadKind::Data || head.pieces.is_empty(),
            "what is released is in segments to the last record"
        );
        head
    }

    fn previous(&self) -> Previous {
        Previous { number: self.newest.number, attempt: self.newest.attempt, hash: self.hash }
    }
}

/// Lets `head` carry a piece behind those that it names already, or in their place.
fn carry(head: &mut Head, piece: CutPiece) {
    let CutPiece { first_sequence, last_sequence, bytes } = piece;
    // Rule H8: a piece of everything that no segment holds replaces the others.
    if first_sequence == head.covered() + 1 {
        head.pieces.clear();
    } else {
        assert_eq!(first_sequence, head.sequence + 1, "pieces follow each other");
    }
    assert!(last_sequence >= head.sequence, "a commit takes nothing back");
    let (number, hash) = (head.number, Hash::of(&bytes));
    let length = u32::try_from(bytes.len()).expect("a piece has at most 4 MiB");
    head.pieces.push(TailPiece { head: number, first_sequence, last_sequence, bytes: length, hash });
    head.sequence = last_sequence;
    head.piece = bytes;
}

/// Why a volume is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent<'a> {
    /// To write, with this log.
    Write(LogId),
    /// To delete the volume (rule H6).
    Delete,
    /// To go back to the state of a pin, with a log that nobody has.
    Rewind {
        /// The log.
        log: LogId,
        /// The pin's head.
        to: &'a Head,
    },
}

/// What came of one try to claim.
pub enum Claim {
    /// This run is the writer.
    Won(Box<Chain>),
    /// Another head came in between: look again at the newest one, and plan anew.
    Lost,
}

/// Tries once to become the writer from the state `newest`. On [`Claim::Lost`] the caller must plan again from a
/// fresh look at the newest head: whether its log may be replayed can have changed.
pub async fn try_claim(
    pool: &Pool,
    newest: &Newest,
    owner: Owner,
    intent: Intent<'_>,
    give_up: impl Fn() -> bool,
) -> Result<Claim> {
    let world = pool.world();
    let before = &newest.head;
    if newest.numbers.len() >= HEADS_MAX {
        return Err(EngineError::Invalid(format!(
            "volume {} has {} heads and may have {HEADS_MAX} (rule H8): its present owner must remove old ones first",
            before.volume,
            newest.numbers.len()
        )));
    }
    // A stray above the newest head holds its number for ever: go past it.
    let number = newest.next_number();
    let (kind, log) = match intent {
        Intent::Write(log) => (HeadKind::Claim, log),
        Intent::Delete => (HeadKind::Deleted, before.log),
        Intent::Rewind { log, .. } => (HeadKind::Claim, log),
    };
    let mut head = Head {
        number,
        epoch: number,
        attempt: AttemptId(world.random.id()),
        previous: Some(Previous { number: before.number, attempt: before.attempt, hash: newest.hash }),
        kind,
        run: owner.run,
        directory: owner.directory,
        log,
        written_ms: world.clock.wall_ms(),
        // A claim carries no data; it names the pieces that the head before it names, that one's own too.
        piece: Vec::new(),
        ..before.clone()
    };
    if let Intent::Rewind { to, .. } = intent {
        go_back(&mut head, before, to);
    }
    let (encoded, hash) = encode(&head);
    if let Settled::Theirs(_) = settle_head(world, &head, encoded, give_up).await? {
        return Ok(Claim::Lost);
    }
    // Rule H2: between the first LIST and the PUT others may have gone on, and the number may have become free again.
    let numbers = pool.head_numbers(head.volume).await?;
    if numbers.iter().any(|other| *other > head.number) && !planted(Bug::ClaimNotListed) {
        return Ok(Claim::Lost);
    }
    pool.uses().decided(head.volume);
    Ok(Claim::Won(Box::new(Chain { newest: head, hash })))
}

/// Gives a claim the state of a pin.
fn go_back(claim: &mut Head, before: &Head, to: &Head) {
    assert_eq!(to.kind, HeadKind::Unborn, "what a pin holds stays there until it is buried (rule R8)");
    assert!(to.pieces.is_empty(), "no head of before is named (rule H7)");
    assert_eq!(before.kind, HeadKind::Released, "the store has all of the state before");
    assert_ne!(claim.log, before.log, "a log from before is never replayed over it (rule H5)");
    assert!(claim.epoch == claim.number && claim.epoch > before.epoch, "whoever rewinds is the writer");
    assert!(to.sequence > before.sequence, "no sequence is given twice (invariant 3)");
    claim.size_bytes = to.size_bytes;
    claim.sequence = to.sequence;
    claim.root = to.root;
    claim.root_sequence = to.root_sequence;
    claim.tail = to.tail.clone();
    claim.pieces = Vec::new();
}

/// The error for a claim that was lost too often.
pub(crate) fn contended(volume: VolumeId) -> EngineError {
    EngineError::Fenced {
        volume: volume.to_string(),
        reason: format!("{CLAIM_TRIES_MAX} claims in a row were lost to another host; stop one of them"),
    }
}

fn encode(head: &Head) -> (Bytes, Hash) {
    let encoded = head.encode();
    let hash = Hash::of(&encoded);
    (Bytes::from(encoded), hash)
}

async fn settle_head(
    world: &World,
    head: &Head,
    encoded: Bytes,
    give_up: impl Fn() -> bool,
) -> Result<Settled> {
    let name = names::head(head.volume, head.number);
    let sent = encoded.clone();
    // The attempt id is in the bytes, so the same bytes are the same attempt.
    settle(world, &name, encoded, move |held| *held == sent, give_up).await
}

fn who(bytes: &[u8]) -> String {
    match Head::parse(bytes) {
        Ok(head) => {
            let head = head.peek();
            format!("a {} of run {} with epoch {}", head.kind, head.run, head.epoch)
        }
        Err(error) => format!("not readable ({error})"),
    }
}
