use super::*;

#[test]
fn times_and_sizes() {
    assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
    assert_eq!(Time(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
    assert_eq!(Time(1_795_305_599_999).to_string(), "2026-11-21T23:59:59.999Z");
    assert!(!Time(u64::MAX).to_string().is_empty());
    assert_eq!(Bytes(0).to_string(), "0 bytes");
    assert_eq!(Bytes(1023).to_string(), "1023 bytes");
    assert_eq!(Bytes(10 << 30).to_string(), "10737418240 bytes (10.0 GiB)");
    assert_eq!(Bytes(u64::MAX).to_string(), "18446744073709551615 bytes (16.0 EiB)");
}

#[test]
fn strange_bytes_are_refused() {
    assert!(describe("some/file", b"").unwrap_err().to_string().contains("8 bytes"));
    let error = describe("some/file", b"GIF89a, or so").unwrap_err().to_string();
    assert!(error.contains("one of Esker's") && error.contains("GIF89a"), "{error}");
    assert!(describe("pool", b"GIF89a, or so").unwrap_err().to_string().starts_with("pool record: magic"));
}
