//! What one statement costs: its time with its commit, WAL, temporary files, rows and pages read.

use std::time::Instant;

use anyhow::Result;
use postgres::{Client, Transaction};

use super::result::Cycle;
use crate::reading;
use crate::replay::milliseconds;

/// Bytes of WAL that the server has written, and of temporary files that the database has.
#[derive(Clone, Copy)]
struct Written {
    wal: i64,
    temporary: i64,
}

/// Runs `work` in a transaction of its own.
pub fn of_transaction(
    client: &mut Client,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
) -> Result<Cycle> {
    let from = written(client)?;
    let mut open = client.transaction()?;
    let before = reading::read_so_far(&mut open)?;
    let clock = Instant::now();
    work(&mut open)?;
    let worked_ms = milliseconds(clock);
    let (rows, pages) = reading::total(&reading::between(&before, reading::read_so_far(&mut open)?));
    let clock = Instant::now();
    open.commit()?;
    let ms = worked_ms + milliseconds(clock);
    let cycle = Cycle { ms, rows_read: Some(rows), pages_read: Some(pages), ..Cycle::default() };
    since(client, from, cycle)
}

/// Measures what other sessions do; `work` says how many milliseconds of it count.
pub fn elsewhere(client: &mut Client, work: impl FnOnce() -> Result<f64>) -> Result<Cycle> {
    let from = written(client)?;
    let ms = work()?;
    since(client, from, Cycle { ms, ..Cycle::default() })
}

fn since(client: &mut Client, from: Written, cycle: Cycle) -> Result<Cycle> {
    let to = written(client)?;
    Ok(Cycle { wal_bytes: Some(to.wal - from.wal), temp_bytes: Some(to.temporary - from.temporary), ..cycle })
}

fn written(client: &mut Client) -> Result<Written> {
    // The session hands its counts on when this statement has ended; the next one sees them.
    client.execute("SELECT pg_catalog.pg_stat_force_next_flush()", &[])?;
    let row = client.query_one(
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::int8, \
         (SELECT temp_bytes FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database())",
        &[],
    )?;
    Ok(Written { wal: row.get(0), temporary: row.get(1) })
}
