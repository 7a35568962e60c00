//! Window functions over the rows of one partition.

use crate::aggregate;
use crate::eval::compare_by;
use crate::scalar::{Clock, EvalError, Result, Scalar, Scope, truth, unknown};
use crate::value::{Decimal, Row, Value};
use pg_trickle_core::expr::{Expr, SortKey};
use pg_trickle_core::plan::{AggCall, Frame, FrameBound, FrameExclusion, FrameMode, Window, WindowCall};
use std::ops::Range;

/// The rows of a partition in their order, one entry per copy.
struct Ordered<'a> {
    rows: Vec<&'a Row>,
    order: &'a [SortKey],
    /// For each row the number of its group of peers, from 0.
    groups: Vec<usize>,
}

/// A bound of a frame with its offset.
enum Bound {
    UnboundedPreceding,
    /// So many rows, groups or units after the current one; negative is before.
    Offset(Value, Direction),
    CurrentRow,
    UnboundedFollowing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Preceding,
    Following,
}

/// Rows of a partition, copies counted, before an evaluation is given up: every row looks at its frame.
const ROWS_MAX: u64 = 500;

/// The rows of a partition, each copy with its results appended. Ties are ordered by identity.
pub(crate) fn partition(window: &Window, rows: &[(&Row, i64)], outer: &[Row]) -> Result<Vec<Row>> {
    if rows.iter().map(|(_, weight)| weight.unsigned_abs()).fold(0, u64::saturating_add) > ROWS_MAX {
        return Err(EvalError::TooLarge);
    }
    let mut sorted: Vec<&Row> =
        rows.iter().flat_map(|(row, weight)| (0..*weight).map(move |_| *row)).collect();
    sorted.sort_by(|a, b| compare_by(&window.order, a, b).then_with(|| a.cmp(b)));
    let mut groups: Vec<usize> = vec![];
    for (index, row) in sorted.iter().enumerate() {
        let is_peer = index > 0 && compare_by(&window.order, sorted[index - 1], row).is_eq();
        groups.push(if index == 0 { 0 } else { groups[index - 1] + usize::from(!is_peer) });
    }
    let partition = Ordered { rows: sorted, order: &window.order, groups };
    // An offset has one value for all rows of a partition.
    let Some(&row) = partition.rows.first() else { return Ok(vec![]) };
    let bounds =
        window.calls.iter().map(|call| bounds(&call.frame, row, outer)).collect::<Result<Vec<_>>>()?;
    let mut results = vec![];
    for index in 0..partition.rows.len() {
        let mut row = partition.rows[index].clone();
        for (call, bounds) in window.calls.iter().zip(&bounds) {
            let visible = partition.visible(index, &call.frame, bounds)?;
            row.push(partition.call(call, index, &visible, outer)?);
        }
        results.push(row);
    }
    Ok(results)
}

fn bounds(frame: &Frame, row: &Row, outer: &[Row]) -> Result<(Bound, Bound)> {
    Ok((bound(&frame.start, row, outer)?, bound(&frame.end, row, outer)?))
}

fn bound(bound: &FrameBound, row: &Row, outer: &[Row]) -> Result<Bound> {
    let offset = |expr: &Expr, direction| {
        let value = Scalar::parse(expr)?.eval(over(row, outer))?;
        let is_valid = !value.is_null() && value.compare(&Value::Int(0)).is_some_and(|order| order.is_ge());
        if is_valid { Ok(Bound::Offset(value, direction)) } else { Err(EvalError::OutOfRange) }
    };
    match bound {
        FrameBound::UnboundedPreceding => Ok(Bound::UnboundedPreceding),
        FrameBound::Preceding(expr) => offset(expr, Direction::Preceding),
        FrameBound::CurrentRow => Ok(Bound::CurrentRow),
        FrameBound::Following(expr) => offset(expr, Direction::Following),
        FrameBound::UnboundedFollowing => Ok(Bound::UnboundedFollowing),
    }
}

