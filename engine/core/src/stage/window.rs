//! The window stage: window functions over one partitioning and order.
//!
//! ```text
//! input change i ─▶ partitions p ─▶ rows r: what the functions give over New(input) in p, against the state's rows in p
//!                                   ─▶ output change (new - old), state
//! ```
//!
//! State: the output rows with their number `w`, found by the hash `h` of their partition. A partition that no change
//! touches keeps its rows; in one that is touched, rows with the result they had are not written.
//!
//! Reads: d(input); New(input) of the touched partitions; state. Every input row is one output row, so the numbers of
//! rows that come and go on both sides must agree, which is checked.
//!
//! Where the order is not provably total, rows come to the window sorted further by the images of all columns
//! (`design-review.md` 8.4). The window's own order stays as it is, because peers mean something to ranks and frames: the
//! server finds its input sorted well enough and keeps the order of the rows within a group of peers.

use super::accumulator::sort_key;
use super::{StageSql, is_total};
use crate::apply::change_columns;
use crate::expr::SortKey;
use crate::plan::{Frame, FrameBound, FrameExclusion, FrameMode, WindowCall};
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{grouping_equal, image};
use crate::sql::lower::{StoredRelation, substitute};
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, StageId, TypeRef};

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
}

/// Nullable partition columns beyond which partitions are found by NULL-safe comparison, which no index supports.
const NULLABLE_MAX: usize = 3;

