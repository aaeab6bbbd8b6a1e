//! Sizes as people write them.

const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];

/// Reads a size: bytes, or with a unit of 1024: `512K`, `10G`, `1MiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!("{text:?} is no size: expected bytes, or a number with K, M, G, T or P, such as 10G or 1MiB")
    };
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit {
        "" | "B" => 0,
        unit => {
            let letter = unit.strip_suffix("iB").unwrap_or(unit);
            let at = UNITS.iter().position(|known| letter.chars().eq([*known])).ok_or_else(wrong)?;
            10 * (at as u32 + 1)
        }
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is more than can be counted in bytes"))
}

/// Reads a bound on the log: with less than a few records' worth, no write would ever go on.
pub(crate) fn parse_bound(text: &str) -> Result<u64, String> {
    const MIN: u64 = 1 << 20;
    let bytes = parse(text)?;
    if bytes < MIN {
        Err(format!("expected at least {}, found {}", show(MIN), show(bytes)))
    } else {
        Ok(bytes)
    }
}

/// A size in the largest unit of which there is at least one.
pub(crate) fn show(bytes: u64) -> String {
    let tens = bytes.checked_ilog2().unwrap_or(0) as usize / 10;
    let Some(unit) = tens.min(UNITS.len()).checked_sub(1) else { return format!("{bytes} B") };
    let one = 1_u64 << (10 * (unit + 1));
    if bytes.is_multiple_of(one) {
        format!("{} {}iB", bytes / one, UNITS[unit])
    } else {
        format!("{:.1} {}iB", bytes as f64 / one as f64, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("7B", 7), ("512K", 512 << 10), ("1MiB", 1 << 20), ("10G", 10 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes));
        }
        assert_eq!(parse("1P"), Ok(1 << 50));
        for wrong in ["", "G", "-1", "1GB", "1.5G", "10 G", "1k", "99999999999999999999", "99999999P"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB"), (1 << 60, "1024 PiB")]
        {
            assert_eq!(show(bytes), text);
        }
    }
}
