//! The top-k stage: ORDER BY .. LIMIT .. OFFSET, per partition.
//!
//! State, per partition a *prefix* of the total order: rows `c1..cn` with their number `w`, and `complete`, true if the
//! prefix is the whole partition. The prefix is longer than `offset + limit`, so that most deletions need no look at
//! the input (`design-review.md` 8.3). A change behind the last stored row is ignored unless the prefix is complete; when
//! fewer than `offset + limit` rows are left and the prefix is not complete, it is read again from the new input, or from
//! its arrangement.
//!
//! LIMIT and OFFSET may depend on the partition (`design-review.md` 7.4); they are the same for all its rows.
//!
//! Ties are broken by the images of all columns (`design-review.md` 8.4), so the answer is a function of the multiset.
//! WITH TIES keeps the user's order: rows that are equal in it are *peers*, the prefix consists of whole groups of
//! peers, and the output reaches to the end of the group that holds its last row. Otherwise every row is its own group.

use super::accumulator::sort_key;
use super::arrangement::Arrangement;
use super::{StageSql, definitions};
use crate::apply::change_columns;
use crate::expr::{Expr, SortKey};
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{consolidate, grouped, grouping_equal, images};
use crate::sql::lower::{StoredRelation, substitute};
use crate::sql::{WEIGHT, column_name, list};
use crate::types::{Column, StageId, TypeRef};

/// Everything the stage's SQL depends on.
pub struct TopKStage<'a> {
    pub id: StageId,
    /// Qualified name of the state table.
    pub table: String,
    /// Columns of the input, which are those of the output.
    pub columns: &'a [Column],
    pub partition: &'a [usize],
    pub order: &'a [SortKey],
    pub limit: Option<&'a Expr>,
    pub offset: Option<&'a Expr>,
    pub with_ties: bool,
    /// Where short prefixes are read again, if not from the input itself.
    pub arrangement: Option<Arrangement<'a>>,
}

