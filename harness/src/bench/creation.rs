//! What a creation takes, beside that of a materialized view, and how long it keeps a writer of its source waiting.

use std::time::Instant;

use anyhow::{Context, Result};

use super::contest::line;
use super::ground::Ground;
use super::pace::{QUERY, schema, writing_while};
use super::result::{Case, Contestant, Cycle, STREAM_TABLE};
use crate::replay::{creation, milliseconds};
use crate::report::percentile;

const VIEW: &str = "CREATE MATERIALIZED VIEW";

/// The cases: for each size the time of the creation, and the longest transaction of a writer meanwhile.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &rows in &ground.sizes.creation_rows {
        cases.extend(at(ground, rows)?);
    }
    Ok(cases)
}

fn at(ground: &Ground, rows: u64) -> Result<Vec<Case>> {
    let case = |what: &str| Case {
        name: format!("{what}, {rows} rows"),
        series: what.to_owned(),
        what: QUERY.to_owned(),
        source_rows: Some(rows),
        rival: Some(VIEW.to_owned()),
        contestants: [STREAM_TABLE, VIEW].map(Contestant::named).to_vec(),
        ..Case::default()
    };
    let mut cases = [case("creation"), case("creation: longest transaction of a writer")];
    let mut place = ground.place()?;
    let client = &mut place.session.client;
    client.batch_execute(&schema(rows))?;
    let mode = ground.mode().word();
    for (number, is_kept) in ground.cycles() {
        for turn in 0..2 {
            let kind = (turn + number as usize) % 2;
            let create = match kind {
                0 => creation("sums", QUERY, mode),
                _ => format!("{VIEW} recompute.sums AS {QUERY}"),
            };
            let mut ms = 0.0;
            let (times, _) = writing_while(&place.database, 1, rows, || {
                let clock = Instant::now();
                client.batch_execute(&create).with_context(|| create.clone())?;
                ms = milliseconds(clock);
                Ok(())
            })?;
            client.batch_execute(match kind {
                0 => "SELECT pgtrickle.drop_stream_table('sums')",
                _ => "DROP MATERIALIZED VIEW recompute.sums",
            })?;
            let longest = percentile(times, 100.0).unwrap_or_default();
            for (case, ms) in cases.iter_mut().zip([ms, longest]) {
                if is_kept {
                    case.contestants[kind].cycles.push(Cycle { ms, ..Cycle::default() });
                }
            }
        }
    }
    cases.iter().for_each(|case| println!("{}", line(case)));
    Ok(cases.to_vec())
}
