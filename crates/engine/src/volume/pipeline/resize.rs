//! The pipeline's part of a resize; its steps are told in `volume/resize.rs`.

use esker_format::head::HeadKind;
use esker_io::{Bug, planted};
use futures_channel::oneshot;

use super::{
    super::{StoredMap, Writer, resize::Request, stages::write_root},
    CommitEnd, Pipeline,
};
use crate::{
    Result,
    commit::{Chain, Change},
};

/// A resize that was begun.
pub(super) struct Resizing {
    size_bytes: u64,
    /// Up to this sequence everything must be in pages first: step 2 of shrinking.
    floor: u64,
    answer: oneshot::Sender<Result<()>>,
}

impl Pipeline {
    /// Whether everything in the log has to go to the store and into pages, for the sake of a resize.
    pub(super) fn hurries(&self) -> bool {
        self.resizing.as_ref().is_some_and(|resizing| resizing.floor > self.root_sequence)
    }

    /// Takes a request, and commits the size as soon as nothing else is on its way.
    pub(super) fn begin_resize(&mut self, writer: &Writer) {
        if self.resizing.is_none() {
            // The lock is not held while the map is searched.
            let request = writer.resize.lock().take();
            if let Some(request) = request {
                self.take_request(writer, request);
            }
        }
        let Some(resizing) = &self.resizing else { return };
        // A root in the making is for the old size.
        let busy = self.checkpoint.is_some() || self.new_root.is_some() || self.too_many_heads();
        let Some(chain) = self.chain.take_if(|chain| !busy && chain.newest().root_sequence >= resizing.floor)
        else {
            return;
        };
        let size_bytes = resizing.size_bytes;
        self.commit_size(chain, size_bytes);
    }

    fn take_request(&mut self, writer: &Writer, Request { size_bytes, answer }: Request) {
        let before = self.volume.size_bytes();
        let floor = if size_bytes < before { self.volume.cut_off(writer, size_bytes) } else { Ok(0) };
        match floor {
            Err(error) => {
                // Whoever asked may have gone; nothing has changed.
                let _ = answer.send(Err(error));
            }
            Ok(_) if size_bytes == before => {
                let _ = answer.send(Ok(()));
            }
            Ok(floor) => {
                if planted(Bug::GrownEarly) {
                    self.volume.set_size(size_bytes);
                }
                self.resizing = Some(Resizing { size_bytes, floor, answer });
            }
        }
    }

    /// A head with the new size is settled: the last step.
    pub(super) fn resized(&mut self) {
        if let Some(resizing) = self.resizing.take() {
            self.volume.set_size(resizing.size_bytes);
            // Whoever asked may have gone; the new size is true all the same.
            let _ = resizing.answer.send(Ok(()));
        }
    }

    /// Commits another size; nothing else goes with it.
    fn commit_size(&mut self, mut chain: Chain, size_bytes: u64) {
        let volume = self.volume.clone();
        self.commit = Some(Box::pin(async move {
            let outcome = match write_root(&volume, StoredMap::of(chain.newest()), size_bytes).await {
                Ok(resized) => {
                    let held = resized.held.iter().cloned().collect();
                    let change = Change { resized: Some(resized), held, ..Change::none(HeadKind::Data) };
                    chain.commit(volume.pool.world(), change, || volume.gives_up()).await
                }
                Err(error) => Err(error),
            };
            Box::new(CommitEnd { chain, outcome, done: Vec::new(), root: None, resized: true })
        }));
    }
}
