use super::*;

fn view() -> View {
    View {
        backlog_blocks: 10,
        oldest_age_ms: Some(100),
        dirty_bytes: 40_960,
        dirty_bound: 1 << 30,
        pressed: false,
        sealing: 0,
        ready: 0,
        draining: false,
        uncommitted_blocks: 10,
        uncommitted_age_ms: Some(100),
        unsealed_blocks: 10,
        seal_age_ms: 120_000,
        pieces: 0,
        flush_waits: false,
    }
}

const BOUNDED: Durability = Durability::Bounded { seconds: 5 };

#[test]
fn a_clean_volume_wants_nothing() {
    let clean = View { oldest_age_ms: None, backlog_blocks: 0, draining: true, ..view() };
    assert_eq!(next_seal(&clean, BOUNDED, &Yield::default()), Choice::Idle);
}

#[test]
fn what_is_in_pieces_is_sealed_for_its_age() {
    assert_eq!(next_seal(&view(), BOUNDED, &Yield::default()), Choice::Wait { ms: 119_900 });
    let old = View { oldest_age_ms: Some(120_000), ..view() };
    assert_eq!(next_seal(&old, BOUNDED, &Yield::default()), Choice::Seal { blocks_max: 8_192 });
    let hour = Durability::Bounded { seconds: 3_600 };
    assert_eq!(next_seal(&old, hour, &Yield::default()), Choice::Wait { ms: 3_598_000 - 120_000 });
}

#[test]
fn what_is_due_and_little_goes_as_a_piece() {
    assert_eq!(next_piece(&view(), BOUNDED), Piece::Wait { ms: 4_400 });
    let due = View { uncommitted_age_ms: Some(4_500), ..view() };
    assert_eq!(next_piece(&due, BOUNDED), Piece::Now { whole: false });
    let flushed = View { flush_waits: true, ..view() };
    assert_eq!(next_piece(&flushed, Durability::Sync), Piece::Now { whole: false });
    assert_eq!(next_piece(&View { uncommitted_age_ms: None, ..flushed }, Durability::Sync), Piece::Idle);
    assert_eq!(next_piece(&View { draining: true, ..due }, BOUNDED), Piece::Idle);
    let old = View { uncommitted_age_ms: Some(3_000_000), ..view() };
    assert_eq!(next_piece(&old, Durability::Ephemeral), Piece::Idle);
}

#[test]
fn what_is_too_much_for_a_piece_is_sealed_in_time() {
    let much = View { backlog_blocks: 2_000, uncommitted_blocks: 2_000, unsealed_blocks: 2_000, ..view() };
    assert_eq!(next_piece(&View { uncommitted_age_ms: Some(9_000), ..much }, BOUNDED), Piece::Idle);
    assert_eq!(next_seal(&much, BOUNDED, &Yield::default()), Choice::Wait { ms: 2_900 });
    // A burst over old pieces is not due before its time.
    let burst = View { oldest_age_ms: Some(60_000), uncommitted_age_ms: Some(2_000), ..much };
    assert_eq!(next_seal(&burst, BOUNDED, &Yield::default()), Choice::Wait { ms: 1_000 });
    let due = View { uncommitted_age_ms: Some(3_000), ..burst };
    assert_eq!(next_seal(&due, BOUNDED, &Yield::default()), Choice::Seal { blocks_max: 8_192 });
    // What is in a seal already is not due again.
    let sealing = View { oldest_age_ms: Some(10), backlog_blocks: 5, sealing: 1, ..due };
    assert_eq!(next_seal(&sealing, BOUNDED, &Yield::default()), Choice::Wait { ms: 2_990 });
    // A FLUSH waits for no age, and those that come meanwhile for the next seal.
    let flushed = View { flush_waits: true, ..much };
    let seal = Choice::Seal { blocks_max: 8_192 };
    assert_eq!(next_seal(&flushed, Durability::Sync, &Yield::default()), seal);
    let served = View { sealing: 1, ..flushed };
    assert_ne!(next_seal(&served, Durability::Sync, &Yield::default()), seal);
}

