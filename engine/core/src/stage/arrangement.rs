//! The arrangement: rows kept as state. A stage that reads its input again by key has one of its input; a source whose
//! changes nobody records has one of itself ([`super::polled`]).
//!
//! State, one row per distinct row of the input: `h` (hash of the key columns), `r` (hash of the row), the columns
//! `c1..cn` and the weight `w`. One index on `(h, r)` leads to the rows of a key and to a row.
//!
//! ```text
//! input change i ─▶ stored rows with their new weight ─▶ none below zero ─▶ delete, update, insert
//! ```
//!
//! A stage has one if `New(input)` cannot be restricted to a key by indexes (`design-review.md` 6.2): the key comes from
//! several sources, from an expression or from a stage, it can be NULL, or there is no index. The choice is made when the
//! state is created and stays as it is, whatever becomes of the indexes.

use super::definitions;
use crate::apply::{MAX_ARGUMENTS, change_columns};
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{consolidate, identical};
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, SourceId, StageId, TypeRef};

/// Whose rows an arrangement keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The input of a stage.
    Stage(StageId),
    /// A polled source.
    Source(SourceId),
}

/// Everything the arrangement's SQL depends on.
pub struct Arrangement<'a> {
    pub of: Of,
    /// Qualified name of the table.
    pub table: String,
    /// Columns of the rows.
    pub columns: Vec<Column>,
    /// The columns by which rows are read, at least one.
    pub keys: &'a [usize],
    /// No row occurs twice.
    pub is_set: bool,
}

