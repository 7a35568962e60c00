//! The domain of a dependent join: the distinct outer values that its right side reads (the magic set of Seki and of
//! Neumann and Kemper, "Unnesting arbitrary queries", BTW 2015).
//!
//! ```text
//! L dependent-join R  =  L join[identity of the outer columns] (D dependent-join R),   D = distinct(outer columns of L)
//! ```
//!
//! Values are told apart by identity, not by `=`: `1.5` and `1.50` are two outer values, since the right side may show
//! them as text (`design-review.md` 7.1). A type whose equality is not identity has a second column with the value's
//! image. NULL is a value as well. Where every identifying column may be NULL, a hash joins them, because PostgreSQL can
//! neither hash nor index `IS NOT DISTINCT FROM`.

use crate::expr::{Expr, Piece};
use crate::plan::{AggCall, Aggregate, Filter, Join, OuterKind, Plan, Project, SetOpKind};
use crate::types::{Arithmetic, Column, FunctionRef, TypeRef};
use std::collections::{BTreeMap, BTreeSet};

/// The distinct outer values of one dependent join.
pub(super) struct Domain {
    pub plan: Plan,
    pub columns: Vec<Column>,
    /// For each column of the left side that the right side reads, its column here.
    values: BTreeMap<usize, usize>,
    /// What each column is.
    sources: Vec<Identified>,
}

/// What a column of a domain is.
#[derive(Debug, Clone, PartialEq)]
enum Identified {
    /// A left column's value; `by_value` if its equality is identity.
    Value { by_value: bool },
    /// The image of a left column's value.
    Image,
    /// The hash of all identifying columns.
    Hash,
}

impl Domain {
    /// The domain of the dependent join of `left` and `right`, of those left rows that are in `guarded` too, and the left
    /// side with the columns appended that the join with the domain needs: one for each of the domain's columns, in
    /// [`Extended::places`].
    pub fn new(left: &Plan, guarded: &Plan, right: &Plan) -> (Domain, Extended) {
        let columns = left.columns();
        let mut exprs: Vec<(Expr, String)> = vec![];
        let mut sources = vec![];
        let mut values = BTreeMap::new();
        let mut input = guarded.clone();
        // A change of the right side finds the values it concerns by those that equal one of its columns: these lead the
        // key of the domain's state.
        let (equated, others): (Vec<usize>, Vec<usize>) =
            outer_columns(right, 1).into_iter().partition(|&outer| is_equated(right, outer));
        for outer in equated.into_iter().chain(others) {
            let mut column = columns[outer].clone();
            if column.nullable && is_empty_for_null(right, outer) {
                input = Plan::Filter(Filter {
                    input: Box::new(input),
                    predicate: Expr::column(outer, &column).is_not_null(),
                });
                column.nullable = false;
            }
            values.insert(outer, exprs.len());
            let by_value = column.ty.equal_image;
            exprs.push(Expr::named(outer, &column));
            sources.push(Identified::Value { by_value });
            if !by_value {
                exprs.push((Expr::column(outer, &column).image(), format!("{}_image", column.name)));
                sources.push(Identified::Image);
            }
        }
        let identifying: Vec<&Expr> =
            exprs.iter().zip(&sources).filter(|(_, source)| source.identifies()).map(|(e, _)| &e.0).collect();
        if identifying.iter().all(|expr| expr.nullable) {
            exprs.push((Expr::hash(&identifying), "hash".to_owned()));
            sources.push(Identified::Hash);
        }
        let extended = Extended::new(left, &exprs, &sources);
        let projected = Plan::Project(Project { input: Box::new(input), exprs });
        let plan = if projected.keys().is_empty() { distinct(projected) } else { projected };
        (Domain { columns: plan.columns(), plan, values, sources }, extended)
    }

