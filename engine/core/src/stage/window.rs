//! The window stage: window functions over one partitioning and order.
//!
//! ```text
//! input change i ─▶ partitions p ─▶ region ─▶ rows before: the state's in it
//!                                               ─▶ rows after: their input and i added up
//!                                                  ─▶ rows r: what the functions give over those, against the state's
//!                                                     ─▶ output change (new - old), state
//! ```
//!
//! State: the output rows with their number `w`, found by the hash `h` of their partition and by their position in it. They
//! hold all columns of the input, so the input is never read again. A partition that no change touches keeps its rows; in
//! one that is touched, the rows that the change can reach are computed ([`span`]) and those with the result they had are
//! not written.
//!
//! Reads: d(input); state. Every input row is one output row, so the numbers of rows that come and go on both sides must
//! agree, which is checked.
//!
//! Where the order is not provably total, rows come to the window sorted further by the images of all columns
//! (`design-review.md` 8.4). The window's own order stays as it is, because peers mean something to ranks and frames: the
//! server finds its input sorted well enough and keeps the order of the rows within a group of peers.

mod evaluation;
mod position;
mod region;
pub mod span;

use super::{Lookup, Recomputes, StageSql, definitions, is_key};
use crate::apply::change_columns;
use crate::expr::SortKey;
use crate::plan::WindowCall;
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::grouped;
use crate::sql::lower::StoredRelation;
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, StageId, TypeRef};
use span::Span;
use std::collections::BTreeSet;

/// Everything the stage's SQL depends on.
pub struct WindowStage<'a> {
    pub id: StageId,
    /// Qualified name of the state table.
    pub table: String,
    /// Columns of the input, which are the first of the output.
    pub input: &'a [Column],
    /// Keys of the input.
    pub input_keys: Vec<Vec<usize>>,
    pub partition: &'a [usize],
    pub order: &'a [SortKey],
    pub calls: &'a [WindowCall],
    /// Columns of the output.
    pub output: Vec<Column>,
    /// No two rows of the output are identical.
    pub is_keyed: bool,
    /// How far a change reaches in its partition, or why it reaches all of it.
    pub span: Result<Span, String>,
}

