//! The recursion stage: WITH RECURSIVE, round by round.
//!
//! PostgreSQL's rounds are `T(0) = base`, `T(k+1) = step(T(k), E)`, `E` being all else the step reads. The step is a sum
//! over the rows of `T(k)` ([`carry`]), so a round changes by
//!
//! ```text
//! D(0)   = base                              derivations of rows in round 0
//! D(k+1) = step(T(k), E)
//! dD(k+1) = step(T(k) old, dE)  +  step(dT(k), E new)
//! UNION ALL   T(k) = D(k)
//! UNION       a row is in T(k) iff D(k) has it and no D(j), j < k, does
//! ```
//!
//! State: one row per row and round that derives it: `k` (the round), `n` (derivations), `c1..cn`, `h` (hash of the
//! row); for UNION `m`, whether the row is in `T(k)`. During a refresh `d` holds the change of `n` still to be taken, and
//! `p` says that the round must look at the row.
//!
//! ```text
//! d(base), step(T old, dE) ─▶ pending ─▶ least pending round k: D(k) ─▶ dT(k) ─▶ step(dT(k), E new) ─▶ pending ...
//! ```
//!
//! The first term is computed for all rounds in one pass over the state. The second goes strictly upwards, so that when
//! round `k` is looked at nothing below it changes any more: rows that only hold each other up, in a cycle that lost its
//! base, lose their derivations one round after the other and are gone (`design-review.md` 8.5). Work follows the
//! change of rounds: a short cut near the base moves every row behind it to an earlier round, though the result may be
//! the same.
//!
//! Reads: d(base), dE, E new, state.  Needs: an index on the columns by which the step joins (created).
//! Golden: `corpus/rules/recursion.test`.  Page: `docs/operators/recursion.md`.

pub mod carry;

use super::{Lookup, StageSql, definitions};
use crate::apply::{MAX_ARGUMENTS, change_columns};
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{consolidate, grouping_equal, identical};
use crate::sql::lower::StoredRelation;
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, StageId, TypeRef};
use carry::round_column;
use std::collections::BTreeSet;

/// Everything the stage's SQL depends on.
pub struct RecursionStage<'a> {
    pub id: StageId,
    /// Qualified name of the state table.
    pub table: String,
    /// Columns of the stage's output.
    pub columns: Vec<Column>,
    /// UNION ALL.
    pub all: bool,
    /// A query for what a change of a round (relation [`RecursionStage::change_name`]) adds to the next one: columns
    /// `c1..cn`, then the round, and `w`.
    pub follow: &'a str,
}

