//! What a part of the report comes to, in numbers that can be added up.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::explanation::How;
use super::run::{QueryRun, ServerRun};

/// Counts of one part, or of several together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Queries of which a stream table was asked for.
    pub queries: usize,
    pub refreshes: usize,
    /// Comparisons of a whole stream table with an oracle's answer, by oracle.
    pub comparisons: BTreeMap<String, usize>,
    /// Comparisons that found a difference, and refreshes that failed.
    pub wrong: usize,
    /// Results that an oracle could not judge.
    pub not_comparable: usize,
    /// Comparisons in which one oracle found a difference and the other none.
    pub disagreements: usize,
    /// Differences of the text alone, such as 1.5 and 1.50.
    pub text_only: usize,
    /// Queries by the way they are maintained.
    pub how: BTreeMap<How, usize>,
}

impl Counts {
    /// Comparisons with all oracles.
    pub fn compared(&self) -> usize {
        self.comparisons.values().sum()
    }

    /// Queries that are maintained in this way.
    pub fn maintained(&self, how: How) -> usize {
        self.how.get(&how).copied().unwrap_or(0)
    }

    /// Counts comparisons with one oracle.
    pub fn compare(&mut self, oracle: &str, count: usize) {
        *self.comparisons.entry(oracle.to_owned()).or_default() += count;
    }

    /// Counts of a replay on one server.
    pub fn of_replay(run: &ServerRun) -> Counts {
        let mut counts = Counts::default();
        run.queries.iter().for_each(|query| counts.add_query(query));
        counts
    }

    fn add_query(&mut self, query: &QueryRun) {
        self.queries += 1;
        *self.how.entry(query.how()).or_default() += 1;
        self.refreshes += query.cycles.len();
        self.wrong += query.cycles.iter().filter(|cycle| cycle.refreshed.error.is_some()).count();
        for (_, oracle, judgement) in query.judgements() {
            match judgement.was_made() {
                true => self.compare(oracle, 1),
                false => self.not_comparable += 1,
            }
            self.wrong += usize::from(judgement.is_wrong());
            self.text_only += usize::from(judgement.text_only);
        }
        self.disagreements += query.disagreements().count();
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.queries += other.queries;
        self.refreshes += other.refreshes;
        self.wrong += other.wrong;
        self.not_comparable += other.not_comparable;
        self.disagreements += other.disagreements;
        self.text_only += other.text_only;
        other.comparisons.iter().for_each(|(oracle, count)| self.compare(oracle, *count));
        for (how, count) in &other.how {
            *self.how.entry(*how).or_default() += count;
        }
    }
}
