//! The capture function of a source and the triggers that call it.
//!
//! This is the one piece of the product that runs in other people's transactions: it must be minimal, and nothing in
//! it may fail for a change that is legal on the table.

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
    /// Quoted name in the source.
    pub name: String,
    /// Qualified type with modifier.
    pub type_name: String,
    pub collation: Option<String>,
    /// The expression of a virtual generated column, over the source's other columns.
    pub expression: Option<String>,
    /// `IS DISTINCT FROM` says whether two values differ in their image.
    pub has_plain_equality: bool,
}

/// Reads the columns to capture.
pub fn columns(executor: &Executor, source: u32, attnums: &[i16]) -> Vec<CapturedColumn> {
    let list: Vec<String> = attnums.iter().map(i16::to_string).collect();
    executor
        .fixed_rows(
            include_str!("../../../sql/queries/capture_columns.sql"),
            &[Param::Oid(source), Param::text(format!("{{{}}}", list.join(",")))],
        )
        .iter()
        .map(|row| CapturedColumn {
            attnum: row.int(0) as i16,
            name: row.text(1),
            type_name: row.text(2),
            collation: row.optional_text(3),
            expression: row.optional_text(4),
            has_plain_equality: row.flag(5),
        })
        .collect()
}

/// Unqualified name of a source's capture function.
pub fn function_name(source: u32) -> String {
    format!("capture_{source}")
}

/// CREATE TABLE and indexes of one buffer generation.
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
        format!("CREATE INDEX ON {table} (xid)"),
        format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
    ]
}

/// CREATE FUNCTION of a source's capture function writing to `generation`. Executable by nobody: triggers fire without
/// the right to call their function, but nobody can attach it to a table of his own.
pub fn function_ddl(
    source: u32,
    targets: &[TreeMember],
    method: Method,
    generation: i64,
    columns: &[CapturedColumn],
) -> Vec<String> {
    let function = format!("pgtrickle_changes.{}", function_name(source));
    let body = Body { source, generation, columns };
    let known: Vec<String> = targets.iter().map(|member| member.relid.to_string()).collect();
    // A partition made later calls the function by a trigger the server cloned from the root's.
    let check = match method {
        Method::Statement => format!(
            "    IF TG_RELID OPERATOR(pg_catalog.<>) ALL ('{{{}}}'::pg_catalog.oid[]) THEN\n        \
             RAISE EXCEPTION 'capture function of relation {source} called for relation %', TG_RELID;\n    END IF;\n",
            known.join(",")
        ),
        Method::Row => String::new(),
    };
    let text = format!(
        "BEGIN\n{check}    IF TG_LEVEL OPERATOR(pg_catalog.=) 'ROW' THEN\n{}    ELSIF TG_OP OPERATOR(pg_catalog.=) 'INSERT' \
         THEN\n{}    ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN\n{}    ELSIF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' \
         THEN\n{}    ELSE\n{}    END IF;\n    RETURN NULL;\nEND",
        body.row(),
        body.whole("pgt_new", 1),
        body.whole("pgt_old", -1),
        body.update(),
        body.truncate()
    );
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path = pg_catalog, pg_temp AS {}",
            dollar_quote(&text)
        ),
        format!("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"),
    ]
}

struct Body<'a> {
    source: u32,
    generation: i64,
    columns: &'a [CapturedColumn],
}

