//! Pieces in heads: cut, covered by segments, read back by whoever opens; flushes into the store; a store that lags.

use std::time::Duration;

use esker_engine::volume::Limits;
use esker_format::property::{Durability, OnLag};
use esker_io::StoreErrorKind;

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, Survival, When,
    lab::{Fall, Lab, Outcome, Setup, small_limits, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    let pieces = |name, script| Scenario { setup: late_seals, ..plain(name, script) };
    vec![
        pieces("pieces", pieces_and_seals),
        Scenario { sites: 2, ..pieces("pieces-elsewhere", pieces_elsewhere) },
        pieces("pieces-here", pieces_here),
        pieces("pieces-faults", pieces_faults),
        Scenario { setup: few_heads, ..pieces("pieces-kept", pieces_kept) },
        Scenario { setup: two_mib, ..pieces("pieces-shrink", pieces_shrink) },
        Scenario { setup: small_dirty_bound, ..pieces("pieces-full", pieces_full) },
        Scenario { setup: sync, ..pieces("sync", sync_flushes) },
        Scenario { setup: sync, cut: false, ..pieces("sync-many", sync_many) },
        Scenario { setup: sync, ..pieces("sync-outage", sync_outage) },
        Scenario { setup: stall, ..pieces("stall", stall_waits) },
        pieces("alarm", alarm_goes_on),
    ]
}

fn late_seals() -> Setup {
    let limits = Limits { seal_age: Duration::from_secs(10), ..small_limits() };
    Setup { limits, ..Setup::default() }
}

/// Reclaim of heads begins at once.
fn few_heads() -> Setup {
    let mut setup = late_seals();
    setup.limits.heads_kept = 2;
    setup
}

/// Twice the smallest volume, so that it can shrink.
fn two_mib() -> Setup {
    Setup { size_bytes: 2 << 20, ..late_seals() }
}

/// A dirty bound of 32 blocks: pieces give no room back.
fn small_dirty_bound() -> Setup {
    let mut setup = late_seals();
    setup.limits.dirty_bytes_max = 32 * 4096;
    setup
}

fn sync() -> Setup {
    Setup { durability: Durability::Sync, ..late_seals() }
}

fn stall() -> Setup {
    Setup { on_lag: OnLag::Stall, ..late_seals() }
}

/// Overlapping writes, trims and zeros, a piece for each round.
fn rounds(lab: &mut Lab, from: u64, count: u64) -> Outcome {
    for round in from..from + count {
        lab.write(round * 2 % 40, 4)?;
        match round % 3 {
            0 => lab.trim(round * 2 % 40 + 1, 2)?,
            1 => lab.zero(round * 2 % 40, 1)?,
            _ => lab.write_bytes(round % 40 * 4096 + 100, 5_000)?,
        }
        lab.run_ms(1_000)?;
    }
    Ok(())
}

fn expect_pieces(lab: &Lab, what: impl Fn(usize) -> bool) -> Outcome {
    let pieces = lab.volume(lab.owner()).status().pieces;
    if what(pieces) { Ok(()) } else { Err(violation(format!("the head names {pieces} pieces"))) }
}

/// Pieces, seals that cover them while further ones come, and a seal that covers a part of one.
fn pieces_and_seals(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    rounds(lab, 0, 3)?;
    expect_pieces(lab, |pieces| pieces >= 3)?;
    lab.expect_stored()?;
    lab.check_committed()?;
    rounds(lab, 3, 9)?;
    expect_pieces(lab, |pieces| pieces < 9)?;
    lab.read_all()?;
    // Too much for a piece.
    for lba in 0..6 {
        lab.write(lba, 200)?;
    }
    lab.run_ms(1_000)?;
    expect_pieces(lab, |pieces| pieces == 0)?;
    lab.write(7, 3)?;
    lab.run_ms(1_000)?;
    lab.expect_stored()?;
    lab.check_committed()
}

/// Another host opens what is in pieces, and the first comes back.
fn pieces_elsewhere(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    rounds(lab, 0, 3)?;
    lab.write(2, 2)?;
    lab.flush()?;
    lab.open(1)?;
    rounds(lab, 3, 2)?;
    lab.expect_stored()?;
    lab.fall(0, Fall::Kill);
    lab.fall(1, Fall::Kill);
    lab.open(0)?;
    lab.write(1, 1)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.read_all()
}

/// The same host opens again, with a log that reaches beyond the pieces, and with one that power loss made shorter.
fn pieces_here(lab: &mut Lab) -> Outcome {
    for (round, fall) in [Fall::Kill, Fall::Power(Survival::OnlySynced), Fall::Power(Survival::Subset(3))]
        .into_iter()
        .enumerate()
    {
        let round = round as u64;
        lab.open(0)?;
        rounds(lab, round * 2, 2)?;
        // The log has what overwrites a piece, and the store has not.
        lab.write(round * 4, 3)?;
        lab.trim(round * 4 + 6, 1)?;
        if round == 1 {
            lab.flush()?;
        }
        lab.fall(0, fall);
    }
    lab.open(0)?;
    lab.read_all()
}

