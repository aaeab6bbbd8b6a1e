//! Stored objects as text, for people. The text is not a format: nothing reads it back.

mod reclaim;

use std::fmt::{self, Write};

use crate::chunk::{self, CHUNK_HEADER_BYTES, RECORD_ALIGN};
use crate::names::{self, ObjectName};
use crate::page::{self, Pack};
use crate::segment::{self, Run, RunKind, SegmentIndex, Trailer};
use crate::time::Time;
use crate::{
    BLOCK_BYTES, Child, ChunkHeader, FormatError, GroupFate, GroupId, GroupRecord, Hash, Head, NameRecord,
    NameState, Page, PoolRecord, Properties, RecordKind, WaitingList, WriterRecord, group, head, name, pool,
    quarantine, round, table, waiting, writer,
};
use reclaim::{a_bundle, a_quarantine, round_record, slots, table_record};

/// The most lines for the entries of one list.
const LINES_MAX: usize = 64;

/// The text form of a whole object, by what its name says it is, or by its first bytes where the name says nothing
/// (a file on disk). Bytes that cannot be read are an error; an object that can be read but is not what its name says
/// is described, with a line that begins with `WRONG`.
pub fn describe(name: &str, bytes: &[u8]) -> Result<String, FormatError> {
    let mut out = Text::default();
    match names::parse(name) {
        Some(ObjectName::Pool) => pool_record(&mut out, bytes)?,
        Some(ObjectName::Name { name, number }) => name_record(&mut out, bytes, Some((&name, number)))?,
        Some(ObjectName::Head { volume, number }) => a_head(&mut out, bytes, Some((volume, number)))?,
        Some(ObjectName::Writer(number)) => writer_record(&mut out, bytes, Some(number))?,
        Some(ObjectName::Group(group)) => group_record(&mut out, bytes, Some(group))?,
        Some(ObjectName::Segment(id)) => a_segment(&mut out, bytes, Some(id))?,
        Some(ObjectName::Pack(id)) => a_pack(&mut out, bytes, Some(id))?,
        Some(ObjectName::Bundle(id)) => a_bundle(&mut out, bytes, id)?,
        Some(ObjectName::Table(number)) => table_record(&mut out, bytes, Some(number))?,
        Some(ObjectName::Round(number)) => round_record(&mut out, bytes, Some(number))?,
        Some(ObjectName::Quarantine(volume)) => a_quarantine(&mut out, bytes, Some(volume))?,
        Some(ObjectName::Probe) => out.line("object", "left over from a probe of the store"),
        None => by_magic(&mut out, bytes)?,
    }
    Ok(out.text)
}

fn by_magic(out: &mut Text, bytes: &[u8]) -> Result<(), FormatError> {
    let Some(magic) = bytes.first_chunk::<8>() else {
        return Err(FormatError::short("stored object", "magic", 8, bytes.len()));
    };
    match magic {
        magic if magic == pool::KIND.magic => pool_record(out, bytes),
        magic if magic == name::KIND.magic => name_record(out, bytes, None),
        magic if magic == head::KIND.magic => a_head(out, bytes, None),
        magic if magic == writer::KIND.magic => writer_record(out, bytes, None),
        magic if magic == group::KIND.magic => group_record(out, bytes, None),
        magic if magic == waiting::KIND.magic => waiting_list(out, bytes),
        magic if magic == table::KIND.magic => table_record(out, bytes, None),
        magic if magic == round::KIND.magic => round_record(out, bytes, None),
        magic if magic == quarantine::KIND.magic => a_quarantine(out, bytes, None),
        magic if magic == segment::MAGIC => a_segment(out, bytes, None),
        magic if magic == page::PACK_MAGIC => a_pack(out, bytes, None),
        magic if magic == chunk::MAGIC => a_chunk(out, bytes),
        _ => Err(FormatError::new("stored object", "magic", "one of Esker's", magic.escape_ascii())),
    }
}

fn pool_record(out: &mut Text, bytes: &[u8]) -> Result<(), FormatError> {
    let record = PoolRecord::parse(bytes)?.verify()?;
    out.line("object", "pool record");
    out.line("pool", record.pool);
    out.line("attempt", record.attempt);
    out.line("created", Time(record.created_ms));
    properties(out, &record.properties);
    Ok(())
}

