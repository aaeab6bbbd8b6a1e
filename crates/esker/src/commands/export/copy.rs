//! The copying itself. Blocks, so it runs beside the runtime.

use std::{path::PathBuf, sync::Arc};

use esker_frontend::{
    Extent, ExtentState,
    nbd::{
        Client,
        client::{Answer, Ask},
    },
};
use esker_image::{PIECE_BYTES, data_runs};
use tokio::runtime::Handle;

use super::{check_unchanged, sink::Sink};
use crate::{
    output::complain,
    progress::{Progress, Unit},
    size,
    transfer::{BLOCK, Facts, Mark, Partial, Session, WINDOW_BYTES, data_from, extents, is_stream},
};

/// What is to be done.
pub(super) struct Job {
    pub(super) session: Arc<Session>,
    pub(super) name: String,
    pub(super) facts: Facts,
    pub(super) file: PathBuf,
    pub(super) force: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) written_bytes: u64,
    pub(super) resumed_bytes: u64,
}

struct Copy {
    client: Client,
    sink: Sink,
    progress: Progress,
    written_bytes: u64,
}

impl Job {
    pub(super) fn run(self, runtime: &Handle) -> anyhow::Result<Copied> {
        let client = self.session.connect(&self.name)?;
        let size_bytes = self.facts.size_bytes;
        anyhow::ensure!(client.size_bytes() == size_bytes, "volume {} was resized just now", self.name);
        let partial = (!is_stream(&self.file)).then(|| Partial::of_export(&self.file));
        let mut mark = Mark::new(&self.facts, None);
        let sink = match &partial {
            Some(partial) => self.sink(partial, &mut mark)?,
            None => Sink::pipe(),
        };
        let resumed_bytes = mark.done_bytes;
        let mut copy =
            Copy { client, sink, progress: Progress::new("exporting", Unit::Bytes), written_bytes: 0 };
        while mark.done_bytes < size_bytes {
            let end = size_bytes.min(data_from(&mut copy.client, mark.done_bytes)? + WINDOW_BYTES);
            copy.range(mark.done_bytes, end)?;
            mark.done_bytes = end;
            if let Some(partial) = partial.as_ref().filter(|_| end < size_bytes) {
                copy.sink.sync()?;
                partial.write(&mark)?;
            }
        }
        copy.sink.finish(size_bytes)?;
        let now = runtime.block_on(self.session.facts(&self.name))?;
        check_unchanged(&self.facts, &now, &self.name)?;
        if let Some(partial) = partial {
            partial.remove()?;
        }
        Ok(Copied { written_bytes: copy.written_bytes, resumed_bytes })
    }

    /// The file, and in `mark` what of it is done already.
    fn sink(&self, partial: &Partial, mark: &mut Mark) -> anyhow::Result<Sink> {
        let begun = partial.read();
        if let Some(begun) = &begun {
            let unchanged = begun.is_of(mark) && begun.sequence == mark.sequence;
            if let Some(sink) = unchanged.then(|| Sink::reopen(&self.file, mark.size_bytes)).flatten() {
                complain(&format!("going on at {}", size::show(begun.done_bytes)))?;
                mark.done_bytes = begun.done_bytes;
                return Ok(sink);
            }
            complain("the volume or the file has changed since the export was interrupted: it starts again")?;
        }
        // The file of an interrupted export is nobody's yet.
        let force = self.force || begun.is_some();
        if force || !self.file.exists() {
            partial.write(mark)?;
        }
        Sink::create(&self.file, mark.size_bytes, force)
    }
}

impl Copy {
    /// Copies a range of the volume.
    fn range(&mut self, start: u64, end: u64) -> anyhow::Result<()> {
        let mut at = start;
        while at < end {
            for Extent { length, state } in extents(&mut self.client, at, end)? {
                if state == ExtentState::Data {
                    self.data(at, at + length)?;
                }
                at += length;
            }
            self.settle()?;
            self.progress.set(at, self.client.size_bytes());
        }
        Ok(())
    }

    /// Copies data, in reads that end at the borders of pieces.
    fn data(&mut self, start: u64, end: u64) -> anyhow::Result<()> {
        let mut at = start;
        while at < end {
            let cut = (at + 1).next_multiple_of(PIECE_BYTES as u64).min(end);
            while self.client.is_full() {
                self.take()?;
            }
            self.client.submit(&Ask::Read { offset: at, length: (cut - at) as u32 })?;
            self.progress.set(at, self.client.size_bytes());
            at = cut;
        }
        Ok(())
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        while !self.client.is_idle() {
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<()> {
        let Answer::Data(offset, data) = self.client.receive()? else {
            unreachable!("a read is answered with data")
        };
        for run in data_runs(&data, BLOCK) {
            self.written_bytes += run.len() as u64;
            self.sink.write(offset + run.start as u64, &data[run])?;
        }
        Ok(())
    }
}