/// Whatever the pieces, a piece or a seal brings what is due to the store, and never more than 64 pieces (rule H8).
#[test]
fn pieces_come_to_an_end() {
    let due = View { uncommitted_age_ms: Some(4_500), ..view() };
    let many = View { pieces: 64, unsealed_blocks: 200, ..due };
    assert_eq!(next_piece(&many, BOUNDED), Piece::Now { whole: true });
    for pieces in [48, 64] {
        let many = View { pieces, unsealed_blocks: 300, ..due };
        assert_eq!(next_seal(&many, BOUNDED, &Yield::default()), Choice::Seal { blocks_max: 8_192 });
    }
    let full = View { pieces: 64, unsealed_blocks: 300, ..due };
    assert_eq!(next_piece(&full, BOUNDED), Piece::Idle);
}

#[test]
fn an_ephemeral_volume_waits_for_the_dirty_bound() {
    let old = View { oldest_age_ms: Some(3_000_000), ..view() };
    assert_eq!(next_seal(&old, Durability::Ephemeral, &Yield::default()), Choice::Idle);
    let full = View { dirty_bytes: 1 << 29, backlog_blocks: 1 << 17, ..old };
    assert!(matches!(next_seal(&full, Durability::Ephemeral, &Yield::default()), Choice::Seal { .. }));
}

#[test]
fn the_pipeline_is_woken_when_there_is_something_to_do() {
    let backlog = View { backlog_blocks: 100_000, dirty_bytes: 100_000 * 4_160, ..view() };
    let look = next_look(&backlog, Durability::Ephemeral, &Yield::default());
    assert!(look.bytes > 100 << 20 && look.records > 30_000, "woken after {look:?}");
    let look = next_look(&View { backlog_blocks: 8_000, ..view() }, BOUNDED, &Yield::default());
    assert_eq!(look, Look { bytes: 192 * 4_096, records: 192 });
    // What is held for a commit has to go once room is short, whatever the seals do.
    let held = View { sealing: 3, ready: 2, dirty_bytes: 600 << 20, ..view() };
    let look = next_look(&held, BOUNDED, &Yield::default());
    assert_eq!(look, Look { bytes: 40 << 20, records: u64::MAX });
}

#[test]
fn well_compressed_data_makes_longer_seals() {
    let mut stored = Yield::default();
    for _ in 0..16 {
        stored.learn(8_192, 8 << 20);
    }
    assert!(stored.blocks_per_segment() > 30_000);
    assert!(stored.blocks_per_segment() <= SEGMENT_SLOTS_MAX);
}

#[test]
fn short_of_room_a_seal_is_a_small_share_of_the_bound() {
    let mut stored = Yield::default();
    (0..16).for_each(|_| stored.learn(8_192, 1 << 20));
    let short = View { dirty_bytes: 200 << 20, dirty_bound: 256 << 20, backlog_blocks: 40_000, ..view() };
    assert_eq!(next_seal(&short, BOUNDED, &stored), Choice::Seal { blocks_max: 8_192 });
    let crumbs = View { backlog_blocks: 5_000, sealing: 2, ..short };
    assert_eq!(next_seal(&crumbs, BOUNDED, &stored), Choice::Idle, "it grows while others are sealed");
    let crumbs = View { sealing: 0, ..crumbs };
    assert!(matches!(next_seal(&crumbs, BOUNDED, &stored), Choice::Seal { .. }));
}

#[test]
fn sealing_goes_on_while_commits_are_held() {
    let full = View { backlog_blocks: 9_000, ready: 6, sealing: 2, ..view() };
    assert_eq!(next_seal(&full, BOUNDED, &Yield::default()), Choice::Seal { blocks_max: 8_192 });
    let many = View { ready: SEALS_UNCOMMITTED_MAX - 2, ..full };
    assert_eq!(next_seal(&many, BOUNDED, &Yield::default()), Choice::Idle);
}

fn ready() -> Ready {
    Ready { segments: 3, log_bytes: 96 << 20, oldest_age_ms: 1_000, full: true }
}

#[test]
fn a_commit_waits_for_what_comes_soon() {
    let stream = View { sealing: 2, ready: 3, ..view() };
    assert_eq!(next_commit(&stream, &ready(), BOUNDED), Commit::Wait { ms: 2_500 });
    assert_eq!(next_commit(&View { sealing: 0, ..stream }, &ready(), BOUNDED), Commit::Wait { ms: 2_500 });
    assert_eq!(next_commit(&stream, &ready(), Durability::Ephemeral), Commit::Idle);
}

