//! A stream table whose key is no longer one.
//!
//! A key is derived from constraints of the sources. When one is dropped, or a better one appears, the indexes on the
//! stream table and the states of its stages no longer fit; they are made anew before the refresh goes on.

use crate::catalog;
use crate::catalog::definition::{self, StreamTable};
use crate::lifecycle::create;
use crate::pg::exec::Executor;
use crate::pg::spi;
use crate::pg::value::Param;
use pg_trickle_core::maintain::{self, Maintenance, TableShape};

/// Fits indexes, states and definition of a stream table to what maintains it now. States are left empty: the caller
/// rebuilds.
pub fn rekey(executor: &Executor, stream_table: &StreamTable, maintenance: &Maintenance) {
    restate(executor, stream_table, maintenance);
    reindex(executor, stream_table, maintenance.shape());
}

/// Makes the states anew, empty.
pub fn restate(executor: &Executor, stream_table: &StreamTable, maintenance: &Maintenance) {
    let keeps_state = !stream_table.state_tables.is_empty() || stream_table.runs_differentially();
    catalog::ddl_as_extension(|| {
        spi::ddl_all(stream_table.state_tables.iter().map(|table| format!("DROP TABLE {table}")));
        if keeps_state {
            create::create_states(maintenance, stream_table.relid, stream_table.owner);
        }
    });
    let states = if keeps_state { maintenance.state_tables() } else { vec![] };
    let states = serde_json::to_string(&states).expect("strings serialise");
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET generation = generation OPERATOR(pg_catalog.+) 1, \
                 state_tables = ARRAY(SELECT e FROM pg_catalog.json_array_elements_text($2::pg_catalog.json) AS e) \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[Param::Int(stream_table.pgt_id), Param::text(states)],
        )
    });
}

/// Makes the indexes by which rows are found anew, for rows that are addressed as `shape` says.
pub fn reindex(executor: &Executor, stream_table: &StreamTable, shape: &TableShape) {
    let old_key = stream_table.key.as_deref().unwrap_or_default();
    let old_key: Vec<String> = old_key.iter().map(|position| (position + 1).to_string()).collect();
    let indexes = executor.fixed_rows(
        include_str!("../../../sql/queries/row_indexes.sql"),
        &[Param::Oid(stream_table.relid), Param::text(old_key.join(" "))],
    );
    catalog::ddl_as_extension(|| {
        spi::ddl_all(indexes.iter().map(|row| format!("DROP INDEX {}", row.text(0))));
        spi::ddl_all(maintain::table_ddl(shape, &stream_table.names()));
    });
    let key = definition::key_param(shape.key.as_deref());
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET key_columns = $2::pg_catalog.int2[], \
                 generation = generation OPERATOR(pg_catalog.+) 1 \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[Param::Int(stream_table.pgt_id), key],
        )
    });
}
