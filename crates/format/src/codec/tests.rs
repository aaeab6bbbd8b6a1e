use super::*;

/// Bytes without any pattern.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

const SETTINGS: [Compression; 4] =
    [Compression::Off, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(19)];

#[test]
fn what_goes_in_comes_out() {
    for setting in SETTINGS {
        for raw in [vec![], vec![7; 65_536], noise(4096), noise(65_536), b"esker ".repeat(2000)] {
            let (codec, stored) = compress(setting, &raw);
            assert!(stored.len() <= raw.len());
            assert_eq!(decompress(codec, &stored, raw.len()).unwrap(), raw, "{setting} {codec}");
        }
    }
}

#[test]
fn noise_stays_raw_and_text_does_not() {
    for setting in SETTINGS {
        assert_eq!(compress(setting, &noise(4096)).0, Codec::Raw);
        assert_eq!(compress(setting, &noise(65_536)).0, Codec::Raw);
    }
    let text: Vec<u8> = noise(65_536).iter().map(|byte| b'A' + byte % 26).collect();
    assert_eq!(compress(Compression::Zstd(1), &text).0, Codec::Zstd);
    let repeated = noise(4096).repeat(4);
    assert_eq!(compress(Compression::Zstd(1), &repeated).0, Codec::Zstd);
    assert_eq!(compress(Compression::Lz4, &repeated).0, Codec::Lz4);
}

#[test]
fn wrong_lengths_are_refused() {
    let raw = vec![3; 8192];
    for setting in SETTINGS {
        let (codec, stored) = compress(setting, &raw);
        assert!(decompress(codec, &stored, 8191).is_err());
        assert!(decompress(codec, &stored, 8193).is_err());
        assert!(decompress(codec, &stored[1..], 8192).is_err());
        assert!(decompress(codec, &stored, usize::MAX).is_err());
    }
}
