//! The region of a change: per touched partition the rows whose results are computed, from position `b` to `z`, and those
//! that are read for it, from `x` to `y` ([`super::span`]); and what calls carry on from the rows before.

use super::span::{Carry, Distance, Span, Tail};
use super::{WindowStage, hash_column};
use crate::apply::change_columns;
use crate::expr::{Expr, SortKey};
use crate::program::{Action, Identity, RelationColumn, Step};
use crate::sql::identity::{grouped, grouping_equal, images};
use crate::sql::lower::substitute;
use crate::sql::{WEIGHT, column_name, list};
use crate::stage::StageSql;
use crate::stage::accumulator::sort_key;
use crate::types::TypeRef;

/// The two directions in a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Towards {
    Beginning,
    End,
}

impl WindowStage<'_> {
    /// The touched partitions, numbered by `sid`: where a row comes, and where one goes. With a span also the first and the
    /// last changed position `f` and `l`, and `open`: a change is carried on to all later rows.
    pub(super) fn touched(&self) -> Step {
        let partition = list(self.partition_names("u."));
        let mut columns = self.partition_columns();
        let sql = match &self.span {
            Ok(span) => {
                columns.extend(span.positions.relation_columns("f"));
                columns.extend(span.positions.relation_columns("l"));
                columns.push(RelationColumn { name: "open".to_owned(), ty: TypeRef::boolean() });
                self.touched_span(span)
            }
            Err(_) if self.partition.is_empty() => "SELECT 1::pg_catalog.int8 AS sid".to_owned(),
            Err(_) => format!(
                "SELECT pg_catalog.row_number() OVER () AS sid, pgtrickle.hash_v1({partition}) AS h, {partition} FROM (SELECT {partition} FROM {} u GROUP BY {partition}) u",
                self.input_name()
            ),
        };
        self.step(
            "partitions",
            Identity::Owner,
            Action::Select { into: self.name("partitions"), columns, sql },
        )
    }

    fn touched_span(&self, span: &Span) -> String {
        let positions = &span.positions;
        let partition = |prefix: &str| self.partition_names(prefix);
        let by = |prefix: &str| match self.partition.is_empty() {
            true => String::new(),
            false => format!("PARTITION BY {} ", list(partition(prefix))),
        };
        // Per combination of values that calls are over, how many more rows have it now.
        let mut surpluses: Vec<String> = vec![];
        for (call, carried) in self.calls.iter().zip(&span.carried) {
            if carried.map(Carry::tail) != Some(Tail::Values) {
                continue;
            }
            let columns = self.input_names("u.");
            let value = |arg: &Expr| {
                let text = substitute(arg, &columns);
                if arg.ty.equal_image { text } else { format!("pgtrickle.image({text})") }
            };
            let values = list(partition("u.").into_iter().chain(call.args.iter().map(value)));
            let over = if values.is_empty() { values } else { format!("PARTITION BY {values}") };
            let filter = call.filter.as_ref().map(|filter| substitute(filter, &columns));
            let filter = filter.map(|filter| format!(" FILTER (WHERE {filter})")).unwrap_or_default();
            let surplus = format!("coalesce(pg_catalog.sum(u.{WEIGHT}){filter} OVER ({over}), 0)");
            if !surpluses.contains(&surplus) {
                surpluses.push(surplus);
            }
        }
        let always = span.carried.iter().flatten().any(|carry| carry.tail() == Tail::Always);
        let differs = (0..surpluses.len()).map(|index| format!("m.n{} <> 0", index + 1));
        let differs = differs.chain([always.to_string()]).collect::<Vec<_>>().join(" OR ");
        let named = |names: Vec<String>, values: Vec<String>| {
            values
                .into_iter()
                .zip(names)
                .map(|(value, name)| format!("{value} AS {name}"))
                .collect::<Vec<_>>()
        };
        let surpluses =
            surpluses.into_iter().enumerate().map(|(index, sql)| format!("{sql} AS n{}", index + 1));
        let inner = list(
            partition("u.")
                .into_iter()
                .chain(named(positions.names("e"), positions.of("u.")))
                .chain(surpluses),
        );
        let ends = |function: &str, name: &str| {
            let values = positions.names("m.e").into_iter();
            named(
                positions.names(name),
                values.map(|value| format!("pg_catalog.{function}({value}) OVER o")).collect(),
            )
        };
        let middle = list(
            partition("m.")
                .into_iter()
                .chain(["pg_catalog.row_number() OVER o AS n".to_owned()])
                .chain(ends("first_value", "f"))
                .chain(ends("last_value", "l"))
                .chain([format!("pg_catalog.bool_or({differs}) OVER o AS open")]),
        );
        let hash = self.hash("t.", |name| name).map(|hash| format!("{hash} AS h"));
        let outer = list(
            ["pg_catalog.row_number() OVER () AS sid".to_owned()]
                .into_iter()
                .chain(hash)
                .chain(partition("t."))
                .chain(positions.names("t.f"))
                .chain(positions.names("t.l"))
                .chain(["t.open".to_owned()]),
        );
        format!(
            "SELECT {outer} FROM (SELECT {middle} FROM (SELECT {inner} FROM {} u) m WINDOW o AS ({}ORDER BY {} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) t WHERE t.n = 1",
            self.input_name(),
            by("m."),
            positions.order(&positions.names("m.e"), false),
        )
    }

    /// Where results are computed, where rows are read, and what is carried on: `begun`, true if there is a row before the
    /// span, and `s1`.. per call.
    pub(super) fn region(&self, span: &Span) -> Step {
        let positions = &span.positions;
        let with = |from: String, added: Vec<(String, String)>, joined: String| {
            let added = added.into_iter().map(|(name, sql)| format!(", {sql} AS {name}")).collect::<String>();
            format!("(SELECT q.*{added} FROM {from} q{joined})")
        };
        let walked = |from: String, into: &str, start: &str, distances: &[Distance], towards: Towards| {
            let (lateral, values) = self.walk(span, &format!("q.{start}"), distances, towards);
            with(from, positions.names(into).into_iter().zip(values).collect(), lateral)
        };
        let mut from = walked(self.name("partitions"), "b", "f", &span.ahead, Towards::Beginning);
        if !span.is_bounded() {
            from = with(from, self.seeds(span), self.row_before(span));
        }
        let begins = span.carried.iter().flatten().any(|carry| carry.tail() == Tail::Beginning);
        let open = if begins { "(q.open OR NOT q.begun)" } else { "q.open" };
        let (mut joined, mut ends) = self.walk(span, "q.l", &span.back, Towards::End);
        if !span.is_bounded() {
            let last = self.nearest(span, None, Towards::Beginning, "1");
            joined += &format!(" LEFT JOIN LATERAL ({last}) e ON {open}");
            let (last, changed) = (positions.names("e.e"), positions.names("q.l"));
            let beyond = positions.before(&changed, &last);
            let end = |((last, changed), near): ((&String, &String), String)| {
                format!("(CASE WHEN NOT {open} THEN {near} WHEN {beyond} THEN {last} ELSE {changed} END)")
            };
            ends = last.iter().zip(&changed).zip(ends).map(end).collect();
        }
        let from = with(from, positions.names("z").into_iter().zip(ends).collect(), joined);
        let from = walked(from, "x", "b", &span.back, Towards::Beginning);
        let from = walked(from, "y", "z", &span.ahead, Towards::End);
        let mut columns = self.partition_columns();
        for name in ["b", "z", "x", "y"] {
            columns.extend(positions.relation_columns(name));
        }
        if !span.is_bounded() {
            columns.push(RelationColumn { name: "begun".to_owned(), ty: TypeRef::boolean() });
            let carried = |&index: &usize| span.carried[index].is_some();
            columns.extend((0..self.calls.len()).filter(carried).map(|index| RelationColumn {
                name: format!("s{}", index + 1),
                ty: self.output[self.input.len() + index].ty.clone(),
            }));
        }
        let items = list(columns.iter().map(|column| format!("q.{}", column.name)));
        let sql = format!("SELECT {items} FROM {from} q");
        self.step("region", Identity::Owner, Action::Select { into: self.name("region"), columns, sql })
    }

    /// Lateral items that go some way from a position of `q`, and the parts of the position they come to: the furthest that
    /// one of the distances leads to, or the start if there is no row that way.
    fn walk(
        &self,
        span: &Span,
        start: &str,
        distances: &[Distance],
        towards: Towards,
    ) -> (String, Vec<String>) {
        let positions = &span.positions;
        let mut joined = String::new();
        let mut values = positions.names(start);
        let mut go = |found: Vec<String>| {
            let is_further = match towards {
                Towards::Beginning => positions.before(&found, &values),
                Towards::End => positions.before(&values, &found),
            };
            let further = found
                .iter()
                .zip(&values)
                .map(|(found, value)| format!("(CASE WHEN {is_further} THEN {found} ELSE {value} END)"));
            values = further.collect();
        };
        let rows: Vec<String> = distances.iter().filter_map(rows).collect();
        let groups: Vec<String> = distances.iter().filter_map(groups).collect();
        for distance in distances {
            if let Distance::Values(distance) = distance {
                let forward = towards == Towards::End;
                go(positions.shifted(&positions.names(start), &substitute(distance, &[]), forward));
            }
        }
        if !rows.is_empty() {
            let found = self.nearest(span, Some(start), towards, &greatest(rows));
            let furthest = positions.order(&positions.names("v.e"), towards == Towards::End);
            let found = format!("SELECT v.* FROM ({found}) v ORDER BY {furthest} LIMIT 1");
            joined += &format!(" LEFT JOIN LATERAL ({found}) v1 ON true");
            go(positions.names("v1.e"));
        }
        if !groups.is_empty() {
            let step = self.nearest(span, Some("g.e"), towards, "1");
            let names = list(positions.names("e"));
            let found = format!(
                "WITH RECURSIVE g (n, {names}) AS (SELECT 0::pg_catalog.int8, {} UNION ALL SELECT g.n + 1, {} FROM g, LATERAL ({step}) v WHERE g.n < {}) SELECT {} FROM g ORDER BY g.n DESC LIMIT 1",
                list(positions.names(start)),
                list(positions.names("v.e")),
                greatest(groups),
                list(positions.names("g.e")),
            );
            joined += &format!(" LEFT JOIN LATERAL ({found}) v2 ON true");
            go(positions.names("v2.e"));
        }
        (joined, values)
    }

    /// A query for the positions `e` of up to `count` stored rows of partition `q`, those nearest to `from` or to the end of
    /// the partition.
    fn nearest(&self, span: &Span, from: Option<&str>, towards: Towards, count: &str) -> String {
        let positions = &span.positions;
        let own = positions.of("s.");
        let mut conditions = self.same_partition("s.", "q.");
        conditions.extend(from.map(|from| {
            let from = positions.names(from);
            match towards {
                Towards::Beginning => positions.before(&own, &from),
                Towards::End => positions.before(&from, &own),
            }
        }));
        let items = own.iter().zip(positions.names("e")).map(|(value, name)| format!("{value} AS {name}"));
        format!(
            "SELECT {} FROM {} s{} ORDER BY {} LIMIT {count}",
            list(items),
            self.table,
            filtered(conditions),
            positions.order(&own, towards == Towards::Beginning)
        )
    }

    /// The last stored row before the span: `p` is its position, `r` the row.
    fn row_before(&self, span: &Span) -> String {
        let found = self.nearest(span, Some("q.b"), Towards::Beginning, "1");
        // The row is the last in the whole order, of copies with different numbers the one with the largest.
        let mut order: Vec<String> = self.order.iter().map(|key| reversed(key, "s.")).collect();
        order.extend(images(self.input, "s.").map(|image| format!("{image} DESC")));
        let numbers = span.carried.iter().enumerate().filter(|(_, carried)| {
            matches!(carried, Some(Carry::Number | Carry::Rank | Carry::DenseRank | Carry::Count))
        });
        order.extend(numbers.map(|(index, _)| format!("s.{} DESC", column_name(self.input.len() + index))));
        let last = format!(
            "SELECT {} FROM {} s{} ORDER BY {} LIMIT 1",
            list(self.names("s.")),
            self.table,
            filtered(self.at_position_before(span)),
            list(order)
        );
        format!(" LEFT JOIN LATERAL ({found}) p ON true LEFT JOIN LATERAL ({last}) r ON true")
    }

    /// Conditions: row `s` stands at position `p` of partition `q`.
    fn at_position_before(&self, span: &Span) -> Vec<String> {
        let positions = &span.positions;
        let mut conditions = self.same_partition("s.", "q.");
        conditions.push(positions.same(&positions.of("s."), &positions.names("p.e")));
        conditions
    }

    fn seeds(&self, span: &Span) -> Vec<(String, String)> {
        let mut seeds = vec![("begun".to_owned(), "(p.e1 IS NOT NULL)".to_owned())];
        for (index, carried) in span.carried.iter().enumerate() {
            let Some(carried) = carried else { continue };
            let result = column_name(self.input.len() + index);
            let seed = match carried {
                // The rows before the last group of peers, and that group.
                Carry::Rank => {
                    let mut peers = self.at_position_before(span);
                    peers.push(format!("s.{result} = r.{result}"));
                    format!(
                        "(SELECT r.{result} - 1 + pg_catalog.sum(s.{WEIGHT})::pg_catalog.int8 FROM {} s{})",
                        self.table,
                        filtered(peers)
                    )
                }
                _ => format!("r.{result}"),
            };
            seeds.push((format!("s{}", index + 1), seed));
        }
        seeds
    }

    /// The stored rows of the region, with their address `t`, the number `sid` of their partition, and `inside`, true for
    /// those whose results are computed.
    pub(super) fn before(&self) -> Step {
        let partition = self.same_partition("s.", "a.");
        let values = list(self.names("s."));
        let found = format!("SELECT {values}, s.ctid AS t, s.{WEIGHT}");
        let sql = match &self.span {
            Err(_) => format!(
                "{found}, a.sid, true AS inside FROM {} s, {} a{}",
                self.table,
                self.name("partitions"),
                filtered(partition)
            ),
            Ok(span) => {
                let positions = &span.positions;
                let own = positions.of("s.");
                let mut conditions = partition;
                conditions.push(positions.between(&own, &positions.names("a.x"), &positions.names("a.y")));
                let inside = positions.between(&own, &positions.names("a.b"), &positions.names("a.z"));
                // A query of its own, whose bounds are constants to the planner.
                format!(
                    "SELECT v.* FROM {} a, LATERAL ({found}, a.sid, ({inside}) AS inside FROM {} s{} OFFSET 0) v",
                    self.name("region"),
                    self.table,
                    filtered(conditions)
                )
            }
        };
        let column = |name: &str, ty: TypeRef| RelationColumn { name: name.to_owned(), ty };
        let mut columns = self.output_columns();
        columns.extend([
            column("t", TypeRef::tid()),
            column(WEIGHT, TypeRef::int8()),
            column("sid", TypeRef::int8()),
            column("inside", TypeRef::boolean()),
        ]);
        self.step("rows before", Identity::Owner, Action::Select { into: self.name("before"), columns, sql })
    }

    /// The input's rows of the region after the change: those of the stored rows and the change added up.
    pub(super) fn after(&self) -> Step {
        let (values, images) = grouped(self.input);
        let hash = self.hash("i.", |name| name).map(|hash| format!(", {hash} AS h")).unwrap_or_default();
        let changed = format!("(SELECT i.*{hash} FROM {} i)", self.input_name());
        let input = |prefix: &str| list(self.input_names(prefix));
        let sql = format!(
            "SELECT {values}{comma}pg_catalog.sum(u.{WEIGHT})::pg_catalog.int8 AS {WEIGHT}, u.sid, u.inside FROM (SELECT {old}{comma}b.{WEIGHT}, b.sid, b.inside FROM {before} b UNION ALL SELECT {new}{comma}i.{WEIGHT}, a.sid, true FROM {changed} i, {partitions} a{same}) u GROUP BY u.sid, u.inside{separator}{images} HAVING pg_catalog.sum(u.{WEIGHT}) <> 0",
            values = list(values),
            comma = if self.input.is_empty() { "" } else { ", " },
            old = input("b."),
            before = self.name("before"),
            new = input("i."),
            partitions = self.name("partitions"),
            same = filtered(self.same_partition("i.", "a.")),
            separator = if self.input.is_empty() { "" } else { ", " },
            images = if self.input.is_empty() { "" } else { &images },
        );
        let column = |name: &str, ty: TypeRef| RelationColumn { name: name.to_owned(), ty };
        let mut columns = change_columns(self.input);
        columns.extend([column("sid", TypeRef::int8()), column("inside", TypeRef::boolean())]);
        self.step("rows after", Identity::Owner, Action::Select { into: self.name("after"), columns, sql })
    }

    /// Conditions: two rows with columns of the partition and its hash `h` are of one partition.
    fn same_partition(&self, left: &str, right: &str) -> Vec<String> {
        let same = self.partition.iter().map(|&column| {
            let name = column_name(column);
            grouping_equal(&format!("{left}{name}"), &format!("{right}{name}"), &self.input[column])
        });
        let hash = self.has_hash().then(|| format!("{left}h = {right}h"));
        hash.into_iter().chain(same).collect()
    }

    /// `sid, h, partition columns`
    fn partition_columns(&self) -> Vec<RelationColumn> {
        let number = RelationColumn { name: "sid".to_owned(), ty: TypeRef::int8() };
        let columns = self
            .partition
            .iter()
            .map(|&column| RelationColumn { name: column_name(column), ty: self.input[column].ty.clone() });
        [number].into_iter().chain(self.has_hash().then(hash_column)).chain(columns).collect()
    }
}

