//! What random queries and random histories came to on one server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::explanation::How;

/// Rounds of random tests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RandomRun {
    pub server: String,
    pub rounds: Vec<Round>,
}

/// One round: random queries and random histories of one seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    pub seed: u64,
    pub pg_major: u32,
    pub maintained: usize,
    /// Why queries were refused, and how often.
    pub refused: BTreeMap<String, usize>,
    pub refreshes: usize,
    pub comparisons: usize,
    /// Results that differed from those before the refresh.
    pub changed: usize,
    pub failed: bool,
}

impl RandomRun {
    /// What the rounds come to together.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for round in &self.rounds {
            let refused: usize = round.refused.values().sum();
            counts.queries += round.maintained + refused;
            counts.refreshes += round.refreshes;
            counts.compare("PostgreSQL", round.comparisons);
            counts.wrong += usize::from(round.failed);
            // The tests demand that every refresh follows the changes; by which work class is not asked.
            *counts.how.entry(How::Delta).or_default() += round.maintained;
            *counts.how.entry(How::Refused).or_default() += refused;
        }
        counts
    }

    /// Reasons of refusals over all rounds.
    pub fn refused(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for (reason, count) in self.rounds.iter().flat_map(|round| &round.refused) {
            *all.entry(reason.as_str()).or_default() += count;
        }
        all
    }

    /// One line for each round that failed.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.rounds.iter().filter(|round| round.failed);
        failed
            .map(|round| {
                format!(
                    "PostgreSQL {}, seed {}: found something; the output shows it, shrunk",
                    round.pg_major, round.seed
                )
            })
            .collect()
    }
}