#[test]
fn a_commit_waits_for_nothing_that_does_not_come() {
    let last = Ready { full: false, ..ready() };
    assert_eq!(next_commit(&view(), &last, BOUNDED), Commit::Now);
    assert_eq!(next_commit(&view(), &ready(), Durability::Ephemeral), Commit::Now);
}

#[test]
fn a_commit_does_not_wait_under_pressure_nor_beyond_the_age() {
    let stream = View { sealing: 2, ready: 3, ..view() };
    let pressing = [
        View { draining: true, ..stream },
        View { pressed: true, ..stream },
        View { dirty_bytes: 900 << 20, ..stream },
        View { dirty_bound: 256 << 20, ..stream },
    ];
    for view in pressing {
        assert_eq!(next_commit(&view, &ready(), BOUNDED), Commit::Now, "{view:?}");
        assert_eq!(next_commit(&view, &ready(), Durability::Ephemeral), Commit::Now, "{view:?}");
    }
    let paced = View { dirty_bytes: 650 << 20, ..stream };
    assert_eq!(next_commit(&paced, &ready(), BOUNDED), Commit::Wait { ms: 2_500 });
    let lump = Ready { segments: 4, log_bytes: 128 << 20, ..ready() };
    assert_eq!(next_commit(&paced, &lump, BOUNDED), Commit::Now);
    assert_eq!(next_commit(&stream, &lump, BOUNDED), Commit::Wait { ms: 2_500 });
    let old = Ready { oldest_age_ms: 3_500, ..ready() };
    assert_eq!(next_commit(&stream, &old, BOUNDED), Commit::Now);
    let many = Ready { segments: COMMIT_SEGMENTS_MAX, ..ready() };
    assert_eq!(next_commit(&stream, &many, BOUNDED), Commit::Now);
}

#[test]
fn every_bound_leaves_time_for_seal_and_commit() {
    for seconds in [1, 2, 5, 60, 3_600] {
        let bound_ms = u64::from(seconds) * 1_000;
        assert!(large_after_ms(seconds) < commit_after_ms(seconds));
        assert!(piece_after_ms(seconds) + 250 <= bound_ms);
        assert!(commit_after_ms(seconds) + 300 <= bound_ms, "bounded({seconds})");
    }
}

#[test]
fn a_cut_that_is_too_much_is_divided_until_it_cannot_be() {
    for blocks in [SEGMENT_BLOCKS_SURE + 1, 2 * SEGMENT_BLOCKS_SURE, 20_000, SEGMENT_SLOTS_MAX] {
        for filled in [1, SEGMENT_BLOCKS_SURE, SEGMENT_BLOCKS_SURE / 4 * 5, blocks] {
            let part = part_blocks(blocks, filled);
            assert!(part > 0 && part < blocks, "{blocks} blocks, {filled} fill a segment: {part}");
        }
    }
    // Of noise, no more parts than it takes.
    assert_eq!(part_blocks(SEGMENT_SLOTS_MAX, SEGMENT_BLOCKS_SURE / 4 * 5), SEGMENT_BLOCKS_SURE);
    let frames_of_what_is_sure = SEGMENT_BLOCKS_SURE * BLOCK_BYTES as u64 + 128;
    assert!(frames_of_what_is_sure <= SEGMENT_FRAME_BYTES_MAX, "what is sure is never divided");
}

#[test]
fn who_waits_for_the_store_is_served_under_any_durability() {
    let waits = View { flush_waits: true, ..view() };
    let much = View { uncommitted_blocks: 2_000, backlog_blocks: 2_000, unsealed_blocks: 2_000, ..waits };
    let many = View { pieces: 64, unsealed_blocks: 2_000, ..waits };
    for durability in [Durability::Ephemeral, Durability::Bounded { seconds: 60 }, Durability::Sync] {
        assert_eq!(next_piece(&waits, durability), Piece::Now { whole: false }, "{durability}");
        for view in [much, many] {
            assert_eq!(next_piece(&view, durability), Piece::Idle, "{durability}");
            let seal = next_seal(&view, durability, &Yield::default());
            assert!(matches!(seal, Choice::Seal { .. }), "{durability}: {seal:?}");
        }
    }
    let nobody = View { flush_waits: false, ..waits };
    assert_eq!(next_piece(&nobody, Durability::Ephemeral), Piece::Idle);
    assert_eq!(
        next_seal(&View { flush_waits: false, ..much }, Durability::Ephemeral, &Yield::default()),
        Choice::Idle
    );
}
