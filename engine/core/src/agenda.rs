//! What a scheduler does next: which stream tables are due, in which groups, and when to look again.

use crate::graph::Graph;
use crate::schedule::{Bounds, Moment, Pace, Schedule, Wish, paces, retry_after_ms};
use std::collections::{BTreeMap, BTreeSet};

/// Longest pause between two attempts to refresh what another transaction holds, in milliseconds.
const POSTPONED_MS_MAX: u64 = 5_000;
/// First pause between two such attempts, in milliseconds.
const POSTPONED_MS: u64 = 100;
/// A stream table that is due within a tenth of its interval, and within this many milliseconds, is refreshed together
/// with those that are due now: so those with equal intervals come to share a wave.
const EARLY_MS_MAX: u64 = 250;
/// Most that falling behind lengthens an interval.
const BACKOFF_MAX: u64 = 64;

/// How urgent a stream table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Hot,
    Warm,
    Cold,
    Frozen,
}

impl Tier {
    /// By its name in the catalog.
    pub fn named(name: &str) -> Option<Tier> {
        Some(match name {
            "hot" => Tier::Hot,
            "warm" => Tier::Warm,
            "cold" => Tier::Cold,
            "frozen" => Tier::Frozen,
            _ => return None,
        })
    }

    /// By how much it lengthens an interval; None is for ever.
    pub fn slowdown(self) -> Option<u64> {
        match self {
            Tier::Hot => Some(1),
            Tier::Warm => Some(2),
            Tier::Cold => Some(10),
            Tier::Frozen => None,
        }
    }
}

/// What the catalog says about one stream table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub pgt_id: i64,
    /// Direct upstreams among stream tables.
    pub upstream: Vec<i64>,
    pub schedule: Schedule,
    /// [`Tier::Hot`] while tiers are switched off.
    pub tier: Tier,
    /// Populated, not suspended, not in error.
    pub is_active: bool,
    /// Maintained by its writers: a scheduler has nothing to do, and its consumers need not wait.
    pub is_immediate: bool,
    pub last_refresh: Option<Moment>,
}

/// What a scheduler remembers about one stream table between two looks. It is not stored: a refresh that finds nothing
/// pending writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// When it was last found or made fresh.
    checked: Option<Moment>,
    /// Not before this time, after a failure or because it was held by another transaction.
    retry_at_ms: Option<i64>,
    postponements: u32,
    backoff: u64,
    /// It failed once in a way that only an act of somebody can mend, and that is not recorded yet.
    is_doubted: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { checked: None, retry_at_ms: None, postponements: 0, backoff: 1, is_doubted: false }
    }
}

impl Memory {
    /// It was made fresh by a refresh that began at `at` and took `took_ms`. With `auto_backoff` its interval is doubled
    /// while refreshes take longer than the interval, and restored by the first that does not.
    pub fn refreshed(&mut self, at: Moment, took_ms: u64, pace: Option<&Pace>, auto_backoff: bool) {
        let is_late = pace.and_then(|pace| pace.interval_ms).is_some_and(|interval| took_ms > interval);
        let backoff =
            if auto_backoff && is_late { self.backoff.saturating_mul(2).min(BACKOFF_MAX) } else { 1 };
        *self = Memory { checked: Some(at), backoff, ..Memory::default() };
    }

    /// Another transaction was in the way.
    pub fn postponed(&mut self, at: Moment) {
        let pause = (POSTPONED_MS << self.postponements.min(16)).min(POSTPONED_MS_MAX);
        self.postponements += 1;
        self.retry_at_ms = Some(at.epoch_ms.saturating_add_unsigned(pause));
    }

    /// Whether a failure that nobody but a person can mend should be seen once more before it is believed. A commit that
    /// mends it (a GRANT, say) is visible to snapshots a moment before other processes learn that their caches are out
    /// of date, and a scheduler woken by that very commit can meet the moment.
    pub fn doubts(&mut self) -> bool {
        self.is_doubted = !self.is_doubted;
        self.is_doubted
    }

    /// Something changed: what failed or was held is tried again at its own pace.
    pub fn encourage(&mut self) {
        self.retry_at_ms = None;
        self.postponements = 0;
    }

