//! The pipeline's part of a point; its steps are told in `volume/point.rs`.

use esker_io::{Bug, planted};

use super::{
    super::{Writer, stages::Done},
    Pipeline,
};

impl Pipeline {
    /// Takes the requests that came, and answers those whose point the newest head is.
    pub(super) fn answer_points(&mut self, writer: &Writer) {
        self.points.extend(writer.take_points());
        let Some(chain) = &self.chain else { return };
        let covered = chain.newest().covered();
        for request in self.points.extract_if(.., |request| request.sequence <= covered) {
            let exact = request.sequence == covered || planted(Bug::PointNotCut);
            assert!(exact, "no commit goes past a point: {covered} after {}", request.sequence);
            // Whoever asked may have gone; the head is there all the same.
            let _ = request.answer.send(chain.newest().clone());
        }
    }

    /// Whether a point waits for seals: everything up to it has to be cut now.
    pub(super) fn point_wants_seals(&self, writer: &Writer) -> bool {
        let next = writer.log.next_cut();
        self.points.iter().any(|request| request.sequence >= next)
    }

    /// The sequence that the next commit must not go past.
    pub(super) fn next_point(&mut self, writer: &Writer) -> Option<u64> {
        // A seal beyond a stop may be ready before its request was seen here.
        self.points.extend(writer.take_points());
        self.points.iter().map(|request| request.sequence).min()
    }

    /// Whether this seal lies beyond that sequence.
    pub(super) fn is_beyond(done: &Done, point: Option<u64>) -> bool {
        point.is_some_and(|point| done.index.last_sequence > point) && !planted(Bug::PointNotCut)
    }
}