    /// An expression of the right side over its own columns and the domain's, which start at `offset`.
    pub fn bind(&self, expr: &Expr, offset: usize) -> Expr {
        expr.map_slots(|piece| match piece {
            Piece::Outer(1, column) => Piece::Column(offset + self.values[column]),
            Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
            other => other.clone(),
        })
    }

    /// The columns with an equality to group by, which include all that identify a row.
    pub fn groupable(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|&column| is_groupable(&self.columns[column])).collect()
    }

    /// The conditions under which two rows hold the same outer values. `left` and `right` give position and column of
    /// each of the domain's columns on either side; those that are not groupable are not looked at.
    pub fn same(
        &self,
        left: impl Fn(usize) -> (usize, Column),
        right: impl Fn(usize) -> (usize, Column),
    ) -> Vec<Expr> {
        let mut conditions = vec![];
        for (index, source) in self.sources.iter().enumerate() {
            // Equality of numbers follows from that of their images and can use an index.
            let is_number = self.columns[index].ty.arithmetic != Arithmetic::None;
            if !source.identifies() && *source != Identified::Hash && !is_number {
                continue;
            }
            let ((left_position, left), (right_position, right)) = (left(index), right(index));
            let (left, right) = (Expr::column(left_position, &left), Expr::column(right_position, &right));
            if !(left.nullable && right.nullable) {
                conditions.push(left.equals(&right));
            } else if source.identifies() {
                conditions.push(left.is_not_distinct_from(&right));
            }
        }
        conditions
    }
}

impl Identified {
    fn identifies(&self) -> bool {
        matches!(self, Identified::Value { by_value: true } | Identified::Image)
    }
}

/// The left side of a dependent join with further columns, so that each of the domain's columns is one of its own.
pub(super) struct Extended {
    pub plan: Plan,
    /// The column that stands for each of the domain's.
    pub places: Vec<usize>,
}

impl Extended {
    fn new(left: &Plan, exprs: &[(Expr, String)], sources: &[Identified]) -> Extended {
        let columns = left.columns();
        let mut all: Vec<(Expr, String)> =
            columns.iter().enumerate().map(|(position, column)| Expr::named(position, column)).collect();
        let mut places = vec![];
        for ((expr, name), source) in exprs.iter().zip(sources) {
            match expr.as_column() {
                Some(position) => places.push(position),
                None => {
                    places.push(all.len());
                    // The left side's own columns may be NULL where the domain's are not.
                    let reads_null = expr.columns().iter().any(|&used| columns[used].nullable);
                    let nullable = *source != Identified::Hash && reads_null;
                    all.push((Expr { nullable, ..expr.clone() }, name.clone()));
                }
            }
        }
        let plan = if all.len() == columns.len() {
            left.clone()
        } else {
            Plan::Project(Project { input: Box::new(left.clone()), exprs: all })
        };
        Extended { plan, places }
    }
}

fn is_groupable(column: &Column) -> bool {
    column.ty.ordered || column.ty.hashable
}

/// The rows of a projection, each once; columns without an equality have one value among rows of one image.
fn distinct(projected: Plan) -> Plan {
    let columns = projected.columns();
    let keys: Vec<usize> = (0..columns.len()).filter(|&column| is_groupable(&columns[column])).collect();
    let others: Vec<usize> = (0..columns.len()).filter(|column| !keys.contains(column)).collect();
    let calls = others.iter().map(|&column| any_value(column, &columns[column])).collect();
    let grouped = Plan::Aggregate(Aggregate { input: Box::new(projected), keys: keys.clone(), calls });
    if others.is_empty() {
        return grouped;
    }
    let outputs = grouped.columns();
    let place = |column: &usize| keys.iter().chain(&others).position(|known| known == column);
    let exprs = (0..columns.len())
        .filter_map(|column| place(&column))
        .map(|place| Expr::named(place, &outputs[place]));
    Plan::Project(Project { exprs: exprs.collect(), input: Box::new(grouped) })
}

fn any_value(column: usize, of: &Column) -> AggCall {
    AggCall { name: of.name.clone(), ..builtin_call("any_value", &[column], of.ty.clone()) }
}

