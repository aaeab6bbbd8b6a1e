//! What has changed in an open volume since its snapshots: nothing that differs is left out, and nothing is told that
//! nobody has touched.

mod common;

use std::{path::Path, sync::Arc};

use esker_engine::{
    diff::{NamedState, Walk},
    host::Host,
    volume::{Change, Limits, Scratch, Volume, WriteStep},
};
use esker_format::property::{Durability, Properties};
use esker_io::objects;

const BLOCK: u64 = 4096;
/// Five leaves, so that some have no page.
const BLOCKS: u64 = 5 * 2048;

async fn host(directory: &Path) -> Host {
    common::host(directory, objects::open("memory://").expect("memory"), 1, Limits::default()).await
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What the volume holds, and who touched which block last.
struct Model {
    contents: Vec<u64>,
    touched: Vec<u64>,
    turn: u64,
}

struct Kept {
    name: String,
    contents: Vec<u64>,
    turn: u64,
}

impl Model {
    fn change(&mut self, volume: &Volume, numbers: &mut Numbers) {
        let lba = numbers.below(BLOCKS - 40);
        let blocks = if numbers.below(4) == 0 { numbers.below(40) + 1 } else { 1 };
        let value = numbers.below(1 << 30) + 1;
        let mut data = vec![0; (blocks * BLOCK) as usize];
        data.chunks_mut(8).for_each(|word| word.copy_from_slice(&value.to_le_bytes()));
        let (offset, length) = (lba * BLOCK, blocks * BLOCK);
        let (change, value) = match numbers.below(6) {
            0 => (Change::Trim { offset, length }, 0),
            1 => (Change::Zero { offset, length, may_trim: false }, 0),
            _ => (Change::Write { offset, data: &data }, value),
        };
        let mut scratch = Scratch::default();
        volume.change(&[change], &mut scratch);
        assert!(matches!(scratch.steps[..], [WriteStep::Done]), "acknowledged: {:?}", scratch.steps);
        for block in lba as usize..(lba + blocks) as usize {
            (self.contents[block], self.touched[block]) = (value, self.turn);
        }
    }

    /// `changed` tells of every block whether it has changed since `kept`.
    fn check(&self, changed: &[bool], kept: &Kept, what: &str) {
        for (block, changed) in changed.iter().enumerate() {
            let differs = self.contents[block] != kept.contents[block];
            assert!(*changed || !differs, "{what} since {}: block {block} is left out", kept.name);
            let touched = self.touched[block] >= kept.turn;
            assert!(touched || !*changed, "{what} since {}: nobody touched block {block}", kept.name);
        }
    }
}

async fn changed(volume: &Arc<Volume>, state: &str, most: usize) -> Vec<bool> {
    let from = volume.compared_with(state).await.unwrap();
    let (size, mut blocks) = (volume.size_bytes(), Vec::new());
    while (blocks.len() as u64) < size / BLOCK {
        let at = blocks.len() as u64 * BLOCK;
        let found = volume.changed_since(&from, at, size - at, most).await.unwrap();
        assert!(!found.is_empty() && found.len() <= most);
        for (bytes, changed) in found {
            blocks.extend(std::iter::repeat_n(changed, (bytes / BLOCK) as usize));
        }
    }
    blocks
}

#[tokio::test]
async fn nothing_that_changed_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path()).await;
    let properties = Properties { durability: Some(Durability::Ephemeral), ..Properties::default() };
    let mut volume = host.create("v", BLOCKS * BLOCK, properties).await.unwrap();
    let size = BLOCKS as usize;
    let mut model = Model { contents: vec![0; size], touched: vec![0; size], turn: 1 };
    let (mut numbers, mut kept) = (Numbers(5), Vec::<Kept>::new());
    for turn in 1..=12 {
        model.turn = turn;
        for _ in 0..numbers.below(300) {
            model.change(&volume, &mut numbers);
        }
        for kept in &kept {
            model.check(&changed(&volume, &kept.name, 1 + turn as usize * 7).await, kept, "now");
        }
        if turn.is_multiple_of(4) {
            // Its map is unloaded again, and all of it in pages: a shrink folds it.
            volume.drain().await.unwrap();
            volume = host.open("v", None).await.unwrap().0;
            volume.resize((BLOCKS + 10) * BLOCK).await.unwrap();
            volume.resize(BLOCKS * BLOCK).await.unwrap();
        }
        let name = format!("t{turn}");
        host.snapshot("v", &name, Vec::new()).await.unwrap();
        let snapshot = host.visit(&format!("v@{name}")).await.unwrap();
        for kept in &kept {
            model.check(&changed(&snapshot, &kept.name, 1000).await, kept, &name);
        }
        assert!(changed(&volume, &name, 5).await.iter().all(|changed| !changed), "nothing since {name}");
        kept.push(Kept { name, contents: model.contents.clone(), turn: turn + 1 });
    }
    let mut listed = volume.comparable().await.unwrap();
    listed.sort_by_key(|name| name[1..].parse::<u64>().unwrap());
    assert_eq!(listed, kept.iter().map(|kept| kept.name.clone()).collect::<Vec<_>>());
    // An old head of its own, and what is not there.
    let number = host.pool().newest_head(volume.id()).await.unwrap().head.number;
    assert!(changed(&volume, &format!("#{number}"), 9).await.iter().all(|changed| !changed));
    for none in ["t99", "#999999", "v@t99", "other@t1", "#x", "@", ""] {
        assert!(volume.compared_with(none).await.is_err(), "{none}");
    }
    volume.drain().await.unwrap();
}

/// Heads of one volume, each with a part of it in pieces, and a fork's.
#[tokio::test]
async fn heads_with_pieces_are_states_too() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path()).await;
    let bounded =
        Properties { durability: Some(Durability::Bounded { seconds: 1 }), ..Properties::default() };
    let volume = host.create("v", BLOCKS * BLOCK, bounded).await.unwrap();
    let size = BLOCKS as usize;
    let mut model = Model { contents: vec![0; size], touched: vec![0; size], turn: 1 };
    let (mut numbers, mut kept, mut pieces) = (Numbers(9), Vec::<Kept>::new(), 0);
    for turn in 1..=5 {
        model.turn = turn;
        for _ in 0..=numbers.below(30) {
            model.change(&volume, &mut numbers);
        }
        while volume.committed_sequence() < volume.last_sequence() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let newest = host.pool().newest_head(volume.id()).await.unwrap().head;
        pieces += newest.pieces.len();
        let name = format!("v#{}", newest.number);
        kept.push(Kept { name, contents: model.contents.clone(), turn: turn + 1 });
    }
    assert!(pieces > 0, "nothing was in a piece");
    for from in &kept {
        for to in &kept {
            let newer = NamedState::find(host.pool(), &to.name).await.unwrap();
            let older = NamedState::find(host.pool(), &from.name).await.unwrap().against(newer.volume);
            let mut walk = Walk::new(host.pool().fetcher(), &older.state, &newer.state, 0..BLOCKS);
            let mut changed = vec![false; size];
            while let Some(found) = walk.next().await.unwrap() {
                for change in found {
                    changed[change.lba as usize..(change.lba + change.blocks) as usize].fill(true);
                }
            }
            for (block, changed) in changed.iter().enumerate() {
                let differs = from.contents[block] != to.contents[block];
                assert!(*changed || !differs, "{} to {}: block {block} is left out", from.name, to.name);
            }
            assert!(from.name != to.name || !changed.contains(&true), "{} differs from itself", from.name);
        }
    }
    volume.drain().await.unwrap();
}
