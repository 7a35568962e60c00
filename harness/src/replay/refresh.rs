//! One refresh, measured: with changes, and with nothing to do.

use std::time::Instant;

use anyhow::Result;
use postgres::{Client, Transaction};

use super::milliseconds;
use super::subject::{Subject, message};
use crate::report::{NoChange, QueryRun, Refreshed};

/// Refreshes a relation and, if asked to, recomputes its materialized view. A refresh that fails is a result, not an
/// error.
pub fn refresh(
    client: &mut Client,
    subject: &Subject,
    query: &QueryRun,
    recompute: bool,
) -> Result<Refreshed> {
    let clock = Instant::now();
    let outcome = subject.refresh(client, &query.name);
    let refresh_ms = milliseconds(clock);
    let mut recompute_ms = None;
    if recompute {
        let clock = Instant::now();
        client.batch_execute(&format!("REFRESH MATERIALIZED VIEW recompute.{}", query.name))?;
        recompute_ms = Some(milliseconds(clock));
    }
    let history = subject.last_refresh(client, &query.name)?;
    let action = match &outcome {
        Ok(()) => history["action"].as_str().unwrap_or("no history").to_owned(),
        Err(_) => "failed".to_owned(),
    };
    Ok(Refreshed {
        action,
        delta_rows: history["delta_row_count"].as_i64(),
        rows_inserted: history["rows_inserted"].as_i64(),
        rows_deleted: history["rows_deleted"].as_i64(),
        refresh_ms,
        recompute_ms,
        error: outcome.err().map(|error| message(&error)),
    })
}

/// Refreshes twice with nothing pending: once for its time, once in a transaction that is asked what it wrote. A
/// materialized view has no such refresh. A refresh that fails here has failed before and is reported there.
pub fn no_change(client: &mut Client, subject: &Subject, name: &str) -> Result<Option<NoChange>> {
    if *subject == Subject::MaterializedViews {
        return Ok(None);
    }
    let clock = Instant::now();
    if subject.refresh(client, name).is_err() {
        return Ok(None);
    }
    let refresh_ms = milliseconds(clock);
    let mut transaction = client.transaction()?;
    let (_, before) = written(&mut transaction)?;
    if subject.refresh(&mut transaction, name).is_err() {
        return Ok(None);
    }
    let (assigned_xid, after) = written(&mut transaction)?;
    transaction.commit()?;
    Ok(Some(NoChange {
        action: "NO_DATA".to_owned(),
        refresh_ms,
        assigned_xid,
        rows_written: after - before,
    }))
}

/// Whether the transaction has an id, and how many row versions the session wrote that its statistics still hold:
/// those of this transaction, and of earlier ones not yet sent to the collector, so only differences mean something.
/// They cover every table: sources, buffers, state, catalogs of the extension and of the server. And a transaction
/// without an id cannot have written a row version anywhere.
fn written(transaction: &mut Transaction<'_>) -> Result<(bool, i64)> {
    let row = transaction.query_one(
        "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL, \
         (SELECT coalesce(pg_catalog.sum(n_tup_ins + n_tup_upd + n_tup_del), 0) \
          FROM pg_catalog.pg_stat_xact_all_tables)::int8",
        &[],
    )?;
    Ok((row.get(0), row.get(1)))
}