impl Ordered<'_> {
    /// The positions of a group of peers; empty for one there is not.
    fn group(&self, group: i64) -> Range<usize> {
        let below = |limit: i64| self.groups.partition_point(|&number| (number as i64) < limit);
        below(group)..below(group.saturating_add(1))
    }

    fn peers(&self, index: usize) -> Range<usize> {
        self.group(self.groups[index] as i64)
    }

    /// The positions of the rows in the frame of row `index`, in order.
    fn visible(&self, index: usize, frame: &Frame, bounds: &(Bound, Bound)) -> Result<Vec<usize>> {
        let start = self.edge(index, frame.mode, &bounds.0, true)?;
        let end = self.edge(index, frame.mode, &bounds.1, false)?;
        let peers = self.peers(index);
        let is_kept = |position: &usize| match frame.exclude {
            FrameExclusion::Nothing => true,
            FrameExclusion::CurrentRow => *position != index,
            FrameExclusion::Group => !peers.contains(position),
            FrameExclusion::Ties => *position == index || !peers.contains(position),
        };
        Ok((start..end).filter(is_kept).collect())
    }

    /// The first position of a frame, or the one after its last.
    fn edge(&self, index: usize, mode: FrameMode, bound: &Bound, is_start: bool) -> Result<usize> {
        let count = self.rows.len();
        let (distance, direction) = match bound {
            Bound::UnboundedPreceding => return Ok(0),
            Bound::UnboundedFollowing => return Ok(count),
            Bound::CurrentRow if mode == FrameMode::Rows => return Ok(index + usize::from(!is_start)),
            Bound::CurrentRow => {
                let peers = self.peers(index);
                return Ok(if is_start { peers.start } else { peers.end });
            }
            Bound::Offset(distance, direction) => (distance, *direction),
        };
        if mode == FrameMode::Range {
            return self.range_edge(index, distance, direction, is_start);
        }
        let Value::Int(distance) = *distance else { return Err(unknown("a count that is not an integer")) };
        let signed = if direction == Direction::Preceding { -distance } else { distance };
        Ok(match mode {
            FrameMode::Rows => {
                let position = (index as i64).saturating_add(signed).saturating_add(i64::from(!is_start));
                position.clamp(0, count as i64) as usize
            }
            _ => {
                let group = (self.groups[index] as i64).saturating_add(signed);
                let positions = self.group(group);
                if is_start { positions.start } else { positions.end }
            }
        })
    }

    /// NULLs are peers of each other and infinitely far from everything else.
    fn range_edge(
        &self,
        index: usize,
        distance: &Value,
        direction: Direction,
        is_start: bool,
    ) -> Result<usize> {
        let [key] = self.order else { return Err(unknown("a RANGE offset without exactly one sort key")) };
        let value = &self.rows[index][key.column];
        if value.is_null() {
            let peers = self.peers(index);
            return Ok(if is_start { peers.start } else { peers.end });
        }
        let adds = (direction == Direction::Following) != key.descending;
        let limit = shifted(value, distance, adds)?;
        // In the order of the key; NULLs lie where the key puts them.
        let place = |row: &Row| match row[key.column].compare(&limit) {
            None if key.nulls_first => std::cmp::Ordering::Less,
            None => std::cmp::Ordering::Greater,
            Some(order) if key.descending => order.reverse(),
            Some(order) => order,
        };
        Ok(self.rows.partition_point(|row| if is_start { place(row).is_lt() } else { place(row).is_le() }))
    }

    fn call(&self, call: &WindowCall, index: usize, visible: &[usize], outer: &[Row]) -> Result<Value> {
        let argument = |number: usize, position: usize| -> Result<Value> {
            Scalar::parse(&call.args[number])?.eval(over(self.rows[position], outer))
        };
        let count = self.rows.len() as i64;
        let rank = self.peers(index).start as i64 + 1;
        let function = call.function.builtin.as_deref().unwrap_or(&call.function.name);
        let of_visible = |position: Option<&usize>| position.map_or(Ok(Value::Null), |&at| argument(0, at));
        match function {
            "row_number" => Ok(Value::Int(index as i64 + 1)),
            "rank" => Ok(Value::Int(rank)),
            "dense_rank" => Ok(Value::Int(self.groups[index] as i64 + 1)),
            "percent_rank" if count == 1 => Ok(Value::Numeric(Decimal::from(0))),
            "percent_rank" => quotient(rank - 1, count - 1),
            "cume_dist" => quotient(self.peers(index).end as i64, count),
            "ntile" => match argument(0, 0)? {
                Value::Null => Ok(Value::Null),
                Value::Int(buckets) if buckets > 0 => Ok(Value::Int(bucket(index as i64, count, buckets))),
                _ => Err(EvalError::OutOfRange),
            },
            "lag" | "lead" => {
                let distance = if call.args.len() > 1 { argument(1, index)? } else { Value::Int(1) };
                let Value::Int(distance) = distance else { return Ok(Value::Null) };
                let signed = if function == "lag" { -distance } else { distance };
                match usize::try_from(index as i64 + signed) {
                    Ok(position) if position < self.rows.len() => argument(0, position),
                    _ if call.args.len() > 2 => argument(2, index),
                    _ => Ok(Value::Null),
                }
            }
            "first_value" => of_visible(visible.first()),
            "last_value" => of_visible(visible.last()),
            "nth_value" => match argument(1, index)? {
                Value::Null => Ok(Value::Null),
                Value::Int(number) if number > 0 => of_visible(visible.get(number as usize - 1)),
                _ => Err(EvalError::OutOfRange),
            },
            _ => self.aggregate(call, visible, outer),
        }
    }

    /// An aggregate over the frame: its rows with the arguments, the filter and the place as columns.
    fn aggregate(&self, call: &WindowCall, visible: &[usize], outer: &[Row]) -> Result<Value> {
        let mut rows: Vec<Row> = vec![];
        for &position in visible {
            let scope = over(self.rows[position], outer);
            let mut row: Row =
                call.args.iter().map(|arg| Scalar::parse(arg)?.eval(scope)).collect::<Result<_>>()?;
            let passes = match &call.filter {
                None => true,
                Some(filter) => truth(&Scalar::parse(filter)?.eval(scope)?)? == Some(true),
            };
            row.extend([Value::Bool(passes), Value::Int(position as i64)]);
            rows.push(row);
        }
        let width = call.args.len();
        let place = SortKey { column: width + 1, descending: false, nulls_first: false, using: None };
        let aggregate = AggCall {
            function: call.function.clone(),
            direct_args: vec![],
            args: (0..width).collect(),
            distinct: false,
            filter: Some(width),
            order_by: vec![place],
            within_group: false,
            variadic: false,
            ty: call.ty.clone(),
            name: call.name.clone(),
            position: call.position,
        };
        aggregate::call(&aggregate, &rows.iter().map(|row| (row, 1)).collect::<Vec<_>>())
    }
}

