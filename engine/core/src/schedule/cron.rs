//! Cron expressions of five fields: minute, hour, day of month, month, day of week.
//!
//! As in the classic cron: a field is a list of values, ranges and steps; months and weekdays have English names; 7 is
//! Sunday too; if both day fields are restricted, a day matches if either does.

use super::InvalidSchedule;

const MINUTES_PER_DAY: i64 = 1440;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Shorthands for whole expressions.
const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Days searched for the next occurrence: 29 February may be eight years away.
const DAYS_SEARCHED: i64 = 8 * 366 + 1;

/// A cron expression; each field is a set of values as a bit mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// What a field may hold.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Cron {
    /// Parses five fields, or a shorthand such as `@daily`.
    pub fn parse(text: &str) -> Result<Cron, InvalidSchedule> {
        let invalid = |reason: String| InvalidSchedule { value: text.to_owned(), reason };
        let lower = text.trim().to_ascii_lowercase();
        let expression = match NAMED.iter().find(|(name, _)| *name == lower) {
            Some((_, expression)) => *expression,
            None if lower.starts_with('@') => {
                let known: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
                return Err(invalid(format!("Known shorthands are {}.", known.join(", "))));
            }
            None => &lower,
        };
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(invalid(format!(
                "A cron expression has five fields: minute, hour, day of month, month, day of week; this has {}.",
                fields.len()
            )));
        };
        let set =
            |name, low, high, names, part| Field { name, low, high, names }.parse(part).map_err(invalid);
        let weekdays = set("day of week", 0, 7, &WEEKDAYS[..], weekday)?;
        let cron = Cron {
            minutes: set("minute", 0, 59, &[], minute)?,
            hours: set("hour", 0, 23, &[], hour)?,
            days: set("day of month", 1, 31, &[], day)?,
            months: set("month", 1, 12, &MONTHS[..], month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        if cron.next_after(0).is_none() {
            return Err(invalid("No date matches it.".to_owned()));
        }
        Ok(cron)
    }

    /// The first minute after `minute` that matches, in minutes of the local wall clock since 1970-01-01 00:00.
    pub fn next_after(&self, minute: i64) -> Option<i64> {
        let first = minute + 1;
        let first_day = first.div_euclid(MINUTES_PER_DAY);
        (first_day..first_day + DAYS_SEARCHED).filter(|&day| self.matches_day(day)).find_map(|day| {
            let from = if day == first_day { first.rem_euclid(MINUTES_PER_DAY) } else { 0 };
            (from..MINUTES_PER_DAY)
                .find(|minute| has(self.hours, minute / 60) && has(self.minutes, minute % 60))
                .map(|minute| day * MINUTES_PER_DAY + minute)
        })
    }

    /// Whether the day, counted from 1970-01-01 (a Thursday), matches.
    fn matches_day(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        let by_date = has(self.days, day_of_month);
        let by_weekday = has(self.weekdays, (day + 4).rem_euclid(7));
        let day_matches =
            if self.any_day || self.any_weekday { by_date && by_weekday } else { by_date || by_weekday };
        has(self.months, month) && day_matches
    }
}

fn has(set: u64, value: i64) -> bool {
    set >> value & 1 == 1
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(self.number(step)?)),
                None => (part, None),
            };
            let (low, high) = if range == "*" {
                (self.low, self.high)
            } else if let Some((low, high)) = range.split_once('-') {
                (self.value(low)?, self.value(high)?)
            } else {
                let value = self.value(range)?;
                // `5/10` means from 5 on.
                (value, if step.is_some() { self.high } else { value })
            };
            let step = step.unwrap_or(1);
            if low > high || step == 0 {
                return Err(format!("\"{part}\" is not a range of the field {}.", self.name));
            }
            for value in (low..=high).step_by(step as usize) {
                set |= 1 << value;
            }
        }
        Ok(set)
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        if let Some(index) = self.names.iter().position(|name| *name == text) {
            return Ok(index as u32 + self.low);
        }
        let value = self.number(text)?;
        if (self.low..=self.high).contains(&value) {
            Ok(value)
        } else {
            Err(format!("The field {} is between {} and {}, not {value}.", self.name, self.low, self.high))
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("\"{text}\" is not a number in the field {}.", self.name));
        }
        text.parse().map_err(|_| format!("\"{text}\" is too large for the field {}.", self.name))
    }
}

