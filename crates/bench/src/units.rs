//! Figures as a person reads them.

use std::time::Duration;

/// Three digits and a unit.
pub fn duration(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        ..10.0 => format!("{us:.2} µs"),
        ..100.0 => format!("{us:.1} µs"),
        ..1000.0 => format!("{us:.0} µs"),
        ..10_000.0 => format!("{:.2} ms", us / 1e3),
        ..100_000.0 => format!("{:.1} ms", us / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        assert_eq!(duration(Duration::from_nanos(2_345)), "2.35 µs");
        assert_eq!(duration(Duration::from_micros(234)), "234 µs");
        assert_eq!(duration(Duration::from_micros(23_450)), "23.4 ms");
        assert_eq!(duration(Duration::from_millis(2_340)), "2.34 s");
    }
}