/// A sort key for the order from the last row to the first.
fn reversed(key: &SortKey, prefix: &str) -> String {
    let back = SortKey { descending: !key.descending, nulls_first: !key.nulls_first, ..key.clone() };
    sort_key(&back, prefix)
}

fn filtered(conditions: Vec<String>) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// A distance as a number of rows, if it is one.
fn rows(distance: &Distance) -> Option<String> {
    match distance {
        Distance::OneRow => Some("1".to_owned()),
        Distance::Rows(count) => Some(count_of(&substitute(count, &[]), "")),
        Distance::Signed { distance, is_reversed } => {
            Some(count_of(&substitute(distance, &[]), if *is_reversed { "-" } else { "" }))
        }
        Distance::Groups(_) | Distance::Values(_) => None,
    }
}

/// A distance as a number of groups of peers, if it is one.
fn groups(distance: &Distance) -> Option<String> {
    match distance {
        Distance::Groups(count) => Some(count_of(&substitute(count, &[]), "")),
        _ => None,
    }
}

/// A number of rows that is neither NULL nor negative.
fn count_of(count: &str, sign: &str) -> String {
    format!("greatest({sign}({count})::pg_catalog.int8, 0)")
}

fn greatest(counts: Vec<String>) -> String {
    match counts.as_slice() {
        [count] => count.clone(),
        counts => format!("greatest({})", list(counts.iter().cloned())),
    }
}
