//! How far a change of a row reaches in its partition: which rows' results it can touch, by function and frame
//! (`design-review.md` 8.1, 8.2).
//!
//! ```text
//!      x ........ b ........ f ........ l ........ z ........ y        positions in the order of the partition
//!      | back     | ahead    | changed  | back     | ahead    |
//!                 [ rows whose results are computed ]
//!      [ rows that are read                                    ]
//! ```
//!
//! `f` and `l` are the first and the last changed position, `back` and `ahead` how far the calls see. A call that sees
//! everything before a row, such as a number or a running sum, does not read it: what it has come to before `b` is
//! *carried* on from the stored results of the row before. Where the change leaves behind another number or another sum,
//! all later results are touched and `z` is the end of the partition. It is what is carried that must be the same again, not
//! the results: 5, 5, 11 have running averages 5, 5, 7; with another 5 in front they are 5, 5, 5, 6.5.
//!
//! A window with a call that looks at the whole partition has no span: `ntile(2)` of three rows is 1, 1, 2, of five rows
//! 1, 1, 1, 2, 2.

use super::position::{Positions, positions};
use crate::expr::{Expr, Piece, SortKey};
use crate::plan::{Frame, FrameBound, FrameExclusion, FrameMode, WindowCall};
use crate::types::{Arithmetic, Column};

/// How far a change reaches, for all calls of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where rows stand.
    pub positions: Positions,
    /// How far before a row its results look.
    pub back: Vec<Distance>,
    /// How far after a row its results look.
    pub ahead: Vec<Distance>,
    /// For each call, what it carries on from the row before the span.
    pub carried: Vec<Option<Carry>>,
}

/// A distance in the order of a partition, an expression without columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distance {
    Rows(Expr),
    /// As [`Distance::Rows`], the other way where it is negative.
    Signed {
        distance: Expr,
        is_reversed: bool,
    },
    /// One row.
    OneRow,
    /// Groups of peers.
    Groups(Expr),
    /// Values of the only sort key.
    Values(Expr),
}

/// What a call has come to when the span begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// `row_number`.
    Number,
    /// `rank`: the number of rows.
    Rank,
    /// `dense_rank`: the number of groups of peers.
    DenseRank,
    /// `first_value` of a frame that begins with the partition: the value, unless the partition begins in the span.
    First,
    /// `count`.
    Count,
    /// An aggregate of which parts are combined by an operator.
    Operator(&'static str),
    /// An aggregate of which parts are combined by a function that ignores NULL.
    Function(&'static str),
}

/// Which later rows a change touches beyond the last changed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// None, if the values that the call is over come and go in equal number.
    Values,
    /// All.
    Always,
    /// None, unless the partition begins in the span.
    Beginning,
}

impl Carry {
    /// What is left of a change behind the last changed row.
    pub fn tail(self) -> Tail {
        match self {
            Carry::Number | Carry::Rank | Carry::Count | Carry::Operator(_) | Carry::Function(_) => {
                Tail::Values
            }
            Carry::DenseRank => Tail::Always,
            Carry::First => Tail::Beginning,
        }
    }
}

/// The span of a window over `input`, whose rows are distinct if `is_set`; None if a change touches whole partitions, with
/// the reason.
pub fn span(calls: &[WindowCall], order: &[SortKey], input: &[Column], is_set: bool) -> Result<Span, String> {
    let Some(positions) = positions(order, input) else {
        return Err(match order.is_empty() {
            true => "without an order all rows of a partition are peers".to_owned(),
            false => format!("no index orders rows by {}", input[order[0].column].name),
        });
    };
    let mut span = Span { positions, back: vec![], ahead: vec![], carried: vec![] };
    for call in calls {
        let whole = || format!("{} looks at the whole partition", call.name);
        let reach = reach(call, is_set, span.positions.can_shift()).ok_or_else(whole)?;
        for (all, new) in [(&mut span.back, reach.back), (&mut span.ahead, reach.ahead)] {
            let new: Vec<Distance> = new.into_iter().filter(|distance| !all.contains(distance)).collect();
            all.extend(new);
        }
        span.carried.push(reach.carried);
    }
    Ok(span)
}

impl Span {
    /// A change never reaches further than the distances say.
    pub fn is_bounded(&self) -> bool {
        self.carried.iter().all(Option::is_none)
    }
}

/// How far a single call sees.
#[derive(Default)]
struct Reach {
    back: Vec<Distance>,
    ahead: Vec<Distance>,
    carried: Option<Carry>,
}

