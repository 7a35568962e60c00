//! `harness fuzz`: random queries and random histories against real servers, for as long as asked.
//!
//! Rounds of the two random tests, each round with the next seed, until the time is over. What a round found is printed
//! by the test itself, shrunk; the round's seeds reproduce it. At the end: how many queries were generated and which
//! share of them was maintained by their changes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postgres::Client;

use crate::cluster::{Cluster, ClusterOptions, DEFAULT_MAJOR, StartedCluster, parse_majors, wanted_backend};
use crate::provision::plan::{Version, supply};
use crate::provision::{debian, say};
use crate::report::{How, RandomRun, Round};
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

/// How much a round does.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Random queries of each random test.
    pub queries: u32,
    /// Random transactions per shape of query.
    pub batches: u32,
}

/// A server that random tests run against.
pub struct Ground {
    version: Version,
    cluster: StartedCluster,
    nextest: Nextest,
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
        let grounds = versions.iter().map(Ground::prepare).collect::<Result<Vec<_>>>()?;
        let extent = Extent { queries: self.queries, batches: self.batches };
        let deadline = Instant::now() + Duration::from_secs(self.minutes * 60);
        let mut run = RandomRun::default();
        for seed in first.. {
            if Instant::now() >= deadline {
                break;
            }
            run.rounds.push(grounds[run.rounds.len() % grounds.len()].round(seed, extent)?);
        }
        ensure!(!run.rounds.is_empty(), "the time was over before the first round");
        let (counts, failures) = (run.counts(), run.failures());
        let share = acceptance(&run);
        println!(
            "{} rounds from seed {first}: {} queries maintained by their changes, {} refused ({share:.2} % accepted), {} comparisons; {} rounds failed",
            run.rounds.len(),
            counts.maintained(How::Delta),
            counts.maintained(How::Refused),
            counts.compared(),
            failures.len()
        );
        for failure in &failures {
            println!("failed: {failure}");
        }
        if share < ACCEPTANCE_MIN {
            say(format_args!("fewer than {ACCEPTANCE_MIN} % of the queries were accepted"));
        }
        let succeeded = failures.is_empty() && share >= ACCEPTANCE_MIN;
        Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Ground {
    /// Starts a server of a version, and gets what tests need.
    pub fn prepare(version: &Version) -> Result<Ground> {
        let options = ClusterOptions::default().set("max_connections", 200);
        Ok(Ground {
            version: version.clone(),
            cluster: StartedCluster::start(version, &options)?,
            nextest: Nextest::get(vec!["--success-output=immediate".to_owned()])?,
        })
    }

    /// The random tests once, with the seed.
    pub fn round(&self, seed: u64, extent: Extent) -> Result<Round> {
        let settings = [
            ("PROPTEST_RNG_SEED", seed.to_string()),
            ("PROPTEST_CASES", extent.queries.to_string()),
            ("PG_TRICKLE_SEED", seed.to_string()),
            ("PG_TRICKLE_BATCHES", extent.batches.to_string()),
        ];
        let mut round = Round { seed, pg_major: self.version.major, ..Round::default() };
        let outcome = self.nextest.run_with(
            &format!("PostgreSQL {}, seed {seed}", self.version.major),
            &self.version.supply.to_string(),
            "package(pg_trickle_harness) & (test(/^random_queries::/) | test(/^mutation::/))",
            Some(&serde_json::to_string(&self.cluster.share())?),
            &settings,
            &mut |line| read(&mut round, line),
        )?;
        round.failed = !outcome.succeeded();
        Ok(round)
    }

    /// The server, as a session sees it.
    pub fn connect(&self) -> Result<Client> {
        self.cluster.share().connect("postgres")
    }
}

/// Adds what a line of a random test's output says of itself.
fn read(round: &mut Round, line: &str) {
    if let Some((count, reason)) = line.split_once(" refused: ")
        && let Ok(count) = count.trim().parse::<usize>()
    {
        *round.refused.entry(reason.trim().to_owned()).or_default() += count;
    } else if line.contains(" queries maintained, ") {
        let words: Vec<&str> = line.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<usize>() else { continue };
            match pair[1] {
                "queries" => round.maintained += count,
                "results" => round.changed += count,
                "refreshes" => round.refreshes += count,
                "comparisons" => round.comparisons += count,
                _ => {}
            }
        }
    }
}

/// Percent of the queries that were maintained.
fn acceptance(run: &RandomRun) -> f64 {
    let (maintained, refused) = (run.counts().maintained(How::Delta), run.counts().maintained(How::Refused));
    maintained as f64 * 100.0 / (maintained + refused).max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{RandomRun, Round, acceptance, read};

    #[test]
    fn output_of_the_random_tests_is_added_up() {
        let mut round = Round::default();
        for line in [
            "    150 queries maintained, 512 results changed, 600 refreshes, 750 comparisons; 200 cases",
            "    48 queries maintained, 96 refreshes, 96 comparisons",
            "         1 refused: a window",
            "ok",
        ] {
            read(&mut round, line);
        }
        let found = (round.maintained, round.changed, round.refreshes, round.comparisons);
        assert_eq!(found, (198, 512, 696, 846));
        assert_eq!(round.refused, BTreeMap::from([("a window".to_owned(), 1)]));
        let run = RandomRun { rounds: vec![round], ..RandomRun::default() };
        assert!(acceptance(&run) > 99.4 && acceptance(&run) < 99.6);
    }
}
