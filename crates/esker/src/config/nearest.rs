//! The known word that somebody most likely meant.

/// Longer words are not compared.
const LENGTH_MAX: usize = 64;

/// The candidate with the fewest letters to change, if that is few.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LENGTH_MAX {
        return None;
    }
    // A third of the letters may be wrong, and two of a short word.
    let most = (word.len() / 3).max(2);
    let near = candidates.map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, candidate)| *distance <= most && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many bytes have to be put in, taken out or changed. A dash is as good as a line below.
fn distance(a: &str, b: &str) -> usize {
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || matches!((a, b), (b'-', b'_'));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, byte) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, other) in b.bytes().enumerate() {
            let changed = corner + usize::from(!same(byte, other));
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["data", "dirty_bound", "dirty_bound_total", "cache", "prices.put_usd_per_million"];
        for (word, meant) in [
            ("dirty-bound", Some("dirty_bound")),
            ("dirty_bond", Some("dirty_bound")),
            ("dirtyboundtotal", Some("dirty_bound_total")),
            ("Cahce", Some("cache")),
            ("date", Some("data")),
            ("price.put_usd_per_million", Some("prices.put_usd_per_million")),
            ("colour", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known.into_iter()), None);
    }

    #[test]
    fn distances_are_counted() {
        for (a, b, changes) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("a-b", "a_b", 0)] {
            assert_eq!(distance(a, b), changes, "{a} {b}");
        }
    }
}