impl Body<'_> {
    /// `INSERT INTO buffer (..)`.
    fn insert(&self) -> String {
        let columns: String =
            self.columns.iter().map(|column| format!(", {}", column_name(column.attnum))).collect();
        format!(
            "INSERT INTO pgtrickle_changes.{} (change_id, xid, weight{columns})",
            table_name(self.source, self.generation)
        )
    }

    /// Change number and transaction as uncorrelated subqueries: evaluated once per statement, and not at all for a
    /// statement that touched no row, which thus draws no number and assigns no transaction id.
    fn stamp(&self) -> String {
        format!(
            "(SELECT pg_catalog.nextval('{}'::pg_catalog.regclass)), (SELECT pg_catalog.pg_current_xact_id())",
            sequence_name(self.source)
        )
    }

    /// A relation with the captured columns under their buffer names. Virtual generated columns are computed from the
    /// others, since transition tables show them as NULL.
    fn images(&self, relation: &str) -> String {
        if self.columns.is_empty() {
            return format!("(SELECT 1 AS present FROM {relation})");
        }
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let value = column
                    .expression
                    .as_ref()
                    .map_or_else(|| format!("t.{}", column.name), |expression| format!("({expression})"));
                format!("{value} AS {}", column_name(column.attnum))
            })
            .collect();
        format!("(SELECT {} FROM {relation} AS t)", columns.join(", "))
    }

    fn values(&self, alias: &str) -> String {
        self.columns.iter().map(|column| format!(", {alias}.{}", column_name(column.attnum))).collect()
    }

    fn whole(&self, relation: &str, weight: i32) -> String {
        format!(
            "        {} SELECT {}, {weight}{} FROM {} AS i;\n",
            self.insert(),
            self.stamp(),
            self.values("i"),
            self.images(relation)
        )
    }

    /// One updated row is compared image by image and skipped if no captured column changed; many are recorded as
    /// they are and cancel when they are gathered.
    fn update(&self) -> String {
        let both = format!(
            "            {insert} SELECT {stamp}, -1{values} FROM {old} AS i;\n            {insert} SELECT {stamp}, 1{values} FROM {new} AS i;\n",
            insert = self.insert(),
            stamp = self.stamp(),
            values = self.values("i"),
            old = self.images("pgt_old"),
            new = self.images("pgt_new"),
        );
        let differs: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = column_name(column.attnum);
                if column.has_plain_equality {
                    format!("o.{name} IS DISTINCT FROM n.{name}")
                } else {
                    format!("pgtrickle.image(o.{name}) IS DISTINCT FROM pgtrickle.image(n.{name})")
                }
            })
            .collect();
        let changed = if differs.is_empty() {
            "false".to_owned()
        } else {
            format!(
                "EXISTS (SELECT 1 FROM {} AS o, {} AS n WHERE {})",
                self.images("pgt_old"),
                self.images("pgt_new"),
                differs.join(" OR ")
            )
        };
        format!(
            "        IF (SELECT pg_catalog.count(*) FROM (SELECT 1 FROM pgt_old LIMIT 2) AS few) \
             OPERATOR(pg_catalog.>) 1 OR {changed} THEN\n{both}        END IF;\n"
        )
    }

    fn row(&self) -> String {
        let one = |record: &str, weight: i32| {
            format!(
                "            {} SELECT {}, {weight}{} FROM {} AS i;\n",
                self.insert(),
                self.stamp(),
                self.values("i"),
                self.images(&format!("(SELECT {record}.*)"))
            )
        };
        format!(
            "        IF TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN\n{}        END IF;\n        IF TG_OP \
             OPERATOR(pg_catalog.<>) 'DELETE' THEN\n{}        END IF;\n",
            one("OLD", -1),
            one("NEW", 1)
        )
    }

    fn truncate(&self) -> String {
        let table = table_name(self.source, self.generation);
        format!(
            "        INSERT INTO pgtrickle_changes.{table} (change_id, xid, weight) SELECT {}, 0;\n",
            self.stamp()
        )
    }
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
                "CREATE TRIGGER {name} {} EXECUTE FUNCTION pgtrickle_changes.{}()",
                trigger.when.replace("{}", &table),
                function_name(source)
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

/// Statements that remove a source's capture triggers and function.
pub fn removal_ddl(source: u32) -> Vec<String> {
    // Dropping the function takes its triggers, on partitions as well.
    vec![format!("DROP FUNCTION IF EXISTS pgtrickle_changes.{}() CASCADE", function_name(source))]
}

fn dollar_quote(text: &str) -> String {
    let mut tag = "$pgt$".to_owned();
    while text.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("{tag}{text}{tag}")
}
