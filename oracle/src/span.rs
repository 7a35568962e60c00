//! The law of window spans: computing the rows a span says, and keeping all others, gives what computing all rows gives.
//!
//! The span is followed to the letter and no further: distances count copies of rows, and nothing is read outside of what
//! it says, so that a distance that is one too short shows.

use crate::eval::{compare_by, eval};
use crate::generate::World;
use crate::law::{Outcome, Rewrite, Violation};
use crate::scalar::{Clock, EvalError, Result, Scalar, Scope, truth, unknown};
use crate::value::{Row, Value, classes};
use crate::window;
use crate::zset::ZSet;
use pg_trickle_core::expr::{Expr, SortKey};
use pg_trickle_core::plan::{DeltaOf, Plan, Window, WindowCall};
use pg_trickle_core::stage::window::span::{Carry, Distance, Span, Tail};
use pg_trickle_core::stage::{Operator, cut};
use pg_trickle_core::types::Column;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Finds the span of calls in an order over input columns; the flag says that input rows are distinct.
pub type FindSpan<'a> =
    &'a dyn Fn(&[WindowCall], &[SortKey], &[Column], bool) -> std::result::Result<Span, String>;

/// Checks every window of a plan that has a span. Held with the number of rows that were kept without a look.
pub fn law(
    plan: &Plan,
    world: &World,
    normalize: Rewrite,
    find: FindSpan,
) -> std::result::Result<Outcome, Violation> {
    let staged = match normalize(plan).and_then(|plan| cut(&plan)) {
        Ok(staged) => staged,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let (mut old, mut new) = (world.old(), world.new_state());
    let mut kept = 0;
    for stage in &staged.stages {
        let inputs = (|| Ok((eval(&stage.input, &old)?, eval(&stage.input, &new)?)))();
        let (before, after) = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Outcome::Discarded(error)),
        };
        if let Operator::Window { partition, order, calls } = &stage.operator {
            let window = Window {
                input: Box::new(stage.input.clone()),
                partition: partition.clone(),
                order: order.clone(),
                calls: calls.clone(),
            };
            let is_set = !stage.input.keys().is_empty();
            if let Ok(span) = find(calls, order, &stage.input.columns(), is_set) {
                kept += match follow(&window, &span, &before, &after) {
                    Ok(Ok(kept)) => kept,
                    Err(error) => return Ok(Outcome::Discarded(error)),
                    Ok(Err(Wrong { actual, expected })) => {
                        let details = vec![
                            ("window", stage.plan().to_string()),
                            ("input before", before.to_string()),
                            ("input after", after.to_string()),
                            ("expected", expected.to_string()),
                            ("actual - expected", actual.minus(&expected).to_string()),
                        ];
                        let details = details.into_iter().map(|(title, text)| (title.to_owned(), text));
                        let law = "rows outside of a span keep their results, rows inside get theirs";
                        return Err(Violation { law, details: details.collect() });
                    }
                };
            }
        }
        let outputs = (|| Ok((eval(&stage.plan(), &old)?, eval(&stage.plan(), &new)?)))();
        let (before, after) = match outputs {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Outcome::Discarded(error)),
        };
        new.deltas.insert(DeltaOf::Stage(stage.id), after.minus(&before));
        old.stages.insert(stage.id, before);
        new.stages.insert(stage.id, after);
    }
    Ok(Outcome::Held(kept))
}

struct Wrong {
    actual: ZSet,
    expected: ZSet,
}

/// All partitions by their span; the number of rows kept in touched ones.
fn follow(
    window: &Window,
    span: &Span,
    before: &ZSet,
    after: &ZSet,
) -> Result<std::result::Result<usize, Wrong>> {
    let mut partitions: BTreeMap<Row, (ZSet, ZSet)> = BTreeMap::new();
    for (row, weight) in before.iter() {
        partitions.entry(key(window, row)).or_default().0.insert(row.clone(), weight);
    }
    for (row, weight) in after.iter() {
        partitions.entry(key(window, row)).or_default().1.insert(row.clone(), weight);
    }
    let (mut actual, mut expected, mut kept) = (ZSet::new(), ZSet::new(), 0);
    for (before, after) in partitions.into_values() {
        for row in results(window, &after)? {
            expected.insert(row, 1);
        }
        let (rows, kept_here) = if before == after {
            (results(window, &before)?, 0)
        } else {
            Partition::new(window, span, &before)?.after(&before, &after)?
        };
        kept += kept_here;
        rows.into_iter().for_each(|row| actual.insert(row, 1));
    }
    Ok(if actual == expected { Ok(kept) } else { Err(Wrong { actual, expected }) })
}

