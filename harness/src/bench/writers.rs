//! What concurrent writers notice of refreshes: their throughput and their latency, with refreshes one after the other
//! and without, in turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::workload::Query;
use pg_trickle_oracle::postgres::judge;

use super::contest::line;
use super::ground::{Ground, settle};
use super::pace::{QUERY, schema, writing_while};
use super::result::{Case, Contestant, Cycle};
use crate::replay::refreshing;
use crate::report::percentile;

const NAME: &str = "sums";
const DURING: &str = "during refreshes";
const WITHOUT: &str = "without refreshes";

/// The cases: for each number of writers the time of a transaction on average, and that of the slowest of a hundred.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &writers in &ground.sizes.writers {
        cases.extend(of(ground, writers)?);
    }
    Ok(cases)
}

fn of(ground: &Ground, writers: usize) -> Result<Vec<Case>> {
    let mut place = ground.place()?;
    let rows = ground.sizes.account_rows;
    place.session.client.batch_execute(&schema(rows))?;
    let query = Query {
        key: NAME.to_owned(),
        label: NAME.to_owned(),
        name: NAME.to_owned(),
        sql: QUERY.to_owned(),
        oracle_sql: QUERY.to_owned(),
        note: None,
    };
    let run = ground.subject().create(&mut place.session, &query)?;
    ensure!(run.refused.is_none(), "{:?}", run.refused);
    let client = &mut place.session.client;
    settle(client)?;
    let case = |what: &str| Case {
        name: format!("{what}, {writers} writers"),
        series: what.to_owned(),
        what: QUERY.to_owned(),
        source_rows: Some(rows),
        change_rows: Some(writers as u64),
        subject: DURING.to_owned(),
        rival: Some(WITHOUT.to_owned()),
        contestants: [DURING, WITHOUT].map(Contestant::named).to_vec(),
    };
    let mut cases = [case("mean time of a transaction"), case("99th percentile of a transaction")];
    let phase = Duration::from_millis(ground.sizes.phase_ms);
    for (number, is_kept) in ground.cycles() {
        for turn in 0..2 {
            let kind = (turn + number as usize) % 2;
            let (times, took) = writing_while(&place.database, writers, rows, || {
                let clock = Instant::now();
                while clock.elapsed() < phase {
                    match kind {
                        0 => client.batch_execute(&refreshing(NAME)).context("refresh")?,
                        _ => std::thread::sleep(phase.saturating_sub(clock.elapsed())),
                    }
                }
                Ok(())
            })?;
            let mean = took * writers as f64 / times.len().max(1) as f64;
            let late = percentile(times, 99.0).context("no transaction was made")?;
            for (case, ms) in cases.iter_mut().zip([mean, late]) {
                if is_kept {
                    case.contestants[kind].cycles.push(Cycle { ms, ..Cycle::default() });
                }
            }
        }
        client.batch_execute(&refreshing(NAME))?;
    }
    let verdict = judge(client, NAME, QUERY)?;
    ensure!(verdict.is_equal(), "{writers} writers: the stream table is not its query: {verdict}");
    cases.iter().for_each(|case| println!("{}", line(case)));
    Ok(cases.to_vec())
}