impl StageSql for RecursionStage<'_> {
    fn id(&self) -> StageId {
        self.id
    }

    fn ddl(&self) -> Vec<String> {
        let numbers = ["h", "k", "n", "d"].map(|name| format!("{name} pg_catalog.int8 NOT NULL"));
        let flags = self.flags().into_iter().map(|name| format!("{name} pg_catalog.bool NOT NULL"));
        let columns = list(numbers.into_iter().chain(flags).chain(definitions(&self.columns)));
        vec![
            format!("CREATE TABLE {} ({columns}) WITH (fillfactor = 70)", self.table),
            format!("CREATE INDEX ON {} (h, k)", self.table),
            format!("CREATE INDEX ON {} (k) WHERE p", self.table),
        ]
    }

    fn stored(&self, alias: &str) -> StoredRelation {
        StoredRelation {
            relation: if self.all { self.table.clone() } else { self.members() },
            columns: names(self.columns.len(), &format!("{alias}.")),
            multiplicity: self.all.then(|| format!("{alias}.n")),
        }
    }

    /// The change of derivations by base and step, over the old rounds: `c1..cn`, the round, `w`.
    fn input_name(&self) -> String {
        self.name("derived")
    }

    fn steps(&self, _input: &str, into: &str) -> Vec<Step> {
        let log = self.name("changed");
        let width = self.columns.len();
        let kept = list(names(width, "x.").into_iter().chain([format!("x.{WEIGHT}")]));
        let found = self.input_name();
        let change = self.change_name();
        let begin = self.select(
            "no round yet",
            &log,
            change_columns(&self.columns),
            format!("SELECT {kept} FROM {found} x WHERE false"),
        );
        let add = Action::Append { into: log.clone(), sql: format!("SELECT {kept} FROM {change} x") };
        let add = self.when(&change, self.always("note the change", Identity::Owner, add));
        let mut steps = vec![begin];
        steps.extend(self.place());
        steps.push(self.rounds(vec![add]));
        let columns = names(width, "x.");
        let columns = list(columns.into_iter().chain([format!("x.{WEIGHT}")]));
        let output = consolidate(&self.columns, &format!("SELECT {columns} FROM {log} x"));
        steps.push(self.select("output change", into, change_columns(&self.columns), output));
        steps
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        let width = self.columns.len();
        let zero = format!("0::pg_catalog.int8 AS {}", column_name(width));
        let one = format!("1::pg_catalog.int8 AS {WEIGHT}");
        let base =
            format!("SELECT {} FROM ({input}) i", list(names(width, "i.").into_iter().chain([zero, one])));
        let mut steps =
            vec![self.select("base", &self.input_name(), self.derived_columns(), self.grouped(&base))];
        steps.extend(self.place());
        steps.push(self.rounds(vec![]));
        steps
    }

    fn lookup(&self, given: &BTreeSet<usize>) -> Lookup {
        let given = given.iter().filter(|&&column| column < self.columns.len());
        let columns = given.map(|&column| (column_name(column), &self.columns[column].ty));
        Lookup::by_columns(&self.table, &columns.collect::<Vec<_>>())
    }
}

