//! The pipeline's part of other properties; its steps are told in `volume/set.rs`.

use esker_format::{head::HeadKind, property::Properties};
use esker_io::{Bug, planted};

use super::{
    super::{Writer, set::Request},
    CommitEnd, Pipeline,
};
use crate::{commit::Change, recover::effective};

/// Properties whose head is on its way.
pub(super) struct Setting {
    properties: Properties,
    requests: Vec<Request>,
}

impl Pipeline {
    /// Commits what waits, as soon as nothing else is on its way.
    pub(super) fn begin_set(&mut self, writer: &Writer) {
        if self.chain.is_none() || self.too_many_heads() {
            return;
        }
        let requests = writer.take_sets();
        if requests.is_empty() {
            return;
        }
        let Some(mut chain) = self.chain.take() else { return };
        let before = chain.newest().properties;
        let properties = requests.iter().fold(before, |properties, request| request.change.over(&properties));
        let setting = Setting { properties, requests };
        if properties == before {
            // Nothing else was asked for: it is true already.
            self.chain = Some(chain);
            return setting.answer();
        }
        self.setting = Some(setting);
        let volume = self.volume.clone();
        self.commit = Some(Box::pin(async move {
            let said = if planted(Bug::SetNotCommitted) { before } else { properties };
            let change = Change { properties: Some(said), ..Change::none(HeadKind::Data) };
            let outcome = chain.commit(volume.pool.world(), change, || volume.gives_up()).await;
            CommitEnd::alone(chain, outcome)
        }));
    }

    /// The commit that was on its way is settled: if it was that of properties, they hold from now on.
    pub(super) fn set(&mut self) {
        self.others_turn = self.setting.is_some();
        let Some(setting) = self.setting.take() else { return };
        let effective = effective(&setting.properties, &self.volume.pool.record().properties);
        if !planted(Bug::SetNotNoticed) {
            *self.volume.effective.lock() = effective;
        }
        tracing::info!(volume = %self.volume.name, ?effective, "other properties hold");
        setting.answer();
    }
}

impl Setting {
    fn answer(self) {
        for request in self.requests {
            // Whoever asked may have gone; the properties hold all the same.
            let _ = request.answer.send(());
        }
    }
}
