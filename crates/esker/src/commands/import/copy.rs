//! The copying itself. Blocks, so it runs beside the runtime.

use std::sync::Arc;

use anyhow::{bail, ensure};
use esker_frontend::nbd::{Client, client::Ask};
use esker_image::{Found, Image, PIECE_BYTES, data_runs, piece};
use tokio::runtime::Handle;

use crate::{
    output::complain,
    progress::{Progress, Unit},
    size,
    transfer::{BLOCK, Facts, ImageFacts, Mark, Partial, STRIDE_BYTES, Session, WINDOW_BYTES, data_from},
};

/// What is to be done.
pub(super) struct Job {
    pub(super) session: Arc<Session>,
    pub(super) runtime: Handle,
    pub(super) name: String,
    pub(super) facts: Facts,
    /// None when the image comes through a pipe: then there is nothing to come back to.
    pub(super) partial: Option<(Partial, ImageFacts)>,
    pub(super) force: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) image_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) resumed_bytes: u64,
}

/// Where a window ends, and whether the image does.
pub(super) struct Window {
    pub(super) end: u64,
    pub(super) last: bool,
}

/// An image and the volume that it goes to.
pub(super) struct Copy {
    pub(super) client: Client,
    pub(super) image: Box<dyn Image>,
    buffer: Vec<u8>,
}

impl Job {
    pub(super) fn run(self, image: Box<dyn Image>) -> anyhow::Result<Copied> {
        let client = self.session.connect(&self.name)?;
        ensure!(!client.read_only(), "volume {} is served read-only", self.name);
        let mut copy = Copy { client, image, buffer: vec![0; PIECE_BYTES] };
        let resumed_bytes = self.begin(&mut copy)?;
        let total = copy.image.size_bytes().unwrap_or(self.facts.size_bytes);
        let progress = Progress::new("importing", Unit::Bytes);
        let mut copied = Copied { resumed_bytes, ..Copied::default() };
        let mut at = resumed_bytes;
        self.mark(at)?;
        loop {
            let window = copy.window(at, |client, offset, data| {
                while client.is_full() {
                    client.receive()?;
                }
                client.submit(&Ask::Write { offset, data })?;
                copied.written_bytes += data.len() as u64;
                progress.set(offset, total);
                Ok(())
            })?;
            while !copy.client.is_idle() {
                copy.client.receive()?;
            }
            copy.client.call(&Ask::Flush)?;
            at = window.end;
            if window.last {
                break;
            }
            self.mark(at)?;
        }
        copied.image_bytes = at;
        if let Some((partial, _)) = &self.partial {
            partial.remove()?;
        }
        Ok(copied)
    }

    /// Where to begin. The volume is empty from there on.
    fn begin(&self, copy: &mut Copy) -> anyhow::Result<u64> {
        if let Some((partial, image)) = &self.partial
            && let Some(mark) = partial.read()
        {
            let now = Mark::new(&self.facts, Some(*image));
            if !mark.is_of(&now) {
                complain("the volume or the image is not that of the interrupted import: it starts again")?;
            } else if copy.is_untouched(&mark, self.facts.sequence)? {
                complain(&format!("going on at {}", size::show(mark.done_bytes)))?;
                return Ok(mark.done_bytes);
            } else {
                complain("the volume has changed since the import was interrupted: it starts again")?;
            }
        }
        // As far as can be said without reading it.
        if data_from(&mut copy.client, 0)? < copy.client.size_bytes() {
            let name = &self.name;
            ensure!(self.force, "volume {name} is not empty; --force overwrites all of it");
            copy.clear()?;
        }
        Ok(0)
    }

    /// What lies before `done_bytes` is in the volume, and durable.
    fn mark(&self, done_bytes: u64) -> anyhow::Result<()> {
        let Some((partial, image)) = &self.partial else { return Ok(()) };
        let facts = self.runtime.block_on(self.session.facts(&self.name))?;
        let mut mark = Mark::new(&facts, Some(*image));
        mark.done_bytes = done_bytes;
        match partial.write(&mark) {
            // The image may lie where nothing can be written. That is no reason not to import it.
            Err(error) if done_bytes == 0 => {
                complain(&format!("this import cannot be resumed if it is interrupted: {error:#}"))?;
                Ok(())
            }
            Err(_) if partial.read().is_none() => Ok(()),
            outcome => outcome,
        }
    }
}

impl Copy {
    /// Gives `each` the data of the image from `from` on, for a window: runs of at most a piece, in whole blocks.
    pub(super) fn window(
        &mut self,
        from: u64,
        mut each: impl FnMut(&mut Client, u64, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Window> {
        let mut at = from;
        while at < from + WINDOW_BYTES {
            let bytes = match piece(&mut *self.image, at, &mut self.buffer)? {
                Found::End => return Ok(Window { end: at, last: true }),
                Found::Hole(bytes) => {
                    at += bytes;
                    continue;
                }
                Found::Data(bytes) => bytes,
            };
            // The disk may end inside a block; what follows it in the volume is zeros.
            let whole = bytes.next_multiple_of(BLOCK);
            self.buffer[bytes..whole].fill(0);
            for run in data_runs(&self.buffer[..whole], BLOCK) {
                let end = at + run.end as u64;
                let room = self.client.size_bytes();
                if end > room {
                    bail!(
                        "the image is larger than the volume, which has {} ({room} bytes)",
                        size::show(room)
                    );
                }
                each(&mut self.client, at + run.start as u64, &self.buffer[run])?;
            }
            at += bytes as u64;
            if bytes < PIECE_BYTES {
                return Ok(Window { end: at, last: true });
            }
        }
        Ok(Window { end: at, last: false })
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        let (mut offset, size_bytes) = (0, self.client.size_bytes());
        while offset < size_bytes {
            let length = (size_bytes - offset).min(STRIDE_BYTES);
            self.client.call(&Ask::Zero { offset, length: length as u32 })?;
            offset += length;
        }
        self.client.call(&Ask::Flush)?;
        Ok(())
    }
}