impl RecursionStage<'_> {
    /// The relation that holds the change of the round last looked at: `c1..cn`, the round, `w`.
    pub fn change_name(&self) -> String {
        change_name(self.id)
    }

    /// The rows of all rounds before the change, with the round as last column.
    pub fn old_rounds(&self, alias: &str) -> StoredRelation {
        let mut stored = self.stored(alias);
        stored.columns.push(format!("{alias}.k"));
        stored
    }

    /// The columns of a change of derivations.
    pub fn derived_columns(&self) -> Vec<RelationColumn> {
        change_columns(&self.with_round())
    }

    /// Consolidates a change of derivations, a query with columns `c1..cn`, the round, `w`: by the equality that tells
    /// rows of the recursion apart.
    pub fn grouped(&self, body: &str) -> String {
        let columns = self.with_round();
        if self.all {
            return consolidate(&columns, body);
        }
        let names = list(names(columns.len(), "u."));
        format!(
            "SELECT {names}, pg_catalog.sum(u.{WEIGHT})::pg_catalog.int8 AS {WEIGHT} FROM ({body}) u GROUP BY {names} \
             HAVING pg_catalog.sum(u.{WEIGHT}) OPERATOR(pg_catalog.<>) 0"
        )
    }

    fn with_round(&self) -> Vec<Column> {
        self.columns.iter().cloned().chain([round_column()]).collect()
    }

    /// The rows that are in some round.
    fn members(&self) -> String {
        let columns = list(["s.k".to_owned()].into_iter().chain(names(self.columns.len(), "s.")));
        format!("(SELECT {columns} FROM {} s WHERE s.m)", self.table)
    }

    fn flags(&self) -> Vec<&'static str> {
        if self.all { vec!["p"] } else { vec!["p", "m"] }
    }

    /// The condition that two relations hold the same row.
    fn same(&self, left: &str, right: &str) -> String {
        let equal = if self.all { identical } else { grouping_equal };
        let columns = self.columns.iter().enumerate().map(|(index, column)| {
            let name = column_name(index);
            equal(&format!("{left}.{name}"), &format!("{right}.{name}"), column)
        });
        [format!("{left}.h = {right}.h")].into_iter().chain(columns).collect::<Vec<_>>().join(" AND ")
    }

    /// Makes derivations found pending in their rounds.
    fn place(&self) -> Vec<Step> {
        let (table, found, placed) = (&self.table, self.input_name(), self.name("placed"));
        let width = self.columns.len();
        let round = column_name(width);
        let row = list(names(width, "x.").into_iter().take(MAX_ARGUMENTS));
        let hash = format!("pgtrickle.hash_v1({row})");
        let columns = list(names(width + 1, "f."));
        let mut relation = vec![column("t", TypeRef::tid()), column("h", TypeRef::int8())];
        relation.extend(self.derived_columns());
        let select = self.select(
            "where derivations belong",
            &placed,
            relation,
            format!(
                "SELECT s.ctid AS t, f.h, {columns}, f.{WEIGHT} FROM (SELECT {hash} AS h, x.* FROM {found} x) f \
                 LEFT JOIN {table} s ON s.k = f.{round} AND {}",
                self.same("s", "f")
            ),
        );
        let update = format!(
            "UPDATE {table} AS s SET d = s.d + x.{WEIGHT}, p = true FROM {placed} AS x WHERE s.ctid = x.t"
        );
        let own = list(names(width, ""));
        let values = list(names(width, "x."));
        let (flags, false_flags) = if self.all { ("p", "true") } else { ("p, m", "true, false") };
        let insert = format!(
            "INSERT INTO {table} (h, k, n, d, {flags}, {own}) SELECT x.h, x.{round}, 0, x.{WEIGHT}, {false_flags}, \
             {values} FROM {placed} AS x WHERE x.t IS NULL"
        );
        let when = |step| self.when(&found, step);
        vec![
            when(select),
            when(self.modify("add to derivations", update)),
            when(self.modify("new derivations", insert)),
        ]
    }

    /// Looks at every round that has something pending, from the first one on. `noted` runs once the change of a round
    /// is there.
    fn rounds(&self, noted: Vec<Step>) -> Step {
        let (table, round) = (&self.table, self.name("round"));
        let mut steps = self.settle(&round);
        steps.extend(noted);
        let change = self.change_name();
        let follow =
            self.select("next round", &self.input_name(), self.derived_columns(), self.grouped(self.follow));
        steps.push(self.when(&change, follow));
        steps.extend(self.place());
        let action = Action::Rounds {
            next: format!("SELECT s.k AS k FROM {table} s WHERE s.p ORDER BY s.k LIMIT 1"),
            grows: format!(
                "SELECT EXISTS (SELECT 1 FROM {table} s, {round} r WHERE s.p AND s.k = r.k AND s.n = 0 AND s.d > 0)"
            ),
            round,
            steps,
        };
        self.always("rounds", Identity::Owner, action)
    }

    /// Takes what is pending in the round, and finds by how much the round changes.
    fn settle(&self, round: &str) -> Vec<Step> {
        let (table, rows, change) = (&self.table, self.name("rows"), self.change_name());
        let width = self.columns.len();
        let own = list(names(width, "s."));
        let mut relation =
            vec![column("t", TypeRef::tid()), column("h", TypeRef::int8()), column("k", TypeRef::int8())];
        relation.extend((0..width).map(|index| column(&column_name(index), self.columns[index].ty.clone())));
        relation.extend([column("n0", TypeRef::int8()), column("n1", TypeRef::int8())]);
        let mut items = format!("s.ctid AS t, s.h, s.k, {own}, s.n AS n0, (s.n + s.d) AS n1");
        let in_change = |from: &str| {
            let round = format!("{from}.k AS {}", column_name(width));
            list(names(width, &format!("{from}.")).into_iter().chain([round]))
        };
        let changed = in_change("e");
        let change_sql = if self.all {
            format!("SELECT {changed}, (e.n1 - e.n0) AS {WEIGHT} FROM {rows} e WHERE e.n1 <> e.n0")
        } else {
            relation.extend([column("m0", TypeRef::boolean()), column("first", TypeRef::boolean())]);
            // Whatever is below this round is settled: a row there is a derivation.
            items += &format!(
                ", s.m AS m0, (NOT EXISTS (SELECT 1 FROM {table} e WHERE e.k < s.k AND {})) AS first",
                self.same("e", "s")
            );
            format!(
                "SELECT {changed}, (CASE WHEN e.m0 THEN -1 ELSE 1 END)::pg_catalog.int8 AS {WEIGHT} FROM {rows} e \
                 WHERE e.m0 <> (e.first AND e.n1 > 0)"
            )
        };
        let pending =
            format!("SELECT {items} FROM {table} s WHERE s.p AND s.k = (SELECT r.k FROM {round} r)");
        let check = Action::Check {
            sql: format!("SELECT EXISTS (SELECT 1 FROM {rows} e WHERE e.n1 < 0)"),
            message: format!("state table {table} would count derivations below zero"),
        };
        let member = if self.all { "" } else { ", m = (e.first AND e.n1 > 0)" };
        let update = format!(
            "UPDATE {table} AS s SET n = e.n1, d = 0, p = false{member} FROM {rows} AS e WHERE s.ctid = e.t AND e.n1 > 0"
        );
        let delete = format!("DELETE FROM {table} AS s USING {rows} AS e WHERE s.ctid = e.t AND e.n1 = 0");
        let mut steps = vec![
            self.select("rows of the round", &rows, relation, pending),
            self.always("no negative derivations", Identity::Owner, check),
            self.select("change of the round", &change, self.derived_columns(), change_sql),
        ];
        if !self.all {
            steps.extend(self.displace(&rows));
        }
        steps.push(self.modify("settle", update));
        steps.push(self.modify("forget derivations", delete));
        steps
    }

    /// A row that comes into an earlier round leaves its later one; a row whose first round is gone comes into the next
    /// one that derives it. Those rounds must look at it.
    fn displace(&self, rows: &str) -> Vec<Step> {
        let (table, moved) = (&self.table, self.name("moved"));
        let select = self.select(
            "rows of later rounds",
            &moved,
            vec![column("t", TypeRef::tid())],
            format!(
                "SELECT l.t FROM {rows} e CROSS JOIN LATERAL (SELECT o.ctid AS t FROM {table} o WHERE o.k > e.k AND {} \
                 AND (o.m OR e.n1 = 0) ORDER BY o.k LIMIT 1) l WHERE e.first AND (e.n1 = 0 OR NOT e.m0)",
                self.same("o", "e")
            ),
        );
        let mark =
            format!("UPDATE {table} AS s SET p = true FROM {moved} AS x WHERE s.ctid = x.t AND NOT s.p");
        vec![select, self.when(&moved, self.modify("look at them again", mark))]
    }

    fn select(&self, label: &str, into: &str, columns: Vec<RelationColumn>, sql: String) -> Step {
        self.always(label, Identity::Owner, Action::Select { into: into.to_owned(), columns, sql })
    }

    fn modify(&self, label: &str, sql: String) -> Step {
        let action = Action::Modify { sql, expect: None, counts: Counts::State };
        self.always(label, Identity::Extension, action)
    }

    fn when(&self, relation: &str, step: Step) -> Step {
        Step { when: Some(relation.to_owned()), ..step }
    }
}

/// The relation that holds the change of the round of a recursion last looked at.
pub fn change_name(stage: StageId) -> String {
    format!("pgt_round_change_{}", stage.0)
}

fn column(name: &str, ty: TypeRef) -> RelationColumn {
    RelationColumn { name: name.to_owned(), ty }
}

fn names(width: usize, prefix: &str) -> Vec<String> {
    (0..width).map(|index| format!("{prefix}{}", column_name(index))).collect()
}
