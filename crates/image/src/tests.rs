//! Raw images: files with holes, and pipes.

use std::{io::Read, os::unix::fs::FileExt};

use crate::{Found, Image, PIECE_BYTES, Piece, Raw, Stream, data_runs, piece};

const PIECE: u64 = PIECE_BYTES as u64;

/// Everything that an image holds, and how many bytes of it were holes.
fn whole(image: &mut dyn Image) -> (Vec<u8>, u64) {
    let (mut bytes, mut holes, mut buffer) = (Vec::new(), 0, vec![7; PIECE_BYTES]);
    loop {
        match piece(image, bytes.len() as u64, &mut buffer).unwrap() {
            Found::End => return (bytes, holes),
            Found::Data(length) => {
                bytes.extend_from_slice(&buffer[..length]);
                if length < PIECE_BYTES {
                    return (bytes, holes);
                }
            }
            Found::Hole(length) => {
                holes += length;
                bytes.resize(bytes.len() + length as usize, 0);
            }
        }
    }
}

#[test]
fn holes_of_files_are_found() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(9 * PIECE + 100).unwrap();
    file.write_all_at(&[1; 5000], 2 * PIECE).unwrap();
    file.write_all_at(&[2; 100], 9 * PIECE).unwrap();
    let mut wanted = vec![0; 9 * PIECE_BYTES + 100];
    wanted[2 * PIECE_BYTES..2 * PIECE_BYTES + 5000].fill(1);
    wanted[9 * PIECE_BYTES..].fill(2);
    let mut image = Raw::new(file).unwrap();
    assert_eq!(image.size_bytes(), Some(9 * PIECE + 100));
    assert_eq!(image.read(0, &mut [0; 10]).unwrap(), Piece::Hole(2 * PIECE));
    let (found, holes) = whole(&mut image);
    assert!(found == wanted, "the bytes differ");
    assert_eq!(holes, 8 * PIECE, "two before the data and six behind it");
}

#[test]
fn files_that_end_with_a_hole() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(3 * PIECE + 1).unwrap();
    let (found, holes) = whole(&mut Raw::new(file).unwrap());
    assert_eq!((found.len() as u64, holes), (3 * PIECE + 1, 3 * PIECE));
    assert!(whole(&mut Raw::new(tempfile::tempfile().unwrap()).unwrap()).0.is_empty());
}

#[test]
fn pipes_give_what_they_have() {
    /// Gives a few bytes at a time.
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(70_000);
            self.0.read(&mut buffer[..length])
        }
    }
    let bytes: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|at| (at / 3) as u8).collect();
    let mut image = Stream::new(Drip(&bytes));
    assert_eq!(image.size_bytes(), None);
    assert!(whole(&mut image).0 == bytes, "the bytes differ");
}

#[test]
fn runs_of_data() {
    let mut bytes = vec![0; 40_960 + 10];
    assert!(data_runs(&bytes, 4096).is_empty());
    for at in [4095, 4096, 20_000, 40_969] {
        bytes[at] = 1;
    }
    assert_eq!(data_runs(&bytes, 4096), [0..8192, 16_384..20_480, 40_960..40_970]);
    assert!(data_runs(&[], 4096).is_empty());
}
