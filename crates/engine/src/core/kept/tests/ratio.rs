//! How often what is asked for is there, beside a list in the order of use and one in the order of coming.

use super::*;

/// Entries that fit.
const ROOM: usize = 100;
const ASKED: usize = 60_000;

/// The next number of a generator of little quality, which is enough here.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Numbers of which few are asked for often, as Zipf's law has it, by an exponent of about 1.
fn skewed(state: &mut u64, count: u64) -> u32 {
    let part = next(state) as f64 / (1_u64 << 31) as f64;
    ((count as f64).powf(part) as u64 - 1).min(count - 1) as u32
}

fn trace(scans: bool) -> Vec<u32> {
    let (mut state, mut trace) = (7, Vec::new());
    let mut scanned = 1_000_000;
    while trace.len() < ASKED {
        trace.push(skewed(&mut state, 1_000));
        // A scan of three times what fits, each time of other data.
        if scans && trace.len() % 2_000 == 0 {
            trace.extend(scanned..scanned + 3 * ROOM as u32);
            scanned += 3 * ROOM as u32;
        }
    }
    trace
}

/// The part of what is asked for again that is found.
fn ratio(trace: &[u32], mut ask: impl FnMut(u32) -> bool) -> f64 {
    let again = trace.iter().filter(|number| **number < 1_000_000);
    let asked = again.count() as f64;
    let found = trace.iter().filter(|number| ask(**number) && **number < 1_000_000).count();
    found as f64 / asked
}

fn list(trace: &[u32], by_use: bool) -> f64 {
    let mut list = VecDeque::new();
    ratio(trace, |number| {
        let at = list.iter().position(|held| *held == number);
        if let Some(at) = at.filter(|_| by_use) {
            list.remove(at);
            list.push_back(number);
        }
        if at.is_none() {
            list.push_back(number);
            if list.len() > ROOM {
                list.pop_front();
            }
        }
        at.is_some()
    })
}

fn queues(trace: &[u32]) -> f64 {
    // Five fit in a file.
    let mut kept = Kept::new(Shape { files_max: ROOM as u32 / 5, ..SHAPE });
    ratio(trace, |number| {
        // The least bits of a segment's number.
        let found = kept.find(key(number)).is_some();
        if !found {
            insert(&mut kept, number, None);
        }
        found
    })
}

#[test]
fn scans_harm_less_than_they_do_a_list() {
    let quiet = trace(false);
    let scanned = trace(true);
    let row = |trace: &[u32]| [list(trace, false), list(trace, true), queues(trace)];
    let (quiet, scanned) = (row(&quiet), row(&scanned));
    println!("FIFO, LRU, two queues of files: quiet {quiet:.3?}, with scans {scanned:.3?}");
    assert!(quiet[2] > quiet[0], "without scans better than in the order of coming");
    assert!(scanned[2] > scanned[1] && scanned[2] > scanned[0], "with scans better than both");
}
