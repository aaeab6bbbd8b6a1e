use super::*;

#[test]
fn a_simple_reply() {
    let mut replies = Replies::default();
    replies.simple(0x0102_0304_0506_0708, Errno::NOSPC);
    assert_eq!(replies.bytes(), [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_read_can_be_taken_back() {
    let mut replies = Replies::default();
    replies.simple(1, Errno::NONE);
    let piece = ReadPiece { cookie: 2, offset: 512, length: 8, structured: true, last: true };
    replies.read(piece).copy_from_slice(b"whatever");
    assert_eq!(replies.len(), 16 + 20 + 8 + 8);
    replies.take_back();
    assert_eq!(replies.len(), 16);
    replies.failed_read(2, Errno::IO, true);
    let chunk = &replies.bytes()[16..];
    assert_eq!(chunk[..8], [0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1]);
    assert_eq!(chunk[16..], [0, 0, 0, 6, 0, 0, 0, 5, 0, 0]);
}

#[test]
fn a_large_buffer_is_given_back() {
    let mut replies = Replies::default();
    let piece = ReadPiece { cookie: 2, offset: 0, length: 32 << 20, structured: false, last: true };
    assert_eq!(replies.read(piece).len(), 32 << 20);
    replies.clear();
    assert!(replies.is_empty() && replies.bytes.is_empty());
}