/// A call that a rewrite itself makes.
pub(super) fn builtin_call(name: &str, args: &[usize], ty: TypeRef) -> AggCall {
    AggCall {
        function: FunctionRef { oid: 0, name: format!("pg_catalog.{name}"), builtin: Some(name.to_owned()) },
        direct_args: vec![],
        args: args.to_vec(),
        distinct: false,
        filter: None,
        order_by: vec![],
        within_group: false,
        variadic: false,
        ty,
        name: name.to_owned(),
        position: None,
    }
}

/// The columns of the left side of the dependent join at `depth` above `plan` that it refers to, ascending; also from
/// within dependent joins in it.
pub(super) fn outer_columns(plan: &Plan, depth: u32) -> BTreeSet<usize> {
    let pieces = plan.expressions().into_iter().flat_map(|expr| &expr.pieces);
    let own = pieces.filter_map(|piece| match piece {
        Piece::Outer(outer, column) if *outer == depth => Some(*column),
        _ => None,
    });
    let mut found: BTreeSet<usize> = own.collect();
    match plan {
        Plan::DependentJoin(join) => {
            found.extend(outer_columns(&join.left, depth));
            found.extend(outer_columns(&join.right, depth + 1));
        }
        _ => found.extend(plan.children().into_iter().flat_map(|child| outer_columns(child, depth))),
    }
    found
}

/// True if some condition equates the outer column with a column of the plan.
fn is_equated(plan: &Plan, outer: usize) -> bool {
    let is_that = |piece: &Piece| *piece == Piece::Outer(1, outer);
    let mut found = false;
    plan.visit(&mut |node| {
        found |= node.expressions().into_iter().filter_map(Expr::equality).any(|(left, right)| {
            (is_that(left) && matches!(right, Piece::Column(_)))
                || (is_that(right) && matches!(left, Piece::Column(_)))
        });
    });
    found
}

/// True if `plan` has no row when the outer column is NULL.
fn is_empty_for_null(plan: &Plan, column: usize) -> bool {
    let rejects = |condition: &Expr| condition.strict && condition.pieces.contains(&Piece::Outer(1, column));
    let is_empty = |input: &Plan| is_empty_for_null(input, column);
    match plan {
        Plan::Filter(node) => rejects(&node.predicate) || is_empty(&node.input),
        Plan::Project(node) => is_empty(&node.input),
        Plan::Join(Join { inputs, predicates }) => {
            predicates.iter().any(rejects) || inputs.iter().any(is_empty)
        }
        Plan::OuterJoin(node) if node.kind == OuterKind::Left => is_empty(&node.left),
        Plan::SemiJoin(node) => {
            is_empty(&node.left) || (!node.anti && (node.on.iter().any(rejects) || is_empty(&node.right)))
        }
        Plan::Aggregate(node) => !node.keys.is_empty() && is_empty(&node.input),
        Plan::TopK(node) => is_empty(&node.input),
        Plan::Window(node) => is_empty(&node.input),
        Plan::Expand(node) => is_empty(&node.input),
        Plan::Repeat(node) => is_empty(&node.input),
        Plan::UnionAll(node) => node.inputs.iter().all(is_empty),
        Plan::Recursive(node) => is_empty(&node.base),
        Plan::SetOp(node) => match node.kind {
            SetOpKind::Intersect => is_empty(&node.left) || is_empty(&node.right),
            SetOpKind::Except => is_empty(&node.left),
            SetOpKind::Union => is_empty(&node.left) && is_empty(&node.right),
        },
        Plan::OuterJoin(_)
        | Plan::Source(_)
        | Plan::Stored(_)
        | Plan::Delta(_)
        | Plan::Values(_)
        | Plan::DependentJoin(_)
        | Plan::Round(_)
        | Plan::Negate(_)
        | Plan::Old(_)
        | Plan::Flip(_) => false,
    }
}
