//! The entries of a page.

use super::{Child, FANOUT, HEIGHT_MAX, LEAF_BLOCKS, LeafRun, PAGE_REF_BYTES, Page, PageRef, WHAT};
use crate::error::ensure;
use crate::wire::{Put, Reader};
use crate::{Address, AddressKind, FormatError};

pub(super) const LEAF_RUN_BYTES: usize = 2 + 2 + 8;
const CHILD_BYTES_MIN: usize = 2 + 1;
const SLOTS: u64 = 1 << 16;

/// The number of entries and their bytes.
pub(super) fn encode(page: &Page) -> (usize, Vec<u8>) {
    let mut out = Vec::new();
    match page {
        Page::Leaf(runs) => {
            out.reserve_exact(runs.len() * LEAF_RUN_BYTES);
            for run in runs {
                out.put_u16(run.start);
                out.put_u16(run.blocks);
                out.put_u64(run.address.raw());
            }
            (runs.len(), out)
        }
        Page::Inner(children) => {
            for (number, child) in children {
                out.put_u16(*number);
                match child {
                    Child::Zero => out.put_u8(0),
                    Child::Page(reference) => {
                        out.put_u8(1);
                        reference.encode(&mut out);
                    }
                }
            }
            (children.len(), out)
        }
    }
}

/// The entries of a body. Their order and ranges are for [`check`].
pub(super) fn parse(level: u8, entries: usize, body: &[u8]) -> Result<Page, FormatError> {
    let mut from = Reader::new(WHAT, body);
    let entry_bytes_min = if level == 0 { LEAF_RUN_BYTES } else { CHILD_BYTES_MIN };
    let entries = from.warranted("count of entries", entries, entry_bytes_min)?;
    let page = if level == 0 {
        let mut runs = Vec::with_capacity(entries);
        for _ in 0..entries {
            let (start, blocks) = (from.u16("run start")?, from.u16("run blocks")?);
            runs.push(LeafRun { start, blocks, address: Address::parse(from.u64("run address")?)? });
        }
        Page::Leaf(runs)
    } else {
        let mut children = Vec::with_capacity(entries);
        for _ in 0..entries {
            let number = from.u16("child number")?;
            let child = match from.u8("child kind")? {
                0 => Child::Zero,
                1 => Child::Page(PageRef::parse(WHAT, &from.array::<PAGE_REF_BYTES>("child")?)?),
                kind => return Err(FormatError::newer(WHAT, "child kind", "0 or 1", kind)),
            };
            children.push((number, child));
        }
        Page::Inner(children)
    };
    from.finish()?;
    Ok(page)
}

/// What holds for every page.
pub(super) fn check(level: u8, page: &Page) -> Result<(), FormatError> {
    ensure(level < HEIGHT_MAX, WHAT, "level", "below 4", level)?;
    match page {
        Page::Leaf(runs) => {
            ensure(level == 0, WHAT, "level", "0 for a leaf", level)?;
            check_runs(runs)
        }
        Page::Inner(children) => {
            ensure(level > 0, WHAT, "level", "1 or more for an inner page", level)?;
            let ascending = children.windows(2).all(|pair| pair[0].0 < pair[1].0);
            ensure(ascending, WHAT, "children", "ascending numbers", "others")?;
            let last = children.last().map_or(0, |(number, _)| *number);
            ensure(u64::from(last) < FANOUT, WHAT, "children", "numbers below 1024", last)
        }
    }
}

fn check_runs(runs: &[LeafRun]) -> Result<(), FormatError> {
    let mut end = 0;
    for run in runs {
        let (start, blocks) = (u64::from(run.start), u64::from(run.blocks));
        let fits = start >= end && blocks > 0 && start + blocks <= LEAF_BLOCKS;
        ensure(fits, WHAT, "runs", "ascending blocks of the leaf", format_args!("{blocks} from {start}"))?;
        end = start + blocks;
        let slots_fit = match run.address.kind() {
            AddressKind::Zero => true,
            AddressKind::Segment(_, slot) => u64::from(slot) + blocks <= SLOTS,
            AddressKind::Hole | AddressKind::Unloaded | AddressKind::Log(_) => false,
        };
        // A text is made only where it is wanted: a random leaf has thousands of runs.
        let found = format_args!("{} for {blocks} blocks", run.address);
        ensure(slots_fit, WHAT, "run address", "zero, or slots that exist", found)?;
    }
    Ok(())
}