impl StageSql for WindowStage<'_> {
    fn id(&self) -> StageId {
        self.id
    }

    fn ddl(&self) -> Vec<String> {
        let hash = self.has_hash().then(|| "h pg_catalog.int8 NOT NULL".to_owned());
        let columns =
            list(definitions(&self.output).chain([format!("{WEIGHT} pg_catalog.int8 NOT NULL")]).chain(hash));
        let mut statements = vec![format!("CREATE TABLE {} ({columns})", self.table)];
        let hash = self.has_hash().then(|| "h".to_owned());
        let positions = self.span.iter().flat_map(|span| span.positions.index_elements());
        let elements: Vec<String> = hash.into_iter().chain(positions).collect();
        if !elements.is_empty() {
            statements.push(format!("CREATE INDEX ON {} ({})", self.table, list(elements)));
        }
        statements
    }

    fn stored(&self, alias: &str) -> StoredRelation {
        StoredRelation {
            relation: self.table.clone(),
            columns: self.names(&format!("{alias}.")),
            multiplicity: (!self.is_keyed).then(|| format!("{alias}.{WEIGHT}")),
        }
    }

    fn recomputes(&self) -> Recomputes {
        let id = self.id.0;
        match &self.span {
            Err(reason) if self.partition.is_empty() => {
                Recomputes::State(format!("stage {id} computes all rows again: {reason}"))
            }
            Err(reason) => {
                Recomputes::Partitions(format!("stage {id} computes touched partitions again: {reason}"))
            }
            Ok(span) if !span.is_bounded() => Recomputes::Partitions(format!(
                "stage {id} computes touched partitions again from the first changed row on, as far as numbers and sums differ"
            )),
            Ok(span) if is_key(&self.input_keys, self.partition, &span.positions.columns) => {
                Recomputes::Nothing
            }
            Ok(span) => {
                let names = span.positions.columns.iter().map(|&column| self.input[column].name.clone());
                Recomputes::Partitions(format!(
                    "stage {id} computes rows near changed ones again, all that have one ({})",
                    list(names)
                ))
            }
        }
    }

    fn lookup(&self, given: &BTreeSet<usize>) -> Lookup {
        let columns = given.iter().map(|&column| (column_name(column), &self.output[column].ty));
        Lookup::by_columns(&self.table, &columns.collect::<Vec<_>>())
    }

    fn steps(&self, _input: &str, into: &str) -> Vec<Step> {
        let mut steps = vec![self.touched()];
        steps.extend(self.span.iter().map(|span| self.region(span)));
        steps.extend([self.before(), self.after()]);
        steps.push(self.step(
            "no negative row",
            Identity::Owner,
            Action::Check {
                sql: format!("SELECT EXISTS (SELECT 1 FROM {} a WHERE a.{WEIGHT} < 0)", self.name("after")),
                message: format!("state table {} would have a row less than zero times", self.table),
            },
        ));
        steps.push(self.rows());
        steps.push(self.step(
            "one row for one row",
            Identity::Owner,
            Action::Check {
                sql: format!(
                    "SELECT coalesce((SELECT pg_catalog.sum(r.w1 - r.w0) FROM {} r), 0) <> coalesce((SELECT pg_catalog.sum(i.{WEIGHT}) FROM {} i), 0)",
                    self.name("rows"),
                    self.input_name(),
                ),
                message: format!("state table {} has not the rows of its input", self.table),
            },
        ));
        let columns = list(self.names("r.").into_iter().chain([format!("(r.w1 - r.w0) AS {WEIGHT}")]));
        let change = Action::Select {
            into: into.to_owned(),
            columns: change_columns(&self.output),
            sql: format!("SELECT {columns} FROM {} r", self.name("rows")),
        };
        steps.push(self.step("output change", Identity::Owner, change));
        steps.extend(self.write());
        steps
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        let filled = self.name("filled");
        let mut relation = change_columns(&self.output);
        relation.extend(self.has_hash().then(hash_column));
        let (values, images) = grouped(&self.output);
        let (count, values, group_by) = match self.is_keyed {
            true => ("1::pg_catalog.int8", self.names("u."), String::new()),
            false => ("pg_catalog.count(*)", values, format!(" GROUP BY {images}")),
        };
        let hash = if self.is_keyed { self.hash("u.", |name| name) } else { self.grouped_hash() };
        let hash = hash.map(|hash| format!("{hash} AS h"));
        let all: Vec<usize> = (0..self.calls.len()).collect();
        let sql = format!(
            "SELECT {} FROM ({}) u{group_by}",
            list(values.into_iter().chain([format!("{count} AS {WEIGHT}")]).chain(hash)),
            self.evaluated(input, &all, &self.partition_names("i.")),
        );
        let compute = Action::Select { into: filled.clone(), columns: relation, sql };
        let names = self.state_names("");
        let fill =
            format!("INSERT INTO {} ({names}) SELECT {} FROM {filled} n", self.table, self.state_names("n."));
        let fill = Action::Modify { sql: fill, expect: None, counts: Counts::State };
        vec![self.always("compute", Identity::Owner, compute), self.always("fill", Identity::Extension, fill)]
    }
}

fn hash_column() -> RelationColumn {
    RelationColumn { name: "h".to_owned(), ty: TypeRef::int8() }
}

