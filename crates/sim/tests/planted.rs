//! Every planted bug is caught. Each test plants one in its own process, which is how nextest runs them; under
//! `cargo test` they take turns.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use esker_io::Bug;
use esker_sim::{
    enumerate,
    hunt::{self, Catch},
    lab::Setup,
    scenarios::{self, Scenario},
};

static TURN: Mutex<()> = Mutex::new(());

fn scenario(name: &str) -> Scenario {
    scenarios::find(name).expect("a scenario of that name")
}

fn caught(bug: Bug, name: &str) -> Catch {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let catch = hunt::hunt(bug, &scenario(name), 1..4);
    let catch = catch.unwrap_or_else(|| panic!("{bug:?} is not caught by scenario {name}"));
    eprintln!("{bug:?}: seed {}, {:?}: {}", catch.seed, catch.point, catch.message);
    catch
}

/// Caught, by the check that is meant to.
fn caught_by(bug: Bug, name: &str, message: &str) {
    let catch = caught(bug, name);
    assert!(catch.message.contains(message), "{bug:?} in {name}: {} is not about {message}", catch.message);
}

#[test]
fn w12_the_points_of_a_group_are_taken_one_after_the_other() {
    caught_by(Bug::GroupNotHeld, "group-in-turn", "not one point");
}

#[test]
fn w12_a_member_is_born_before_its_group() {
    caught_by(Bug::MemberBornAlone, "group-never-finished", "is born, and its group");
}

#[test]
fn w12_a_member_is_buried_alone() {
    caught_by(Bug::MemberBuriedAlone, "group-never-finished", "is buried, and its group");
}

#[test]
fn properties_are_set_in_memory_only() {
    caught_by(Bug::SetNotCommitted, "set", "the volume has the properties");
}

#[test]
fn properties_are_committed_and_not_noticed() {
    caught_by(Bug::SetNotNoticed, "set", "the properties are");
}

#[test]
fn a_durability_is_answered_before_it_is_true() {
    caught_by(Bug::SetBeforeStored, "set-sync-ends", "holds, and the store has");
}

#[test]
fn h1_a_claim_is_deleted() {
    caught_by(Bug::ClaimDeleted, "zombie", "was fenced and believes");
}

#[test]
fn h1_a_claim_is_deleted_and_the_put_before_it_went_unanswered() {
    caught_by(Bug::ClaimDeleted, "zombie-unanswered", "was fenced and believes");
}

#[test]
fn h1_a_late_head_finds_its_number_free() {
    caught_by(Bug::ClaimDeleted, "late-head", "was free again");
}

#[test]
fn h2_a_claim_is_not_listed() {
    caught_by(Bug::ClaimNotListed, "paused-claimer", "came back at sequence");
}

#[test]
fn h3_a_stray_is_believed() {
    caught_by(Bug::StrayBelieved, "stray", "came back at sequence");
}

#[test]
fn h4_an_unclear_put_is_taken_for_done() {
    caught(Bug::UnclearIsDone, "store-faults");
}

#[test]
fn h5_any_log_is_replayed() {
    caught(Bug::AnyLogReplayed, "stale-log");
}

#[test]
fn h5_a_rewind_names_an_old_log() {
    caught_by(Bug::OldLogRewound, "rewind-stale-log", "expected");
}

#[test]
fn h7_a_rewind_leaves_out_what_is_in_pieces() {
    caught(Bug::PiecesForgotten, "rewind-pieces");
}

#[test]
fn h8_the_history_is_ignored() {
    caught_by(Bug::HistoryIgnored, "history", "has the heads");
}

#[test]
fn h8_the_newest_head_is_too_old() {
    caught(Bug::NewestExpired, "history");
}

#[test]
fn r8_nobody_looks_whether_a_head_is_still_there() {
    caught(Bug::LookSkipped, "rewind-expired");
}

#[test]
fn w1_a_hole_below_an_acknowledged_record() {
    caught(Bug::HoleBelowAck, "recovery");
}

#[test]
fn w2_an_old_epoch_is_read_on() {
    caught_by(Bug::EpochReadOn, "torn", "came back at sequence");
}

#[test]
fn w3_every_gap_is_a_torn_tail() {
    caught_by(Bug::GapIsTorn, "rot", "came back at sequence");
}

