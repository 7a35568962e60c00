//! When a stream table is due: durations, cron expressions, and schedules calculated from consumers.
//!
//! Times are passed in, never read. A [`Moment`] carries the same instant twice: as seconds since the epoch, for
//! durations, and as the local wall clock, for cron expressions, so that no time zone rules are needed here.

use crate::graph::Graph;
use std::collections::BTreeMap;

mod cron;
mod duration;

pub use cron::Cron;
pub use duration::parse_duration_seconds;

/// A text that is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSchedule {
    pub value: String,
    /// A sentence.
    pub reason: String,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// As fast as the fastest consumer; the default interval without consumers.
    Calculated,
    /// At least this often, in seconds.
    Every(u64),
    Cron(Cron),
}

impl Schedule {
    /// Parses `calculated`, a duration (`30s`, `1h 30m`, `1 hour`), or a cron expression of five fields.
    pub fn parse(text: &str) -> Result<Schedule, InvalidSchedule> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("calculated") {
            return Ok(Schedule::Calculated);
        }
        let looks_like_cron = trimmed.starts_with('@')
            || trimmed.contains('*')
            || trimmed.split_ascii_whitespace().count() == 5
                && !trimmed.starts_with(|first: char| first.is_ascii_alphabetic())
                && parse_duration_seconds(trimmed).is_err();
        if looks_like_cron {
            return Cron::parse(trimmed).map(Schedule::Cron);
        }
        parse_duration_seconds(trimmed).map(Schedule::Every)
    }

    /// The interval, if the schedule is a duration.
    pub fn seconds(&self) -> Option<u64> {
        match self {
            Schedule::Every(seconds) => Some(*seconds),
            Schedule::Calculated | Schedule::Cron(_) => None,
        }
    }
}

/// One instant, in milliseconds: since the epoch, and as the local wall clock read as if it were UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub epoch_ms: i64,
    pub civil_ms: i64,
}

/// How often a stream table is refreshed in effect: its own schedule and those of everything that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pace {
    /// The shortest interval in milliseconds.
    pub interval_ms: Option<u64>,
    pub crons: Vec<Cron>,
}

impl Pace {
    fn absorb(&mut self, other: &Pace) {
        self.interval_ms = match (self.interval_ms, other.interval_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        for cron in &other.crons {
            if !self.crons.contains(cron) {
                self.crons.push(cron.clone());
            }
        }
    }

    /// The same pace with its interval multiplied, for a lower tier or while falling behind.
    pub fn slowed(mut self, factor: u64) -> Pace {
        self.interval_ms = self.interval_ms.map(|interval| interval.saturating_mul(factor));
        self
    }

    /// Milliseconds from `now` until the next refresh is due if the last check was at `last`; 0 if it is due. None if
    /// it will never be.
    pub fn due_in_ms(&self, last: Moment, now: Moment) -> Option<u64> {
        let by_interval = self.interval_ms.map(|interval| {
            let interval = i64::try_from(interval).unwrap_or(i64::MAX);
            // A clock that was set back must not stop refreshes until it has caught up.
            let elapsed = now.epoch_ms.saturating_sub(last.epoch_ms);
            if elapsed < 0 { 0 } else { interval.saturating_sub(elapsed).max(0) as u64 }
        });
        // Between the two the wall clock may have been moved: forward over an occurrence, which is then late, or back,
        // when an occurrence may come twice rather than none for an hour.
        let last_by_todays_clock = last.epoch_ms.saturating_add(now.civil_ms.saturating_sub(now.epoch_ms));
        let last_minute = last.civil_ms.min(last_by_todays_clock).div_euclid(60_000);
        let by_cron = self
            .crons
            .iter()
            .filter_map(|cron| cron.next_after(last_minute))
            .map(|minute| minute.saturating_mul(60_000).saturating_sub(now.civil_ms).max(0) as u64);
        by_cron.chain(by_interval).min()
    }
}

/// One stream table's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub schedule: Schedule,
    /// By how much its interval is lengthened; None if it is never refreshed.
    pub slowdown: Option<u64>,
}

/// Bounds that settings put on intervals, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Interval of a calculated schedule without consumers.
    pub default_seconds: u64,
    /// Shorter intervals are lengthened to it.
    pub min_seconds: u64,
}

/// The effective pace of every stream table of `graph`: its own schedule and the paces of its consumers.
pub fn paces(graph: &Graph, wishes: &BTreeMap<i64, Wish>, bounds: Bounds) -> BTreeMap<i64, Pace> {
    let mut paces: BTreeMap<i64, Pace> = BTreeMap::new();
    let every = |seconds: u64| Some(seconds.max(bounds.min_seconds).saturating_mul(1000));
    // Consumers first; members of a cycle, which cannot be created yet, may miss each other's.
    for id in graph.upstream_first().into_iter().rev() {
        let Some((wish, slowdown)) = wishes.get(&id).and_then(|wish| Some((wish, wish.slowdown?))) else {
            paces.insert(id, Pace::default());
            continue;
        };
        let mut pace = match &wish.schedule {
            Schedule::Every(seconds) => Pace { interval_ms: every(*seconds), crons: Vec::new() },
            Schedule::Cron(cron) => Pace { interval_ms: None, crons: vec![cron.clone()] },
            Schedule::Calculated => Pace::default(),
        }
        .slowed(slowdown);
        for consumer in graph.consumers(id) {
            if let Some(other) = paces.get(&consumer) {
                pace.absorb(other);
            }
        }
        if pace == Pace::default() {
            pace.interval_ms = every(bounds.default_seconds);
            pace = pace.slowed(slowdown);
        }
        paces.insert(id, pace);
    }
    paces
}