/// None if the call may look at any row of the partition. With `has_distance` a distance from a position is a position.
fn reach(call: &WindowCall, is_set: bool, has_distance: bool) -> Option<Reach> {
    let carried = |carry| Some(Reach { carried: Some(carry), ..Reach::default() });
    match call.function.builtin.as_deref()? {
        "row_number" => carried(Carry::Number),
        "rank" => carried(Carry::Rank),
        "dense_rank" => carried(Carry::DenseRank),
        "ntile" | "percent_rank" | "cume_dist" => None,
        function @ ("lag" | "lead") => neighbour(call, function == "lead"),
        _ => match (&call.frame.start, &call.frame.end) {
            (_, FrameBound::UnboundedFollowing) | (FrameBound::UnboundedFollowing, _) => None,
            (FrameBound::UnboundedPreceding, FrameBound::CurrentRow) => running(call, is_set),
            (FrameBound::UnboundedPreceding, _) => None,
            (start, end) => bounded(&call.frame, start, end, has_distance),
        },
    }
}

/// `lag` and `lead` by a number that is the same for all rows.
fn neighbour(call: &WindowCall, is_lead: bool) -> Option<Reach> {
    let mut reach = Reach::default();
    match call.args.get(1) {
        None if is_lead => reach.ahead.push(Distance::OneRow),
        None => reach.back.push(Distance::OneRow),
        Some(distance) if is_fixed(distance) => {
            let towards = |is_reversed| Distance::Signed { distance: distance.clone(), is_reversed };
            reach.back.push(towards(is_lead));
            reach.ahead.push(towards(!is_lead));
        }
        Some(_) => return None,
    }
    Some(reach)
}

/// A frame from the first row of the partition to the current one or its peers.
fn running(call: &WindowCall, is_set: bool) -> Option<Reach> {
    if call.frame.exclude != FrameExclusion::Nothing {
        return None;
    }
    let carry = match call.function.builtin.as_deref()? {
        // The current row, or the last of its peers.
        "last_value" => return Some(Reach::default()),
        "first_value" => return Some(Reach { carried: Some(Carry::First), ..Reach::default() }),
        "count" => Carry::Count,
        _ => combined(call)?,
    };
    // Copies of one row have different sums, and nothing tells which copy is the last.
    let is_told = is_set || carry == Carry::Count || call.frame.mode != FrameMode::Rows;
    is_told.then(|| Reach { carried: Some(carry), ..Reach::default() })
}

/// How an aggregate over two parts of a frame is made of those over each; None if it cannot, exactly.
fn combined(call: &WindowCall) -> Option<Carry> {
    let [arg] = call.args.as_slice() else { return None };
    Some(match call.function.builtin.as_deref()? {
        "sum" if matches!(arg.ty.arithmetic, Arithmetic::Integer | Arithmetic::Numeric) => {
            Carry::Operator("OPERATOR(pg_catalog.+)")
        }
        "bool_and" | "every" => Carry::Operator("AND"),
        "bool_or" => Carry::Operator("OR"),
        "bit_and" => Carry::Operator("OPERATOR(pg_catalog.&)"),
        "bit_or" => Carry::Operator("OPERATOR(pg_catalog.|)"),
        "bit_xor" => Carry::Operator("OPERATOR(pg_catalog.#)"),
        // Of equal values that differ, which one is shown would depend on where the span begins.
        "min" if arg.ty.ordered && arg.ty.equal_image => Carry::Function("least"),
        "max" if arg.ty.ordered && arg.ty.equal_image => Carry::Function("greatest"),
        _ => return None,
    })
}

/// A frame with both ends near the current row.
fn bounded(frame: &Frame, start: &FrameBound, end: &FrameBound, has_distance: bool) -> Option<Reach> {
    let mut reach = Reach::default();
    for bound in [start, end] {
        let Some(offset) = bound.offset() else { continue };
        let distance = match frame.mode {
            _ if !is_fixed(offset) => return None,
            FrameMode::Rows => Distance::Rows(offset.clone()),
            FrameMode::Groups => Distance::Groups(offset.clone()),
            FrameMode::Range if has_distance => Distance::Values(offset.clone()),
            FrameMode::Range => return None,
        };
        match bound {
            FrameBound::Preceding(_) => reach.back.push(distance),
            _ => reach.ahead.push(distance),
        }
    }
    Some(reach)
}

/// An expression without columns, of this query or of an outer one.
fn is_fixed(expr: &Expr) -> bool {
    expr.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
}
