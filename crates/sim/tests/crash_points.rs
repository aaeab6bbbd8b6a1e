//! A crash after every step of every scenario.

use esker_sim::{enumerate, scenarios};

fn enumerate(name: &str) {
    let scenario = scenarios::find(name).expect("a scenario of that name");
    let start = std::time::Instant::now();
    let tally = enumerate::all(&scenario, 1);
    eprintln!("{name}: {} points in {:?}", tally.points, start.elapsed());
    enumerate::expect_none(&scenario, 1, &tally).unwrap();
}

macro_rules! scenarios {
    ($($test:ident $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            enumerate($name);
        })*

        #[test]
        fn every_scenario_has_its_test() {
            let names: Vec<&str> = scenarios::all().iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

scenarios! {
    writes "writes",
    overwrite "overwrite",
    ranges "ranges",
    chunks "chunks",
    spares "spares",
    parts "parts",
    sync_fails "sync-fails",
    write_fails "write-fails",
    disk_full "disk-full",
    first_write_fails "first-write-fails",
    rot "rot",
    bounded "bounded",
    ephemeral "ephemeral",
    store_faults "store-faults",
    late_puts "late-puts",
    checkpoint "checkpoint",
    paging "paging",
    drain "drain",
    outage "outage",
    heads "heads",
    store_without_sync "store-without-sync",
    recovery "recovery",
    torn "torn",
    fresh_log "fresh-log",
    takeover "takeover",
    stale_log "stale-log",
    delete "delete",
    pool "pool",
    zombie "zombie",
    zombie_unanswered "zombie-unanswered",
    late_head "late-head",
    paused_claimer "paused-claimer",
    void_claim "void-claim",
    partition "partition",
    stray "stray",
    grow "grow",
    grow_higher "grow-higher",
    shrink "shrink",
    resize_unloaded "resize-unloaded",
    resize_and_takeover "resize-and-takeover",
    pieces "pieces",
    pieces_elsewhere "pieces-elsewhere",
    pieces_here "pieces-here",
    pieces_faults "pieces-faults",
    pieces_kept "pieces-kept",
    pieces_shrink "pieces-shrink",
    pieces_full "pieces-full",
    sync "sync",
    sync_many "sync-many",
    sync_outage "sync-outage",
    stall "stall",
    alarm "alarm",
    crowded "crowded",
    crowded_late_page "crowded-late-page",
    crowded_resize "crowded-resize",
    crowded_takeover "crowded-takeover",
    reclaim "reclaim",
    reclaim_in_flight "reclaim-in-flight",
    reclaim_hop "reclaim-hop",
    reclaim_unreadable "reclaim-unreadable",
    reclaim_other_reader "reclaim-other-reader",
    reclaim_own_reader "reclaim-own-reader",
    reclaim_late_head "reclaim-late-head",
    reclaim_takeover "reclaim-takeover",
    reclaim_deleted "reclaim-deleted",
    rewind "rewind",
    rewind_pieces "rewind-pieces",
    rewind_stale_log "rewind-stale-log",
    rewind_expired "rewind-expired",
    history "history",
    history_clocks "history-clocks",
    count_shared "count-shared",
    count_tail "count-tail",
    rewrite "rewrite",
    rewrite_again "rewrite-again",
    rewrite_empties "rewrite-empties",
    rewrite_other_reader "rewrite-other-reader",
    rewrite_late "rewrite-late",
    rewrite_raced "rewrite-raced",
    quarantine "quarantine",
    hour_away "hour-away",
    throttled "throttled",
    stalls "stalls",
    full_for_a_while "full-for-a-while",
    makes_room "makes-room",
    full_for_long "full-for-long",
    sync_fails_once "sync-fails-once",
    clocks "clocks",
    hour_stopped "hour-stopped",
    cache "cache",
    cache_killed "cache-killed",
    cache_rot "cache-rot",
    cache_misdirected "cache-misdirected",
    cache_old "cache-old",
    cache_foreign "cache-foreign",
    cache_full "cache-full",
    snapshot "snapshot",
    snapshot_pieces "snapshot-pieces",
    snapshot_point "snapshot-point",
    snapshot_faults "snapshot-faults",
    snapshot_kept "snapshot-kept",
    fork_pieces "fork-pieces",
    fork_unborn "fork-unborn",
    fork_late "fork-late",
    fork_too_late "fork-too-late",
    fork_deleted "fork-deleted",
    fork_hop "fork-hop",
    group "group",
    group_in_turn "group-in-turn",
    group_never_finished "group-never-finished",
    ahead "ahead",
    ahead_faults "ahead-faults",
    ahead_changes "ahead-changes",
    opening_full "opening-full",
    check_beside_sync "check-beside-sync",
    reader_without_memory "reader-without-memory",
}
