//! Canonical forms of single values.

use super::{Cell, Equality};

/// The form in which equal cells have equal text. Approximate columns have none and keep their text.
pub(super) fn canonical(text: &str, equality: Equality) -> String {
    match equality {
        Equality::Text | Equality::Tolerance(_) => text.to_owned(),
        Equality::Number => canonical_number(text),
        Equality::Boolean => match text {
            "t" | "true" => "t".to_owned(),
            "f" | "false" => "f".to_owned(),
            other => other.to_owned(),
        },
        Equality::Time => canonical_time(text),
        Equality::Interval => canonical_interval(text).unwrap_or_else(|| text.to_owned()),
    }
}

/// A decimal number without sign of zero, leading zeros, or zeros at the end of its fraction; an exponent is applied.
/// Text that is no decimal number (`NaN`, `Infinity`) comes back as it is.
pub fn canonical_number(text: &str) -> String {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => match exponent.parse::<i32>() {
            Ok(exponent) if exponent.abs() < 1000 => (mantissa, exponent),
            _ => return text.to_owned(),
        },
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: String = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    // The point stands after this many of the digits.
    let point = whole.len() as i32 + exponent;
    let padded = if point < 0 { format!("{}{all}", "0".repeat(point.unsigned_abs() as usize)) } else { all };
    let point = point.max(0) as usize;
    let padded = format!("{padded:0<point$}");
    let (whole, fraction) = padded.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Whether two cells are both NULL, the same text, or numbers within `fraction` of the larger magnitude.
pub(super) fn is_close(left: &Cell, right: &Cell, fraction: f64) -> bool {
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return left == right,
    };
    if left == right {
        return true;
    }
    let number = |text: &str| match text {
        "Infinity" | "inf" => Some(f64::INFINITY),
        "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
        "NaN" | "nan" => Some(f64::NAN),
        other => other.parse::<f64>().ok(),
    };
    match (number(left), number(right)) {
        (Some(left), Some(right)) if left.is_nan() || right.is_nan() => left.is_nan() && right.is_nan(),
        (Some(left), Some(right)) if left.is_infinite() || right.is_infinite() => left == right,
        (Some(left), Some(right)) => (left - right).abs() <= fraction * left.abs().max(right.abs()),
        _ => false,
    }
}

/// Zeros at the end of a fraction of a second do not count; a time zone after it stays.
fn canonical_time(text: &str) -> String {
    let Some((before, after)) = text.split_once('.') else { return text.to_owned() };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, zone) = after.split_at(digits);
    match fraction.trim_end_matches('0') {
        "" => format!("{before}{zone}"),
        fraction => format!("{before}.{fraction}{zone}"),
    }
}

/// `1 year 2 mons -3 days 04:05:06.5` and its variants as months, days and microseconds.
fn canonical_interval(text: &str) -> Option<String> {
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if word.contains(':') {
            micros += clock_micros(word)?;
            continue;
        }
        let count: i64 = word.parse().ok()?;
        match words.next()? {
            "year" | "years" => months += 12 * count,
            "mon" | "mons" | "month" | "months" => months += count,
            "day" | "days" => days += count,
            _ => return None,
        }
    }
    Some(format!("{months} months {days} days {micros} us"))
}

fn clock_micros(clock: &str) -> Option<i64> {
    let (sign, clock) = match clock.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, clock.strip_prefix('+').unwrap_or(clock)),
    };
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let whole: i64 =
        hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60 + whole.parse::<i64>().ok()?;
    Some(sign * (whole * 1_000_000 + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_what_does_not_count() {
        for (text, canonical) in [
            ("1.50", "1.5"),
            ("-0.00", "0"),
            ("+007", "7"),
            ("1e3", "1000"),
            ("1.25e-3", "0.00125"),
            ("-12.340e1", "-123.4"),
            ("100", "100"),
            (".5", "0.5"),
            ("NaN", "NaN"),
            ("Infinity", "Infinity"),
            ("", ""),
        ] {
            assert_eq!(canonical_number(text), canonical, "{text}");
        }
    }

    #[test]
    fn closeness_is_relative() {
        let cell = |text: &str| Some(text.to_owned());
        assert!(is_close(&cell("1e15"), &cell("1000000000000000.0"), 0.0));
        assert!(is_close(&cell("1000000"), &cell("1000000.0001"), 1e-9));
        assert!(!is_close(&cell("1000000"), &cell("1000000.01"), 1e-9));
        assert!(!is_close(&cell("0"), &cell("0.0000001"), 1e-9));
        assert!(is_close(&cell("NaN"), &cell("nan"), 1e-9));
        assert!(is_close(&cell("-Infinity"), &cell("-inf"), 1e-9));
        assert!(!is_close(&cell("Infinity"), &cell("1"), 1e-9));
    }

    #[test]
    fn times_and_intervals_of_both_engines_agree() {
        assert_eq!(canonical_time("2020-01-01 10:00:00.500000+00"), "2020-01-01 10:00:00.5+00");
        assert_eq!(canonical_time("10:00:00.000"), "10:00:00");
        let interval = |text| canonical(text, Equality::Interval);
        assert_eq!(interval("1 year 2 mons 3 days 04:05:06.5"), interval("14 months 3 days 04:05:06.500000"));
        assert_eq!(interval("-1 days -00:00:01"), "0 months -1 days -1000000 us");
        assert_ne!(interval("1 day"), interval("24:00:00"));
    }
}
