//! Order statistics of small samples.

/// The middle value; `None` of nothing. Of an even number, the lower of the two in the middle: a value that occurred.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    percentile(values, 50.0)
}

/// The smallest value that at least `percent` per cent of the values do not exceed; `None` of nothing.
pub fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median([]), None);
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(percentile(hundred(), 99.0), Some(99.0));
        assert_eq!(percentile(hundred(), 100.0), Some(100.0));
        assert_eq!(percentile([7.0], 1.0), Some(7.0));
    }
}
