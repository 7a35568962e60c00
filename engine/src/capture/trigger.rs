//! Buffers as DDL, and the triggers that fill them. What the triggers do is in `pg::capture`.

use crate::capture::buffer::{column_name, sequence_name, table_name};
use crate::pg::exec::Executor;
use crate::pg::relation::qualified_name;
use crate::pg::value::Param;

/// How changes of a source are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Statement triggers with transition tables, row triggers for replicas.
    Statement,
    /// Row triggers only.
    Row,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Statement => "statement",
            Method::Row => "row",
        }
    }
}

/// A captured column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedColumn {
    pub attnum: i16,
    /// Qualified type with modifier.
    pub type_name: String,
    pub collation: Option<String>,
}

/// Reads the columns to capture.
pub fn columns(executor: &Executor, source: u32, attnums: &[i16]) -> Vec<CapturedColumn> {
    executor
        .fixed_rows(
            include_str!("../../../sql/queries/capture_columns.sql"),
            &[Param::Oid(source), Param::list(attnums)],
        )
        .iter()
        .map(|row| CapturedColumn {
            attnum: row.int(0) as i16,
            type_name: row.text(1),
            collation: row.optional_text(2),
        })
        .collect()
}

/// Pages of a buffer that one index entry summarises: about two thousand narrow rows.
const PAGES_PER_RANGE: u32 = 16;

/// CREATE TABLE and index of one buffer generation.
pub fn buffer_ddl(source: u32, generation: i64, columns: &[CapturedColumn]) -> Vec<String> {
    let table = format!("pgtrickle_changes.{}", table_name(source, generation));
    let captured: String = columns
        .iter()
        .map(|column| {
            let collation = column
                .collation
                .as_ref()
                .map_or_else(String::new, |collation| format!(" COLLATE {collation}"));
            format!(", {} {}{collation}", column_name(column.attnum), column.type_name)
        })
        .collect();
    vec![
        format!("CREATE SEQUENCE IF NOT EXISTS {} CACHE 100", sequence_name(source)),
        format!(
            "CREATE TABLE {table} (change_id pg_catalog.int8 NOT NULL, xid pg_catalog.xid8 NOT NULL, \
             weight pg_catalog.int4 NOT NULL{captured})"
        ),
        // Rows arrive in the order of their transactions, nearly: a summary per few pages finds the pending ones, and costs
        // the writer a fraction of a btree entry per row.
        format!(
            "CREATE INDEX ON {table} USING brin (xid pgtrickle.xid8_minmax_ops) \
             WITH (pages_per_range = {PAGES_PER_RANGE}, autosummarize = on)"
        ),
        format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
    ]
}

/// A capture trigger: the stem of its name, its definition, and how `pg_trigger.tgenabled` says it is enabled.
struct Trigger {
    stem: &'static str,
    when: &'static str,
    enabled: char,
}

const STATEMENT_TRIGGERS: [Trigger; 3] = [
    Trigger {
        stem: "insert",
        when: "AFTER INSERT ON {} REFERENCING NEW TABLE AS pgt_new FOR EACH STATEMENT",
        enabled: 'O',
    },
    Trigger {
        stem: "update",
        when: "AFTER UPDATE ON {} REFERENCING OLD TABLE AS pgt_old NEW TABLE AS pgt_new FOR EACH STATEMENT",
        enabled: 'O',
    },
    Trigger {
        stem: "delete",
        when: "AFTER DELETE ON {} REFERENCING OLD TABLE AS pgt_old FOR EACH STATEMENT",
        enabled: 'O',
    },
];

const ROW_ON: &str = "AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW";
const REPLICA_ROW_TRIGGER: Trigger = Trigger { stem: "row", when: ROW_ON, enabled: 'R' };
const ROW_TRIGGER: Trigger = Trigger { stem: "row", when: ROW_ON, enabled: 'A' };
const TRUNCATE_TRIGGER: Trigger =
    Trigger { stem: "truncate", when: "AFTER TRUNCATE ON {} FOR EACH STATEMENT", enabled: 'A' };

/// A relation of a source's tree: the source itself, a partition, or an inheritance child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeMember {
    pub relid: u32,
    /// The server clones row triggers of partitioned tables to their partitions.
    pub has_cloned_row_trigger: bool,
}

/// The triggers one relation of a source's tree needs of its own.
fn triggers(method: Method, member: TreeMember) -> Vec<&'static Trigger> {
    let mut needed = vec![&TRUNCATE_TRIGGER];
    match method {
        Method::Statement => {
            needed.extend(&STATEMENT_TRIGGERS);
            needed.push(&REPLICA_ROW_TRIGGER);
        }
        Method::Row if member.has_cloned_row_trigger => {}
        Method::Row => needed.push(&ROW_TRIGGER),
    }
    needed
}

/// Statements that create or enable the capture triggers missing on one relation of a source's tree, and drop those
/// another method left. Names carry the source: a partition can be a source beside its root.
pub fn trigger_ddl(executor: &Executor, source: u32, member: TreeMember, method: Method) -> Vec<String> {
    let suffix = format!("_{source}");
    let present: Vec<(String, String)> = executor
        .fixed_rows(include_str!("../../../sql/queries/capture_triggers.sql"), &[Param::Oid(member.relid)])
        .iter()
        .map(|row| (row.text(0), row.text(1)))
        .filter(|(name, _)| name.ends_with(&suffix))
        .collect();
    let table = qualified_name(member.relid).expect("a locked relation exists");
    let needed = triggers(method, member);
    let name_of = |trigger: &Trigger| format!("pgt_capture_{}{suffix}", trigger.stem);
    let mut statements = Vec::new();
    for (name, _) in &present {
        let is_clone = member.has_cloned_row_trigger && *name == name_of(&ROW_TRIGGER);
        if !is_clone && !needed.iter().any(|trigger| name_of(trigger) == *name) {
            statements.push(format!("DROP TRIGGER {name} ON {table}"));
        }
    }
    for trigger in needed {
        let name = name_of(trigger);
        let found = present.iter().find(|(known, _)| *known == name);
        if found.is_some_and(|(_, enabled)| enabled.starts_with(trigger.enabled)) {
            continue;
        }
        if found.is_none() {
            statements.push(format!(
                "CREATE TRIGGER {name} {} EXECUTE FUNCTION pgtrickle.capture('{source}')",
                trigger.when.replace("{}", &table),
            ));
        }
        let how = match trigger.enabled {
            'R' => "ENABLE REPLICA",
            'A' => "ENABLE ALWAYS",
            _ => "ENABLE",
        };
        if found.is_some() || trigger.enabled != 'O' {
            statements.push(format!("ALTER TABLE {table} {how} TRIGGER {name}"));
        }
    }
    statements
}

/// The relations that have capture triggers of a source, each with the statement that drops one: its tree, and what has
/// left it since. Clones on partitions go with the trigger they were made from.
pub fn removal_ddl(executor: &Executor, source: u32) -> Vec<(u32, String)> {
    executor
        .fixed_rows(
            include_str!("../../../sql/queries/capture_holders.sql"),
            &[Param::text(source.to_string())],
        )
        .iter()
        .map(|row| {
            let table = qualified_name(row.oid(0)).expect("a relation with a trigger exists");
            (row.oid(0), format!("DROP TRIGGER {} ON {table}", row.text(1)))
        })
        .collect()
}
