use super::*;

const FACTS: Facts =
    Facts { size_bytes: 1 << 30, read_only: false, structured: true, contexts: true, stopping: false };

fn request(command: u16, flags: u16, offset: u64, length: u32) -> Request {
    Request { flags, command, cookie: 7, offset, length }
}

fn check(facts: Facts, command: u16, flags: u16, offset: u64, length: u32) -> u32 {
    facts.check(&request(command, flags, offset, length)).err().unwrap_or(Errno::NONE).0
}

#[test]
fn the_end_of_the_volume() {
    for (number, past) in [(0, 22), (1, 28), (4, 22), (5, 22), (6, 28), (7, 22)] {
        assert_eq!(check(FACTS, number, 0, (1 << 30) - 3, 3), 0, "command {number}");
        assert_eq!(check(FACTS, number, 0, (1 << 30) - 2, 3), past, "command {number}");
        assert_eq!(check(FACTS, number, 0, u64::MAX, 1), past, "command {number}");
        assert_eq!(check(FACTS, number, 0, u64::MAX - 1, 4096), past, "command {number}");
    }
}

#[test]
fn flags_belong_to_commands() {
    for number in 0..=7u16 {
        for bit in 0..16 {
            let legal = matches!((number, bit), (_, 0) | (0, 2) | (6, 1) | (6, 4) | (7, 3)) && number != 2;
            let length = if number == 3 { 0 } else { 512 };
            let expected = if legal { 0 } else { 22 };
            assert_eq!(check(FACTS, number, 1 << bit, 0, length), expected, "command {number} bit {bit}");
        }
    }
    let simple = Facts { structured: false, ..FACTS };
    assert_eq!(check(simple, command::READ, command_flag::DF, 0, 512), 22);
}

#[test]
fn payloads_have_a_limit() {
    assert_eq!(check(FACTS, command::READ, 0, 0, 32 << 20), 0);
    assert_eq!(check(FACTS, command::READ, 0, 0, (32 << 20) + 1), 22);
    assert_eq!(check(FACTS, command::WRITE, 0, 0, 32 << 20), 0);
    assert_eq!(check(FACTS, command::WRITE, 0, 0, (32 << 20) + 1), 22);
    assert_eq!(check(FACTS, command::WRITE_ZEROES, 0, 0, 1 << 30), 0);
    assert_eq!(check(FACTS, command::TRIM, 0, 0, 1 << 30), 0);
    assert_eq!(check(FACTS, command::READ, command_flag::DF, 0, 1 << 20), 0);
    assert_eq!(check(FACTS, command::READ, command_flag::DF, 0, (1 << 20) + 1), 75);
}

#[test]
fn read_only_and_stopping() {
    let facts = Facts { read_only: true, ..FACTS };
    for number in [1, 4, 6] {
        assert_eq!(check(facts, number, 0, 0, 512), 1, "command {number}");
    }
    assert_eq!(check(facts, command::READ, 0, 0, 512), 0);
    let facts = Facts { stopping: true, ..FACTS };
    for number in [0, 1, 3, 4, 5, 6, 7] {
        assert_eq!(check(facts, number, 0, 0, 512), 108, "command {number}");
    }
}

#[test]
fn odd_requests() {
    assert_eq!(check(FACTS, command::FLUSH, 0, 0, 0), 0);
    assert_eq!(check(FACTS, command::FLUSH, 0, 4096, 0), 22);
    assert_eq!(check(FACTS, command::FLUSH, 0, 0, 1), 22);
    assert_eq!(check(FACTS, command::READ, 0, 1 << 30, 0), 0);
    assert_eq!(check(FACTS, command::BLOCK_STATUS, 0, 0, 0), 22);
    assert_eq!(check(Facts { contexts: false, ..FACTS }, command::BLOCK_STATUS, 0, 0, 512), 22);
    for number in [2, 8, 9, 255, u16::MAX] {
        assert_eq!(check(FACTS, number, 0, 0, 0), 22, "command {number}");
    }
}
