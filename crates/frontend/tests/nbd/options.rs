//! Each option of the handshake.

use crate::{
    client::{ACK, contexts, info},
    host::{Host, SIZE},
};

const UNSUPPORTED: u32 = (1 << 31) + 1;
const POLICY: u32 = (1 << 31) + 2;
const INVALID: u32 = (1 << 31) + 3;
const UNKNOWN: u32 = (1 << 31) + 6;
const TOO_BIG: u32 = (1 << 31) + 9;

/// HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, CAN_MULTI_CONN, CACHE, FAST_ZERO.
const FLAGS: u16 = 1 | 4 | 8 | 32 | 64 | 256 | 1024 | 2048;

#[test]
fn export_name_with_and_without_zeroes() {
    let host = Host::start();
    for (flags, zeroes) in [(3, 0), (1, 124), (0, 124)] {
        let mut client = host.connect();
        client.greet_with(flags);
        client.send_option(1, b"disk");
        assert_eq!(client.u64(), SIZE);
        assert_eq!(client.bytes(), FLAGS.to_be_bytes());
        if zeroes == 124 {
            assert_eq!(client.bytes(), [0; 124]);
        }
        assert_eq!(client.ask(0, 0, SIZE - 1, 1).bytes(), [0]);
        client.goodbye();
    }
}

#[test]
fn export_name_that_is_not_there_hangs_up() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    client.send_option(1, b"nothing");
    assert!(client.closed());
    host.assert_alive();
}

#[test]
fn the_empty_name_is_the_default_export() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    assert_eq!(client.go(""), (SIZE, FLAGS));
    client.goodbye();
}

#[test]
fn info_tells_what_is_asked_for_and_go_begins() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    let plain = client.option(6, &info("disk", &[]));
    assert_eq!(plain.len(), 2, "only the export's own information: {plain:?}");
    let replies = client.option(6, &info("disk", &[3, 1, 2, 77]));
    let found: Vec<&[u8]> = replies.iter().map(|(_, data)| data.as_slice()).collect();
    assert_eq!(found[1], b"\0\x01disk");
    assert_eq!(found[2], b"\0\x02Esker volume");
    assert_eq!(found[3], [0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]);
    assert_eq!(replies.last().unwrap().0, ACK);
    assert_eq!(client.go("disk"), (SIZE, FLAGS));
    assert_eq!(client.ask(3, 0, 0, 0).errno, 0);
    client.goodbye();
}

#[test]
fn structured_replies_offer_df() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    client.structured();
    assert_eq!(client.go("disk"), (SIZE, FLAGS | 128));
    client.goodbye();
}

#[test]
fn a_read_only_export_says_so() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    let replies = client.option(6, &info("fixed", &[2]));
    assert_eq!(replies[1].1, b"\0\x02Esker volume, read-only");
    assert_eq!(client.go("fixed"), (1 << 20, 1 | 2 | 4 | 8 | 256 | 1024));
    client.goodbye();
}

#[test]
fn list_names_all_exports() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    let replies = client.option(3, &[]);
    assert_eq!(replies[0], (2, b"\0\0\0\x04disk".to_vec()));
    assert_eq!(replies[1], (2, b"\0\0\0\x05fixed".to_vec()));
    assert_eq!(replies[2], (ACK, vec![]));
    assert_eq!(client.option(3, b"x")[0].0, INVALID);
}

#[test]
fn abort_is_acknowledged_and_closed() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    assert_eq!(client.option(2, b"whatever"), [(ACK, vec![])]);
    assert!(client.closed());
}

#[test]
fn what_is_not_offered_is_refused_politely() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    assert_eq!(client.option(5, &[])[0].0, POLICY);
    assert_eq!(client.option(5, b"x")[0].0, INVALID);
    for option in [0, 4, 11, 12, 1000, u32::MAX] {
        assert_eq!(client.option(option, b"some data")[0].0, UNSUPPORTED, "option {option}");
    }
    assert_eq!(client.option(7, &info("nothing", &[]))[0].0, UNKNOWN);
    assert_eq!(client.option(6, &info("nothing", &[]))[0].0, UNKNOWN);
    assert_eq!(client.option(7, b"\0\0\0\x09disk\0\0")[0].0, INVALID);
    assert_eq!(client.option(8, b"x")[0].0, INVALID);
    client.go("disk");
    client.goodbye();
}

