//! Sizes and times as people write them.

use std::time::Duration;

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    // Last, because every other unit ends in it.
    ("B", 1),
];

const TIMES: [(&str, u64); 4] = [
    // First, because it ends in the unit that follows.
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
];

/// `4MiB`, `100 KiB`, `512B`. A bare number is none: in a text it is more likely a mistake.
pub(super) fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// `500ms`, `30s`, `10m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (unit, scale) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let digits = text.strip_suffix(unit)?.trim_end();
    // `parse` would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

/// The largest binary unit that loses nothing.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit_and_not_without() {
        assert_eq!(size("4MiB"), Some(4 << 20));
        assert_eq!(size("100 KiB"), Some(100 << 10));
        assert_eq!(size("2MB"), Some(2_000_000));
        assert_eq!(size("7B"), Some(7));
        for wrong in ["", "4", "MiB", "-4MiB", "+4MiB", "4mib", "4.5MiB", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit_and_not_without() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("10m"), Some(Duration::from_mins(10)));
        assert_eq!(duration("1h"), Some(Duration::from_hours(1)));
        for wrong in ["", "30", "s", "-1s", "1.5s", "soon"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_loses_nothing() {
        assert_eq!(show_size(4 << 20), "4MiB");
        assert_eq!(show_size(1_500), "1500B");
        assert_eq!(show_size(0), "0B");
    }
}
