//! `harness fuzz`: random queries and random histories against real servers, for as long as asked.
//!
//! Rounds of the two random tests, each round with the next seed, until the time is over. What a round found is printed
//! by the test itself, shrunk; the round's seeds reproduce it. At the end: how many queries were generated and which
//! share of them was maintained by their changes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::{ClusterOptions, DEFAULT_MAJOR, StartedCluster, parse_majors, wanted_backend};
use crate::provision::plan::supply;
use crate::provision::{debian, say};
use crate::test_run::Nextest;

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct FuzzArguments {
    /// How long to go on, in minutes. A round that has begun is finished.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Seed of the first round; default: from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// PostgreSQL major versions, used in turn.
    #[arg(long)]
    pg: Option<String>,
    /// Random queries per round.
    #[arg(long, default_value_t = 300)]
    queries: u32,
    /// Random transactions per round and shape of query.
    #[arg(long, default_value_t = 25)]
    batches: u32,
}

/// Least share of generated queries that must be maintained by their changes, in percent.
const ACCEPTANCE_MIN: f64 = 99.0;

/// What the random query test says of itself, added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    maintained: u64,
    refused: u64,
    changed: u64,
}

impl FuzzArguments {
    /// Success means that no round failed and that enough queries were maintained.
    pub fn run(&self) -> Result<ExitCode> {
        let majors = match &self.pg {
            Some(text) => parse_majors(text)?,
            None => vec![DEFAULT_MAJOR],
        };
        debian::get_build_packages()?;
        let first = self.seed.unwrap_or_else(|| {
            std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_secs())
        });
        let versions = supply(&majors, wanted_backend()?)?;
        let options = ClusterOptions::default().set("max_connections", 200);
        let clusters = versions
            .iter()
            .map(|version| StartedCluster::start(version, &options))
            .collect::<Result<Vec<_>>>()?;
        let nextest = Nextest::get(vec!["--success-output=immediate".to_owned()])?;
        let deadline = Instant::now() + Duration::from_secs(self.minutes * 60);
        let (mut tally, mut rounds, mut failures) = (Tally::default(), 0, vec![]);
        for seed in first.. {
            if Instant::now() >= deadline {
                break;
            }
            let turn = rounds % clusters.len();
            let settings = [
                ("PROPTEST_RNG_SEED", seed.to_string()),
                ("PROPTEST_CASES", self.queries.to_string()),
                ("PG_TRICKLE_SEED", seed.to_string()),
                ("PG_TRICKLE_BATCHES", self.batches.to_string()),
            ];
            let title = format!("PostgreSQL {}, seed {seed}", versions[turn].major);
            let cluster = serde_json::to_string(&clusters[turn].share())?;
            let outcome = nextest.run_with(
                &title,
                &versions[turn].supply.to_string(),
                "binary(random_queries) | binary(mutation)",
                Some(&cluster),
                &settings,
                &mut |line| tally.read(line),
            )?;
            rounds += 1;
            if !outcome.succeeded() {
                failures.push(title);
            }
        }
        ensure!(rounds > 0, "the time was over before the first round");
        let share = tally.acceptance();
        println!(
            "{rounds} rounds from seed {first}: {} queries maintained by their changes, {} refused ({share:.2} % accepted), {} results changed; {} rounds failed",
            tally.maintained,
            tally.refused,
            tally.changed,
            failures.len()
        );
        for title in &failures {
            println!("failed: {title}");
        }
        if share < ACCEPTANCE_MIN {
            say(format_args!("fewer than {ACCEPTANCE_MIN} % of the queries were accepted"));
        }
        let succeeded = failures.is_empty() && share >= ACCEPTANCE_MIN;
        Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Tally {
    /// Adds what a line of the test's output says.
    fn read(&mut self, line: &str) {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if line.contains(" queries maintained, ") {
            self.maintained += numbers.first().unwrap_or(&0);
            self.changed += numbers.last().unwrap_or(&0);
        } else if line.contains(" refused: ") {
            self.refused += numbers.first().unwrap_or(&0);
        }
    }

    /// Percent of the queries that were maintained.
    fn acceptance(&self) -> f64 {
        self.maintained as f64 * 100.0 / (self.maintained + self.refused).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn output_of_the_random_query_test_is_added_up() {
        let mut tally = Tally::default();
        for line in
            ["    198 of 200 queries maintained, 512 results changed", "         1 refused: a window", "ok"]
        {
            tally.read(line);
        }
        assert_eq!(tally, Tally { maintained: 198, refused: 1, changed: 512 });
        assert!(tally.acceptance() > 99.4 && tally.acceptance() < 99.6);
    }
}
