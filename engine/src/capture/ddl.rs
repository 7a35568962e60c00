//! Reactions to DDL on sources and stream tables, called by the event trigger in `sql/events.sql`.
//!
//! They run in the user's transaction. They never update a row of the catalog and never claim: what a refresh has to
//! know is inserted into `pgt_invalidations`. What would make the next writer's changes go astray, triggers that are
//! missing or switched on wrongly, is mended at once, under the lock the user's command holds anyway.

use crate::capture::buffer;
use crate::capture::install;
use crate::catalog;
use crate::catalog::definition::{self, StreamTable};
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Param;
use crate::pg::{facts, fmgr, relation, security, spi};
use crate::refresh::member;

/// A relation was created or altered, or a trigger or rule was put on it.
pub fn relation_changed(relid: u32, command: &str) -> Result<()> {
    if fmgr::is_own_ddl() {
        return Ok(());
    }
    let executor = Executor::new(Snapshot::latest());
    if let Some(stream_table) = definition::by_relid(&executor, relid) {
        member::check_hostile_objects(&executor, &stream_table)?;
        catalog::ddl_as_extension(|| follow_owner(&executor, &stream_table));
    }
    if matches!(command, "CREATE TRIGGER" | "CREATE RULE") {
        return Ok(());
    }
    catalog::as_extension(|| {
        for source in captured_roots(&executor, relid) {
            if facts::has_foreign_member(source) {
                return Err(Error::UnsupportedSource {
                    source: relation::qualified_name(source).unwrap_or_default(),
                    reason: "A foreign table would be part of it, whose changes are not captured.".to_owned(),
                    hint: "Drop the stream tables that read it, and create them again with \
                           pg_trickle.foreign_table_polling on."
                        .to_owned(),
                });
            }
            note(&executor, source, command);
            if definition::by_relid(&executor, source).is_none() {
                install::mend(&executor, source);
            }
        }
        Ok::<(), Error>(())
    })
}

/// The view with the definition belongs to the stream table's owner, who also reads the states.
fn follow_owner(executor: &Executor, stream_table: &StreamTable) {
    let Some(view) = relation::facts(stream_table.query_view) else { return };
    if view.owner == stream_table.owner {
        return;
    }
    let old = relation::quote_identifier(&security::role_name(view.owner));
    let new = relation::quote_identifier(&security::role_name(stream_table.owner));
    if let Some(name) = relation::qualified_name(stream_table.query_view) {
        spi::ddl(&format!("ALTER VIEW {name} OWNER TO {new}"));
    }
    for table in &stream_table.state_tables {
        spi::ddl_all([
            format!("REVOKE SELECT ON {table} FROM {old}"),
            format!("GRANT SELECT ON {table} TO {new}"),
        ]);
    }
    note(executor, stream_table.relid, "ALTER OWNER");
}

/// A relation was dropped.
pub fn relation_dropped(relid: u32, command: &str) {
    let executor = Executor::new(Snapshot::latest());
    catalog::as_extension(|| {
        let matters = executor
            .fixed_row(
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM pgtrickle.pgt_definitions AS d \
                     WHERE $1 OPERATOR(pg_catalog.=) d.pgt_relid OR $1 OPERATOR(pg_catalog.=) d.query_view) \
                 OR EXISTS (SELECT 1 FROM pgtrickle.pgt_dependencies AS p \
                     WHERE p.source_relid OPERATOR(pg_catalog.=) $1)",
                &[Param::Oid(relid)],
            )
            .is_some();
        if matters {
            note(&executor, relid, command);
        }
        let parents = executor.fixed_rows(
            "SELECT m.source_relid FROM pgtrickle.pgt_source_members AS m \
             WHERE m.member_relid OPERATOR(pg_catalog.=) $1 ORDER BY 1",
            &[Param::Oid(relid)],
        );
        for row in parents {
            note(&executor, row.oid(0), command);
        }
    });
}

fn note(executor: &Executor, relid: u32, command: &str) {
    executor.modify(
        "INSERT INTO pgtrickle.pgt_invalidations (relid, command) VALUES ($1, $2)",
        &[Param::Oid(relid), Param::text(command)],
    );
}

/// The captured sources that may have changed with a relation: itself, what it is or was a partition or child of, and its
/// own partitions and children, which may be captured differently from now on.
fn captured_roots(executor: &Executor, relid: u32) -> Vec<u32> {
    executor
        .fixed_rows(
            "WITH RECURSIVE above AS ( \
                 SELECT $1 AS relid \
                 UNION \
                 SELECT i.inhparent FROM above AS a \
                 JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) a.relid \
             ), below AS ( \
                 SELECT $1 AS relid \
                 UNION \
                 SELECT i.inhrelid FROM below AS b \
                 JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) b.relid \
             ) SELECT a.relid FROM above AS a UNION SELECT b.relid FROM below AS b \
             UNION SELECT m.source_relid FROM pgtrickle.pgt_source_members AS m \
                 WHERE m.member_relid OPERATOR(pg_catalog.=) $1 \
             ORDER BY 1",
            &[Param::Oid(relid)],
        )
        .iter()
        .map(|row| row.oid(0))
        .filter(|&source| !buffer::generations(executor, source).is_empty())
        .collect()
}