fn key(window: &Window, row: &Row) -> Row {
    classes(&window.partition.iter().map(|&column| row[column].clone()).collect::<Row>())
}

/// The rows of a partition with their results, in order.
fn results(window: &Window, rows: &ZSet) -> Result<Vec<Row>> {
    window::partition(window, &rows.iter().collect::<Vec<_>>(), &[])
}

/// A partition before a change.
struct Partition<'a> {
    window: &'a Window,
    span: &'a Span,
    /// Rows with their results, in order.
    stored: Vec<Row>,
    /// The sort keys that positions are made of.
    keys: &'a [SortKey],
}

impl<'a> Partition<'a> {
    fn new(window: &'a Window, span: &'a Span, before: &ZSet) -> Result<Partition<'a>> {
        let keys = &window.order[..span.positions.columns.len()];
        Ok(Partition { window, span, stored: results(window, before)?, keys })
    }

    fn compare(&self, left: &Row, right: &Row) -> Ordering {
        compare_by(self.keys, left, right)
    }

    /// The rows after the change with their results, and how many of them were kept.
    fn after(&self, before: &ZSet, after: &ZSet) -> Result<(Vec<Row>, usize)> {
        let change = after.minus(before);
        let changed: Vec<&Row> = change.iter().map(|(row, _)| row).collect();
        let first = changed.iter().copied().min_by(|a, b| self.compare(a, b));
        let last = changed.iter().copied().max_by(|a, b| self.compare(a, b));
        let (Some(first), Some(last)) = (first, last) else { return Err(unknown("a change without rows")) };
        let begin = self.walked(first, &self.span.ahead, false)?;
        let row_before = self.stored.iter().rfind(|row| self.compare(row, &begin).is_lt());
        let is_open = self.is_open(&change, row_before.is_some())?;
        let end = match self.stored.last() {
            Some(end) if is_open && self.compare(end, last).is_gt() => end.clone(),
            _ if is_open => last.clone(),
            _ => self.walked(last, &self.span.back, true)?,
        };
        let read = [self.walked(&begin, &self.span.back, false)?, self.walked(&end, &self.span.ahead, true)?];
        let is_within = |row: &Row, from: &Row, until: &Row| {
            self.compare(row, from).is_ge() && self.compare(row, until).is_le()
        };
        let inside = |row: &Row| is_within(row, &begin, &end);
        let region = |rows: &ZSet, is_in: &dyn Fn(&Row) -> bool| -> ZSet {
            rows.iter().filter(|(row, _)| is_in(row)).map(|(row, weight)| (row.clone(), weight)).collect()
        };
        let near = results(self.window, &region(after, &|row| is_within(row, &read[0], &read[1])))?;
        let near: Vec<Row> = near.into_iter().filter(inside).collect();
        let far = results(self.window, &region(after, &inside))?;
        let mut rows: Vec<Row> = self.stored.iter().filter(|row| !inside(row)).cloned().collect();
        let kept = rows.len();
        let width = self.window.input.columns().len();
        for (near, far) in near.into_iter().zip(far) {
            let mut row = near;
            for (index, carried) in self.span.carried.iter().enumerate() {
                if let Some(carry) = carried {
                    let place = width + index;
                    row[place] = self.carried_on(*carry, row_before, place, &far[place])?;
                }
            }
            rows.push(row);
        }
        Ok((rows, kept))
    }

    /// The row that is the furthest of the distances away, or the last one that way.
    fn walked(&self, from: &Row, distances: &[Distance], forward: bool) -> Result<Row> {
        let is_beyond = |row: &&Row| {
            if forward { self.compare(row, from).is_gt() } else { self.compare(row, from).is_lt() }
        };
        let mut way: Vec<&Row> = self.stored.iter().filter(is_beyond).collect();
        if !forward {
            way.reverse();
        }
        let mut furthest: Option<Row> = None;
        for distance in distances {
            let (count, in_groups) = match distance {
                Distance::Values(distance) => {
                    let shifted = self.shifted(from, distance, forward)?;
                    self.further(&mut furthest, &shifted, forward);
                    continue;
                }
                Distance::OneRow => (1, false),
                Distance::Rows(count) => (fixed(count)?, false),
                Distance::Signed { distance, is_reversed: true } => (-fixed(distance)?, false),
                Distance::Signed { distance, is_reversed: false } => (fixed(distance)?, false),
                Distance::Groups(count) => (fixed(count)?, true),
            };
            let count = usize::try_from(count).unwrap_or(0);
            let mut steps = way.clone();
            if in_groups {
                steps.dedup_by(|a, b| self.compare(a, b).is_eq());
            }
            let Some(reached) = steps.get(..count.min(steps.len())).and_then(<[&Row]>::last) else {
                continue;
            };
            self.further(&mut furthest, reached, forward);
        }
        Ok(furthest.unwrap_or_else(|| from.clone()))
    }

    fn further(&self, furthest: &mut Option<Row>, row: &Row, forward: bool) {
        let is_further = furthest.as_ref().is_none_or(|known| {
            let order = self.compare(row, known);
            if forward { order.is_gt() } else { order.is_lt() }
        });
        if is_further {
            *furthest = Some(row.clone());
        }
    }

    /// The row with its key some distance away.
    fn shifted(&self, from: &Row, distance: &Expr, forward: bool) -> Result<Row> {
        let [key] = self.keys else { return Err(unknown("a distance without exactly one sort key")) };
        let mut row = from.clone();
        let place = &mut row[key.column];
        if !place.is_null() {
            *place = window::shifted(place, &value(distance, &[])?, forward != key.descending)?;
        }
        Ok(row)
    }

    /// The change is carried on to all later rows.
    fn is_open(&self, change: &ZSet, begun: bool) -> Result<bool> {
        for (call, carried) in self.window.calls.iter().zip(&self.span.carried) {
            let is_open = match carried.map(Carry::tail) {
                None => false,
                Some(Tail::Always) => true,
                Some(Tail::Beginning) => !begun,
                Some(Tail::Values) => {
                    let mut values = ZSet::new();
                    for (row, weight) in change.iter() {
                        let passes = match &call.filter {
                            None => true,
                            Some(filter) => truth(&value(filter, row)?)? == Some(true),
                        };
                        let args = call.args.iter().map(|arg| value(arg, row)).collect::<Result<Row>>()?;
                        values.insert(args, if passes { weight } else { 0 });
                    }
                    !values.is_empty()
                }
            };
            if is_open {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The result of a call from what it had come to in the row before and its result over the span alone.
    fn carried_on(&self, carry: Carry, before: Option<&Row>, place: usize, part: &Value) -> Result<Value> {
        let Some(before) = before else { return Ok(part.clone()) };
        let seed = &before[place];
        let plus = |left: &Value, right: &Value| match (left, right) {
            (Value::Int(left), Value::Int(right)) => Ok(Value::Int(left + right)),
            (Value::Numeric(left), Value::Numeric(right)) => {
                left.add(right).map(Value::Numeric).ok_or(EvalError::OutOfRange)
            }
            _ => Err(unknown("a sum of something else than numbers")),
        };
        let either = |is_left: bool| Ok(if is_left { seed.clone() } else { part.clone() });
        match (carry, seed, part) {
            (Carry::First, ..) => Ok(seed.clone()),
            (Carry::Number | Carry::DenseRank | Carry::Count, ..) => plus(seed, part),
            (Carry::Rank, ..) => {
                let count = self.stored.iter().filter(|row| row[place] == *seed).count() as i64;
                plus(&plus(seed, part)?, &Value::Int(count - 1))
            }
            (_, Value::Null, _) => Ok(part.clone()),
            (_, _, Value::Null) => Ok(seed.clone()),
            (Carry::Function(function), ..) => {
                let is_less = seed.compare(part).is_some_and(Ordering::is_lt);
                either(is_less == (function == "least"))
            }
            (Carry::Operator(operator), Value::Bool(left), Value::Bool(right)) => match operator {
                "AND" => Ok(Value::Bool(*left && *right)),
                "OR" => Ok(Value::Bool(*left || *right)),
                _ => Err(unknown(operator)),
            },
            (Carry::Operator(_), ..) => plus(seed, part),
        }
    }
}

fn value(expr: &Expr, row: &[Value]) -> Result<Value> {
    Scalar::parse(expr)?.eval(Scope { row, outer: &[], clock: Clock::default() })
}

/// An expression without columns.
fn fixed(expr: &Expr) -> Result<i64> {
    match value(expr, &[])? {
        Value::Int(count) => Ok(count),
        Value::Null => Ok(0),
        _ => Err(unknown("a distance that is not an integer")),
    }
}
