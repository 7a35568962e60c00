//! How long after its commit a change can be read, with the extension's own scheduler and steady writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::workload::Workload;

use super::contest::line;
use super::ground::Ground;
use super::result::{Case, Contestant, Cycle, STREAM_TABLE};
use super::steady::{self, Steady};
use crate::demo::{freshness, workload};

/// As fresh as the scheduler offers.
const SCHEDULE: &str = "1s";

/// How long the scheduler has, after the last commit, to make it visible.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The cases: one for each rate.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    ground.sizes.rates.iter().map(|&rate| at(ground, rate)).collect()
}

fn at(ground: &Ground, rate: u64) -> Result<Case> {
    let mut place = ground.place()?;
    let steady = Arc::new(Steady);
    place.session.client.batch_execute(steady.schema())?;
    freshness::create(&mut place.session.client, SCHEDULE)?;
    for query in steady.queries() {
        ground.subject().create_with_schedule(&mut place.session, &query, SCHEDULE)?;
    }
    let log = Arc::new(workload::Log::default());
    let transactions = rate as f64 / f64::from(steady::ROWS);
    let writer = workload::start(place.database.connect()?, steady, transactions, Arc::clone(&log));
    let mut reader = freshness::Reader::new(place.database.connect()?, Arc::clone(&log));
    let clock = Instant::now();
    let duration = Duration::from_secs(ground.sizes.seconds);
    while clock.elapsed() < duration && !writer.is_finished() {
        reader.look()?;
    }
    log.stop();
    match writer.join() {
        Ok(outcome) => outcome.context("the writer failed")?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let written = log.committed() as f64 / clock.elapsed().as_secs_f64() * f64::from(steady::ROWS);
    let last = Instant::now();
    while !reader.has_seen_everything() && last.elapsed() < CATCH_UP {
        reader.look()?;
    }
    ensure!(reader.has_seen_everything(), "{} transactions did not become visible", reader.unseen());
    let cycles = reader.samples_ms().iter().map(|&ms| Cycle { ms, ..Cycle::default() }).collect();
    let case = Case {
        name: format!("commit to visible, {rate} rows per second"),
        what: format!("{written:.0} rows per second were written, {} in a transaction", steady::ROWS),
        series: "commit to visible".to_owned(),
        change_rows: Some(rate),
        rival: None,
        contestants: vec![Contestant { cycles, ..Contestant::named(STREAM_TABLE) }],
        ..Case::default()
    };
    println!("{}", line(&case));
    Ok(case)
}