impl StageSql for TopKStage<'_> {
    fn id(&self) -> StageId {
        self.id
    }

    fn ddl(&self) -> Vec<String> {
        let columns = list(definitions(self.columns).chain([
            format!("{WEIGHT} pg_catalog.int8 NOT NULL"),
            "complete pg_catalog.bool NOT NULL".to_owned(),
            "h pg_catalog.int8 NOT NULL".to_owned(),
        ]));
        vec![
            format!("CREATE TABLE {} ({columns})", self.table),
            format!("CREATE INDEX ON {} (h)", self.table),
        ]
    }

    /// The window of each stored prefix.
    fn stored(&self, alias: &str) -> StoredRelation {
        StoredRelation {
            relation: format!("({})", self.window(&self.table)),
            columns: self.column_list(&format!("{alias}.")),
            multiplicity: Some(format!("{alias}.{WEIGHT}")),
        }
    }

    fn rereads_by(&self) -> Option<&[usize]> {
        Some(self.partition)
    }

    /// The only prefix of a whole relation is read again from all there is in any case.
    fn can_keep_input(&self) -> bool {
        !self.partition.is_empty()
    }

    fn steps(&self, input: &str, into: &str) -> Vec<Step> {
        let (parts, old, merged) = (self.name("partitions"), self.name("before"), self.name("merged"));
        let (short, read, new) = (self.name("short"), self.name("read"), self.name("after"));
        let columns = list(self.column_list("u."));
        let comma = if self.columns.is_empty() { "" } else { ", " };
        let partition_columns: Vec<RelationColumn> =
            [RelationColumn { name: "h".to_owned(), ty: TypeRef::int8() }]
                .into_iter()
                .chain(self.partition.iter().map(|&column| RelationColumn {
                    name: column_name(column),
                    ty: self.columns[column].ty.clone(),
                }))
                .collect();
        let partition_list = |prefix: &str| -> Vec<String> {
            self.partition.iter().map(|&column| format!("{prefix}{}", column_name(column))).collect()
        };
        let group_partition = partition_list("u.");
        let group_partition = if group_partition.is_empty() {
            String::new()
        } else {
            format!(" GROUP BY {}", list(group_partition))
        };

        let affected = format!(
            "SELECT {} AS h{}{} FROM (SELECT {} FROM {}{}) u",
            self.hash("u."),
            if self.partition.is_empty() { "" } else { ", " },
            list(partition_list("u.")),
            if self.partition.is_empty() { "1".to_owned() } else { list(partition_list("u.")) },
            self.input_name(),
            if self.partition.is_empty() { " u LIMIT 1".to_owned() } else { format!(" u{group_partition}") },
        );

        let same = self.same_partition("s.", "a.");
        let same = if same.is_empty() { String::new() } else { format!(" AND {same}") };
        let before = format!(
            "SELECT {}{comma}s.{WEIGHT}, s.complete, s.h FROM {} s, {parts} a WHERE s.h = a.h{same}",
            list(self.column_list("s.")),
            self.table
        );

        // Stored rows and changed rows, added up per identity; `pos` is the place of the row's peers in the order and
        // `known` that of the last ones stored: what lies behind them is unknown unless the prefix was complete.
        let (values, groups) = grouped(self.columns);
        let values = list(values);
        let summed = format!(
            "SELECT {values}{comma}pg_catalog.sum(u.stored)::pg_catalog.int8 AS stored, pg_catalog.sum(u.changed)::pg_catalog.int8 AS changed, pg_catalog.bool_and(u.complete) AS complete FROM (SELECT {old_columns}{comma}b.{WEIGHT} AS stored, 0::pg_catalog.int8 AS changed, b.complete FROM {old} b UNION ALL SELECT {new_columns}{comma}0::pg_catalog.int8, i.{WEIGHT}, NULL::pg_catalog.bool FROM {input_change} i) u GROUP BY {groups}",
            old_columns = list(self.column_list("b.")),
            new_columns = list(self.column_list("i.")),
            input_change = self.input_name(),
        );
        let over = self.partition_by("u.");
        let placed = format!(
            "SELECT u.*, pg_catalog.dense_rank() OVER ({over}ORDER BY {}) AS pos, coalesce(pg_catalog.bool_and(u.complete) OVER ({}), true) AS was_complete FROM ({summed}) u",
            self.peer_order("u."),
            over.trim_end(),
        );
        let bounded = format!(
            "SELECT u.*, pg_catalog.max(CASE WHEN u.stored > 0 THEN u.pos END) OVER ({}) AS known FROM ({placed}) u",
            over.trim_end()
        );
        let valid = format!(
            "SELECT {columns}{comma}(u.stored + u.changed) AS {WEIGHT}, u.was_complete, {} AS preceding, pg_catalog.sum(u.stored + u.changed) OVER ({}) AS total, pg_catalog.min(u.stored + u.changed) OVER () AS least FROM ({bounded}) u WHERE u.was_complete OR u.pos <= u.known",
            self.preceding("u.", "u.stored + u.changed"),
            over.trim_end()
        );
        let merged_sql = format!(
            "SELECT {columns}{comma}u.{WEIGHT}, (u.was_complete AND (u.total <= {capacity}) IS NOT FALSE) AS complete, {hash} AS h, (u.was_complete OR u.total >= {reach}) AS enough, (u.least < 0) AS negative FROM ({valid}) u WHERE u.{WEIGHT} <> 0 AND (u.preceding < {capacity}) IS NOT FALSE",
            capacity = self.capacity("u."),
            reach = self.reach("u."),
            hash = self.hash("u."),
        );
        let mut merged_columns = self.prefix_columns();
        merged_columns.push(RelationColumn { name: "enough".to_owned(), ty: TypeRef::boolean() });
        merged_columns.push(RelationColumn { name: "negative".to_owned(), ty: TypeRef::boolean() });

        // A partition is short if its known prefix does not reach far enough; one that lost all its known rows has no
        // merged row at all and is short if its prefix was not complete.
        let same_merged = self.same_partition("m.", "a.");
        let same_merged = if same_merged.is_empty() { String::new() } else { format!(" AND {same_merged}") };
        let same_before = self.same_partition("b.", "a.");
        let same_before = if same_before.is_empty() { String::new() } else { format!(" AND {same_before}") };
        let short_sql = format!(
            "SELECT a.* FROM {parts} a WHERE EXISTS (SELECT 1 FROM {merged} m WHERE m.h = a.h{same_merged} AND NOT m.enough) OR (NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.h = a.h{same_merged}) AND EXISTS (SELECT 1 FROM {old} b WHERE b.h = a.h{same_before} AND NOT b.complete))"
        );

        let read_sql = self.read(&self.restricted(input, &short));

        let same_short = self.same_partition("m.", "a.");
        let same_short = if same_short.is_empty() { String::new() } else { format!(" AND {same_short}") };
        let new_sql = format!(
            "SELECT {}{comma}m.{WEIGHT}, m.complete, m.h FROM {merged} m WHERE NOT EXISTS (SELECT 1 FROM {short} a WHERE m.h = a.h{same_short}) UNION ALL SELECT {}{comma}r.{WEIGHT}, r.complete, r.h FROM {read} r",
            list(self.column_list("m.")),
            list(self.column_list("r.")),
        );

        let change = format!(
            "SELECT {}{comma}-x.{WEIGHT} AS {WEIGHT} FROM ({}) x UNION ALL SELECT {}{comma}y.{WEIGHT} FROM ({}) y",
            list(self.column_list("x.")),
            self.window(&old),
            list(self.column_list("y.")),
            self.window(&new),
        );

        let select = |into: &str, columns: Vec<RelationColumn>, sql: String| Action::Select {
            into: into.to_owned(),
            columns,
            sql,
        };
        let mut reread =
            self.step("read again", Identity::Owner, select(&read, self.prefix_columns(), read_sql));
        reread.when = Some(short.clone());
        let moved = self.name("moved");
        let modify = |sql: String| Action::Modify { sql, expect: None, counts: Counts::State };
        let write = |label: &str, sql: String| Step {
            when: Some(moved.clone()),
            ..self.step(label, Identity::Extension, modify(sql))
        };
        let same_delete = self.same_partition("s.", "a.");
        let moved_columns = vec![RelationColumn { name: "moved".to_owned(), ty: TypeRef::int4() }];
        let same_delete = if same_delete.is_empty() { String::new() } else { format!(" AND {same_delete}") };
        vec![
            self.step("partitions", Identity::Owner, select(&parts, partition_columns.clone(), affected)),
            self.step("prefix before", Identity::Owner, select(&old, self.prefix_columns(), before)),
            self.step("prefix and change", Identity::Owner, select(&merged, merged_columns, merged_sql)),
            self.step(
                "no negative row",
                Identity::Owner,
                Action::Check {
                    sql: format!("SELECT EXISTS (SELECT 1 FROM {merged} m WHERE m.negative)"),
                    message: format!("state table {} would count a row below zero", self.table),
                },
            ),
            self.step("short partitions", Identity::Owner, select(&short, partition_columns, short_sql)),
            reread,
            self.step("prefix after", Identity::Owner, select(&new, self.prefix_columns(), new_sql)),
            self.step(
                "output change",
                Identity::Owner,
                select(into, change_columns(self.columns), consolidate(self.columns, &change)),
            ),
            self.step("prefix moved", Identity::Owner, select(&moved, moved_columns, self.moved(&old, &new))),
            write(
                "forget prefix",
                format!("DELETE FROM {} AS s USING {parts} AS a WHERE s.h = a.h{same_delete}", self.table),
            ),
            write("store prefix", self.insert_from(&new)),
        ]
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        let filled = self.name("filled");
        let compute =
            Action::Select { into: filled.clone(), columns: self.prefix_columns(), sql: self.read(input) };
        let fill = Action::Modify { sql: self.insert_from(&filled), expect: None, counts: Counts::State };
        vec![self.always("compute", Identity::Owner, compute), self.always("fill", Identity::Extension, fill)]
    }
}

