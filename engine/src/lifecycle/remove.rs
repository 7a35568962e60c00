//! Dropping a stream table.

use crate::capture::install;
use crate::catalog;
use crate::catalog::definition::{self, StreamTable};
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::lock;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi;
use crate::pg::value::Param;

/// Drops a stream table; with `cascade` also the stream tables that read it.
pub fn drop(name: Option<&str>, cascade: bool) -> Result<()> {
    let executor = Executor::new(Snapshot::latest());
    let root = definition::resolve(&executor, "name", name)?;
    let doomed = dependents(&executor, &root);
    if doomed.len() > 1 && !cascade {
        let dependents =
            doomed.iter().filter(|other| other.pgt_id != root.pgt_id).map(StreamTable::display_name);
        return Err(Error::HasDependents { name: root.display_name(), dependents: dependents.collect() });
    }
    for stream_table in &doomed {
        definition::check_owner(stream_table)?;
    }
    let catalog = catalog::definitions_relation();
    let mut claims: Vec<i64> = doomed.iter().map(|stream_table| stream_table.pgt_id).collect();
    claims.sort_unstable();
    for pgt_id in claims {
        lock::claim(catalog, pgt_id, true);
    }
    // Downstream first: each is read by nothing that is left.
    for stream_table in doomed.iter().rev() {
        drop_one(stream_table);
    }
    Ok(())
}

/// The stream table and everything that reads it, upstream first.
fn dependents(executor: &Executor, root: &StreamTable) -> Vec<StreamTable> {
    let rows = executor.fixed_rows(
        "WITH RECURSIVE reader AS ( \
             SELECT $1 AS pgt_id, 0 AS depth \
             UNION \
             SELECT d.pgt_id, r.depth OPERATOR(pg_catalog.+) 1 FROM reader AS r \
             JOIN pgtrickle.pgt_definitions AS s ON s.pgt_id OPERATOR(pg_catalog.=) r.pgt_id \
             JOIN pgtrickle.pgt_dependencies AS d ON d.source_relid OPERATOR(pg_catalog.=) s.pgt_relid \
         ) SELECT r.pgt_id FROM reader AS r GROUP BY r.pgt_id ORDER BY pg_catalog.max(r.depth), r.pgt_id",
        &[Param::Int(root.pgt_id)],
    );
    rows.iter().filter_map(|row| definition::load(executor, row.int(0))).collect()
}

fn drop_one(stream_table: &StreamTable) {
    catalog::ddl_as_extension(|| {
        // The view with the definition and the states go with the table: they depend on it automatically.
        spi::ddl(&format!("DROP TABLE {}", stream_table.names().stream_table));
    });
    catalog::as_extension(|| forget(stream_table.pgt_id, stream_table.relid));
}

/// Removes the catalog rows of a stream table whose relations are gone, and capture nobody reads any more where that
/// is possible without waiting; the collector removes the rest. The caller runs as the extension's owner.
pub fn forget(pgt_id: i64, relid: u32) {
    let executor = Executor::new(Snapshot::latest());
    let sources: Vec<u32> = executor
        .fixed_rows(
            "SELECT c.source_relid FROM pgtrickle.pgt_consumers AS c WHERE c.pgt_id OPERATOR(pg_catalog.=) $1 \
             ORDER BY 1",
            &[Param::Int(pgt_id)],
        )
        .iter()
        .map(|row| row.oid(0))
        .collect();
    for table in [
        "pgt_definitions",
        "pgt_progress",
        "pgt_dependencies",
        "pgt_consumers",
        "pgt_refresh_history",
        "pgt_unlogged_sentinels",
    ] {
        executor.modify(
            &format!("DELETE FROM pgtrickle.{table} WHERE pgt_id OPERATOR(pg_catalog.=) $1"),
            &[Param::Int(pgt_id)],
        );
    }
    install::remove(&executor, relid);
    for source in sources {
        install::remove_if_unused(source);
    }
}