#[test]
fn w4_entries_are_published_in_any_order() {
    caught_by(Bug::PublishedBlindly, "writes", "expected 8 × write");
}

#[test]
fn w4_a_late_page_is_believed() {
    caught_by(Bug::FilledBlindly, "paging", "expected");
}

#[test]
fn a_leaf_is_let_go_of_before_a_root_has_it() {
    caught_by(Bug::EvictedEarly, "crowded", "expected");
}

#[test]
fn a_leaf_is_let_go_of_while_it_names_the_log() {
    caught_by(Bug::EvictedInLog, "crowded", "expected");
}

#[test]
fn a_page_of_a_root_from_before_a_leaf_was_let_go_of() {
    caught_by(Bug::FilledFromOlder, "crowded-late-page", "expected");
}

#[test]
fn w5_a_base_is_not_checked() {
    caught_by(Bug::BaseNotChecked, "parts", "expected");
}

#[test]
fn the_disk_cache_is_believed() {
    caught_by(Bug::CacheUnchecked, "cache-rot", "expected");
}

#[test]
fn the_disk_cache_is_believed_where_a_write_went_astray() {
    caught_by(Bug::CacheUnchecked, "cache-misdirected", "expected");
}

#[test]
fn an_old_catalogue_of_the_disk_cache_is_believed() {
    caught_by(Bug::CacheUnchecked, "cache-old", "expected");
}

#[test]
fn a_disk_cache_of_another_pool_is_believed() {
    caught_by(Bug::CachePoolIgnored, "cache-foreign", "expected");
}

#[test]
fn the_disk_cache_lists_what_is_not_written() {
    caught_by(Bug::CacheListedEarly, "cache-killed", "nothing happened to them");
}

#[test]
fn w6_a_seal_leaves_out_what_is_overwritten_later() {
    caught_by(Bug::OverwrittenNotSealed, "overwrite", "block 0 at sequence 3");
}

#[test]
fn w6_a_segment_of_pieces_leaves_out_what_the_log_overwrites() {
    caught_by(Bug::PiecesUnderLog, "pieces-here", "expected");
}

#[test]
fn w7_pieces_are_out_of_order() {
    caught_by(Bug::PiecesOutOfOrder, "pieces", "expected");
}

#[test]
fn h7_heads_with_needed_pieces_are_deleted() {
    caught_by(Bug::PiecesDeleted, "pieces-kept", "names its piece, and it is not there");
}

#[test]
fn h8_a_tail_grows_without_bound() {
    caught(Bug::TailUnbounded, "sync-many");
}

#[test]
fn w11_a_stall_is_ignored() {
    caught_by(Bug::StallIgnored, "stall", "no write waits");
}

#[test]
fn a_flush_waits_for_no_store() {
    caught_by(Bug::FlushNotStored, "sync", "the store has");
}

#[test]
fn w9_a_chunk_is_released_early() {
    caught(Bug::ReleasedEarly, "chunks");
}

#[test]
fn a_volume_grows_before_a_head_says_so() {
    caught_by(Bug::GrownEarly, "grow", "the volume does not open");
}

#[test]
fn r2_what_is_in_flight_is_not_counted() {
    caught_by(Bug::InFlightNotCounted, "reclaim-in-flight", "cannot be read");
}

#[test]
fn r7_no_list_after_the_mark() {
    caught_by(Bug::MarkNotListed, "reclaim-hop", "cannot be read");
}

#[test]
fn r11_no_grace() {
    caught_by(Bug::GraceIgnored, "reclaim-other-reader", "a reader fails");
}

#[test]
fn r13_an_unreadable_root_is_passed_over() {
    caught_by(Bug::UnreadablePassed, "reclaim-unreadable", "");
}

#[test]
fn r5_a_slot_of_two_roots_counts_as_dead() {
    caught_by(Bug::SharedSlotDead, "count-shared", "counts less");
}

#[test]
fn a_tail_is_not_counted() {
    caught_by(Bug::TailNotCounted, "count-tail", "counts less");
}

#[test]
fn w7_a_tail_is_counted_backwards() {
    caught_by(Bug::TailBackwards, "tail-snapshot", "counts less");
}

#[test]
fn what_one_head_shows_is_taken_for_what_another_shows() {
    caught_by(Bug::TailIgnoredInMemo, "tail-snapshot", "counts less");
}

