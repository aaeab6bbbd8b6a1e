use super::*;

fn info(name: &[u8], wanted: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name);
    data.extend((wanted.len() as u16).to_be_bytes());
    data.extend(wanted.iter().flat_map(|kind| kind.to_be_bytes()));
    data
}

fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.bytes());
    data.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend((query.len() as u32).to_be_bytes());
        data.extend(query.bytes());
    }
    data
}

#[test]
fn info_has_a_name_and_kinds() {
    let data = info(b"disk", &[3, 1]);
    let query = InfoQuery::parse(&data).unwrap();
    assert_eq!(query.name, "disk");
    assert!(query.wants(3) && query.wants(1) && !query.wants(2));
}

#[test]
fn every_truncation_is_an_error() {
    let data = info(b"disk", &[3, 1]);
    for end in 0..data.len() {
        assert!(InfoQuery::parse(&data[..end]).is_err(), "{end} bytes");
    }
    let data = contexts("disk", &["base:allocation", "qemu:x"]);
    for end in 0..data.len() {
        assert!(ContextQuery::parse(&data[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn left_over_bytes_and_false_counts_are_errors() {
    let mut data = info(b"disk", &[3]);
    data.push(0);
    assert_eq!(InfoQuery::parse(&data), Err(Malformed("the option has bytes left over")));
    let mut data = contexts("disk", &[]);
    let count = data.len() - 4;
    data[count..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(ContextQuery::parse(&data), Err(Malformed("the option ends too early")));
    assert_eq!(InfoQuery::parse(&[0xff; 64]), Err(Malformed("the option ends too early")));
}

#[test]
fn names_are_utf8_and_short() {
    assert_eq!(InfoQuery::parse(&info(b"\xff", &[])), Err(Malformed("a name is not UTF-8")));
    assert!(InfoQuery::parse(&info(&[b'a'; 4096], &[])).is_ok());
    assert!(InfoQuery::parse(&info(&[b'a'; 4097], &[])).is_err());
}

#[test]
fn contexts_are_told_apart() {
    let data = contexts("disk", &["base:", "x-other:thing"]);
    let query = ContextQuery::parse(&data).unwrap();
    assert_eq!((query.name, query.queries), ("disk", vec!["base:", "x-other:thing"]));
    assert!(ContextQuery::parse(&contexts("disk", &[])).unwrap().queries.is_empty());
}
