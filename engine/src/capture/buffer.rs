//! Change buffers as tables: their names, generations, and the write side for stream tables.

use crate::catalog::definition::numbers;
use crate::pg::exec::Executor;
use crate::pg::relation;
use crate::pg::value::Param;
use std::collections::BTreeMap;

/// One generation of a source's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    pub generation: i64,
    pub relid: u32,
    /// Attribute numbers of the source it holds.
    pub columns: Vec<i16>,
    pub method: String,
    pub is_current: bool,
}

/// The generations of a source's buffer, oldest first.
pub fn generations(executor: &Executor, source: u32) -> Vec<Buffer> {
    generations_of(executor, &[source]).remove(&source).unwrap_or_default()
}

/// The generations of several sources' buffers, oldest first. An old snapshot may show one that has been dropped since:
/// it was empty and consumed by everybody.
pub fn generations_of<'a>(
    executor: &Executor,
    sources: impl IntoIterator<Item = &'a u32>,
) -> BTreeMap<u32, Vec<Buffer>> {
    let mut found: BTreeMap<u32, Vec<Buffer>> = BTreeMap::new();
    let sql = include_str!("../../../sql/queries/buffers.sql");
    for row in executor.fixed_rows(sql, &[Param::list(sources)]) {
        let buffer = Buffer {
            generation: row.int(0),
            relid: row.oid(1),
            columns: numbers(&row.optional_text(2).unwrap_or_default()),
            method: row.text(3),
            is_current: row.flag(4),
        };
        if relation::qualified_name(buffer.relid).is_some() {
            found.entry(row.oid(5)).or_default().push(buffer);
        }
    }
    found
}

/// Name of a generation's table in `pgtrickle_changes`.
pub fn table_name(source: u32, generation: i64) -> String {
    format!("b_{source}_{generation}")
}

/// Name of the sequence in `pgtrickle_changes` that numbers a source's changes.
pub fn sequence_relation(source: u32) -> String {
    format!("seq_{source}")
}

/// The same, qualified.
pub fn sequence_name(source: u32) -> String {
    format!("pgtrickle_changes.{}", sequence_relation(source))
}

/// Column of a buffer that holds attribute `attnum` of the source.
pub fn column_name(attnum: i16) -> String {
    format!("c{attnum}")
}

/// Appends the change of a stream table, kept as relation `output` with columns `c1..cn, w`, to its current buffer.
/// The caller runs as the extension's owner.
pub fn append_change(executor: &Executor, stream_table: u32, output: &str) {
    if executor.relation_rows(output).unwrap_or(0) == 0 {
        return;
    }
    let Some(buffer) = generations(executor, stream_table).into_iter().find(|buffer| buffer.is_current)
    else {
        return;
    };
    let table = relation::qualified_name(buffer.relid).expect("a tracked buffer exists");
    let columns: Vec<String> = buffer.columns.iter().map(|&attnum| column_name(attnum)).collect();
    let targets: String = columns.iter().map(|column| format!(", {column}")).collect();
    let values: String = columns.iter().map(|column| format!(", o.{column}")).collect();
    executor.modify(
        &format!(
            "INSERT INTO {table} (change_id, xid, weight{targets}) \
             SELECT (SELECT pg_catalog.nextval('{sequence}'::pg_catalog.regclass)), \
             (SELECT pg_catalog.pg_current_xact_id()), o.w::pg_catalog.int4{values} FROM {output} AS o",
            sequence = sequence_name(stream_table)
        ),
        &[],
    );
}