fn name_record(out: &mut Text, bytes: &[u8], fact: Option<(&str, u64)>) -> Result<(), FormatError> {
    let record = NameRecord::parse(bytes)?;
    let found = record.peek();
    out.line("object", "name record");
    out.line("pool", found.pool);
    out.line("name", &found.name);
    out.line("number", found.number);
    out.line("attempt", found.attempt);
    out.optional("previous", found.previous);
    out.line("written", Time(found.written_ms));
    match found.state {
        NameState::Bound(volume) => out.line("volume", volume),
        NameState::Free => out.line("volume", "none, the name is free"),
    }
    let (pool, name, number) = (found.pool, found.name.clone(), found.number);
    let (name, number) = fact.unwrap_or((&name, number));
    out.verdict(record.verify(pool, name, number));
    Ok(())
}

fn writer_record(out: &mut Text, bytes: &[u8], fact: Option<u32>) -> Result<(), FormatError> {
    let record = WriterRecord::parse(bytes)?;
    let found = record.peek();
    out.line("object", "writer record");
    out.line("pool", found.pool);
    out.line("number", found.number);
    out.line("run", found.run);
    out.line("attempt", found.attempt);
    let (pool, number) = (found.pool, fact.unwrap_or(found.number));
    out.verdict(record.verify(pool, number));
    Ok(())
}

fn group_record(out: &mut Text, bytes: &[u8], fact: Option<GroupId>) -> Result<(), FormatError> {
    let record = GroupRecord::parse(bytes)?;
    let found = record.peek();
    out.line("object", "group record");
    out.line("pool", found.pool);
    out.line("group", found.group);
    out.line("attempt", found.attempt);
    out.line("written", Time(found.written_ms));
    match &found.fate {
        GroupFate::Buried => out.line("members", "none, the group was buried"),
        GroupFate::True { name, members } => {
            out.line("name", name);
            members.iter().for_each(|member| out.line("member", member));
        }
    }
    let (pool, group) = (found.pool, fact.unwrap_or(found.group));
    out.verdict(record.verify(pool, group));
    Ok(())
}

fn waiting_list(out: &mut Text, bytes: &[u8]) -> Result<(), FormatError> {
    let list = WaitingList::parse(bytes)?;
    out.line("object", "list of dead objects");
    let pool = list.peek().pool;
    out.line("pool", pool);
    out.line("round", Time(list.peek().wall_ms));
    out.line("objects", list.peek().dead.len());
    out.verdict(list.verify(pool));
    Ok(())
}

fn a_head(out: &mut Text, bytes: &[u8], fact: Option<(crate::VolumeId, u64)>) -> Result<(), FormatError> {
    let record = Head::parse(bytes)?;
    let found = record.peek();
    out.line("object", "head");
    out.line("pool", found.pool);
    out.line("volume", found.volume);
    out.line("number", found.number);
    out.line("epoch", found.epoch);
    out.line("kind", found.kind);
    out.line("attempt", found.attempt);
    out.line("hash", Hash::of(bytes));
    out.optional(
        "previous",
        found.previous.map(|previous| {
            format!("{} attempt {} hash {}", previous.number, previous.attempt, previous.hash)
        }),
    );
    out.line("run", found.run);
    out.line("directory", found.directory);
    out.line("log", found.log);
    out.line("size", Bytes(found.size_bytes));
    out.line("written", Time(found.written_ms));
    out.line("sequence", found.sequence);
    out.optional("root", found.root.map(reference));
    out.line("root sequence", found.root_sequence);
    out.list("tail", &found.tail, |segment| {
        let (first, last) = (segment.first_sequence, segment.last_sequence);
        let (id, size, hash) = (segment.id, Bytes(segment.object_bytes), segment.index_hash);
        format!("{id} sequences {first} to {last}, {size}, index {hash}")
    });
    out.list("pieces", &found.pieces, |piece| {
        let (first, last) = (piece.first_sequence, piece.last_sequence);
        let (carrier, size, hash) = (piece.head, Bytes(u64::from(piece.bytes)), piece.hash);
        format!("of head {carrier} sequences {first} to {last}, {size}, hash {hash}")
    });
    properties(out, &found.properties);
    out.optional(
        "source",
        found.lineage.source.map(|source| format!("volume {} head {}", source.volume, source.head)),
    );
    out.optional("group", found.lineage.group);
    out.list("labels", &found.lineage.labels, |(key, value)| format!("{key}={value}"));
    let pool = found.pool;
    if let Some(own) = found.pieces.last().filter(|piece| piece.head == found.number) {
        out.verdict(own.open(pool, &found.piece));
    }
    let (volume, number) = fact.unwrap_or((found.volume, found.number));
    out.verdict(record.verify(pool, volume, number));
    Ok(())
}

