//! Window functions over rows, as SQL: over all of a partition when the state is filled, over the region of a change after.

use super::WindowStage;
use super::span::Carry;
use crate::expr::Expr;
use crate::plan::{Frame, FrameBound, FrameExclusion, FrameMode};
use crate::sql::identity::{identical, image, images};
use crate::sql::lower::substitute;
use crate::sql::{column_name, list};
use crate::stage::accumulator::sort_key;
use crate::stage::{StageSql, is_total};
use std::collections::BTreeSet;

impl WindowStage<'_> {
    /// The new output of the region, as columns `c1..cm`. Calls that carry something on are evaluated over its inside alone,
    /// others see what is read around it.
    pub(super) fn computed(&self) -> String {
        let width = self.input.len();
        let copies = ", LATERAL pg_catalog.generate_series(1::pg_catalog.int8, a.w) z";
        let copies = if self.input_keys.is_empty() { copies } else { "" };
        let read = format!("SELECT a.* FROM {} a{copies}", self.name("after"));
        let carried = |index: usize| self.span.as_ref().ok().and_then(|span| span.carried[index]);
        let (near, far): (Vec<usize>, Vec<usize>) =
            (0..self.calls.len()).partition(|&index| carried(index).is_none());
        let by = ["i.sid".to_owned()];
        let mut computed = read;
        if !near.is_empty() {
            computed = self.evaluated(&computed, &near, &by);
        }
        if self.span.is_ok() {
            computed = format!("SELECT i.* FROM ({computed}) i WHERE i.inside");
        }
        if far.is_empty() {
            return computed;
        }
        let parts = self.evaluated(&computed, &far, &by);
        let result = |index: usize| {
            let (part, name) = (format!("p.{}", column_name(width + index)), column_name(width + index));
            match carried(index) {
                None => part,
                Some(carry) => {
                    format!("{} AS {name}", carried_on(carry, &format!("a.s{}", index + 1), &part))
                }
            }
        };
        let items = list(self.input_names("p.").into_iter().chain((0..self.calls.len()).map(result)));
        format!("SELECT {items} FROM ({parts}) p, {} a WHERE a.sid = p.sid", self.name("region"))
    }

    /// The rows of a query, with calls over them partitioned by columns of `i`. The offset of a frame cannot be a column, so
    /// where one is, the rows with the same offsets are seen from a row that has these.
    pub(super) fn evaluated(&self, rows: &str, calls: &[usize], by: &[String]) -> String {
        let items = list(["i.*".to_owned()].into_iter().chain(self.call_items(calls, by)));
        let of_calls = calls.iter().flat_map(|&index| self.calls[index].frame.offsets());
        let columns: BTreeSet<usize> = of_calls.flat_map(Expr::columns).collect();
        if columns.is_empty() {
            return format!("SELECT {items} FROM ({}) i", self.sorted(rows, by));
        }
        let offsets = |prefix: &str| {
            columns.iter().map(|&column| format!("{prefix}{}", column_name(column))).collect::<Vec<_>>()
        };
        let images =
            columns.iter().zip(offsets("d.")).map(|(&column, name)| image(&name, &self.input[column]));
        let values = columns.iter().zip(offsets("d.")).map(|(&column, name)| {
            let is_image = self.input[column].ty.equal_image;
            if is_image { name } else { format!("pg_catalog.any_value({name}) AS {}", column_name(column)) }
        });
        let same = columns.iter().map(|&column| {
            let name = column_name(column);
            identical(&format!("d.{name}"), &format!("q.{name}"), &self.input[column])
        });
        let (values, images) = (list(values), list(images));
        let seen = format!("SELECT d.* FROM d WHERE {}", same.collect::<Vec<_>>().join(" AND "));
        format!(
            "WITH d AS MATERIALIZED ({rows}) SELECT v.* FROM (SELECT {values} FROM d GROUP BY {images}) q, LATERAL (SELECT {items} FROM ({}) i) v",
            self.sorted(&seen, by)
        )
    }

    /// Calls over rows of `i` partitioned by some columns, with their names.
    fn call_items(&self, calls: &[usize], by: &[String]) -> Vec<String> {
        let columns = self.input_names("i.");
        let item = |&index: &usize| {
            let call = &self.calls[index];
            let args = call.args.iter().map(|arg| substitute(arg, &columns));
            let args = if call.star { "*".to_owned() } else { list(args) };
            let filter = call.filter.as_ref().map(|filter| substitute(filter, &columns));
            let filter = filter.map(|filter| format!(" FILTER (WHERE {filter})")).unwrap_or_default();
            let name = column_name(self.input.len() + index);
            let over = self.window(&call.frame, by);
            format!("{}({args}){filter} OVER ({over}) AS {name}", call.function.name)
        };
        calls.iter().map(item).collect()
    }

    fn window(&self, frame: &Frame, by: &[String]) -> String {
        let clause = |words: &str, items: Vec<String>| match items.is_empty() {
            true => String::new(),
            false => format!("{words} {} ", list(items)),
        };
        let order = self.order.iter().map(|key| sort_key(key, "i.")).collect();
        let offsets = self.input_names("q.");
        clause("PARTITION BY", by.to_vec()) + &clause("ORDER BY", order) + &frame_text(frame, &offsets)
    }

    /// The input in the window's order, ties by the images of all columns.
    fn sorted(&self, input: &str, by: &[String]) -> String {
        if is_total(&self.input_keys, self.partition, self.order) {
            return input.to_owned();
        }
        let order = self.order.iter().map(|key| sort_key(key, "i."));
        let order = list(by.iter().cloned().chain(order).chain(images(self.input, "i.")));
        if order.is_empty() {
            return input.to_owned();
        }
        format!("SELECT i.* FROM ({input}) i ORDER BY {order}")
    }
}

/// What a call comes to after all rows, from what it had come to before the span (NULL if nothing was before) and what it
/// comes to in the span alone.
fn carried_on(carry: Carry, before: &str, part: &str) -> String {
    match carry {
        Carry::Number | Carry::Rank | Carry::DenseRank | Carry::Count => {
            format!("(coalesce({before}, 0) + {part})")
        }
        Carry::First => format!("(CASE WHEN a.begun THEN {before} ELSE {part} END)"),
        Carry::Operator(operator) => format!("coalesce({before} {operator} {part}, {before}, {part})"),
        Carry::Function(function) => format!("{function}({before}, {part})"),
    }
}

/// `ROWS BETWEEN .. AND .. EXCLUDE ..`, with offsets over some columns.
fn frame_text(frame: &Frame, columns: &[String]) -> String {
    let mode = match frame.mode {
        FrameMode::Rows => "ROWS",
        FrameMode::Range => "RANGE",
        FrameMode::Groups => "GROUPS",
    };
    let bound = |bound: &FrameBound| match bound {
        FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".to_owned(),
        FrameBound::Preceding(offset) => format!("{} PRECEDING", substitute(offset, columns)),
        FrameBound::CurrentRow => "CURRENT ROW".to_owned(),
        FrameBound::Following(offset) => format!("{} FOLLOWING", substitute(offset, columns)),
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