fn quotient(numerator: i64, denominator: i64) -> Result<Value> {
    let quotient = Decimal::from(numerator).divide(&Decimal::from(denominator));
    quotient.map(Value::Numeric).ok_or(EvalError::OutOfRange)
}

/// The bucket of row `index` of `count`: the first `count % buckets` buckets have one row more.
fn bucket(index: i64, count: i64, buckets: i64) -> i64 {
    let (size, longer) = (count / buckets, count % buckets);
    let in_longer = longer * (size + 1);
    if index < in_longer { index / (size + 1) + 1 } else { longer + (index - in_longer) / size.max(1) + 1 }
}

/// `value + distance` or `value - distance`.
pub(crate) fn shifted(value: &Value, distance: &Value, adds: bool) -> Result<Value> {
    let decimal = |value: &Value| match value {
        Value::Int(value) => Ok(Decimal::from(*value)),
        Value::Numeric(value) => Ok(*value),
        _ => Err(unknown("a RANGE offset on something else than numbers")),
    };
    let (value, distance) = (decimal(value)?, decimal(distance)?);
    let sum = if adds { value.add(&distance) } else { value.subtract(&distance) };
    sum.map(Value::Numeric).ok_or(EvalError::OutOfRange)
}

/// What an expression of a window is evaluated over. It reads no time: such plans have no rule.
fn over<'a>(row: &'a [Value], outer: &'a [Row]) -> Scope<'a> {
    Scope { row, outer, clock: Clock::default() }
}