fn properties(out: &mut Text, properties: &Properties) {
    let inherited = || "inherited".to_string();
    out.line("on lag", properties.on_lag.map_or_else(inherited, |value| value.to_string()));
    out.line("history", properties.history.map_or_else(inherited, |value| value.to_string()));
    out.line("durability", properties.durability.map_or_else(inherited, |value| value.to_string()));
    out.line("compression", properties.compression.map_or_else(inherited, |value| value.to_string()));
}

fn a_segment(out: &mut Text, bytes: &[u8], fact: Option<crate::SegmentId>) -> Result<(), FormatError> {
    let record = Trailer::parse(bytes)?;
    let pool = record.peek().pool;
    let id = record.peek().id;
    let trailer = record.verify(pool, id, Some(bytes.len() as u64))?;
    out.line("object", "segment");
    out.line("pool", pool);
    out.line("segment", id);
    out.line("attempt", trailer.attempt);
    out.line("size", Bytes(trailer.object_bytes));
    let start = usize::try_from(trailer.index_offset).unwrap_or(usize::MAX);
    let index_bytes = bytes.get(start..).and_then(|rest| rest.get(..trailer.index_bytes as usize));
    let index = SegmentIndex::parse(index_bytes.unwrap_or_default(), &trailer)?;
    out.line(
        "index",
        format_args!(
            "{} at {start}, hash {}",
            Bytes(index_bytes.unwrap_or_default().len() as u64),
            trailer.index_hash
        ),
    );
    out.line("sequences", format_args!("{} to {}", index.first_sequence, index.last_sequence));
    out.line("slots", index.slots);
    if let Some(rewrite) = &index.rewrite {
        out.line("left", slots(&rewrite.kept));
        let (size, hash) = (Bytes(rewrite.sealed_bytes), rewrite.sealed_hash);
        out.line("sealed", format_args!("{size}, index {hash}"));
    }
    // Of a rewrite these are places among the slots that are left.
    let unit = if index.rewrite.is_some() { "places" } else { "slots" };
    out.list("frames", &index.frames, |frame| {
        let last = frame.first_place + u32::from(frame.blocks) - 1;
        let state = match open_stored(frame, bytes) {
            Ok(()) => "good".into(),
            Err(error) => format!("WRONG: {error}"),
        };
        format!(
            "{unit} {} to {last}: {} bytes at {}, {}, {state}",
            frame.first_place, frame.stored_bytes, frame.offset, frame.codec
        )
    });
    out.list("runs", &index.runs, run);
    let same_header = segment::SegmentHeader::parse(bytes).and_then(|found| {
        crate::error::same(
            "segment header",
            "identity",
            format!("{:?}", trailer.header()),
            format!("{found:?}"),
        )
    });
    out.verdict(same_header);
    out.verdict(crate::error::same("segment", "id in the object's name", fact.unwrap_or(id), id));
    Ok(())
}

fn open_stored(frame: &segment::Frame, bytes: &[u8]) -> Result<(), FormatError> {
    let stored = bytes.get(frame.offset as usize..frame.end() as usize).unwrap_or_default();
    segment::open_frame(frame, stored).map(drop)
}

fn run(run: &Run) -> String {
    let what = match run.kind {
        RunKind::Data { first_slot } => format!("slots from {first_slot}"),
        RunKind::Hole => "hole".into(),
        RunKind::Zero => "zero".into(),
        RunKind::Reference(address) => format!("at {address}"),
    };
    format!("{} blocks from {}: {what}, sequence {}", run.blocks, run.lba, run.sequence)
}