impl StageSql for WindowStage<'_> {
    fn id(&self) -> StageId {
        self.id
    }

    fn ddl(&self) -> Vec<String> {
        let columns = self
            .output
            .iter()
            .enumerate()
            .map(|(index, column)| format!("{} {}", column_name(index), column.ty.definition()));
        let hash = self.has_hash().then(|| "h pg_catalog.int8 NOT NULL".to_owned());
        let columns = list(columns.chain([format!("{WEIGHT} pg_catalog.int8 NOT NULL")]).chain(hash));
        let mut statements = vec![format!("CREATE TABLE {} ({columns})", self.table)];
        if self.has_hash() {
            statements.push(format!("CREATE INDEX ON {} (h)", self.table));
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

    fn input_name(&self) -> String {
        self.name("input")
    }

    fn rereads_by(&self) -> Option<&[usize]> {
        Some(self.partition)
    }

    fn steps(&self, input: &str, into: &str) -> Vec<Step> {
        let mut steps = vec![];
        if self.has_hash() {
            steps.push(self.partitions());
        }
        steps.push(self.rows(input));
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
        let mut columns = change_columns(&self.output);
        columns.extend(self.has_hash().then(hash_column));
        let (count, group_by) = match self.is_keyed {
            true => ("1::pg_catalog.int8", String::new()),
            false => ("pg_catalog.count(*)", format!(" GROUP BY {}", self.images("u."))),
        };
        let values = if self.is_keyed { self.names("u.") } else { self.grouped_values() };
        let hash = if self.is_keyed { self.hash(|name| name) } else { self.grouped_hash() };
        let sql = format!(
            "SELECT {}{hash} FROM ({}) u{group_by}",
            list(values.into_iter().chain([format!("{count} AS {WEIGHT}")])),
            self.computed(input),
        );
        let compute = Action::Select { into: filled.clone(), columns, sql };
        let names = self.state_names("");
        let fill =
            format!("INSERT INTO {} ({names}) SELECT {} FROM {filled} n", self.table, self.state_names("n."));
        let fill = Action::Modify { sql: fill, expect: None, counts: Counts::State };
        vec![
            Step { when: None, ..self.step("compute", Identity::Owner, compute) },
            Step { when: None, ..self.step("fill", Identity::Extension, fill) },
        ]
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

    fn name(&self, what: &str) -> String {
        format!("pgt_{what}_{}", self.id.0)
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

    fn partition_names(&self, prefix: &str) -> Vec<String> {
        self.partition.iter().map(|&column| format!("{prefix}{}", column_name(column))).collect()
    }

    /// What tells the output rows of a relation with `prefix` apart.
    fn images(&self, prefix: &str) -> String {
        let columns = self.output.iter().enumerate();
        list(columns.map(|(index, column)| image(&format!("{prefix}{}", column_name(index)), column)))
    }

    /// The output columns of rows of `u` grouped by their images.
    fn grouped_values(&self) -> Vec<String> {
        let value = |(index, column): (usize, &Column)| {
            let name = column_name(index);
            match column.ty.equal_image {
                true => format!("u.{name}"),
                false => format!("pg_catalog.any_value(u.{name}) AS {name}"),
            }
        };
        self.output.iter().enumerate().map(value).collect()
    }

    /// `, h` in a query of rows of `u` grouped by their images.
    fn grouped_hash(&self) -> String {
        self.hash(|name| format!("pg_catalog.any_value({name})"))
    }

    /// `, h` in a query of rows of `u`, with `pick` around columns whose equal values need not be identical.
    fn hash(&self, pick: impl Fn(String) -> String) -> String {
        if !self.has_hash() {
            return String::new();
        }
        let value = |&column: &usize| {
            let name = format!("u.{}", column_name(column));
            if self.output[column].ty.equal_image { name } else { pick(name) }
        };
        format!(", pgtrickle.hash_v1({}) AS h", list(self.partition.iter().map(value)))
    }

    /// The partitions that the change touches: where a row comes, and where one goes.
    fn partitions(&self) -> Step {
        let names = list(self.partition_names("u."));
        let columns = self
            .partition
            .iter()
            .map(|&column| RelationColumn { name: column_name(column), ty: self.input[column].ty.clone() });
        let action = Action::Select {
            into: self.name("partitions"),
            columns: [hash_column()].into_iter().chain(columns).collect(),
            sql: format!(
                "SELECT pgtrickle.hash_v1({names}) AS h, {names} FROM (SELECT {names} FROM {} u GROUP BY {names}) u",
                self.input_name()
            ),
        };
        self.step("partitions", Identity::Owner, action)
    }

    /// The rows of the touched partitions that are there more or less often than before: `t` is their place in the
    /// state, `w0` and `w1` how often they were and are there.
    fn rows(&self, input: &str) -> Step {
        let before = if self.has_hash() {
            let same = self.partition.iter().map(|&column| {
                let name = column_name(column);
                grouping_equal(&format!("s.{name}"), &format!("a.{name}"), &self.input[column])
            });
            let same: Vec<String> = ["s.h = a.h".to_owned()].into_iter().chain(same).collect();
            format!("{} s, {} a WHERE {}", self.table, self.name("partitions"), same.join(" AND "))
        } else {
            format!("{} s", self.table)
        };
        let sql = format!(
            "SELECT {values}, pg_catalog.any_value(u.t) AS t, pg_catalog.sum(u.w0)::pg_catalog.int8 AS w0, pg_catalog.sum(u.w1)::pg_catalog.int8 AS w1{hash} FROM (SELECT {old}, s.ctid AS t, s.{WEIGHT} AS w0, 0::pg_catalog.int8 AS w1 FROM {before} UNION ALL SELECT {new}, NULL::pg_catalog.tid, 0::pg_catalog.int8, 1::pg_catalog.int8 FROM ({computed}) n) u GROUP BY {images} HAVING pg_catalog.sum(u.w0) <> pg_catalog.sum(u.w1)",
            values = list(self.grouped_values()),
            hash = self.grouped_hash(),
            old = list(self.names("s.")),
            new = list(self.names("n.")),
            computed = self.computed(&self.restricted(input)),
            images = self.images("u."),
        );
        let column = |name: &str, ty: TypeRef| RelationColumn { name: name.to_owned(), ty };
        let mut columns: Vec<RelationColumn> = self
            .output
            .iter()
            .enumerate()
            .map(|(index, output)| column(&column_name(index), output.ty.clone()))
            .collect();
        columns.extend([
            column("t", TypeRef::tid()),
            column("w0", TypeRef::int8()),
            column("w1", TypeRef::int8()),
        ]);
        columns.extend(self.has_hash().then(hash_column));
        self.step("rows", Identity::Owner, Action::Select { into: self.name("rows"), columns, sql })
    }

    /// The input's rows in the touched partitions. Each arm finds its partitions by equality, with NULL in its own
    /// choice of the columns that can be NULL, so that an index on the partition columns serves; an arm for NULLs is not
    /// looked at unless a touched partition has them.
    fn restricted(&self, input: &str) -> String {
        if !self.has_hash() {
            return input.to_owned();
        }
        let columns = list((0..self.input.len()).map(|index| format!("i.{}", column_name(index))));
        let from = format!("SELECT {columns} FROM {} a, ({input}) i", self.name("partitions"));
        let nullable: Vec<usize> =
            self.partition.iter().copied().filter(|&column| self.input[column].nullable).collect();
        if nullable.len() > NULLABLE_MAX {
            let same = self.partition.iter().map(|&column| {
                let name = column_name(column);
                grouping_equal(&format!("i.{name}"), &format!("a.{name}"), &self.input[column])
            });
            return format!("{from} WHERE {}", same.collect::<Vec<_>>().join(" AND "));
        }
        let arm = |choice: usize| {
            let mut conditions = vec![];
            let mut absent = vec![];
            for &column in self.partition {
                let name = column_name(column);
                let place = nullable.iter().position(|&other| other == column);
                if place.is_some_and(|place| choice >> place & 1 == 1) {
                    conditions.push(format!("i.{name} IS NULL AND a.{name} IS NULL"));
                    absent.push(format!("x.{name} IS NULL"));
                } else {
                    conditions.push(format!("i.{name} = a.{name}"));
                }
            }
            if !absent.is_empty() {
                conditions.push(format!(
                    "(SELECT pg_catalog.bool_or({}) FROM {} x)",
                    absent.join(" AND "),
                    self.name("partitions")
                ));
            }
            format!("{from} WHERE {}", conditions.join(" AND "))
        };
        (0..1 << nullable.len()).map(arm).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// The output over an input with columns `c1..cn`, as columns `c1..cm`.
    fn computed(&self, input: &str) -> String {
        let columns: Vec<String> =
            (0..self.input.len()).map(|index| format!("i.{}", column_name(index))).collect();
        let calls = self.calls.iter().enumerate().map(|(index, call)| {
            let args = call.args.iter().map(|arg| substitute(arg, &columns));
            let args = if call.star { "*".to_owned() } else { list(args) };
            let filter = call.filter.as_ref().map(|filter| substitute(filter, &columns));
            let filter = filter.map(|filter| format!(" FILTER (WHERE {filter})")).unwrap_or_default();
            let name = column_name(self.input.len() + index);
            let over = self.window(&call.frame);
            format!("{}({args}){filter} OVER ({over}) AS {name}", call.function.name)
        });
        let items = list(columns.iter().cloned().chain(calls));
        format!("SELECT {items} FROM ({}) i", self.sorted(input))
    }

    fn window(&self, frame: &Frame) -> String {
        let clause = |words: &str, items: Vec<String>| match items.is_empty() {
            true => String::new(),
            false => format!("{words} {} ", list(items)),
        };
        let order = self.order.iter().map(|key| sort_key(key, "i.")).collect();
        clause("PARTITION BY", self.partition_names("i.")) + &clause("ORDER BY", order) + &frame_text(frame)
    }

    /// The input in the window's order, ties by the images of all columns.
    fn sorted(&self, input: &str) -> String {
        if is_total(&self.input_keys, self.partition, self.order) {
            return input.to_owned();
        }
        let partition = self.partition_names("i.");
        let order = self.order.iter().map(|key| sort_key(key, "i."));
        let ties = self
            .input
            .iter()
            .enumerate()
            .map(|(index, column)| image(&format!("i.{}", column_name(index)), column));
        let order = list(partition.into_iter().chain(order).chain(ties));
        if order.is_empty() {
            return input.to_owned();
        }
        format!("SELECT i.* FROM ({input}) i ORDER BY {order}")
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

    fn step(&self, label: &str, identity: Identity, action: Action) -> Step {
        Step {
            label: format!("stage {}: {label}", self.id.0),
            identity,
            when: Some(self.input_name()),
            action,
        }
    }
}

/// `ROWS BETWEEN .. AND .. EXCLUDE ..`.
fn frame_text(frame: &Frame) -> String {
    let mode = match frame.mode {
        FrameMode::Rows => "ROWS",
        FrameMode::Range => "RANGE",
        FrameMode::Groups => "GROUPS",
    };
    let bound = |bound: &FrameBound| match bound {
        FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".to_owned(),
        FrameBound::Preceding(offset) => format!("{} PRECEDING", substitute(offset, &[])),
        FrameBound::CurrentRow => "CURRENT ROW".to_owned(),
        FrameBound::Following(offset) => format!("{} FOLLOWING", substitute(offset, &[])),
        FrameBound::UnboundedFollowing => "UNBOUNDED FOLLOWING".to_owned(),
    };
    let exclude = match frame.exclude {
        FrameExclusion::Nothing => "",
        FrameExclusion::CurrentRow => " EXCLUDE CURRENT ROW",
        FrameExclusion::Group => " EXCLUDE GROUP",
        FrameExclusion::Ties => " EXCLUDE TIES",
    };
    format!("{mode} BETWEEN {} AND {}{exclude}", bound(&frame.start), bound(&frame.end))
}