/// Month and day of month of a day counted from 1970-01-01 in the Gregorian calendar. Years begin in March here, so
/// that the leap day is the last.
fn month_and_day(day: i64) -> (i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = day + 719_468;
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_based + 2) / 5 + 1;
    (if march_based < 10 { march_based + 3 } else { march_based - 9 }, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes since 1970 of a date and time, by counting days one by one.
    fn minute(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let lengths = |year| [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: i64 = (1970..year).map(|year| lengths(year).iter().sum::<i64>()).sum();
        let months: i64 = lengths(year).iter().take(month as usize - 1).sum();
        ((years + months + day - 1) * 24 + hour) * 60 + minute
    }

    fn next(expression: &str, after: i64) -> i64 {
        Cron::parse(expression).expect(expression).next_after(after).expect("an occurrence")
    }

    #[test]
    fn calendar_agrees_with_counting() {
        for (year, month, day) in [(1970, 1, 1), (2000, 2, 29), (2023, 12, 31), (2024, 2, 29), (2100, 3, 1)] {
            let days = minute(year, month, day, 0, 0) / MINUTES_PER_DAY;
            assert_eq!(month_and_day(days), (month, day));
        }
    }

    #[test]
    fn next_occurrences() {
        let start = minute(2026, 3, 14, 10, 7); // a Saturday
        for (expression, expected) in [
            ("* * * * *", minute(2026, 3, 14, 10, 8)),
            ("*/15 * * * *", minute(2026, 3, 14, 10, 15)),
            ("5 * * * *", minute(2026, 3, 14, 11, 5)),
            ("7 10 * * *", minute(2026, 3, 15, 10, 7)),
            ("30 9-17/4 * * *", minute(2026, 3, 14, 13, 30)),
            ("0 3 * * mon-fri", minute(2026, 3, 16, 3, 0)),
            ("0 3 * * 7", minute(2026, 3, 15, 3, 0)),
            ("0 0 1 jan *", minute(2027, 1, 1, 0, 0)),
            ("0 0 29 2 *", minute(2028, 2, 29, 0, 0)),
            ("0 0 13 * 5", minute(2026, 3, 20, 0, 0)),
            ("0 0 */10 * *", minute(2026, 3, 21, 0, 0)),
            ("1,2,3 0 1 * *", minute(2026, 4, 1, 0, 1)),
            ("@weekly", minute(2026, 3, 15, 0, 0)),
        ] {
            assert_eq!(next(expression, start), expected, "{expression}");
        }
    }

    #[test]
    fn occurrences_agree_with_trying_every_minute() {
        let cron = Cron::parse("17,48 */5 1-7 * tue").expect("valid");
        let start = minute(2027, 12, 28, 0, 0);
        let tried: Vec<i64> = (start + 1..start + 40 * MINUTES_PER_DAY)
            .filter(|at| {
                let of_day = at.rem_euclid(MINUTES_PER_DAY);
                cron.matches_day(at.div_euclid(MINUTES_PER_DAY))
                    && has(cron.hours, of_day / 60)
                    && has(cron.minutes, of_day % 60)
            })
            .collect();
        let mut found = Vec::new();
        let mut at = start;
        while let Some(next) = cron.next_after(at).filter(|next| *next < start + 40 * MINUTES_PER_DAY) {
            found.push(next);
            at = next;
        }
        assert!(found.len() > 20);
        assert_eq!(found, tried);
    }

    #[test]
    fn malformed_expressions_say_why() {
        for (expression, part) in [
            ("* * * *", "five fields"),
            ("60 * * * *", "between 0 and 59"),
            ("* * 0 * *", "between 1 and 31"),
            ("* * * foo *", "\"foo\""),
            ("*/0 * * * *", "not a range"),
            ("9-5 * * * *", "not a range"),
            ("1,,2 * * * *", "\"\""),
            ("0 0 31 2 *", "No date"),
            ("@noon", "shorthands"),
        ] {
            let error = Cron::parse(expression).expect_err(expression);
            assert!(error.reason.contains(part), "{expression}: {}", error.reason);
        }
    }
}
