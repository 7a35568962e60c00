//! Set operations as groups with two counts.
//!
//! Both sides are one input in which every row says where it comes from; a group is a class of rows that are equal by
//! grouping equality, with `l` rows on the left and `r` on the right. Then
//!
//! | | rows of a group in the result |
//! |---|---|
//! | `UNION` | 1 |
//! | `INTERSECT` | 1 if l > 0 and r > 0 |
//! | `INTERSECT ALL` | min(l, r) |
//! | `EXCEPT` | 1 if l > 0 and r = 0 |
//! | `EXCEPT ALL` | max(l - r, 0) |
//!
//! `EXCEPT` is not `DISTINCT` over `EXCEPT ALL`: l = 2, r = 1 gives nothing. The state is that of an aggregate, counts
//! are exactly invertible, and a change of one row touches one group whatever its multiplicity: [`Repeat`] multiplies
//! weights. The row that stands for a class is the one the aggregate's state keeps, as for DISTINCT
//! (`design-review.md` 12.1).

use crate::expr::{Expr, Piece, Shape};
use crate::plan::{AggCall, Aggregate, Filter, Plan, Project, Repeat, SetOp, SetOpKind, UnionAll};
use crate::types::{FunctionRef, TypeRef, Volatility};

/// The set operation without its node.
pub(super) fn as_groups(set_op: &SetOp) -> Plan {
    let width = set_op.left.columns().len();
    if set_op.kind == SetOpKind::Union && width > 0 {
        let inputs = vec![(*set_op.left).clone(), (*set_op.right).clone()];
        if set_op.all {
            return Plan::UnionAll(UnionAll { inputs });
        }
        let input = Box::new(Plan::UnionAll(UnionAll { inputs }));
        return Plan::Aggregate(Aggregate { input, keys: (0..width).collect(), calls: vec![] });
    }
    let counted = counted(set_op, width);
    let (l, r) = (Piece::Column(width), Piece::Column(width + 1));
    let text = |text: &str| Piece::Text(text.to_owned());
    let both_positive = vec![text("("), l.clone(), text(" > 0 AND "), r.clone(), text(" > 0)")];
    let only_left = vec![text("("), l.clone(), text(" > 0 AND "), r.clone(), text(" = 0)")];
    let any = vec![text("("), l.clone(), text(" > 0 OR "), r.clone(), text(" > 0)")];
    let sum = vec![text("("), l.clone(), text(" + "), r.clone(), text(")")];
    let least = vec![text("LEAST("), l.clone(), text(", "), r.clone(), text(")")];
    let rest = vec![text("GREATEST(("), l, text(" - "), r, text("), 0)")];
    let kept = match (set_op.kind, set_op.all) {
        (SetOpKind::Union, false) => filter(counted, any),
        (SetOpKind::Union, true) => repeat(counted, sum),
        (SetOpKind::Intersect, false) => filter(counted, both_positive),
        (SetOpKind::Intersect, true) => repeat(counted, least),
        (SetOpKind::Except, false) => filter(counted, only_left),
        (SetOpKind::Except, true) => repeat(counted, rest),
    };
    let columns = kept.columns();
    let visible = columns.iter().enumerate().take(width);
    let exprs = visible.map(|(position, column)| Expr::named(position, column));
    Plan::Project(Project { exprs: exprs.collect(), input: Box::new(kept) })
}

/// The rows of both sides in groups, each with the number of its rows on the left and on the right.
fn counted(set_op: &SetOp, width: usize) -> Plan {
    let side = |plan: &Plan, is_left: bool| {
        let columns = plan.columns();
        let own = columns.iter().enumerate();
        let own = own.map(|(position, column)| Expr::named(position, column));
        let tags = [(Expr::boolean(is_left), "l".to_owned()), (Expr::boolean(!is_left), "r".to_owned())];
        Plan::Project(Project { exprs: own.chain(tags).collect(), input: Box::new(plan.clone()) })
    };
    let inputs = vec![side(&set_op.left, true), side(&set_op.right, false)];
    Plan::Aggregate(Aggregate {
        input: Box::new(Plan::UnionAll(UnionAll { inputs })),
        keys: (0..width).collect(),
        calls: vec![count_where(width, "l"), count_where(width + 1, "r")],
    })
}

/// `count(*) FILTER (WHERE column)`.
fn count_where(column: usize, name: &str) -> AggCall {
    AggCall {
        function: FunctionRef {
            oid: 0,
            name: "pg_catalog.count".to_owned(),
            builtin: Some("count".to_owned()),
        },
        direct_args: vec![],
        args: vec![],
        distinct: false,
        filter: Some(column),
        order_by: vec![],
        within_group: false,
        variadic: false,
        ty: TypeRef::int8(),
        name: name.to_owned(),
        position: None,
    }
}

fn filter(input: Plan, condition: Vec<Piece>) -> Plan {
    Plan::Filter(Filter { input: Box::new(input), predicate: of_counts(condition, TypeRef::boolean()) })
}

fn repeat(input: Plan, count: Vec<Piece>) -> Plan {
    Plan::Repeat(Repeat { input: Box::new(input), count: of_counts(count, TypeRef::int8()) })
}

/// An expression over counts, which are never NULL.
fn of_counts(pieces: Vec<Piece>, ty: TypeRef) -> Expr {
    Expr {
        pieces,
        ty,
        volatility: Volatility::Immutable,
        nullable: false,
        strict: true,
        fixed_scale: None,
        shape: Shape::Opaque,
    }
}
