//! The aggregate stage: GROUP BY, DISTINCT, global aggregates.
//!
//! State, one row per group: `h` (hash of the key, only if the key is not plain), `k1..km`, `n` (rows in the group,
//! a sum of weights), then what each call needs (`accumulator`). A group exists iff `n > 0`; without keys there is
//! always exactly one.
//!
//! ```text
//! input change i ─▶ groups g: old and new state, flag ─▶ flagged groups recomputed f ─▶ rows r ─▶ output change, state
//! ```
//!
//! Reads: d(input); New(input), or its arrangement, for flagged groups only; state. The output row a group retracts is the stored one.

use super::accumulator::{Accumulator, Class};
use super::arrangement::Arrangement;
use super::{Lookup, StageSql};
use crate::apply::{change_columns, is_plain};
use crate::plan::AggCall;
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{consolidate, grouping_equal};
use crate::sql::lower::StoredRelation;
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, StageId, TypeRef};
use std::collections::BTreeSet;

/// Everything the stage's SQL depends on.
pub struct AggregateStage<'a> {
    pub id: StageId,
    /// Qualified name of the state table.
    pub table: String,
    /// Columns of the stage's input.
    pub input: &'a [Column],
    pub keys: &'a [usize],
    pub calls: &'a [AggCall],
    /// Columns of the stage's output.
    pub output: Vec<Column>,
    /// Where flagged groups are read again, if not from the input itself.
    pub arrangement: Option<Arrangement<'a>>,
}

impl StageSql for AggregateStage<'_> {
    fn id(&self) -> StageId {
        self.id
    }

    fn ddl(&self) -> Vec<String> {
        let hash = self.is_hashed().then(|| "h pg_catalog.int8 NOT NULL".to_owned());
        let keys = self.key_columns();
        let keys = keys.iter().enumerate().map(|(index, column)| {
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            format!("k{} {}{not_null}", index + 1, column.ty.definition())
        });
        let rows = "n pg_catalog.int8 NOT NULL".to_owned();
        let accumulators = self.accumulators();
        let states = accumulators.iter().flat_map(Accumulator::state);
        let states = states.map(|(suffix, ty)| format!("a{suffix} {}", ty.definition()));
        let columns = list(hash.into_iter().chain(keys).chain([rows]).chain(states));
        let mut statements = vec![format!("CREATE TABLE {} ({columns}) WITH (fillfactor = 80)", self.table)];
        if self.is_hashed() {
            statements.push(format!("CREATE INDEX ON {} (h)", self.table));
        } else if !self.is_global() {
            let keys = list((1..=self.keys.len()).map(|key| format!("k{key}")));
            statements.push(format!("CREATE UNIQUE INDEX ON {} ({keys})", self.table));
        }
        statements
    }

    fn stored(&self, alias: &str) -> StoredRelation {
        StoredRelation {
            relation: self.table.clone(),
            columns: self.outputs(|column| format!("{alias}.{column}"), "a", "n"),
            multiplicity: None,
        }
    }

    fn steps(&self, input: &str, into: &str) -> Vec<Step> {
        let mut steps = vec![self.groups()];
        steps.push(self.step(
            "no negative group",
            Identity::Owner,
            Action::Check {
                sql: format!("SELECT EXISTS (SELECT 1 FROM {} g WHERE g.n1 < 0)", self.name("groups")),
                message: format!("state table {} would count a group below zero", self.table),
            },
        ));
        let rows = if self.has_flags() {
            steps.extend(self.recompute(input));
            self.name("rows")
        } else {
            self.name("groups")
        };
        steps.push(self.output_change(&rows, into));
        steps.extend(self.write(&rows));
        steps
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        let accumulators = self.accumulators();
        let keys = self
            .keys
            .iter()
            .enumerate()
            .map(|(index, &key)| format!("i.{} AS k{}", column_name(key), index + 1));
        let states = accumulators.iter().flat_map(|accumulator| {
            accumulator
                .state()
                .into_iter()
                .zip(accumulator.recomputed())
                .map(|((suffix, _), sql)| format!("{sql} AS a{suffix}"))
        });
        let items = list(keys.chain(["pg_catalog.count(*) AS n".to_owned()]).chain(states));
        let group_by = list(self.keys.iter().map(|&key| format!("i.{}", column_name(key))));
        let group_by = if self.is_global() { String::new() } else { format!(" GROUP BY {group_by}") };
        let mut sql = format!("SELECT {items} FROM ({input}) i{group_by}");
        let mut columns: Vec<RelationColumn> = self.key_relation_columns().collect();
        columns.push(RelationColumn { name: "n".to_owned(), ty: TypeRef::int8() });
        columns.extend(self.state_columns("a"));
        if self.is_hashed() {
            let keys = list((1..=self.keys.len()).map(|key| format!("x.k{key}")));
            sql = format!("SELECT pgtrickle.hash_v1({keys}) AS h, x.* FROM ({sql}) x");
            columns.insert(0, RelationColumn { name: "h".to_owned(), ty: TypeRef::int8() });
        }
        let names = list(columns.iter().map(|column| column.name.clone()));
        let filled = self.name("filled");
        let insert = format!("INSERT INTO {} ({names}) SELECT {names} FROM {filled}", self.table);
        vec![
            self.always("compute", Identity::Owner, Action::Select { into: filled, columns, sql }),
            self.always(
                "fill",
                Identity::Extension,
                Action::Modify { sql: insert, expect: None, counts: Counts::State },
            ),
        ]
    }

    fn rereads_by(&self) -> Option<&[usize]> {
        self.accumulators().iter().any(Accumulator::rereads).then_some(self.keys)
    }

    /// A global aggregate reads all there is in any case.
    fn can_keep_input(&self) -> bool {
        !self.is_global()
    }

    fn lookup(&self, given: &BTreeSet<usize>) -> Lookup {
        let keys: Vec<usize> = given.iter().copied().filter(|column| *column < self.keys.len()).collect();
        if !self.is_hashed() && keys.first() == Some(&0) {
            return Lookup::Index;
        }
        let column = |key: usize| (format!("k{}", key + 1), &self.input[self.keys[key]].ty);
        Lookup::by_columns(&self.table, &keys.into_iter().map(column).collect::<Vec<_>>())
    }
}

