use esker_format::{
    head::{Head, HeadKind, Previous, TailPiece},
    ids::{AttemptId, Hash, RunId, VolumeId},
    names,
    property::Properties,
};
use esker_io::sync::Arc;

use super::Read;
use crate::{
    EngineError,
    core::heads::HeadFacts,
    pool::{Pool, tests::new_pool},
    testing::{Store, block_on},
};

/// Writes heads of one volume by hand.
struct Chain {
    store: Arc<Store>,
    pool: Pool,
    first: Head,
}

impl Chain {
    fn new() -> Self {
        let (store, pool) = new_pool();
        let volume = block_on(pool.create_volume("vm", 1 << 20, Properties::default())).unwrap();
        let first = block_on(pool.head(volume, 1)).unwrap().unwrap();
        Self { store, pool, first }
    }

    fn volume(&self) -> VolumeId {
        self.first.volume
    }

    fn first(&self) -> Read {
        Read { head: self.first.clone(), hash: Hash::of(&self.first.encode()) }
    }

    /// Puts a head above `before`; `run` tells two of one number apart.
    fn put(&self, number: u64, epoch: u64, before: &Read, run: u8) -> Read {
        let made = self.make(number, epoch, before, run);
        self.store.replace(&names::head(self.volume(), number), made.head.encode());
        made
    }

    fn make(&self, number: u64, epoch: u64, before: &Read, run: u8) -> Read {
        let kind = if epoch == number { HeadKind::Claim } else { HeadKind::Data };
        let mut attempt = [run; 16];
        attempt[..8].copy_from_slice(&number.to_le_bytes());
        let previous = Some(before.as_previous());
        let (attempt, run) = (AttemptId(attempt), RunId([run; 16]));
        let head = Head { number, epoch, attempt, previous, kind, run, ..self.first.clone() };
        let hash = Hash::of(&head.encode());
        Read { head, hash }
    }

    /// Heads 1 to `last`: claimed by run 1 with head 2.
    fn grow(&self, last: u64) -> Vec<Read> {
        let mut chain = vec![self.first()];
        for number in 2..=last {
            let next = self.put(number, 2, &chain[chain.len() - 1], 1);
            chain.push(next);
        }
        chain
    }

    fn remove(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let name = names::head(self.volume(), number);
            block_on(self.pool.world().objects.delete(&name)).unwrap();
        }
    }

    /// The newest head's number, and the strays.
    fn newest(&self) -> (Read, Vec<u64>) {
        let newest = block_on(self.pool.newest_head(self.volume())).unwrap();
        let listed = block_on(self.pool.head_numbers(self.volume())).unwrap();
        assert_eq!(newest.next_number(), listed[listed.len() - 1] + 1);
        assert!(newest.strays.iter().all(|stray| !newest.numbers.contains(stray)));
        assert_eq!(newest.numbers.len() + newest.strays.len(), listed.len());
        (Read { head: newest.head, hash: newest.hash }, newest.strays)
    }

    fn check(&self, expected: &Read, strays: &[u64]) {
        let (newest, found) = self.newest();
        assert_eq!((newest.head, newest.hash, &found[..]), (expected.head.clone(), expected.hash, strays));
    }
}

#[test]
fn a_sound_chain_costs_one_list_and_two_gets() {
    let chain = Chain::new();
    let heads = chain.grow(40);
    chain.store.requests.lock().clear();
    block_on(chain.pool.newest_head(chain.volume())).unwrap();
    assert_eq!((chain.store.count("list"), chain.store.count("get")), (1, 2));
    chain.check(&heads[39], &[]);
}

#[test]
fn a_volume_without_heads_does_not_exist() {
    let chain = Chain::new();
    let missing = block_on(chain.pool.newest_head(VolumeId([9; 16]))).unwrap_err();
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing}");
}

#[test]
fn a_void_claim_right_below_the_newest_head_is_a_stray() {
    let chain = Chain::new();
    let heads = chain.grow(5);
    // Head 6 was thinned away when 7 was there. Then the late claim of somebody who had seen 5 took its number.
    let gone = chain.make(6, 2, &heads[4], 1);
    chain.put(6, 6, &heads[4], 2);
    let newest = chain.put(7, 2, &gone, 1);
    chain.check(&newest, &[6]);
    let on = chain.put(8, 2, &newest, 1);
    chain.check(&on, &[]);
    // Without its predecessor it is no better known.
    chain.remove([5, 8]);
    chain.check(&newest, &[6]);
}

#[test]
fn a_void_claim_created_again_below_is_a_stray() {
    let chain = Chain::new();
    let heads = chain.grow(30);
    chain.remove(6..=28);
    // Rule H2: the claimer looked when 5 was the newest, and slept.
    chain.put(6, 6, &heads[4], 2);
    chain.check(&heads[29], &[]);
    // The one above it was thinned away: what names a higher predecessor is not above this claim.
    chain.remove([29]);
    chain.check(&heads[29], &[6]);
}

#[test]
fn thinned_heads_are_no_strays() {
    let chain = Chain::new();
    let heads = chain.grow(30);
    chain.remove((2..=28).chain([29]));
    chain.check(&heads[29], &[]);
    chain.remove([1]);
    chain.check(&heads[29], &[]);
}

#[test]
fn two_heads_with_one_predecessor_are_not_both_true() {
    let chain = Chain::new();
    let heads = chain.grow(5);
    let first = chain.put(6, 6, &heads[4], 2);
    chain.put(7, 7, &heads[4], 3);
    chain.check(&first, &[7]);
}

#[test]
fn a_head_of_another_history_is_a_stray() {
    let chain = Chain::new();
    let heads = chain.grow(5);
    let Previous { number, attempt, .. } = heads[4].as_previous();
    let mut other = chain.make(6, 2, &heads[4], 1);
    other.head.previous = Some(Previous { number, attempt, hash: Hash([7; 32]) });
    chain.store.replace(&names::head(chain.volume(), 6), other.head.encode());
    chain.check(&heads[4], &[6]);
}

#[test]
fn a_damaged_head_is_an_error_and_not_passed_over() {
    let chain = Chain::new();
    let heads = chain.grow(3);
    let name = names::head(chain.volume(), 3);
    let mut bytes = heads[2].head.encode();
    bytes[60] ^= 1;
    chain.store.replace(&name, bytes);
    let refused = block_on(chain.pool.newest_head(chain.volume())).unwrap_err();
    assert!(matches!(&refused, EngineError::Damaged { object, .. } if *object == name), "{refused}");
    // As is one under another's name.
    chain.store.replace(&name, heads[1].head.encode());
    let refused = block_on(chain.pool.newest_head(chain.volume())).unwrap_err();
    assert!(matches!(refused, EngineError::Damaged { .. }), "{refused}");
}

/// The head that says so copies what the one before it named.
#[test]
fn a_deleted_volume_needs_no_pieces() {
    let chain = Chain::new();
    let named = |head| TailPiece { head, first_sequence: 1, last_sequence: 1, bytes: 1, hash: Hash([0; 32]) };
    let oldest = |kind| {
        let head = Head { number: 9, kind, pieces: vec![named(4), named(7)], ..chain.first.clone() };
        HeadFacts::of(&head).oldest_piece
    };
    assert_eq!((oldest(HeadKind::Claim), oldest(HeadKind::Deleted)), (Some(4), None));
}