impl WindowStage<'_> {
    /// Rows are found by the hash of their partition, if there is more than one.
    fn has_hash(&self) -> bool {
        !self.partition.is_empty()
    }

    /// Output columns of a relation with `prefix`.
    fn names(&self, prefix: &str) -> Vec<String> {
        (0..self.output.len()).map(|index| format!("{prefix}{}", column_name(index))).collect()
    }

    /// All columns of the state.
    fn state_names(&self, prefix: &str) -> String {
        let hash = self.has_hash().then(|| format!("{prefix}h"));
        list(self.names(prefix).into_iter().chain([format!("{prefix}{WEIGHT}")]).chain(hash))
    }

    /// Input columns of a relation with `prefix`.
    fn input_names(&self, prefix: &str) -> Vec<String> {
        (0..self.input.len()).map(|index| format!("{prefix}{}", column_name(index))).collect()
    }

    fn partition_names(&self, prefix: &str) -> Vec<String> {
        self.partition.iter().map(|&column| format!("{prefix}{}", column_name(column))).collect()
    }

    fn output_columns(&self) -> Vec<RelationColumn> {
        let column = |(index, column): (usize, &Column)| RelationColumn {
            name: column_name(index),
            ty: column.ty.clone(),
        };
        self.output.iter().enumerate().map(column).collect()
    }

    /// The hash of the partition in a query of rows of `u` grouped by their images.
    fn grouped_hash(&self) -> Option<String> {
        self.hash("u.", |name| format!("pg_catalog.any_value({name})"))
    }

    /// The hash of the partition, if there is more than one, over columns with `prefix`, with `pick` around columns whose
    /// equal values need not be identical.
    fn hash(&self, prefix: &str, pick: impl Fn(String) -> String) -> Option<String> {
        let value = |&column: &usize| {
            let name = format!("{prefix}{}", column_name(column));
            if self.output[column].ty.equal_image { name } else { pick(name) }
        };
        let values = list(self.partition.iter().map(value));
        self.has_hash().then(|| format!("pgtrickle.hash_v1({values})"))
    }

    /// The rows of the region that are there more or less often than before: `t` is their place in the state, `w0` and `w1`
    /// how often they were and are there.
    fn rows(&self) -> Step {
        let hash = self.grouped_hash().map(|hash| format!(", {hash} AS h")).unwrap_or_default();
        let (values, images) = grouped(&self.output);
        let sql = format!(
            "SELECT {values}, pg_catalog.any_value(u.t) AS t, pg_catalog.sum(u.w0)::pg_catalog.int8 AS w0, pg_catalog.sum(u.w1)::pg_catalog.int8 AS w1{hash} FROM (SELECT {old}, b.t, b.{WEIGHT} AS w0, 0::pg_catalog.int8 AS w1 FROM {before} b WHERE b.inside UNION ALL SELECT {new}, NULL::pg_catalog.tid, 0::pg_catalog.int8, 1::pg_catalog.int8 FROM ({computed}) n) u GROUP BY {images} HAVING pg_catalog.sum(u.w0) <> pg_catalog.sum(u.w1)",
            values = list(values),
            old = list(self.names("b.")),
            before = self.name("before"),
            new = list(self.names("n.")),
            computed = self.computed(),
        );
        let column = |name: &str, ty: TypeRef| RelationColumn { name: name.to_owned(), ty };
        let mut columns = self.output_columns();
        columns.extend([
            column("t", TypeRef::tid()),
            column("w0", TypeRef::int8()),
            column("w1", TypeRef::int8()),
        ]);
        columns.extend(self.has_hash().then(hash_column));
        self.step("rows", Identity::Owner, Action::Select { into: self.name("rows"), columns, sql })
    }

    /// Brings the state table to the new state. Addresses taken in this refresh stay valid: only the holder of the
    /// stream table's claim writes its state.
    fn write(&self) -> Vec<Step> {
        let (table, rows) = (&self.table, self.name("rows"));
        let write = |label: &str, sql: String| Step {
            when: Some(rows.clone()),
            ..self.step(
                label,
                Identity::Extension,
                Action::Modify { sql, expect: None, counts: Counts::State },
            )
        };
        let values = list(
            self.names("r.")
                .into_iter()
                .chain(["r.w1".to_owned()])
                .chain(self.has_hash().then(|| "r.h".to_owned())),
        );
        vec![
            write(
                "forget rows",
                format!("DELETE FROM {table} AS s USING {rows} AS r WHERE s.ctid = r.t AND r.w1 = 0"),
            ),
            write(
                "count rows",
                format!(
                    "UPDATE {table} AS s SET {WEIGHT} = r.w1 FROM {rows} AS r WHERE s.ctid = r.t AND r.w1 > 0"
                ),
            ),
            write(
                "add rows",
                format!(
                    "INSERT INTO {table} ({}) SELECT {values} FROM {rows} AS r WHERE r.t IS NULL",
                    self.state_names("")
                ),
            ),
        ]
    }
}