/// Each PUT of a piece fails in each way that passes; the outcome is the same (I9).
fn pieces_faults(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let faults = [
        StoreFault::Before(StoreErrorKind::Transient),
        StoreFault::After,
        StoreFault::Late(Duration::from_millis(700)),
        StoreFault::Before(StoreErrorKind::Exists),
        StoreFault::Stall(Duration::from_secs(20)),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        lab.machine().store().fail(When::next(Request::Put, "heads/"), fault);
        rounds(lab, round as u64, 1)?;
    }
    lab.run_ms(30_000)?;
    lab.expect_stored()?;
    lab.read_all()
}

/// Heads that carry needed pieces stay (rule H7), and go when a segment covers them.
fn pieces_kept(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    rounds(lab, 0, 6)?;
    expect_pieces(lab, |pieces| pieces >= 6)?;
    lab.check_committed()?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    rounds(lab, 6, 18)?;
    let heads = lab.head_names().len();
    if heads > 18 {
        return Err(violation(format!("{heads} heads where 2 are kept and a dozen carry pieces")));
    }
    lab.read_all()
}

/// A volume shrinks while pieces hold what lies beyond its new end.
fn pieces_shrink(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(250, 20)?;
    rounds(lab, 0, 2)?;
    expect_pieces(lab, |pieces| pieces >= 2)?;
    lab.trim(250, 20)?;
    lab.resize(256)?;
    rounds(lab, 2, 2)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.check_committed()
}

/// Pieces do not fill the log for ever: at the dirty bound everything is sealed.
fn pieces_full(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    rounds(lab, 0, 8)?;
    if lab.dirty() > 32 * 4096 {
        return Err(violation(format!("{} dirty bytes", lab.dirty())));
    }
    lab.read_all()
}

/// A FLUSH returns when the store has it, whatever the store does; an idle one costs nothing.
fn sync_flushes(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let faults = [
        None,
        Some(StoreFault::After),
        Some(StoreFault::Late(Duration::from_millis(300))),
        Some(StoreFault::Before(StoreErrorKind::Transient)),
        None,
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        if let Some(fault) = fault {
            lab.machine().store().fail(When::next(Request::Put, "heads/"), fault);
        }
        lab.write(round as u64 * 3, 4)?;
        lab.flush()?;
        lab.expect_stored()?;
        let number = lab.newest_number();
        lab.flush()?;
        lab.run_ms(50)?;
        if lab.newest_number() != number {
            return Err(violation("a flush of nothing makes a head"));
        }
    }
    // Too much for a piece.
    for lba in 0..6 {
        lab.write(lba, 200)?;
    }
    lab.flush()?;
    lab.check_committed()
}

/// Many small flushes: the tail keeps its bound, and no flush fails (rule H8).
fn sync_many(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..150 {
        lab.write(round % 50, 1 + round % 5)?;
        lab.flush()?;
        expect_pieces(lab, |pieces| pieces <= 64)?;
    }
    lab.check_committed()
}

/// The store is away: a FLUSH waits, and writes go on meanwhile.
fn sync_outage(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_secs(20));
    lab.run_ms(1_000)?;
    let flush = lab.host(0).spawn("flush", lab.volume(0).stored_later());
    lab.write(4, 4)?;
    lab.run_ms(10_000)?;
    lab.write(8, 4)?;
    if flush.is_done() {
        return Err(violation("a flush is done while the store is away"));
    }
    lab.wait(flush)?.map_err(violation)?;
    lab.flush()?;
    lab.expect_stored()?;
    lab.read_all()
}

/// Writes wait once the store has less than promised, and go on when it has caught up (rule W11).
fn stall_waits(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_secs(20));
    lab.run_ms(500)?;
    lab.write(4, 4)?;
    lab.run_ms(600)?;
    let write = lab.fresh(8, 4);
    for outcome in lab.try_change(&[write])? {
        outcome.map_err(violation)?;
    }
    if lab.waiting() == 0 || !lab.volume(0).status().lags {
        return Err(violation("no write waits while the store lags"));
    }
    lab.finish_later()?;
    lab.run_ms(2_000)?;
    lab.expect_stored()?;
    if lab.volume(0).status().lags {
        return Err(violation("the store has everything and lags"));
    }
    lab.write(2, 3)?;
    lab.read_all()
}

/// Without that, the lag is only said.
fn alarm_goes_on(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_secs(20));
    lab.run_ms(2_500)?;
    let write = lab.fresh(8, 4);
    for outcome in lab.try_change(&[write])? {
        outcome.map_err(violation)?;
    }
    if lab.waiting() > 0 || !lab.volume(0).status().lags {
        return Err(violation("a write waits, or nobody says that the store lags"));
    }
    lab.run_ms(40_000)?;
    lab.expect_stored()?;
    lab.read_all()
}
