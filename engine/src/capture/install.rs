//! Installing and removing capture of a source.

use crate::capture::buffer::{self, table_name};
use crate::capture::trigger::{self, Method, TreeMember};
use crate::catalog;
use crate::pg::exec::Executor;
use crate::pg::lock::{self, Mode};
use crate::pg::relation;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi;
use crate::pg::value::Param;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a new consumer needs of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub source: u32,
    /// Attribute numbers.
    pub columns: Vec<i16>,
    /// The source is this stream table: its refreshes write the buffer, under its claim.
    pub stream_table: Option<i64>,
}

/// Whether the current buffer already holds everything wanted and the triggers are in place.
pub fn is_installed(executor: &Executor, wanted: &Wanted) -> bool {
    let covers = buffer::generations(executor, wanted.source).iter().any(|buffer| {
        buffer.is_current && wanted.columns.iter().all(|attnum| buffer.columns.contains(attnum))
    });
    covers && (wanted.stream_table.is_some() || missing_triggers(executor, wanted.source).is_empty())
}

/// Registers a reader of a source's buffer. From its commit on nothing is collected that the reader has not consumed.
pub fn register_consumer(executor: &Executor, wanted: &Wanted, pgt_id: i64) {
    executor.modify(
        "INSERT INTO pgtrickle.pgt_consumers (source_relid, pgt_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[Param::Oid(wanted.source), Param::Int(pgt_id)],
    );
}

/// Makes the buffer hold what is wanted and the triggers fill it. The caller holds SHARE ROW EXCLUSIVE on the source
/// (the claim, if it is a stream table) and runs as the extension's owner. Buffers are never altered: a wider column
/// set is a new generation, to which the triggers switch here, when no writer is in between.
pub fn install(executor: &Executor, wanted: &Wanted) {
    let generations = buffer::generations(executor, wanted.source);
    let current = generations.iter().find(|buffer| buffer.is_current);
    let held: BTreeSet<i16> = current.into_iter().flat_map(|buffer| buffer.columns.iter().copied()).collect();
    let all: BTreeSet<i16> = held.iter().chain(&wanted.columns).copied().collect();
    let method = method_of(executor, wanted.source);
    if current.is_none() || all != held {
        let generation = generations.iter().map(|buffer| buffer.generation).max().unwrap_or(0) + 1;
        let attnums: Vec<i16> = all.into_iter().collect();
        let columns = trigger::columns(executor, wanted.source, &attnums);
        catalog::ddl_as_extension(|| {
            spi::ddl_all(trigger::buffer_ddl(wanted.source, generation, &columns));
        });
        let buffer = relation::find("pgtrickle_changes", &table_name(wanted.source, generation))
            .expect("the buffer was just created");
        executor.modify(
            "UPDATE pgtrickle.pgt_change_tracking SET is_current = false \
             WHERE source_relid OPERATOR(pg_catalog.=) $1 AND is_current",
            &[Param::Oid(wanted.source)],
        );
        executor.modify(
            "INSERT INTO pgtrickle.pgt_change_tracking (source_relid, generation, buffer_relid, columns, method) \
             VALUES ($1, $2, $3, $4::pg_catalog.int2[], $5)",
            &[
                Param::Oid(wanted.source),
                Param::Int(generation),
                Param::Oid(buffer),
                Param::list(columns.iter().map(|column| column.attnum)),
                Param::text(if wanted.stream_table.is_some() { "refresh" } else { method.as_str() }),
            ],
        );
    }
    if wanted.stream_table.is_none() {
        mend(executor, wanted.source);
    }
}

/// Brings the capture triggers in line with the source's tree and its current buffer.
pub fn mend(executor: &Executor, source: u32) {
    note_members(executor, source, &tree(executor, source));
    let statements = missing_triggers(executor, source);
    catalog::ddl_as_extension(|| spi::ddl_all(statements));
    // Whoever knows where the source's changes go looks again.
    relation::invalidate(source);
}