impl TopKStage<'_> {
    /// The input's rows in the partitions of `short`. NULL in a partition is found by another condition than a value, so that
    /// one nullable column is found by an index; with more, the arrangement's hash does it, which is the state's.
    fn restricted(&self, input: &str, short: &str) -> String {
        let columns = list(self.column_list("i."));
        let from = format!("SELECT {columns} FROM {short} a, ({input}) i");
        let same = self.same_partition("i.", "a.");
        match (self.partition, &self.arrangement) {
            ([], _) => input.to_owned(),
            (_, Some(_)) => format!("{from} WHERE i.h = a.h AND {same}"),
            ([column], None) if self.columns[*column].nullable => {
                let name = column_name(*column);
                format!(
                    "{from} WHERE i.{name} = a.{name} UNION ALL SELECT {columns} FROM ({input}) i WHERE i.{name} IS NULL AND (SELECT pg_catalog.bool_or(x.{name} IS NULL) FROM {short} x)"
                )
            }
            _ => format!("{from} WHERE {same}"),
        }
    }

    /// LIMIT or OFFSET over the columns of a relation with `prefix`. One that depends on the partition is checked as the
    /// server does; a constant has been checked by it already.
    fn count(&self, count: &Expr, is_offset: bool, prefix: &str) -> String {
        let sql = substitute(count, &self.column_list(prefix));
        if count.columns().is_empty() { sql } else { format!("pgtrickle.row_count({sql}, {is_offset})") }
    }

    fn offset(&self, prefix: &str) -> String {
        let offset = self.offset.map(|offset| format!("coalesce({}, 0)", self.count(offset, true, prefix)));
        offset.unwrap_or("0".to_owned())
    }

    /// Rows up to which the output reaches; NULL is no limit.
    fn reach(&self, prefix: &str) -> String {
        match self.limit {
            Some(limit) => format!("({} + {})", self.offset(prefix), self.count(limit, false, prefix)),
            None => "NULL::pg_catalog.int8".to_owned(),
        }
    }

    /// Rows the prefix holds when it is read: twice the reach and some, so that deletions rarely empty it.
    fn capacity(&self, prefix: &str) -> String {
        format!("({} * 2 + 16)", self.reach(prefix))
    }

    /// The total order, over columns of a relation with `prefix`.
    fn total_order(&self, prefix: &str) -> String {
        let keys = self.order.iter().map(|key| sort_key(key, prefix));
        list(keys.chain(images(self.columns, prefix)))
    }

    /// The order in which rows of the same place are peers.
    fn peer_order(&self, prefix: &str) -> String {
        if !self.with_ties {
            return self.total_order(prefix);
        }
        list(self.order.iter().map(|key| sort_key(key, prefix)))
    }

    /// The number of rows before a row's peers, where `weight` is the number of copies of a row.
    fn preceding(&self, prefix: &str, weight: &str) -> String {
        format!(
            "coalesce(pg_catalog.sum({weight}) OVER ({}ORDER BY {} GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)",
            self.partition_by(prefix),
            self.peer_order(prefix)
        )
    }

    /// `PARTITION BY ..`, over columns of a relation with `prefix`.
    fn partition_by(&self, prefix: &str) -> String {
        if self.partition.is_empty() {
            return String::new();
        }
        let columns = self.partition.iter().map(|&column| format!("{prefix}{}", column_name(column)));
        format!("PARTITION BY {} ", list(columns))
    }

    /// The hash by which a partition's rows are found; 0 for the only partition there is.
    fn hash(&self, prefix: &str) -> String {
        if self.partition.is_empty() {
            return "0::pg_catalog.int8".to_owned();
        }
        let columns = self.partition.iter().map(|&column| format!("{prefix}{}", column_name(column)));
        format!("pgtrickle.hash_v1({})", list(columns))
    }

    fn same_partition(&self, left: &str, right: &str) -> String {
        let same = self.partition.iter().map(|&column| {
            let name = column_name(column);
            grouping_equal(&format!("{left}{name}"), &format!("{right}{name}"), &self.columns[column])
        });
        same.collect::<Vec<_>>().join(" AND ")
    }

    fn column_list(&self, prefix: &str) -> Vec<String> {
        (0..self.columns.len()).map(|index| format!("{prefix}{}", column_name(index))).collect()
    }

    /// The rows of a stored prefix that LIMIT and OFFSET let through, with their number `w`.
    fn window(&self, relation: &str) -> String {
        let columns = list(self.column_list("p."));
        let inner_columns = list(self.column_list("q."));
        let through = format!(
            "pg_catalog.sum(q.{WEIGHT}) OVER ({}ORDER BY {} ROWS UNBOUNDED PRECEDING)",
            self.partition_by("q."),
            self.total_order("q.")
        );
        let (reach, offset) = (self.reach("p."), self.offset("p."));
        // With ties the last peers belong to the window as a whole, if it has a row at all.
        let (until, preceding) = if self.with_ties {
            let until =
                format!("(CASE WHEN {offset} < {reach} AND p.preceding < {reach} THEN p.through ELSE 0 END)");
            (until, format!(", {} AS preceding", self.preceding("q.", &format!("q.{WEIGHT}"))))
        } else {
            (format!("least(p.through, {reach})"), String::new())
        };
        let shown = format!("({until} - greatest(p.through - p.{WEIGHT}, {offset}))::pg_catalog.int8");
        format!(
            "SELECT {columns}{comma}{shown} AS {WEIGHT} FROM (SELECT {inner_columns}{comma}q.{WEIGHT}, {through} AS through{preceding} FROM {relation} q) p WHERE {shown} > 0",
            comma = if self.columns.is_empty() { "" } else { ", " },
        )
    }

    fn prefix_columns(&self) -> Vec<RelationColumn> {
        let mut columns = change_columns(self.columns);
        columns.push(RelationColumn { name: "complete".to_owned(), ty: TypeRef::boolean() });
        columns.push(RelationColumn { name: "h".to_owned(), ty: TypeRef::int8() });
        columns
    }

    /// Reads prefixes from a query with columns `c1..cn`: up to `capacity` rows per partition, and their peers.
    fn read(&self, input: &str) -> String {
        let comma = if self.columns.is_empty() { "" } else { ", " };
        let (values, groups) = grouped(self.columns);
        // Peers have one rank, copies of one row among them, so that the prefix never ends between them. A rank can jump past
        // the capacity, so whether the prefix is the whole partition is told by its last row, not by the next rank.
        let placed = format!(
            "SELECT i.*, pg_catalog.rank() OVER o AS pos, (pg_catalog.lead(1) OVER o) IS NULL AS is_last FROM ({input}) i WINDOW o AS ({}ORDER BY {})",
            self.partition_by("i."),
            self.peer_order("i.")
        );
        let flagged = format!(
            "SELECT u.*, pg_catalog.bool_or(u.is_last) OVER ({}) AS complete FROM ({placed}) u WHERE (u.pos <= {}) IS NOT FALSE",
            self.partition_by("u.").trim_end(),
            self.capacity("u.")
        );
        format!(
            "SELECT {}{comma}pg_catalog.count(*) AS {WEIGHT}, pg_catalog.bool_and(u.complete) AS complete, {} AS h FROM ({flagged}) u GROUP BY {groups}",
            list(values),
            self.grouped_hash(),
        )
    }

    /// The partition hash in a query grouped by images.
    fn grouped_hash(&self) -> String {
        if self.partition.is_empty() {
            return "0::pg_catalog.int8".to_owned();
        }
        let columns = self.partition.iter().map(|&column| {
            let name = format!("u.{}", column_name(column));
            if self.columns[column].ty.equal_image { name } else { format!("pg_catalog.any_value({name})") }
        });
        format!("pgtrickle.hash_v1({})", list(columns))
    }

    /// A row if the stored prefix differs from the one before; then and only then the state is written.
    fn moved(&self, old: &str, new: &str) -> String {
        let images = |prefix: &str| {
            let state = [format!("{prefix}{WEIGHT}"), format!("{prefix}complete")];
            list(images(self.columns, prefix).chain(state))
        };
        format!(
            "(SELECT 1 AS moved FROM (SELECT {} FROM {old} b EXCEPT ALL SELECT {} FROM {new} a) x LIMIT 1) UNION ALL (SELECT 1 FROM (SELECT {} FROM {new} a EXCEPT ALL SELECT {} FROM {old} b) y LIMIT 1)",
            images("b."),
            images("a."),
            images("a."),
            images("b."),
        )
    }

    fn insert_from(&self, relation: &str) -> String {
        let comma = if self.columns.is_empty() { "" } else { ", " };
        format!(
            "INSERT INTO {} ({}{comma}{WEIGHT}, complete, h) SELECT {}{comma}n.{WEIGHT}, n.complete, n.h FROM {relation} n",
            self.table,
            list(self.column_list("")),
            list(self.column_list("n.")),
        )
    }
}