fn a_pack(out: &mut Text, bytes: &[u8], fact: Option<crate::PackId>) -> Result<(), FormatError> {
    let record = Pack::parse(bytes)?;
    let found = record.peek();
    out.line("object", "page pack");
    out.line("pool", found.pool);
    out.line("pack", found.id);
    out.line("attempt", found.attempt);
    out.line("size", Bytes(bytes.len() as u64));
    out.list("pages", &found.pages, |entry| {
        let place = entry.reference;
        let stored = bytes.get(place.offset as usize..).and_then(|rest| rest.get(..place.bytes as usize));
        let content = match page::decode_page(&place, stored.unwrap_or_default(), entry.level, entry.index) {
            Ok(Page::Leaf(runs)) => format!("{} runs", runs.len()),
            Ok(Page::Inner(children)) => {
                let zeros = children.iter().filter(|(_, child)| *child == Child::Zero).count();
                format!("{} children, {zeros} of them zero", children.len())
            }
            Err(error) => format!("WRONG: {error}"),
        };
        format!(
            "level {} index {}: {content}, {} bytes at {}",
            entry.level, entry.index, place.bytes, place.offset
        )
    });
    let (pool, id) = (found.pool, fact.unwrap_or(found.id));
    out.verdict(record.verify(pool, id));
    Ok(())
}

fn reference(reference: page::PageRef) -> String {
    let page::PageRef { pack, offset, bytes, hash } = reference;
    format!("{bytes} bytes at {offset} of pack {pack}, hash {hash}")
}

fn a_chunk(out: &mut Text, bytes: &[u8]) -> Result<(), FormatError> {
    let header = ChunkHeader::parse(bytes)?;
    out.line("object", "log chunk");
    out.line("volume", header.volume);
    out.line("log", header.log);
    out.line("epoch", header.epoch);
    out.line("chunk", header.chunk);
    out.line("first sequence", header.first_sequence);
    out.line("synced sequence", header.synced_sequence);
    out.line("salt", format_args!("{:016x}", header.salt));
    let (mut records, mut at) = (Vec::new(), CHUNK_HEADER_BYTES);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match chunk::decode_record(rest, header.salt) {
            Some((record, header_bytes)) => {
                records.push((at, record));
                let data_blocks = if record.kind == RecordKind::Write { record.blocks as usize } else { 0 };
                at += header_bytes + data_blocks * BLOCK_BYTES;
            }
            None => at += RECORD_ALIGN,
        }
    }
    out.list("records", &records, |(at, record)| {
        let what = match record.kind {
            RecordKind::Write => "write",
            RecordKind::Hole => "hole",
            RecordKind::Zero => "zero",
        };
        let chunk::Record { sequence, lba, blocks, synced_sequence, .. } = record;
        format!("{sequence} at {at}: {what} {blocks} blocks from {lba}, synced {synced_sequence}")
    });
    Ok(())
}

/// Lines of a name and a value.
#[derive(Default)]
struct Text {
    text: String,
}

impl Text {
    fn line(&mut self, name: &str, value: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:<16} {value}", format_args!("{name}:").to_string());
    }

    fn optional(&mut self, name: &str, value: Option<impl fmt::Display>) {
        match value {
            Some(value) => self.line(name, value),
            None => self.line(name, "none"),
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], text: impl Fn(&T) -> String) {
        self.line(name, items.len());
        for item in items.iter().take(LINES_MAX) {
            let _ = writeln!(self.text, "  {}", text(item));
        }
        if items.len() > LINES_MAX {
            let _ = writeln!(self.text, "  … and {} more", items.len() - LINES_MAX);
        }
    }

    fn verdict<T>(&mut self, result: Result<T, FormatError>) {
        if let Err(error) = result {
            let _ = writeln!(self.text, "WRONG: {error}");
        }
    }
}

/// Bytes, and the same in the largest binary unit that leaves at least one.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let tens = self.0.checked_ilog2().unwrap_or(0) / 10;
        write!(to, "{} bytes", self.0)?;
        match tens.checked_sub(1).and_then(|unit| UNITS.get(unit as usize)) {
            Some(unit) => write!(to, " ({:.1} {unit})", self.0 as f64 / (1u64 << (10 * tens)) as f64),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