/// Statements for the capture triggers that are missing or not enabled as they should be.
fn missing_triggers(executor: &Executor, source: u32) -> Vec<String> {
    let method = method_of(executor, source);
    tree(executor, source)
        .into_iter()
        .flat_map(|member| trigger::trigger_ddl(executor, source, member, method))
        .collect()
}

/// Removes everything kept for a source that nobody reads any more.
pub fn remove(executor: &Executor, source: u32) {
    let generations = buffer::generations(executor, source);
    let mut statements: Vec<String> =
        trigger::removal_ddl(executor, source).into_iter().map(|(_, statement)| statement).collect();
    for buffer in &generations {
        statements.push(format!(
            "DROP TABLE IF EXISTS pgtrickle_changes.{}",
            table_name(source, buffer.generation)
        ));
    }
    statements.push(format!("DROP SEQUENCE IF EXISTS {}", buffer::sequence_name(source)));
    catalog::ddl_as_extension(|| spi::ddl_all(statements));
    for table in ["pgt_change_tracking", "pgt_source_members"] {
        executor.modify(
            &format!("DELETE FROM pgtrickle.{table} WHERE source_relid OPERATOR(pg_catalog.=) $1"),
            &[Param::Oid(source)],
        );
    }
}

/// Locks a source, its partitions and inheritance children against writers, who may have named any of them.
pub fn lock_tree(source: u32) {
    lock::relation(source, Mode::InstallTrigger);
    for member in tree(&Executor::new(Snapshot::latest()), source) {
        lock::relation(member.relid, Mode::InstallTrigger);
    }
}

/// The source with its partitions and inheritance children.
pub fn tree(executor: &Executor, source: u32) -> Vec<TreeMember> {
    executor
        .fixed_rows(include_str!("../../../sql/queries/capture_targets.sql"), &[Param::Oid(source)])
        .iter()
        .filter(|row| matches!(row.text(1).as_str(), "r" | "p"))
        .map(|row| TreeMember {
            relid: row.oid(0),
            has_cloned_row_trigger: row.oid(0) != source && row.flag(2),
        })
        .collect()
}

/// Statement triggers fire for the table a command names: a partition or child would miss what comes through its
/// parent. And MERGE that moves rows between partitions records nothing in transition tables.
fn method_of(executor: &Executor, source: u32) -> Method {
    let is_child = executor
        .fixed_row(
            "SELECT 1 FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid OPERATOR(pg_catalog.=) $1 LIMIT 1",
            &[Param::Oid(source)],
        )
        .is_some();
    match relation::facts(source) {
        Some(facts) if facts.kind == 'p' || is_child => Method::Row,
        _ => Method::Statement,
    }
}

/// Remembers what belongs to a source, for the time when it no longer does.
fn note_members(executor: &Executor, source: u32, members: &[TreeMember]) {
    for member in members.iter().filter(|member| member.relid != source) {
        executor.modify(
            "INSERT INTO pgtrickle.pgt_source_members (source_relid, member_relid) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
            &[Param::Oid(source), Param::Oid(member.relid)],
        );
    }
}

/// Removes capture of a source without consumers, unless somebody is using the source or its buffers, or is registering
/// a consumer, right now. The caller runs as the extension's owner.
pub fn remove_if_unused(source: u32) -> bool {
    let registry = relation::find("pgtrickle", "pgt_consumers").expect("the extension is installed");
    // A creator that registers while capture is being removed would take it for installed.
    if !lock::try_relation(registry, Mode::InstallTrigger) {
        return false;
    }
    let executor = Executor::new(Snapshot::latest());
    let is_read = executor
        .fixed_row(
            "SELECT 1 FROM pgtrickle.pgt_consumers AS c WHERE c.source_relid OPERATOR(pg_catalog.=) $1 LIMIT 1",
            &[Param::Oid(source)],
        )
        .is_some();
    if is_read {
        return false;
    }
    let buffers = buffer::generations(&executor, source);
    let locked = trigger::removal_ddl(&executor, source)
        .into_iter()
        .map(|(relid, _)| relid)
        .chain(buffers.iter().map(|buffer| buffer.relid))
        .all(|relid| lock::try_relation(relid, Mode::Replace));
    if locked {
        remove(&executor, source);
    }
    locked
}
