//! Figures of a few repeated measurements, and whether two sets of them differ.

use crate::report::{median, percentile};

/// The middle of some values and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    /// A quarter of the values is not above this one, a quarter not below the next.
    pub low: f64,
    pub high: f64,
    pub count: usize,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let at = |percent| percentile(values.iter().copied(), percent);
        Some(Spread {
            median: median(values.iter().copied())?,
            low: at(25.0)?,
            high: at(75.0)?,
            count: values.len(),
        })
    }
}

/// How likely values are to be as much greater than `base` as they are, or more, if both were drawn from one
/// distribution: the exact one-sided test of Mann and Whitney. 1 if there is nothing to compare.
pub fn chance_of_greater(base: &[f64], values: &[f64]) -> f64 {
    let (n, m) = (base.len(), values.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    // Of all pairs, those in which the value is the greater one; of ties a half, rounded against significance.
    let wins: f64 = values
        .iter()
        .flat_map(|value| base.iter().map(move |other| (value, other)))
        .map(|(value, other)| {
            if value > other {
                1.0
            } else if value == other {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    let wins = wins.floor() as usize;
    let counts = arrangements(n, m);
    let all: f64 = counts.iter().sum();
    counts[wins..].iter().sum::<f64>() / all
}

/// The least that [`chance_of_greater`] can be of so many values: that of all being greater. Where it is above what counts
/// as improbable, no difference can ever be told.
pub fn least_chance(base: usize, values: usize) -> f64 {
    if base == 0 || values == 0 { 1.0 } else { 1.0 / arrangements(base, values).iter().sum::<f64>() }
}

/// For each number of pairs in which the value is greater: in how many orders of `n` base values and `m` values it occurs.
fn arrangements(n: usize, m: usize) -> Vec<f64> {
    // By the greatest element: if it is a value, it wins against all `n`; if it is a base value, it wins against none.
    let mut with: Vec<Vec<f64>> = vec![vec![1.0]; n + 1];
    for values in 1..=m {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for base in 1..=n {
            let mut counts = vec![0.0; base * values + 1];
            for (wins, count) in with[base].iter().enumerate() {
                counts[wins + base] += count;
            }
            for (wins, count) in next[base - 1].iter().enumerate() {
                counts[wins] += count;
            }
            next.push(counts);
        }
        with = next;
    }
    with.swap_remove(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_made_of_values_that_occurred() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).expect("values");
        assert_eq!((spread.median, spread.low, spread.high, spread.count), (2.0, 1.0, 3.0, 4));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn every_order_is_counted_once() {
        // Of 3 and 2 there are 10 orders, by wins 1 1 2 2 2 1 1.
        assert_eq!(arrangements(3, 2), [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!(arrangements(5, 5).iter().sum::<f64>(), 252.0);
    }

    #[test]
    fn least_chance_is_that_of_all_being_greater() {
        assert_eq!(least_chance(3, 3), 1.0 / 20.0);
        assert_eq!(least_chance(3, 3), chance_of_greater(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]));
        assert_eq!(least_chance(0, 3), 1.0);
    }

    #[test]
    fn chance_is_small_where_all_are_greater_and_large_where_none_is() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(chance_of_greater(&low, &high), 1.0 / 252.0);
        assert_eq!(chance_of_greater(&high, &low), 1.0);
        assert_eq!(chance_of_greater(&[], &low), 1.0);
        // Equal values prove nothing.
        assert!(chance_of_greater(&low, &low) > 0.4);
    }
}
