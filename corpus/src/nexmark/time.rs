//! Timestamps as text, without a calendar library.

/// Shortly before midnight, so that the events of a small run fall on two days.
const BASE_DAY: i64 = 20_513;
const BASE_MS: i64 = (23 * 60 + 58) * 60_000;

const DAY_MS: i64 = 86_400_000;

/// The point in time `ms` milliseconds after the first event: `2026-03-01 23:58:00.000`.
pub(super) fn timestamp(ms: i64) -> String {
    let since_midnight = BASE_MS + ms;
    let (year, month, day) = civil(BASE_DAY + since_midnight.div_euclid(DAY_MS));
    let rest = since_midnight.rem_euclid(DAY_MS);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", rest % 1000)
}

/// The date of a day counted from 1970-01-01, by Hinnant's `civil_from_days`: years begin in March, so that the day that
/// some years lack is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(-1), (1969, 12, 31));
    }

    #[test]
    fn midnight_comes_two_minutes_after_the_first_event() {
        assert_eq!(timestamp(0), "2026-03-01 23:58:00.000");
        assert_eq!(timestamp(119_999), "2026-03-01 23:59:59.999");
        assert_eq!(timestamp(120_000), "2026-03-02 00:00:00.000");
        assert_eq!(timestamp(-1), "2026-03-01 23:57:59.999");
    }
}
