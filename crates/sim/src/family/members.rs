//! What each member of a family must hold.

use std::{collections::BTreeMap, sync::Arc};

use esker_engine::volume::Volume;
use esker_format::{BLOCK_BYTES, names};

use crate::{
    Prng, Stamp,
    lab::{Outcome, violation},
};

/// The blocks of each member that are ever written.
pub(super) const BLOCKS: u64 = 24;

/// Which write each block holds; zero is zeros.
pub(super) type Image = [u64; BLOCKS as usize];

/// A volume or a snapshot.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) image: Image,
    /// What it held as of some of its heads.
    pub(super) points: Vec<(u64, Image)>,
    /// The volume, open for writing; none of a snapshot.
    pub(super) volume: Option<Arc<Volume>>,
}

/// All members, by name.
#[derive(Default)]
pub(super) struct Members(BTreeMap<String, Member>);

impl Members {
    pub(super) fn add(&mut self, name: &str, image: Image) {
        let before = self.0.insert(name.to_owned(), Member { image, points: Vec::new(), volume: None });
        assert!(before.is_none(), "a step gives each member a new name");
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The run that had them open is over.
    pub(super) fn closed(&mut self) {
        self.0.values_mut().for_each(|member| member.volume = None);
    }

    pub(super) fn get(&self, name: &str) -> &Member {
        &self.0[name]
    }

    pub(super) fn get_mut(&mut self, name: &str) -> &mut Member {
        self.0.get_mut(name).expect("a step picks among the members")
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn volumes(&self) -> Vec<String> {
        self.0.keys().filter(|name| names::snapshot_parts(name).is_none()).cloned().collect()
    }

    /// The snapshots of a volume, without its name.
    pub(super) fn snapshots(&self, volume: &str) -> Vec<String> {
        let parts = self.0.keys().filter_map(|name| names::snapshot_parts(name));
        parts.filter(|(of, _)| *of == volume).map(|(_, snapshot)| snapshot.to_owned()).collect()
    }

    /// Compares what was read of a member with what it must hold.
    pub(super) fn compare(&self, name: &str, found: &[u8]) -> Outcome {
        compare(name, &self.0[name].image, found)
    }
}

/// Some member.
pub(super) fn pick(random: &mut Prng, among: &[String]) -> Option<String> {
    (!among.is_empty()).then(|| random.pick(among).clone())
}

/// The contents of a block.
pub(super) fn contents(lba: u64, write: u64) -> [u8; BLOCK_BYTES] {
    if write == 0 { [0; BLOCK_BYTES] } else { Stamp { volume: 1, lba, write, epoch: 0 }.block() }
}

fn compare(name: &str, image: &Image, found: &[u8]) -> Outcome {
    for (lba, (write, block)) in (0..).zip(image.iter().zip(found.chunks_exact(BLOCK_BYTES))) {
        if contents(lba, *write) != block {
            let found = match Stamp::read(block) {
                Some(stamp) => format!("write {} of block {}", stamp.write, stamp.lba),
                None => "no write".to_owned(),
            };
            return Err(violation(format!(
                "{name}, block {lba}: expected write {write}, found {found} (I4, I8)"
            )));
        }
    }
    Ok(())
}
