//! What reclaim writes, as text: the segment table, rounds, bundles.

use super::{Bytes, Text, Time, a_segment};
use crate::chain::Place;
use crate::segment::SlotRun;
use crate::{BundleId, FormatError, Hash, Quarantine, RoundRecord, TableRecord, VolumeId, bundle};

pub(super) fn table_record(out: &mut Text, bytes: &[u8], fact: Option<u64>) -> Result<(), FormatError> {
    let record = TableRecord::parse(bytes)?;
    let found = record.peek();
    out.line("object", "record of the segment table");
    place(out, &found.place, bytes);
    out.line("counts from", if found.is_full() { "itself".into() } else { found.base.to_string() });
    out.line("round", found.round);
    out.list("segments", &found.entries, |entry| {
        let (segment, bundle, size, hash) =
            (entry.segment, entry.bundle, Bytes(entry.bytes), entry.index_hash);
        format!("{segment}: {size} at {} of bundle {bundle}, index {hash}", entry.offset)
    });
    out.list("taken out", &found.removed, ToString::to_string);
    let (pool, number) = (found.place.pool, fact.unwrap_or(found.place.number));
    out.verdict(record.verify(pool, number));
    Ok(())
}

pub(super) fn round_record(out: &mut Text, bytes: &[u8], fact: Option<u64>) -> Result<(), FormatError> {
    let record = RoundRecord::parse(bytes)?;
    let found = record.peek();
    out.line("object", "round of reclaim");
    place(out, &found.place, bytes);
    out.list("condemned", &found.condemned, ToString::to_string);
    out.list("suspended", &found.suspended, |suspended| {
        format!("{} without {}", suspended.segment, slots(&suspended.dropped))
    });
    let (pool, number) = (found.place.pool, fact.unwrap_or(found.place.number));
    out.verdict(record.verify(pool, number));
    Ok(())
}

pub(super) fn a_bundle(out: &mut Text, bytes: &[u8], id: BundleId) -> Result<(), FormatError> {
    let images = bundle::images(bytes)?;
    out.line("object", "bundle of rewritten segments");
    out.line("bundle", id);
    out.line("size", Bytes(bytes.len() as u64));
    out.line("images", images.len());
    for image in images {
        out.line("image at", image.start);
        a_segment(out, &bytes[image], None)?;
    }
    Ok(())
}

pub(super) fn a_quarantine(out: &mut Text, bytes: &[u8], fact: Option<VolumeId>) -> Result<(), FormatError> {
    let record = Quarantine::parse(bytes)?;
    let found = record.peek();
    out.line("object", "quarantine");
    out.line("pool", found.pool);
    out.line("volume", found.volume);
    out.line("attempt", found.attempt);
    out.line("written", Time(found.written_ms));
    out.list("segments up to", &found.newest, ToString::to_string);
    out.list("packs", &found.packs, ToString::to_string);
    out.list("bundles", &found.bundles, ToString::to_string);
    let (pool, volume) = (found.pool, fact.unwrap_or(found.volume));
    out.verdict(record.verify(pool, volume));
    Ok(())
}

/// What all records of chains say.
fn place(out: &mut Text, place: &Place, bytes: &[u8]) {
    out.line("pool", place.pool);
    out.line("number", place.number);
    out.line("attempt", place.attempt);
    out.line("hash", Hash::of(bytes));
    out.optional(
        "previous",
        place.previous.map(|link| format!("attempt {} hash {}", link.attempt, link.hash)),
    );
    out.line("run", place.run);
    out.line("written", Time(place.written_ms));
}

/// Stretches of slots, the first few of them.
pub(super) fn slots(runs: &[SlotRun]) -> String {
    const STRETCHES_MAX: usize = 8;
    let all: u32 = runs.iter().map(|run| run.1).sum();
    let stretch = |(first, slots): &SlotRun| format!(" {first}–{}", u32::from(*first) + slots - 1);
    let some: String = runs.iter().take(STRETCHES_MAX).map(stretch).collect();
    let more = if runs.len() > STRETCHES_MAX { " …" } else { "" };
    format!("{all} slots:{some}{more}")
}
