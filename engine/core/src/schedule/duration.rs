//! Durations as people write them: `30s`, `5m`, `1h 30m`, `1 hour`, `2 days`.

use super::InvalidSchedule;

/// Units by their spellings, in seconds.
const UNITS: [(&[&str], u64); 5] = [
    (&["s", "sec", "secs", "second", "seconds"], 1),
    (&["m", "min", "mins", "minute", "minutes"], 60),
    (&["h", "hr", "hrs", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 604_800),
];

/// Parses a duration into whole seconds, at least one. Several parts add up; case does not matter.
pub fn parse_duration_seconds(text: &str) -> Result<u64, InvalidSchedule> {
    let invalid = |reason: &str| InvalidSchedule { value: text.to_owned(), reason: reason.to_owned() };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid("The duration is empty."));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(invalid(
                "A duration is a whole number followed by a unit, such as 30s or 5 minutes.",
            ));
        }
        let amount: u64 = rest[..digits].parse().map_err(|_| invalid("The number is too large."))?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if letters == 0 {
            return Err(invalid("A number has no unit; units are s, m, h, d and w."));
        }
        let unit = rest[..letters].to_ascii_lowercase();
        let (_, seconds) = UNITS
            .iter()
            .find(|(spellings, _)| spellings.contains(&unit.as_str()))
            .ok_or_else(|| invalid(&format!("\"{unit}\" is not a unit; units are s, m, h, d and w.")))?;
        total = amount
            .checked_mul(*seconds)
            .and_then(|part| total.checked_add(part))
            .filter(|&total| i64::try_from(total).is_ok())
            .ok_or_else(|| invalid("The duration is too long."))?;
        rest = rest[letters..].trim_start();
    }
    if total == 0 {
        return Err(invalid("The duration must be at least one second."));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("1 hour", 3600),
            ("1h30m", 5400),
            ("1h 30m 5s", 5405),
            ("2 Days", 172_800),
            ("1w", 604_800),
            ("90 SEC", 90),
        ] {
            assert_eq!(parse_duration_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn malformed_durations_say_why() {
        for (text, part) in [
            ("", "empty"),
            ("5", "no unit"),
            ("5 parsecs", "parsecs"),
            ("m5", "whole number"),
            ("1.5h", "no unit"),
            ("-5s", "whole number"),
            ("0s", "at least one second"),
            ("99999999999999999999s", "too large"),
            ("99999999999999999w", "too long"),
        ] {
            let error = parse_duration_seconds(text).expect_err(text);
            assert!(error.reason.contains(part), "{text}: {}", error.reason);
        }
    }
}
