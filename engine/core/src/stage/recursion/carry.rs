//! The step of a recursion with the number of the round as one more column.
//!
//! The rows a step makes of a round are a sum over the rows of that round: so the step can be evaluated over rows of many
//! rounds at once, each row telling which round it is of, and over a change of them. That holds for projections, filters,
//! functions of the row, inner joins, and whatever else keeps each row of the round by itself.

use crate::delta::{Changed, Sharing, differentiate};
use crate::expr::{Expr, Piece, Shape};
use crate::plan::{
    Expand, Filter, Join, OuterJoin, OuterKind, Plan, Project, Repeat, Round, SemiJoin, UnionAll,
};
use crate::query::{Construct, Unsupported};
use crate::refusal::Refusal;
use crate::types::{Column, StageId, TypeRef, Volatility};

/// The column that holds the number of a round.
pub fn round_column() -> Column {
    Column { name: "round".to_owned(), ty: TypeRef::int8(), nullable: false, fixed_scale: None }
}

/// The rows of round 0, each with the number of its round.
pub fn first_round(base: Plan) -> Plan {
    let zero = Expr {
        pieces: vec![Piece::Text("0::pg_catalog.int8".to_owned())],
        ty: TypeRef::int8(),
        volatility: Volatility::Immutable,
        nullable: false,
        strict: false,
        fixed_scale: None,
        shape: Shape::Constant,
    };
    let columns = base.columns();
    let mut exprs = kept(&columns, 0..columns.len());
    exprs.push((zero, round_column().name));
    Plan::Project(Project { input: Box::new(base), exprs })
}

/// What the step makes of the rows of rounds of `of`: its columns, then the number of the round they are in. Or why it
/// is not a sum over those rows.
pub fn carried(step: &Plan, of: StageId) -> Result<Plan, Refusal> {
    let Some(carried) = carry(step, of)? else {
        return Err(Refusal::RecursionReferences);
    };
    let columns = carried.columns();
    let last = columns.len() - 1;
    let mut exprs = kept(&columns, 0..last);
    let next = Expr {
        pieces: vec![
            Piece::Text("(".to_owned()),
            Piece::Column(last),
            Piece::Text(" + 1::pg_catalog.int8)".to_owned()),
        ],
        strict: true,
        shape: Shape::Opaque,
        ..Expr::column(last, &columns[last])
    };
    exprs.push((next, round_column().name));
    Ok(Plan::Project(Project { input: Box::new(carried), exprs }))
}

/// The change of the derivations of rows by base and step over the old rounds, each with its round: the base's are those
/// of round 0. None if nothing they read has changed.
pub fn derived_change(
    base: &Plan,
    step: &Plan,
    of: StageId,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    let first = differentiate(base, changed, sharing)?.map(first_round);
    let derived = differentiate(&carried(step, of).map_err(refused)?, changed, sharing)?;
    let mut terms: Vec<Plan> = first.into_iter().chain(derived).collect();
    Ok(if terms.len() > 1 { Some(Plan::UnionAll(UnionAll { inputs: terms })) } else { terms.pop() })
}

/// What the change of a round adds to the next one.
pub fn next_change(step: &Plan, of: StageId) -> Result<Option<Plan>, Unsupported> {
    let changed = Changed { round: Some(of), ..Changed::default() };
    // A sum over the rows of one round: no part of the change is used twice.
    differentiate(&carried(step, of).map_err(refused)?, &changed, &mut Sharing::default())
}

fn refused(reason: Refusal) -> Unsupported {
    Unsupported { construct: Construct { name: "recursive query".to_owned(), position: None }, reason }
}

/// True if the plan reads the rounds of the recursion around it.
pub fn reads_round(plan: &Plan) -> bool {
    match plan {
        Plan::Round(round) => round.of.is_none(),
        // What is in there reads the rounds of its own.
        Plan::Recursive(recursive) => reads_round(&recursive.base),
        _ => plan.children().into_iter().any(reads_round),
    }
}

type Carried = Result<Option<Plan>, Refusal>;