    /// Its refresh failed for the `errors`th time in a row.
    pub fn failed(&mut self, at: Moment, errors: u32, pace: Option<&Pace>) {
        let interval_ms = pace.and_then(|pace| pace.interval_ms).unwrap_or(1000);
        self.retry_at_ms = Some(at.epoch_ms.saturating_add_unsigned(retry_after_ms(interval_ms, errors)));
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agenda {
    /// Groups of stream tables that are due and do not depend on each other across groups. Each is refreshed, with
    /// everything upstream, at one snapshot.
    pub waves: Vec<Vec<i64>>,
    /// Due, but an upstream (second) cannot be brought up to date.
    pub blocked: Vec<(i64, i64)>,
    /// Milliseconds until something more is due; None if nothing will be.
    pub next_in_ms: Option<u64>,
    pub paces: BTreeMap<i64, Pace>,
}

/// Decides what is due at `now`.
pub fn agenda(subjects: &[Subject], memory: &BTreeMap<i64, Memory>, bounds: Bounds, now: Moment) -> Agenda {
    let graph = graph(subjects);
    let remembered = |id: i64| memory.get(&id).copied().unwrap_or_default();
    let wishes: BTreeMap<i64, Wish> = subjects
        .iter()
        .map(|subject| {
            let slowdown = if subject.is_active { subject.tier.slowdown() } else { None };
            let slowdown = slowdown.map(|by| by.saturating_mul(remembered(subject.pgt_id).backoff));
            (subject.pgt_id, Wish { schedule: subject.schedule.clone(), slowdown })
        })
        .collect();
    let mut agenda = Agenda { paces: paces(&graph, &wishes, bounds), ..Agenda::default() };
    let stuck: BTreeSet<i64> = subjects
        .iter()
        .filter(|subject| !subject.is_active || (subject.tier == Tier::Frozen && !subject.is_immediate))
        .map(|subject| subject.pgt_id)
        .collect();
    let mut waits = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| !stuck.contains(&subject.pgt_id) && !subject.is_immediate)
    {
        let id = subject.pgt_id;
        let needed = graph.with_upstream([id]);
        let last = remembered(id).checked.max(subject.last_refresh);
        let Some(due_in) = last.map_or(Some(0), |last| agenda.paces[&id].due_in_ms(last, now)) else {
            continue;
        };
        if let Some(&upstream) = needed.intersection(&stuck).next() {
            if due_in == 0 {
                agenda.blocked.push((id, upstream));
            }
            continue;
        }
        // An upstream that failed is not tried sooner because somebody reads it.
        let retry_in =
            needed_retry(memory, &graph, id).map_or(0, |at| at.saturating_sub(now.epoch_ms).max(0) as u64);
        waits.insert(id, due_in.max(retry_in));
    }
    let is_any_due = waits.values().any(|&wait| wait == 0);
    let mut due = BTreeSet::new();
    for (id, wait) in waits {
        let early = agenda.paces[&id].interval_ms.map_or(0, |interval| (interval / 10).min(EARLY_MS_MAX));
        if wait == 0 || (is_any_due && wait <= early && needed_retry(memory, &graph, id).is_none()) {
            due.insert(id);
        } else {
            agenda.next_in_ms = Some(agenda.next_in_ms.map_or(wait, |next| next.min(wait)));
        }
    }
    agenda.waves = graph
        .components(&graph.with_upstream(due.iter().copied()))
        .into_iter()
        .map(|component| component.intersection(&due).copied().collect())
        .collect();
    agenda
}

/// The latest time before which a stream table, or something upstream of it, is not to be tried again.
fn needed_retry(memory: &BTreeMap<i64, Memory>, graph: &Graph, id: i64) -> Option<i64> {
    graph.with_upstream([id]).iter().filter_map(|needed| memory.get(needed)?.retry_at_ms).max()
}

/// Who reads whom.
pub fn graph(subjects: &[Subject]) -> Graph {
    Graph::new(
        subjects.iter().map(|subject| subject.pgt_id),
        subjects
            .iter()
            .flat_map(|subject| subject.upstream.iter().map(|&upstream| (subject.pgt_id, upstream))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { default_seconds: 1, min_seconds: 1 };

    fn at(seconds: i64) -> Moment {
        Moment { epoch_ms: seconds * 1000, civil_ms: seconds * 1000 }
    }

    fn subject(pgt_id: i64, upstream: &[i64], schedule: &str, last: i64) -> Subject {
        Subject {
            pgt_id,
            upstream: upstream.to_vec(),
            schedule: Schedule::parse(schedule).expect("a schedule"),
            tier: Tier::Hot,
            is_active: true,
            is_immediate: false,
            last_refresh: Some(at(last)),
        }
    }

    fn fresh() -> BTreeMap<i64, Memory> {
        BTreeMap::new()
    }

    #[test]
    fn failure_for_a_person_to_mend_is_believed_the_second_time() {
        let mut memory = Memory::default();
        assert!(memory.doubts());
        assert!(!memory.doubts());
        assert!(memory.doubts(), "after it was recorded the next one is new");
    }

    #[test]
    fn due_stream_tables_form_waves_with_their_shared_upstream() {
        let subjects = [
            subject(1, &[], "calculated", 100),
            subject(2, &[1], "10s", 100),
            subject(3, &[1], "10s", 100),
            subject(4, &[], "10s", 100),
            subject(5, &[], "30s", 100),
        ];
        let found = agenda(&subjects, &fresh(), BOUNDS, at(110));
        assert_eq!(found.waves, [vec![1, 2, 3], vec![4]]);
        assert_eq!(found.next_in_ms, Some(20_000));
        assert_eq!(agenda(&subjects, &fresh(), BOUNDS, at(101)).waves, Vec::<Vec<i64>>::new());
    }

    #[test]
    fn nearly_due_joins_those_that_are() {
        let mut subjects = [subject(1, &[], "2s", 100), subject(2, &[1], "2s", 100)];
        subjects[1].last_refresh = Some(Moment { epoch_ms: 100_150, civil_ms: 100_150 });
        assert_eq!(agenda(&subjects, &fresh(), BOUNDS, at(102)).waves, [vec![1, 2]]);
        let now = Moment { epoch_ms: 101_990, civil_ms: 101_990 };
        assert_eq!(agenda(&subjects, &fresh(), BOUNDS, now).waves.len(), 0, "nobody is due");
    }

    #[test]
    fn never_refreshed_is_due() {
        let mut one = subject(1, &[], "1h", 0);
        one.last_refresh = None;
        assert_eq!(agenda(&[one], &fresh(), BOUNDS, at(0)).waves, [vec![1]]);
    }

    #[test]
    fn stuck_upstream_blocks_its_consumers_and_nobody_else() {
        let mut subjects = [
            subject(1, &[], "1s", 100),
            subject(2, &[1], "1s", 100),
            subject(3, &[2], "1s", 100),
            subject(4, &[], "1s", 100),
        ];
        subjects[0].is_active = false;
        let found = agenda(&subjects, &fresh(), BOUNDS, at(110));
        assert_eq!(found.waves, [vec![4]]);
        assert_eq!(found.blocked, [(2, 1), (3, 1)]);
    }

    #[test]
    fn immediate_upstream_needs_no_refresh() {
        let mut subjects = [subject(1, &[], "1s", 100), subject(2, &[1], "1s", 100)];
        subjects[0].is_immediate = true;
        assert_eq!(agenda(&subjects, &fresh(), BOUNDS, at(110)).waves, [vec![2]]);
    }

    #[test]
    fn checked_without_a_change_is_remembered() {
        let subjects = [subject(1, &[], "10s", 100)];
        let mut memory = fresh();
        memory.entry(1).or_default().refreshed(at(110), 5, None, false);
        let found = agenda(&subjects, &memory, BOUNDS, at(112));
        assert_eq!((found.waves.len(), found.next_in_ms), (0, Some(8_000)));
    }

    #[test]
    fn failures_and_postponements_wait() {
        let subjects = [subject(1, &[], "10s", 100)];
        let mut memory = fresh();
        memory.entry(1).or_default().failed(
            at(120),
            1,
            Some(&Pace { interval_ms: Some(10_000), crons: vec![] }),
        );
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(120)).next_in_ms, Some(20_000));
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(140)).waves, [vec![1]]);
        let mut known = Memory::default();
        for _ in 0..20 {
            known.postponed(at(120));
        }
        let memory = BTreeMap::from([(1, known)]);
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(120)).next_in_ms, Some(POSTPONED_MS_MAX));
    }

    #[test]
    fn consumers_of_what_failed_wait_with_it() {
        let subjects = [subject(1, &[], "1s", 100), subject(2, &[1], "1s", 100)];
        let mut memory = fresh();
        memory.entry(1).or_default().failed(
            at(110),
            3,
            Some(&Pace { interval_ms: Some(1000), crons: vec![] }),
        );
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(111)).waves.len(), 0);
        memory.values_mut().for_each(Memory::encourage);
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(111)).waves, [vec![1, 2]]);
    }

    #[test]
    fn falling_behind_doubles_the_interval_until_one_is_on_time() {
        let subjects = [subject(1, &[], "10s", 100)];
        let pace = Pace { interval_ms: Some(10_000), crons: vec![] };
        let mut memory = fresh();
        memory.entry(1).or_default().refreshed(at(110), 11_000, Some(&pace), true);
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(110)).next_in_ms, Some(20_000));
        memory.entry(1).or_default().refreshed(at(130), 10, Some(&pace), true);
        assert_eq!(agenda(&subjects, &memory, BOUNDS, at(130)).next_in_ms, Some(10_000));
    }

    #[test]
    fn frozen_is_never_due() {
        let mut subjects = [subject(1, &[], "1s", 100), subject(2, &[1], "1s", 100)];
        subjects[0].tier = Tier::Frozen;
        let found = agenda(&subjects, &fresh(), BOUNDS, at(200));
        assert_eq!((found.waves.len(), found.blocked), (0, vec![(2, 1)]));
    }
}