impl AggregateStage<'_> {
    /// Some call may need its group read again.
    fn has_flags(&self) -> bool {
        self.accumulators().iter().any(|accumulator| accumulator.flag().is_some())
    }

    fn accumulators(&self) -> Vec<Accumulator<'_>> {
        self.calls.iter().enumerate().map(|(index, call)| Accumulator::new(index, call, self.input)).collect()
    }

    fn key_columns(&self) -> Vec<&Column> {
        self.keys.iter().map(|&key| &self.input[key]).collect()
    }

    /// Keys that are never NULL and always fit an index entry are found by themselves, others by their hash.
    fn is_hashed(&self) -> bool {
        !self.keys.is_empty() && !is_plain(self.keys.iter().map(|&key| &self.input[key]))
    }

    fn is_global(&self) -> bool {
        self.keys.is_empty()
    }

    /// The output columns from keys, row count and state columns named `{prefix}{suffix}`.
    fn outputs(&self, column: impl Fn(&str) -> String, prefix: &str, rows: &str) -> Vec<String> {
        let keys = (1..=self.keys.len()).map(|key| column(&format!("k{key}")));
        let accumulators = self.accumulators();
        let calls = accumulators.iter().map(|accumulator| {
            accumulator.output(&column(rows), |suffix| column(&format!("{prefix}{suffix}")))
        });
        keys.chain(calls).collect()
    }

    fn state_columns(&self, prefix: &str) -> Vec<RelationColumn> {
        let accumulators = self.accumulators();
        let states = accumulators.iter().flat_map(Accumulator::state);
        states.map(|(suffix, ty)| RelationColumn { name: format!("{prefix}{suffix}"), ty }).collect()
    }

    fn key_relation_columns(&self) -> impl Iterator<Item = RelationColumn> {
        let keys = self.key_columns().into_iter().map(|column| column.ty.clone()).collect::<Vec<_>>();
        keys.into_iter().enumerate().map(|(index, ty)| RelationColumn { name: format!("k{}", index + 1), ty })
    }

    /// Old and new state of every affected group.
    fn groups(&self) -> Step {
        let accumulators = self.accumulators();
        let keys = self.keys.iter().enumerate();
        let key_items = keys.clone().map(|(index, key)| format!("i.{} AS k{}", column_name(*key), index + 1));
        let rows = "coalesce(pg_catalog.sum(i.w), 0)::pg_catalog.int8 AS n".to_owned();
        let changes =
            accumulators.iter().flat_map(Accumulator::changed).map(|(name, sql)| format!("{sql} AS {name}"));
        let changed = list(key_items.chain([rows]).chain(changes));
        let group_by = list(self.keys.iter().map(|&key| format!("i.{}", column_name(key))));
        let group_by = if self.is_global() { String::new() } else { format!(" GROUP BY {group_by}") };
        let mut change = format!("SELECT {changed} FROM {} i{group_by}", self.input_name());
        if self.is_hashed() {
            let keys = list((1..=self.keys.len()).map(|key| format!("x.k{key}")));
            change = format!("SELECT x.*, pgtrickle.hash_v1({keys}) AS h FROM ({change}) x");
        }

        let columns = self.key_columns();
        let mut matches: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                grouping_equal(&format!("s.k{}", index + 1), &format!("d.k{}", index + 1), column)
            })
            .collect();
        if self.is_hashed() {
            matches.insert(0, "s.h = d.h".to_owned());
        }
        let matches = if matches.is_empty() { "true".to_owned() } else { matches.join(" AND ") };

        let gid = "pg_catalog.row_number() OVER () AS gid".to_owned();
        let hash = self.is_hashed().then(|| "d.h AS h".to_owned());
        let representatives = (1..=self.keys.len())
            .map(|key| format!("(CASE WHEN s.ctid IS NULL THEN d.k{key} ELSE s.k{key} END) AS k{key}"));
        let old = accumulators.iter().flat_map(Accumulator::state);
        let old = old.map(|(suffix, _)| format!("s.a{suffix} AS o{suffix}"));
        let new = accumulators.iter().flat_map(|accumulator| {
            accumulator
                .state()
                .into_iter()
                .zip(accumulator.moved())
                .map(|((suffix, _), sql)| format!("{sql} AS a{suffix}"))
        });
        let flags: Vec<String> = accumulators.iter().filter_map(Accumulator::flag).collect();
        let flag = if flags.is_empty() {
            "false".to_owned()
        } else {
            format!("coalesce({}, false)", flags.join(" OR "))
        };
        let items = [gid, "s.ctid AS t".to_owned()]
            .into_iter()
            .chain(hash)
            .chain(representatives)
            .chain(["coalesce(s.n, 0) AS n0".to_owned(), "(coalesce(s.n, 0) + d.n) AS n1".to_owned()])
            .chain(old)
            .chain(new)
            .chain([format!("{flag} AS flag")]);
        let sql = format!("SELECT {} FROM ({change}) d LEFT JOIN {} s ON {matches}", list(items), self.table);
        let mut into_columns = self.row_columns();
        into_columns.push(RelationColumn { name: "flag".to_owned(), ty: TypeRef::boolean() });
        self.step(
            "groups",
            Identity::Owner,
            Action::Select { into: self.name("groups"), columns: into_columns, sql },
        )
    }

    /// `gid, t, [h,] k.., n0, n1, o.., a..`
    fn row_columns(&self) -> Vec<RelationColumn> {
        let column = |name: &str, ty: TypeRef| RelationColumn { name: name.to_owned(), ty };
        let mut columns = vec![column("gid", TypeRef::int8()), column("t", TypeRef::tid())];
        if self.is_hashed() {
            columns.push(column("h", TypeRef::int8()));
        }
        columns.extend(self.key_relation_columns());
        columns.extend([column("n0", TypeRef::int8()), column("n1", TypeRef::int8())]);
        columns.extend(self.state_columns("o"));
        columns.extend(self.state_columns("a"));
        columns
    }

    /// Recomputes flagged groups from the new input.
    fn recompute(&self, input: &str) -> Vec<Step> {
        let (groups, flagged, found, rows) =
            (self.name("groups"), self.name("flagged"), self.name("recomputed"), self.name("rows"));
        let keys: Vec<String> = (1..=self.keys.len()).map(|key| format!("k{key}")).collect();
        // A group that is gone needs no recomputation, but the single group of a global aggregate never goes.
        let alive = if self.is_global() { "" } else { " AND g.n1 > 0" };
        let mut flagged_columns = vec![RelationColumn { name: "gid".to_owned(), ty: TypeRef::int8() }];
        let mut flagged_items = vec!["g.gid".to_owned()];
        if self.arrangement.is_some() {
            let hash = Arrangement::key_hash(keys.iter().map(|key| format!("g.{key}")));
            flagged_columns.push(RelationColumn { name: "h".to_owned(), ty: TypeRef::int8() });
            flagged_items.push(format!("{hash} AS h"));
        }
        flagged_columns.extend(self.key_relation_columns());
        flagged_items.extend(keys.iter().map(|key| format!("g.{key}")));
        let select_flagged = Action::Select {
            into: flagged.clone(),
            columns: flagged_columns,
            sql: format!("SELECT {} FROM {groups} g WHERE g.flag{alive}", list(flagged_items)),
        };

        let grouped = (1..=self.keys.len()).map(|key| format!("f.k{key}"));
        let grouped: Vec<(usize, String)> = self.keys.iter().copied().zip(grouped).collect();
        let accumulators = self.accumulators();
        let aggregates = accumulators.into_iter().flat_map(|accumulator| {
            let accumulator = accumulator.grouped_by(grouped.clone());
            let states = accumulator.state().into_iter().zip(accumulator.recomputed());
            states.map(|((suffix, _), sql)| format!("{sql} AS a{suffix}")).collect::<Vec<_>>()
        });
        let aggregates: Vec<String> = aggregates.collect();
        let sql = if self.is_global() {
            let items = ["1::pg_catalog.int8 AS gid".to_owned()].into_iter().chain(aggregates);
            format!("SELECT {} FROM ({input}) i", list(items))
        } else {
            self.reread(input, &flagged, &aggregates)
        };
        let found_columns = [RelationColumn { name: "gid".to_owned(), ty: TypeRef::int8() }];
        let found_columns = found_columns.into_iter().chain(self.state_columns("a")).collect();
        let mut select_found = self.step(
            "recompute",
            Identity::Owner,
            Action::Select { into: found.clone(), columns: found_columns, sql },
        );
        select_found.when = Some(flagged.clone());

        let check = Action::Check {
            sql: format!(
                "SELECT (SELECT pg_catalog.count(*) FROM {flagged}) <> (SELECT pg_catalog.count(*) FROM {found})"
            ),
            message: format!("state table {} has a group that its input lacks", self.table),
        };

        let kept = self.row_columns();
        let items = kept.iter().map(|column| {
            let name = &column.name;
            let is_new_state = name.starts_with('a');
            if is_new_state {
                format!("(CASE WHEN f.gid IS NULL THEN g.{name} ELSE f.{name} END) AS {name}")
            } else {
                format!("g.{name}")
            }
        });
        let select_rows = Action::Select {
            into: rows,
            sql: format!("SELECT {} FROM {groups} g LEFT JOIN {found} f ON f.gid = g.gid", list(items)),
            columns: kept,
        };
        vec![
            self.step("flagged groups", Identity::Owner, select_flagged),
            select_found,
            self.step("every flagged group recomputed", Identity::Owner, check),
            self.step("rows", Identity::Owner, select_rows),
        ]
    }

    /// The aggregates of each flagged group. NULL in a key is found by another condition than a value: with one nullable
    /// key both conditions lead through an index of the input's, with more the arrangement's hash does.
    fn reread(&self, input: &str, flagged: &str, aggregates: &[String]) -> String {
        let columns = self.key_columns();
        let key =
            |index: usize| (format!("i.{}", column_name(self.keys[index])), format!("f.k{}", index + 1));
        let items = list(["f.gid AS gid".to_owned()].into_iter().chain(aggregates.iter().cloned()));
        let group_by =
            list(["f.gid".to_owned()].into_iter().chain((0..self.keys.len()).map(|index| key(index).1)));
        if let ([column], None) = (columns.as_slice(), &self.arrangement)
            && column.nullable
        {
            let (value, given) = key(0);
            let names = self.state_columns("a").into_iter().map(|column| format!("x.{}", column.name));
            let names = list(["f.gid".to_owned()].into_iter().chain(names));
            let aggregates = list(aggregates.iter().cloned());
            return format!(
                "SELECT {items} FROM {flagged} f, ({input}) i WHERE {value} = {given} GROUP BY {group_by} UNION ALL \
                 SELECT {names} FROM {flagged} f, LATERAL (SELECT {aggregates} FROM ({input}) i \
                 WHERE {value} IS NULL AND {given} IS NULL) x WHERE {given} IS NULL"
            );
        }
        let matches = columns.iter().enumerate().map(|(index, column)| {
            let (value, given) = key(index);
            grouping_equal(&value, &given, column)
        });
        let hashes = self.arrangement.is_some().then(|| "i.h = f.h".to_owned());
        let matches = hashes.into_iter().chain(matches).collect::<Vec<_>>().join(" AND ");
        format!("SELECT {items} FROM {flagged} f, ({input}) i WHERE {matches} GROUP BY {group_by}")
    }

    /// New output minus old output of the affected groups.
    fn output_change(&self, rows: &str, into: &str) -> Step {
        let side = |prefix: &str, count: &str, weight: i32| {
            let columns = self.outputs(|column| format!("r.{column}"), prefix, count);
            let columns =
                columns.iter().enumerate().map(|(index, sql)| format!("{sql} AS {}", column_name(index)));
            let alive = if self.is_global() { String::new() } else { format!(" WHERE r.{count} > 0") };
            let weight = format!("({weight})::pg_catalog.int8 AS {WEIGHT}");
            format!("SELECT {} FROM {rows} r{alive}", list(columns.chain([weight])))
        };
        let body = format!("{} UNION ALL {}", side("o", "n0", -1), side("a", "n1", 1));
        let action = Action::Select {
            into: into.to_owned(),
            columns: change_columns(&self.output),
            sql: consolidate(&self.output, &body),
        };
        self.step("output change", Identity::Owner, action)
    }

    /// Brings the state table to the new state. Addresses taken in this refresh stay valid: only the holder of the
    /// stream table's claim writes its state.
    fn write(&self, rows: &str) -> Vec<Step> {
        let table = &self.table;
        let states: Vec<String> = self.state_columns("a").into_iter().map(|column| column.name).collect();
        let modify = |sql: String| Action::Modify { sql, expect: None, counts: Counts::State };
        let assigned =
            ["n = r.n1".to_owned()].into_iter().chain(states.iter().map(|name| format!("{name} = r.{name}")));
        let alive = if self.is_global() { "" } else { " AND r.n1 > 0" };
        let update =
            format!("UPDATE {table} AS s SET {} FROM {rows} AS r WHERE s.ctid = r.t{alive}", list(assigned));
        let mut steps = vec![];
        if !self.is_global() {
            let delete =
                format!("DELETE FROM {table} AS s USING {rows} AS r WHERE s.ctid = r.t AND r.n1 = 0");
            steps.push(self.step("forget groups", Identity::Extension, modify(delete)));
        }
        steps.push(self.step("update groups", Identity::Extension, modify(update)));
        if !self.is_global() {
            let hash = self.is_hashed().then(|| "h".to_owned());
            let keys = (1..=self.keys.len()).map(|key| format!("k{key}"));
            let names: Vec<String> = hash.into_iter().chain(keys).collect();
            let into = list(names.iter().cloned().chain(["n".to_owned()]).chain(states.iter().cloned()));
            let from = list(
                names
                    .iter()
                    .map(|name| format!("r.{name}"))
                    .chain(["r.n1".to_owned()])
                    .chain(states.iter().map(|name| format!("r.{name}"))),
            );
            let insert = format!(
                "INSERT INTO {table} ({into}) SELECT {from} FROM {rows} AS r WHERE r.t IS NULL AND r.n1 > 0"
            );
            steps.push(self.step("add groups", Identity::Extension, modify(insert)));
        }
        steps
    }

    /// How the stage's calls are maintained, for explanations.
    pub fn classes(&self) -> Vec<(String, Class)> {
        self.accumulators()
            .iter()
            .map(|accumulator| (accumulator.call.name.clone(), accumulator.class))
            .collect()
    }
}
