//! Collecting what every consumer has consumed, and what nobody reads any more.
//!
//! Its own READ COMMITTED transaction, never part of a refresh: two refreshes that both collected would collide at
//! REPEATABLE READ, and a collector must see every committed consumer.

use crate::capture::buffer::{self, Buffer, table_name};
use crate::capture::install;
use crate::catalog;
use crate::catalog::progress::{self, Home};
use crate::lifecycle::remove;
use crate::pg::exec::Executor;
use crate::pg::lock::{self, Mode};
use crate::pg::snapshot::Snapshot;
use crate::pg::spi;
use crate::pg::value::Param;
use crate::pg::xact::{Failure, Isolation, worker_transaction};
use pg_trickle_core::frontier::Frontier;

/// Collects everything there is to collect in this database, in the caller's transaction; returns the number of change
/// rows removed. Waits for nothing: what is in use is left for the next time.
pub fn collect_all() -> u64 {
    forget_dropped();
    catalog::as_extension(|| captured_sources().into_iter().map(collect_source).sum())
}

/// As [`collect_all`], for a worker outside a transaction: each source has one of its own, so that a failure, which is
/// returned, or a lock held for one does not concern the others.
pub fn collect_apart() -> Result<(), Failure> {
    let mut outcome = worker_transaction(Isolation::ReadCommitted, forget_dropped);
    let sources = worker_transaction(Isolation::ReadCommitted, || catalog::as_extension(captured_sources))?;
    for source in sources {
        let result = worker_transaction(Isolation::ReadCommitted, || {
            catalog::as_extension(|| collect_source(source));
        });
        outcome = outcome.and(result);
    }
    outcome
}

fn captured_sources() -> Vec<u32> {
    Executor::new(Snapshot::latest())
        .fixed_rows("SELECT DISTINCT t.source_relid FROM pgtrickle.pgt_change_tracking AS t ORDER BY 1", &[])
        .iter()
        .map(|row| row.oid(0))
        .collect()
}

/// Collects one source's buffer. The caller runs as the extension's owner, in a transaction of its own.
fn collect_source(source: u32) -> u64 {
    let buffers = buffer::generations(&Executor::new(Snapshot::latest()), source);
    // Conflicts with no writer and no refresh, but with a creator that could not commit its registration first.
    if !buffers.iter().all(|buffer| lock::try_relation(buffer.relid, Mode::Maintain)) {
        return 0;
    }
    let executor = Executor::new(Snapshot::latest());
    forget_orphans(&executor, source);
    let consumers = consumers(&executor, source);
    if consumers.is_empty() {
        install::remove_if_unused(source);
        return 0;
    }
    // A consumer without a frontier is being created: it will need everything.
    let Some(frontiers) = consumers
        .iter()
        .map(|&pgt_id| progress::load(&executor, pgt_id, Home::here()).and_then(|progress| progress.frontier))
        .collect::<Option<Vec<Frontier>>>()
    else {
        return 0;
    };
    let removed = buffers.iter().map(|buffer| collect_buffer(&executor, source, buffer, &frontiers)).sum();
    forget_invalidations(&executor, source, &frontiers);
    removed
}

/// The condition that no frontier has a row pending.
fn consumed_by_all(source: u32, alias: &str, frontiers: &[Frontier]) -> String {
    let each: Vec<String> =
        frontiers.iter().map(|frontier| format!("NOT ({})", frontier.pending_sql(source, alias))).collect();
    each.join(" AND ")
}

fn collect_buffer(executor: &Executor, source: u32, buffer: &Buffer, frontiers: &[Frontier]) -> u64 {
    let table = format!("pgtrickle_changes.{}", table_name(source, buffer.generation));
    // The bound adds nothing but a condition for the index.
    let bound = frontiers.iter().map(|frontier| frontier.snapshot.xmax.max(frontier.own_xid + 1)).min();
    let removed = executor.modify(
        &format!(
            "DELETE FROM {table} AS b WHERE b.xid OPERATOR(pg_catalog.<) '{}'::pg_catalog.xid8 AND {}",
            bound.unwrap_or(0),
            consumed_by_all(source, "b", frontiers)
        ),
        &[],
    );
    if !buffer.is_current {
        // No writer reaches an old generation: once empty it stays empty.
        let is_empty = executor.row(&format!("SELECT 1 FROM {table} LIMIT 1"), &[]).is_none();
        if is_empty && lock::try_relation(buffer.relid, Mode::Replace) {
            catalog::ddl_as_extension(|| spi::ddl(&format!("DROP TABLE {table}")));
            executor.modify(
                "DELETE FROM pgtrickle.pgt_change_tracking \
                 WHERE source_relid OPERATOR(pg_catalog.=) $1 AND generation OPERATOR(pg_catalog.=) $2",
                &[Param::Oid(source), Param::Int(buffer.generation)],
            );
        }
    }
    removed
}

fn forget_invalidations(executor: &Executor, source: u32, frontiers: &[Frontier]) {
    let blind: Vec<Frontier> = frontiers.iter().map(Frontier::without_positions).collect();
    executor.modify(
        &format!(
            "DELETE FROM pgtrickle.pgt_invalidations AS i WHERE i.relid OPERATOR(pg_catalog.=) $1 AND {}",
            consumed_by_all(source, "i", &blind)
        ),
        &[Param::Oid(source)],
    );
}

fn consumers(executor: &Executor, source: u32) -> Vec<i64> {
    executor
        .fixed_rows(
            "SELECT c.pgt_id FROM pgtrickle.pgt_consumers AS c WHERE c.source_relid OPERATOR(pg_catalog.=) $1 \
             ORDER BY 1",
            &[Param::Oid(source)],
        )
        .iter()
        .map(|row| row.int(0))
        .collect()
}

/// Removes registrations whose creator has gone without creating.
fn forget_orphans(executor: &Executor, source: u32) {
    let catalog = catalog::definitions_relation();
    for pgt_id in consumers(executor, source) {
        let is_defined = |executor: &Executor| {
            executor
                .fixed_row(
                    "SELECT 1 FROM pgtrickle.pgt_definitions AS d WHERE d.pgt_id OPERATOR(pg_catalog.=) $1",
                    &[Param::Int(pgt_id)],
                )
                .is_some()
        };
        // While the claim is held its creator lives. Once it is ours, a creator that committed is visible.
        if !is_defined(executor)
            && lock::claim(catalog, pgt_id, false)
            && !is_defined(&Executor::new(Snapshot::latest()))
        {
            executor.modify(
                "DELETE FROM pgtrickle.pgt_consumers WHERE pgt_id OPERATOR(pg_catalog.=) $1",
                &[Param::Int(pgt_id)],
            );
        }
    }
}

/// Removes the catalog rows of stream tables dropped with DROP TABLE.
fn forget_dropped() {
    let catalog = catalog::definitions_relation();
    catalog::as_extension(|| {
        let executor = Executor::new(Snapshot::latest());
        let dropped = executor.fixed_rows(
            "SELECT d.pgt_id, d.pgt_relid FROM pgtrickle.pgt_definitions AS d \
             WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) d.pgt_relid)",
            &[],
        );
        for row in dropped {
            if lock::claim(catalog, row.int(0), false) {
                remove::forget(row.int(0), row.oid(1));
            }
        }
    });
}