#[test]
fn g2_a_late_record_names_a_bundle_that_is_gone() {
    caught_by(Bug::LateRewrite, "rewrite-late", "cannot be read");
}

#[test]
fn g2_a_number_that_somebody_else_took() {
    caught_by(Bug::TableOverruled, "rewrite-raced", "cannot be read");
}

#[test]
fn g3_a_missing_object_is_an_error() {
    caught_by(Bug::TableNotRefreshed, "rewrite-other-reader", "a reader fails");
}

#[test]
fn a_rewrite_leaves_out_what_lives() {
    caught_by(Bug::RewriteDropsLive, "rewrite", "was dropped");
}

#[test]
fn r3_a_round_does_not_say_what_it_condemns() {
    caught_by(Bug::RoundForgets, "rewrite", "no round condemned it");
}

#[test]
fn g5_a_block_is_written_anew_over_what_came_since() {
    caught_by(Bug::BaseNotChecked, "rewrite-empties", "expected");
}

#[test]
fn r13_a_quarantine_keeps_nothing() {
    caught_by(Bug::QuarantineKeepsNothing, "quarantine", "cannot be read");
}

#[test]
fn what_is_superseded_goes_at_once() {
    caught_by(Bug::SupersededAtOnce, "rewrite-other-reader", "went before the grace");
}

#[test]
fn a_flush_does_not_sync() {
    caught(Bug::SyncSkipped, "writes");
}

#[test]
fn a_write_is_acknowledged_before_it_is_in_the_log() {
    caught(Bug::AckBeforeLog, "recovery");
}

#[test]
fn checksums_are_not_compared() {
    caught_by(Bug::CrcIgnored, "rot", "expected 8 × write");
}

#[test]
fn replay_is_one_block_off() {
    caught_by(Bug::OffByOne, "recovery", "expected");
}

#[test]
fn a_breaker_stays_open() {
    caught_by(Bug::BreakerStaysOpen, "hour-away", "still wait");
}

#[test]
fn no_read_is_sent_twice() {
    caught_by(Bug::NeverHedged, "stalls", "a read takes 60 s");
}

#[test]
fn a_write_without_space_is_acknowledged() {
    caught(Bug::NoSpaceIsDone, "full-for-a-while");
}

#[test]
fn i11_a_failed_sync_is_done_again() {
    caught(Bug::SyncRetried, "sync-fails-once");
}

#[test]
fn r6_nobody_looks_at_the_source() {
    caught_by(Bug::LookSkipped, "fork-too-late", "");
}

#[test]
fn r6_an_unborn_head_is_no_root() {
    caught_by(Bug::UnbornNotRoot, "fork-unborn", "");
}

#[test]
fn r6_an_unborn_head_stops_rounds() {
    caught_by(Bug::UnbornNotBuried, "fork-late", "reclaim fails");
}

#[test]
fn h7_a_fork_forgets_pieces() {
    caught_by(Bug::PiecesForgotten, "fork-pieces", "the fork holds");
}

#[test]
fn w6_the_log_is_cut_across_a_point() {
    caught_by(Bug::PointNotCut, "snapshot-point", "the point at sequence");
}

#[test]
fn a_volume_is_claimed_without_room() {
    caught_by(Bug::ClaimedWithoutRoom, "opening-full", "has put");
}

#[test]
fn a_check_believes_an_old_head() {
    caught_by(Bug::OldHeadBelieved, "check-beside-sync", "names its piece, and it is not there");
}

#[test]
fn pieces_are_not_counted() {
    caught_by(Bug::PiecesUncounted, "reader-without-memory", "more in memory than it may");
}

#[test]
fn what_is_read_ahead_is_served_elsewhere() {
    caught_by(Bug::AheadMisplaced, "ahead", "expected");
}

/// Rule W10: a store on the same machine that acknowledges before it is durable.
#[test]
fn w10_a_store_does_not_sync() {
    fn setup() -> Setup {
        let mut setup = Setup::default();
        setup.config.not_durable = Some(Duration::from_secs(3_600));
        setup
    }
    let healthy = scenario("store-without-sync");
    enumerate::whole(&healthy, 1).unwrap();
    let broken = Scenario { setup, ..healthy };
    let outcome = hunt::guarded(|| enumerate::whole(&broken, 1).map(drop));
    outcome.expect_err("lost objects are noticed");
}