/// The plan with the number of the round as its last column; None if it reads no round.
fn carry(plan: &Plan, of: StageId) -> Carried {
    if !reads_round(plan) {
        return Ok(None);
    }
    let carried = match plan {
        Plan::Round(round) => {
            let columns = round.columns.iter().cloned().chain([round_column()]).collect();
            Plan::Round(Round { of: Some(of), columns })
        }
        Plan::Filter(node) => {
            let input = Box::new(rows(&node.input, of)?);
            Plan::Filter(Filter { input, predicate: node.predicate.clone() })
        }
        Plan::Project(node) => {
            let input = rows(&node.input, of)?;
            let columns = input.columns();
            let last = columns.len() - 1;
            let exprs = node.exprs.iter().cloned().chain(kept(&columns, last..last + 1)).collect();
            Plan::Project(Project { input: Box::new(input), exprs })
        }
        Plan::Join(node) => join(node, of)?,
        Plan::OuterJoin(node) => outer_join(node, of)?,
        Plan::SemiJoin(node) => {
            if reads_round(&node.right) {
                return Err(Refusal::RecursionSubquery);
            }
            let width = node.left.columns().len();
            let on = node.on.iter().map(|on| on.map_columns(|column| column + usize::from(column >= width)));
            Plan::SemiJoin(SemiJoin {
                anti: node.anti,
                left: Box::new(rows(&node.left, of)?),
                right: node.right.clone(),
                on: on.collect(),
            })
        }
        Plan::UnionAll(node) => {
            let inputs = node.inputs.iter().map(|input| rows(input, of)).collect::<Result<_, _>>()?;
            Plan::UnionAll(UnionAll { inputs })
        }
        Plan::Expand(node) => expand(node, of)?,
        Plan::Repeat(node) => {
            let input = Box::new(rows(&node.input, of)?);
            Plan::Repeat(Repeat { input, count: node.count.clone() })
        }
        other => return Err(operator(other)),
    };
    Ok(Some(carried))
}

/// As [`carry`], for a plan that must read the round: rows that are there whatever the round holds are no sum over it.
fn rows(plan: &Plan, of: StageId) -> Result<Plan, Refusal> {
    carry(plan, of)?.ok_or(Refusal::RecursionBranch)
}

fn join(node: &Join, of: StageId) -> Result<Plan, Refusal> {
    let reading: Vec<usize> =
        (0..node.inputs.len()).filter(|&index| reads_round(&node.inputs[index])).collect();
    let [index] = reading.as_slice() else {
        return Err(Refusal::RecursionReferences);
    };
    let end = node.inputs[..=*index].iter().map(|input| input.columns().len()).sum();
    let mut inputs = node.inputs.clone();
    inputs[*index] = rows(&node.inputs[*index], of)?;
    let moved = |expr: &Expr| expr.map_columns(|column| column + usize::from(column >= end));
    let predicates = node.predicates.iter().map(moved).collect();
    Ok(last(Plan::Join(Join { inputs, predicates }), end))
}

/// PostgreSQL refuses the recursive query under an outer join, and in a subquery. What reads it on the right is a subquery
/// that depends on its rows otherwise than by equality, and is evaluated for their distinct values.
fn outer_join(node: &OuterJoin, of: StageId) -> Result<Plan, Refusal> {
    if node.kind == OuterKind::Full || reads_round(&node.right) {
        return Err(Refusal::RecursionSubquery);
    }
    let end = node.left.columns().len();
    let moved = |expr: &Expr| expr.map_columns(|column| column + usize::from(column >= end));
    let joined = Plan::OuterJoin(OuterJoin {
        left: Box::new(rows(&node.left, of)?),
        on: node.on.iter().map(moved).collect(),
        ..node.clone()
    });
    Ok(last(joined, end))
}

fn expand(node: &Expand, of: StageId) -> Result<Plan, Refusal> {
    let end = node.input.columns().len();
    let moved = |expr: &Expr| expr.map_columns(|column| column + usize::from(column >= end));
    let expanded = Plan::Expand(Expand {
        input: Box::new(rows(&node.input, of)?),
        left: node.left.as_ref().map(|on| on.iter().map(moved).collect()),
        ..node.clone()
    });
    Ok(last(expanded, end))
}

/// The plan with its column `position` as the last one.
fn last(plan: Plan, position: usize) -> Plan {
    let columns = plan.columns();
    let exprs = kept(&columns, (0..columns.len()).filter(|&column| column != position).chain([position]));
    Plan::Project(Project { input: Box::new(plan), exprs })
}

fn kept(columns: &[Column], positions: impl IntoIterator<Item = usize>) -> Vec<(Expr, String)> {
    let column = |position: usize| Expr::named(position, &columns[position]);
    positions.into_iter().map(column).collect()
}

/// Why what stands over the recursive query is not a sum over its rows.
fn operator(plan: &Plan) -> Refusal {
    match plan {
        Plan::Aggregate(_) => Refusal::RecursionGroups,
        Plan::TopK(_) => Refusal::RecursionLimits,
        Plan::Window(_) => Refusal::RecursionWindow,
        Plan::SetOp(_) => Refusal::RecursionSetOperation,
        Plan::Recursive(_) => Refusal::RecursionWithin,
        _ => Refusal::RecursionOperator,
    }
}