#[test]
fn contexts_can_be_listed() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    assert_eq!(client.option(9, &contexts("disk", &[]))[0].0, INVALID, "before structured replies");
    client.structured();
    let allocation = (4, b"\0\0\0\0base:allocation".to_vec());
    for queries in [&["base:"][..], &["base:allocation"], &["x-some:thing", "base:"]] {
        let replies = client.option(9, &contexts("disk", queries));
        assert_eq!(replies, [allocation.clone(), (ACK, vec![])], "{queries:?}");
    }
    let named = |name: &str| (4, [b"\0\0\0\0", name.as_bytes()].concat());
    let (ours, theirs) = (named("esker:diff:before"), named("qemu:dirty-bitmap:before"));
    for (queries, found) in [
        (&[][..], vec![allocation, ours.clone(), theirs.clone()]),
        (&["esker:"], vec![ours.clone()]),
        (&["qemu:", "esker:diff:"], vec![ours, theirs.clone()]),
        (
            &["qemu:dirty-bitmap:", "qemu:dirty-bitmap:before2"],
            vec![theirs, named("qemu:dirty-bitmap:before2")],
        ),
    ] {
        let expected: Vec<_> = found.into_iter().chain([(ACK, vec![])]).collect();
        assert_eq!(client.option(9, &contexts("disk", queries)), expected, "{queries:?}");
    }
    for queries in [&["base:other"][..], &["qemu:dirty-bitmap:x"], &["nonsense"], &["esker:diff"]] {
        assert_eq!(client.option(9, &contexts("disk", queries)), [(ACK, vec![])], "{queries:?}");
    }
    assert_eq!(client.option(9, &contexts("nothing", &[]))[0].0, UNKNOWN);
}

#[test]
fn what_changed_is_told_beside_what_is_there() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    client.structured();
    let names: Vec<String> = (0..20).map(|i| format!("esker:diff:before{i}")).collect();
    let mut queries: Vec<&str> = names.iter().map(String::as_str).collect();
    queries.extend(["esker:diff:never", "base:allocation", "esker:diff:before0"]);
    // The last selection counts. What is not there, is asked for twice or is one too many is left out.
    let replies = client.option(10, &contexts("disk", &queries));
    assert_eq!(replies.len(), 1 + 8 + 1, "{replies:?}");
    let told = |id: u32, name: &str| (4, [&id.to_be_bytes(), name.as_bytes()].concat());
    assert_eq!(replies[0], told(1, "base:allocation"));
    assert_eq!(replies[8], told(9, "esker:diff:before7"));
    let replies = client.option(10, &contexts("disk", &["qemu:dirty-bitmap:before", "base:allocation"]));
    assert_eq!(replies[1], told(2, "qemu:dirty-bitmap:before"));
    client.go("disk");
    *host.disk.changed.lock().unwrap() = vec![(4096, false), (512, true)];
    client.send(7, 0, 1, 0, 8192);
    assert_eq!(client.raw_chunk(), (0, 5, 1, [1_u32, 8192, 3].map(u32::to_be_bytes).concat()));
    assert_eq!(client.raw_chunk(), (1, 5, 1, [2_u32, 4096, 0, 512, 1].map(u32::to_be_bytes).concat()));
    // Only the first of each.
    client.send(7, 1 << 3, 2, 0, 8192);
    assert_eq!(client.raw_chunk().3.len(), 4 + 8);
    assert_eq!(client.raw_chunk().3, [2_u32, 4096, 0].map(u32::to_be_bytes).concat());
    // A device that tells of more than was asked for, or of nothing, is not believed.
    for lie in [vec![], vec![(8193, true)]] {
        *host.disk.changed.lock().unwrap() = lie;
        client.send(7, 0, 3, 0, 8192);
        let (flags, kind, ..) = client.raw_chunk();
        assert_eq!((flags, kind), (1, (1 << 15) + 1));
    }
    client.goodbye();
    host.assert_alive();
}

#[test]
fn contexts_are_selected_for_one_export() {
    let host = Host::start();
    let status = |prepare: &dyn Fn(&mut crate::client::Client)| {
        let mut client = host.connect();
        client.greet();
        client.structured();
        client.allocation("disk");
        prepare(&mut client);
        client.go("disk");
        let errno = client.ask(7, 0, 0, 4096).errno;
        client.goodbye();
        errno
    };
    assert_eq!(status(&|_| {}), 0);
    assert_eq!(status(&|client| client.allocation("fixed")), 22, "selected for another export");
    let none = |client: &mut crate::client::Client| {
        assert_eq!(client.option(10, &contexts("disk", &[])), [(ACK, vec![])]);
    };
    assert_eq!(status(&none), 22, "an empty selection replaces");
    let wildcard = |client: &mut crate::client::Client| {
        assert_eq!(client.option(10, &contexts("disk", &["base:"])), [(ACK, vec![])]);
    };
    assert_eq!(status(&wildcard), 22, "a wildcard selects nothing");
    let broken = |client: &mut crate::client::Client| {
        assert_eq!(client.option(10, b"\0\0")[0].0, INVALID);
    };
    assert_eq!(status(&broken), 22, "a failed selection replaces too");
}

#[test]
fn a_long_option_is_refused_and_an_absurd_one_ends_it() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet();
    assert_eq!(client.option(7, &vec![0; (64 << 10) + 1])[0].0, TOO_BIG);
    assert_eq!(client.option(7, &info(&"n".repeat(4097), &[]))[0].0, INVALID);
    client.write(b"IHAVEOPT");
    client.write(&7u32.to_be_bytes());
    client.write(&(17u32 << 20).to_be_bytes());
    assert!(client.closed());
    let mut client = host.connect();
    client.greet();
    client.send_option(1, &[b'n'; 4097]);
    assert!(client.closed());
    host.assert_alive();
}

#[test]
fn unknown_handshake_flags_end_it() {
    let host = Host::start();
    let mut client = host.connect();
    client.greet_with(7);
    assert!(client.closed());
    host.assert_alive();
}
