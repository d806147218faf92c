//! The calendar: milliseconds since 1970 as people write them, in UTC. Reads no clock.

/// `2026-07-28T12:34:56.789Z`.
pub fn iso(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Days from 1970-01-01 to a date, written `2026-07-28`; `None` if there is none such, or it lies before.
pub fn day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, '-');
    let mut next = |digits: usize| {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u64>().ok()).flatten()
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if year < 1_970 || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let before: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(first_day(year) + before + day - 1)
}

/// The Gregorian date that lies `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days, so this guess is at most one year off, to either side.
    let mut year = 1_970 + days * 400 / 146_097;
    if days < first_day(year) {
        year -= 1;
    } else if days >= first_day(year + 1) {
        year += 1;
    }
    let mut day = days - first_day(year);
    let mut month = 1;
    while day >= month_days(year, month) {
        day -= month_days(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

/// Days from 1970-01-01 to the first of January of `year`.
fn first_day(year: u64) -> u64 {
    let leap_days = |last: u64| last / 4 - last / 100 + last / 400;
    (year - 1_970) * 365 + leap_days(year - 1) - leap_days(1_969)
}

const fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_many_days_as_it_reads_back() {
        for days in [0, 58, 59, 60, 10_956, 11_016, 11_017, 20_000, 47_541] {
            let text = iso(days * 86_400_000);
            assert_eq!(day(&text[..10]), Some(days), "{text}");
        }
        for wrong in
            ["", "2026", "2026-13-01", "2026-02-29", "2026-1-1", "1969-12-31", "2026-01-01T"]
        {
            assert_eq!(day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn known_moments_read_as_the_calendar_says() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_123, "2001-09-09T01:46:40.123Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(unix_ms), expected);
        }
    }

    #[test]
    fn each_day_of_a_thousand_years_follows_the_one_before() {
        let mut expected = (1_970, 1, 1);
        for days in 0..365_243 {
            assert_eq!(date(days), expected, "day {days}");
            let (year, month, day) = expected;
            expected = if day < month_days(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }

    #[test]
    fn the_last_moment_a_clock_can_say_is_no_panic() {
        assert!(iso(u64::MAX).starts_with("584556019-"));
    }
}
