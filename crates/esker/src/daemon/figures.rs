//! The engine's figures in the words of the API.

use esker_control::api;
use esker_engine::{
    cache::DiskUsage,
    recover::Report,
    volume::{Status, VolumeStatus},
};
use esker_io::objects::Traffic;

/// A volume that is open.
pub(super) fn served(status: &VolumeStatus) -> api::Served {
    let (state, problem) = match &status.status {
        Status::Running => (api::VolumeState::Running, None),
        Status::ReadOnly => (api::VolumeState::ReadOnly, None),
        Status::Draining => (api::VolumeState::Draining, None),
        Status::Closed => (api::VolumeState::Closed, None),
        Status::Failed(error) => (api::VolumeState::Stopped, Some(error.to_string())),
    };
    let figures = api::Figures {
        id: status.id.clone(),
        size_bytes: status.size_bytes,
        durability: status.effective.durability.to_string(),
        compression: status.effective.compression.to_string(),
        on_lag: status.effective.on_lag.to_string(),
        history: status.effective.history.to_string(),
        sequence: status.sequence,
        synced_sequence: status.synced_sequence,
        committed_sequence: status.committed_sequence,
        dirty_bytes: status.dirty_bytes,
        dirty_bytes_max: status.dirty_bytes_max,
        head: status.head,
        epoch: status.epoch,
        tail_segments: status.tail_segments as u64,
        map_bytes: status.map_bytes as u64,
        lag_ms: status.lag_ms,
        lags: status.lags,
        pieces: status.pieces as u64,
        piece_bytes: status.piece_bytes,
        log_files: status.log_files as u64,
    };
    api::Served { name: status.name.clone(), state, problem, figures: Some(figures) }
}

/// What an opening found.
pub(super) fn opened(name: &str, report: Report) -> api::Opened {
    api::Opened {
        name: name.to_owned(),
        already_open: false,
        epoch: report.epoch,
        replayed: report.replayed as u64,
        torn: report.torn.map(|torn| api::Torn { position: torn.position, records: torn.records }),
        set_aside: report.set_aside,
    }
}

/// What was sent to the store.
pub(super) fn requests(traffic: &Traffic) -> api::Requests {
    api::Requests {
        puts: traffic.puts,
        gets: traffic.gets,
        lists: traffic.lists,
        deletes: traffic.deletes,
        errors: traffic.errors,
        bytes_up: traffic.bytes_up,
        bytes_down: traffic.bytes_down,
    }
}

/// What the disk cache holds and has done.
pub(super) fn disk_cache(usage: &DiskUsage) -> api::DiskCache {
    api::DiskCache {
        bytes_max: usage.bytes_max,
        bytes: usage.file_bytes,
        entries: usage.entries,
        memory_bytes: usage.memory_bytes,
        hits: usage.hits,
        misses: usage.misses,
        refused: usage.refused,
        evicted: usage.evicted,
        dropped: usage.dropped,
    }
}