/// Milliseconds to wait before trying a failed stream table again: its interval, doubled with each consecutive error,
/// at most five minutes (or the interval, where that is longer).
pub fn retry_after_ms(interval_ms: u64, consecutive_errors: u32) -> u64 {
    const LONGEST_MS: u64 = 300_000;
    let doubled = interval_ms.saturating_mul(1 << consecutive_errors.min(20));
    doubled.min(LONGEST_MS.max(interval_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment { epoch_ms: seconds * 1000, civil_ms: seconds * 1000 + 3_600_000 }
    }

    #[test]
    fn schedules_are_told_apart() {
        assert_eq!(Schedule::parse(" Calculated "), Ok(Schedule::Calculated));
        assert_eq!(Schedule::parse("1h 30m"), Ok(Schedule::Every(5400)));
        assert_eq!(Schedule::parse("1 hour 2 minutes 3 s"), Ok(Schedule::Every(3723)));
        for cron in ["*/5 * * * *", "0 3 * * mon-fri", "0 0 1 1 0", "@hourly"] {
            assert!(matches!(Schedule::parse(cron), Ok(Schedule::Cron(_))), "{cron}");
        }
        for wrong in ["", "soon", "5", "* *", "61 * * * *", "-5s", "0s", "@never"] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn interval_is_due_once_it_has_passed() {
        let pace = Pace { interval_ms: Some(30_000), crons: Vec::new() };
        assert_eq!(pace.due_in_ms(at(100), at(110)), Some(20_000));
        assert_eq!(pace.due_in_ms(at(100), at(130)), Some(0));
        assert_eq!(pace.due_in_ms(at(100), at(50)), Some(0), "the clock was set back");
        assert_eq!(pace.slowed(10).due_in_ms(at(100), at(130)), Some(270_000));
    }

    #[test]
    fn cron_is_due_by_the_wall_clock() {
        let hourly = Cron::parse("0 * * * *").expect("valid");
        let pace = Pace { interval_ms: None, crons: vec![hourly] };
        assert_eq!(pace.due_in_ms(at(0), at(3599)), Some(1000));
        assert_eq!(pace.due_in_ms(at(0), at(3600)), Some(0));
        assert_eq!(pace.due_in_ms(at(3600), at(3601)), Some(3_599_000), "once per occurrence");
    }

    #[test]
    fn cron_survives_changes_of_the_wall_clock() {
        let five = Pace { interval_ms: None, crons: vec![Cron::parse("*/5 * * * *").expect("valid")] };
        let back = Moment { epoch_ms: 7_200_000 + 300_000, civil_ms: 3_600_000 + 300_000 };
        assert_eq!(five.due_in_ms(Moment { epoch_ms: 7_190_000, civil_ms: 7_190_000 }, back), Some(0));
        let half_past = Pace { interval_ms: None, crons: vec![Cron::parse("30 2 * * *").expect("valid")] };
        let before = Moment { epoch_ms: 7_190_000, civil_ms: 7_190_000 };
        let skipped = Moment { epoch_ms: 7_200_000, civil_ms: 7_200_000 + 3_600_000 };
        assert_eq!(half_past.due_in_ms(before, skipped), Some(0));
    }

    const BOUNDS: Bounds = Bounds { default_seconds: 7, min_seconds: 2 };

    fn intervals(graph: &Graph, wishes: &[(i64, Schedule, Option<u64>)]) -> Vec<Option<u64>> {
        let wishes = wishes
            .iter()
            .map(|(id, schedule, slowdown)| (*id, Wish { schedule: schedule.clone(), slowdown: *slowdown }))
            .collect();
        paces(graph, &wishes, BOUNDS).values().map(|pace| pace.interval_ms).collect()
    }

    #[test]
    fn calculated_follows_the_fastest_consumer() {
        // 1 <- 2 <- 4, 1 <- 3 <- 4; 5 alone.
        let graph = Graph::new([1, 2, 3, 4, 5], [(2, 1), (3, 1), (4, 2), (4, 3)]);
        let found = intervals(
            &graph,
            &[
                (1, Schedule::Calculated, Some(1)),
                (2, Schedule::Every(60), Some(1)),
                (3, Schedule::Calculated, Some(1)),
                (4, Schedule::Every(10), Some(1)),
                (5, Schedule::Calculated, Some(1)),
            ],
        );
        assert_eq!(found, [Some(10_000), Some(10_000), Some(10_000), Some(10_000), Some(7_000)]);
    }

    #[test]
    fn slowed_and_frozen_consumers_do_not_hurry_their_upstream() {
        let graph = Graph::new([1, 2, 3], [(2, 1), (3, 1)]);
        let found = intervals(
            &graph,
            &[
                (1, Schedule::Every(100), Some(1)),
                (2, Schedule::Every(1), Some(10)),
                (3, Schedule::Every(1), None),
            ],
        );
        assert_eq!(found, [Some(20_000), Some(20_000), None], "min_seconds, then the tier");
    }

    #[test]
    fn calculated_inherits_cron_without_a_default_interval() {
        let graph = Graph::new([1, 2], [(2, 1)]);
        let nightly = Schedule::parse("0 3 * * *").expect("valid");
        assert_eq!(
            intervals(&graph, &[(1, Schedule::Calculated, Some(1)), (2, nightly, Some(1))]),
            [None, None]
        );
    }

    #[test]
    fn retries_back_off_up_to_a_limit() {
        assert_eq!(retry_after_ms(1000, 0), 1000);
        assert_eq!(retry_after_ms(1000, 3), 8000);
        assert_eq!(retry_after_ms(1000, 60), 300_000);
        assert_eq!(retry_after_ms(3_600_000, 2), 3_600_000);
    }
}