impl Arrangement<'_> {
    /// Statements that create the table and its index.
    pub fn ddl(&self) -> Vec<String> {
        let number = |name: &str| format!("{name} pg_catalog.int8 NOT NULL");
        let columns = list(
            ["h", "r"].map(number).into_iter().chain(definitions(&self.columns)).chain([number(WEIGHT)]),
        );
        vec![
            format!("CREATE TABLE {} ({columns}) WITH (fillfactor = 90)", self.table),
            format!("CREATE INDEX ON {} (h, r)", self.table),
        ]
    }

    /// The input after the change: a query with columns `c1..cn`, and `h` to restrict it by.
    pub fn read(&self) -> String {
        let columns = self.names("a.");
        let copies = format!(", LATERAL pg_catalog.generate_series(1::pg_catalog.int8, a.{WEIGHT}) z");
        let copies = if self.is_set { "" } else { &copies };
        format!(
            "SELECT {} FROM {} a{copies}",
            list(columns.into_iter().chain(["a.h".to_owned()])),
            self.table
        )
    }

    /// The hash by which rows of a key are found, from expressions for the key columns.
    pub fn key_hash(keys: impl IntoIterator<Item = String>) -> String {
        let keys = list(keys);
        // Rows without columns are all the same.
        if keys.is_empty() { "0::pg_catalog.int8".to_owned() } else { format!("pgtrickle.hash_v1({keys})") }
    }

    /// The steps that bring the table to the input after the change in relation `change`.
    pub fn steps(&self, change: &str) -> Vec<Step> {
        let (table, rows) = (&self.table, self.name("arranged"));
        let same = self.columns.iter().enumerate().map(|(index, column)| {
            let name = column_name(index);
            identical(&format!("a.{name}"), &format!("i.{name}"), column)
        });
        let found = ["a.h = i.h".to_owned(), "a.r = i.r".to_owned()];
        let same = found.into_iter().chain(same).collect::<Vec<_>>().join(" AND ");
        let columns: String = self.names("i.").into_iter().map(|column| column + ", ").collect();
        let mut relation = vec![RelationColumn { name: "t".to_owned(), ty: TypeRef::tid() }];
        relation.extend(self.hashed_columns());
        let select = Action::Select {
            into: rows.clone(),
            columns: relation,
            sql: format!(
                "SELECT a.ctid AS t, i.h, i.r, {columns}(coalesce(a.{WEIGHT}, 0) + i.{WEIGHT}) AS {WEIGHT} \
                 FROM ({}) i LEFT JOIN {table} a ON {same}",
                self.hashed(change)
            ),
        };
        let check = Action::Check {
            sql: format!("SELECT EXISTS (SELECT 1 FROM {rows} x WHERE x.{WEIGHT} < 0)"),
            message: format!("state table {table} would have a row less than zero times"),
        };
        let modify = |sql: String| Action::Modify { sql, expect: None, counts: Counts::State };
        let names = list(self.hashed_names(""));
        let values = list(self.hashed_names("x."));
        let delete =
            format!("DELETE FROM {table} AS a USING {rows} AS x WHERE a.ctid = x.t AND x.{WEIGHT} = 0");
        let update = format!(
            "UPDATE {table} AS a SET {WEIGHT} = x.{WEIGHT} FROM {rows} AS x WHERE a.ctid = x.t AND x.{WEIGHT} > 0"
        );
        let insert = format!(
            "INSERT INTO {table} ({names}) SELECT {values} FROM {rows} AS x WHERE x.t IS NULL AND x.{WEIGHT} > 0"
        );
        let when = Some(change.to_owned());
        vec![
            self.step("arranged rows", Identity::Owner, when.clone(), select),
            self.step("no negative row", Identity::Owner, when.clone(), check),
            self.step("forget rows", Identity::Extension, when.clone(), modify(delete)),
            self.step("update rows", Identity::Extension, when.clone(), modify(update)),
            self.step("add rows", Identity::Extension, when, modify(insert)),
        ]
    }

    /// The steps that fill the empty table from the stage's input, a query with columns `c1..cn`.
    pub fn populate(&self, input: &str) -> Vec<Step> {
        let filled = self.name("arranged");
        let body = format!(
            "SELECT {}1::pg_catalog.int8 AS {WEIGHT} FROM ({input}) i",
            self.names("i.").into_iter().map(|column| column + ", ").collect::<String>()
        );
        let names = list(self.hashed_names(""));
        let insert = Action::Modify {
            sql: format!("INSERT INTO {} ({names}) SELECT {names} FROM {filled}", self.table),
            expect: None,
            counts: Counts::State,
        };
        let sql = self.hashed(&format!("({})", consolidate(&self.columns, &body)));
        let select = Action::Select { into: filled, columns: self.hashed_columns(), sql };
        vec![
            self.step("rows", Identity::Owner, None, select),
            self.step("arrange", Identity::Extension, None, insert),
        ]
    }

    /// A relation with columns `c1..cn, w`, with its hashes.
    fn hashed(&self, relation: &str) -> String {
        let keys = self.keys.iter().map(|&key| format!("x.{}", column_name(key)));
        let row = self.names("x.").into_iter().take(MAX_ARGUMENTS);
        format!(
            "SELECT {} AS h, {} AS r, x.* FROM {relation} x",
            Arrangement::key_hash(keys),
            Arrangement::key_hash(row)
        )
    }

    /// `h, r, c1..cn, w`
    fn hashed_columns(&self) -> Vec<RelationColumn> {
        let hash = |name: &str| RelationColumn { name: name.to_owned(), ty: TypeRef::int8() };
        ["h", "r"].map(hash).into_iter().chain(change_columns(&self.columns)).collect()
    }

    fn hashed_names(&self, prefix: &str) -> Vec<String> {
        self.hashed_columns().into_iter().map(|column| format!("{prefix}{}", column.name)).collect()
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        (0..self.columns.len()).map(|index| format!("{prefix}{}", column_name(index))).collect()
    }

    fn name(&self, what: &str) -> String {
        match self.of {
            Of::Stage(stage) => format!("pgt_{what}_{}", stage.0),
            Of::Source(source) => format!("pgt_{what}_source_{}", source.0),
        }
    }

    fn step(&self, label: &str, identity: Identity, when: Option<String>, action: Action) -> Step {
        let of = match self.of {
            Of::Stage(stage) => format!("stage {}", stage.0),
            Of::Source(source) => format!("source {}", source.0),
        };
        Step { label: format!("{of}: {label}"), identity, when, action }
    }
}
