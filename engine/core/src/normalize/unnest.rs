//! Unnesting: dependent joins become ordinary joins.
//!
//! Conditions that look at the outer row are pulled out of the subquery and become join conditions. A correlated scalar
//! aggregate is grouped by the inner columns that equal outer values and joined by them; where no group exists the
//! aggregate over nothing is supplied: 0 for counts, NULL otherwise.

use super::correlation::{Pulled, correlated_column, is_correlated, pull};
use crate::expr::{Expr, Piece};
use crate::plan::{
    AggCall, Aggregate, DependentJoin, DependentKind, Join, OuterJoin, OuterKind, Plan, Project, SemiJoin,
    UnionAll,
};
use crate::query::{Construct, Unsupported};
use crate::types::{Column, FunctionRef, TypeRef};

pub(super) fn unnest(plan: Plan) -> Result<Plan, Unsupported> {
    match plan {
        Plan::Filter(mut filter) => {
            if let Plan::DependentJoin(join) = &*filter.input
                && join.kind == DependentKind::Mark
            {
                let mark = join.left.columns().len();
                if filter.predicate.as_column() == Some(mark) {
                    return mark_to_semi(join.clone(), false);
                }
                if filter.predicate.as_negated_column() == Some(mark) {
                    return mark_to_semi(join.clone(), true);
                }
            }
            filter.input = Box::new(unnest(*filter.input)?);
            Ok(Plan::Filter(filter))
        }
        Plan::DependentJoin(join) => match join.kind {
            DependentKind::Mark => mark_to_union(join),
            DependentKind::Scalar => scalar_to_join(join),
            DependentKind::Inner | DependentKind::Left => lateral_to_join(join),
            DependentKind::Array => Err(unsupported("ARRAY(subquery)", &join, "it is not maintained yet")),
        },
        mut other => {
            for child in other.children_mut() {
                *child = unnest(child.clone())?;
            }
            Ok(other)
        }
    }
}

/// The sides of a dependent join without nested dependent joins, the right side without outer references, and its
/// conditions over left columns then right columns (outer references of enclosing queries moved one level in).
struct Sides {
    left: Plan,
    right: Plan,
    /// Conditions pulled out of the right side.
    pulled: Vec<Expr>,
}

fn sides(join: &DependentJoin, what: &str) -> Result<Sides, Unsupported> {
    let left = unnest((*join.left).clone())?;
    let right = unnest((*join.right).clone())?;
    let width = left.columns().len();
    let Some(Pulled { plan, conditions }) = pull(&right) else {
        return Err(unsupported(what, join, "this form of correlation is not unnested yet"));
    };
    let pulled = conditions.iter().map(|condition| bind(condition, width)).collect();
    Ok(Sides { left, right: plan, pulled })
}

/// Conditions over a right side become conditions over left then right columns.
fn bind(condition: &Expr, left_width: usize) -> Expr {
    let mut bound = condition.map_slots(|piece| match piece {
        Piece::Column(column) => Piece::Column(column + left_width),
        Piece::Outer(1, column) => Piece::Column(*column),
        Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
        Piece::Text(text) => Piece::Text(text.clone()),
    });
    if bound.is_correlated() && bound.shape == crate::expr::Shape::Column {
        bound.shape = crate::expr::Shape::Opaque;
    }
    bound
}

/// `on` of the dependent join: its right columns keep their positions, since pulled plans only append columns.
fn left_columns(left: &Plan) -> Vec<(Expr, String)> {
    let columns = left.columns();
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| (Expr::column(index, column), column.name.clone()))
        .collect()
}

fn project(input: Plan, exprs: Vec<(Expr, String)>) -> Plan {
    Plan::Project(Project { input: Box::new(input), exprs })
}

fn semi(anti: bool, left: &Plan, right: &Plan, on: Vec<Expr>) -> Plan {
    Plan::SemiJoin(SemiJoin { anti, left: Box::new(left.clone()), right: Box::new(right.clone()), on })
}

/// `mark-to-semi`.  Filter(mark) = semi join; Filter(NOT mark) = anti join on "not false": one comparison that is NULL
/// makes `NOT IN` NULL. The mark column stays, as the constant it has become.
fn mark_to_semi(join: DependentJoin, negated: bool) -> Result<Plan, Unsupported> {
    let Sides { left, right, pulled } = sides(&join, "correlated EXISTS, IN or ANY")?;
    let on = conditions(&pulled, &join.on, negated);
    let mut exprs = left_columns(&left);
    exprs.push((Expr::boolean(!negated), mark_name(&join)));
    Ok(project(semi(negated, &left, &right, on), exprs))
}

/// Pulled conditions must be true for a row to belong to the subquery; `on` must be true, or not false.
fn conditions(pulled: &[Expr], on: &[Expr], not_false: bool) -> Vec<Expr> {
    let mut all = pulled.to_vec();
    if not_false && on.iter().any(|condition| condition.nullable) {
        all.push(Expr::and(on).is_not_false());
    } else {
        all.extend(on.iter().cloned());
    }
    all
}

fn mark_name(join: &DependentJoin) -> String {
    join.adds.as_ref().map_or_else(String::new, |column| column.name.clone())
}

/// `mark-to-union`.  True where a match is true; false where every comparison is false; NULL between.
fn mark_to_union(join: DependentJoin) -> Result<Plan, Unsupported> {
    let Sides { left, right, pulled } = sides(&join, "correlated EXISTS, IN or ANY")?;
    let name = mark_name(&join);
    let nullable = join.on.iter().any(|condition| condition.nullable);
    let with_mark = |input: Plan, mut value: Expr| {
        let mut exprs = left_columns(&left);
        value.nullable |= nullable;
        exprs.push((value, name.clone()));
        project(input, exprs)
    };
    let matched = conditions(&pulled, &join.on, false);
    let possible = conditions(&pulled, &join.on, true);
    let mut inputs = vec![
        with_mark(semi(false, &left, &right, matched.clone()), Expr::boolean(true)),
        with_mark(semi(true, &left, &right, possible.clone()), Expr::boolean(false)),
    ];
    if nullable {
        let unknown = semi(true, &semi(false, &left, &right, possible), &right, matched);
        let column = Column { name: name.clone(), ty: TypeRef::boolean(), nullable: true, fixed_scale: None };
        inputs.push(with_mark(unknown, Expr::null(&column)));
    }
    Ok(Plan::UnionAll(UnionAll { inputs }))
}

/// `lateral-to-join`.
fn lateral_to_join(join: DependentJoin) -> Result<Plan, Unsupported> {
    let Sides { left, right, pulled } = sides(&join, "LATERAL")?;
    let visible = join.right.columns().len() + left.columns().len();
    let predicates = conditions(&pulled, &join.on, false);
    let joined = if join.kind == DependentKind::Inner {
        Plan::Join(Join { inputs: vec![left, right], predicates })
    } else {
        left_join(left, right, predicates, &join)
    };
    let columns = joined.columns();
    let exprs = columns[..visible].iter().enumerate();
    Ok(project(
        joined,
        exprs.map(|(index, column)| (Expr::column(index, column), column.name.clone())).collect(),
    ))
}

fn left_join(left: Plan, right: Plan, on: Vec<Expr>, join: &DependentJoin) -> Plan {
    Plan::OuterJoin(OuterJoin {
        kind: OuterKind::Left,
        left: Box::new(left),
        right: Box::new(right),
        on,
        position: join.position,
    })
}

/// `scalar-to-join`.
fn scalar_to_join(join: DependentJoin) -> Result<Plan, Unsupported> {
    let left = unnest((*join.left).clone())?;
    let right = unnest((*join.right).clone())?;
    let width = left.columns().len();
    let name = mark_name(&join);
    let finish = |joined: Plan, value: Expr| {
        let mut exprs = left_columns(&left);
        exprs.push((value, name.clone()));
        project(joined, exprs)
    };
    if !is_correlated(&right, 1) && right.keys().iter().any(Vec::is_empty) {
        let joined = if is_one_row(&right) {
            Plan::Join(Join { inputs: vec![left.clone(), right], predicates: vec![] })
        } else {
            left_join(left.clone(), right, vec![], &join)
        };
        let value = Expr::column(width, &joined.columns()[width]);
        return Ok(finish(joined, value));
    }
    if let Some((exprs, aggregate)) = projected_aggregate(&right) {
        return scalar_aggregate(&join, &left, &exprs, aggregate)
            .map(|(joined, value)| finish(joined, value));
    }
    let Some(Pulled { plan, conditions }) = pull(&right) else {
        return Err(unsupported(
            "correlated scalar subquery",
            &join,
            "this form of correlation is not unnested yet",
        ));
    };
    let Some(keys) = conditions.iter().map(correlated_column).collect::<Option<Vec<usize>>>() else {
        let reason = "its correlation is not an equality with a column";
        return Err(unsupported("correlated scalar subquery", &join, reason));
    };
    let columns = plan.columns();
    // Several rows are an error at the place of use: the rows are counted and one value is kept.
    let calls = vec![
        builtin_call("count", &[], TypeRef::int8()),
        builtin_call("any_value", &[0], columns[0].ty.clone()),
    ];
    let grouped = Aggregate { input: Box::new(plan), keys: distinct(&keys), calls };
    let keys_width = grouped.keys.len();
    let on = rebind(&conditions, &grouped.keys, width);
    let joined = left_join(left.clone(), Plan::Aggregate(grouped), on, &join);
    let columns = joined.columns();
    let column = |index: usize| Expr::column(index, &columns[index]);
    let value = column(width + keys_width + 1).single_row(&column(width + keys_width));
    Ok(finish(joined, value))
}

/// A projection of a global aggregate always has exactly one row.
fn is_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Project(project) => is_one_row(&project.input),
        Plan::Aggregate(aggregate) => aggregate.keys.is_empty(),
        _ => false,
    }
}

/// Projections of a global aggregate, composed into expressions over the aggregate's columns.
fn projected_aggregate(plan: &Plan) -> Option<(Vec<(Expr, String)>, &Aggregate)> {
    match plan {
        Plan::Project(project) => {
            let (inner, aggregate) = projected_aggregate(&project.input)?;
            let composed =
                project.exprs.iter().map(|(expr, name)| (expr.over_projection(&inner), name.clone()));
            Some((composed.collect(), aggregate))
        }
        Plan::Aggregate(aggregate) if aggregate.keys.is_empty() => {
            let columns = plan.columns();
            let identity = columns
                .iter()
                .enumerate()
                .map(|(index, column)| (Expr::column(index, column), column.name.clone()));
            Some((identity.collect(), aggregate))
        }
        _ => None,
    }
}

fn scalar_aggregate(
    join: &DependentJoin,
    left: &Plan,
    exprs: &[(Expr, String)],
    aggregate: &Aggregate,
) -> Result<(Plan, Expr), Unsupported> {
    let what = "correlated scalar subquery";
    let width = left.columns().len();
    let Some(Pulled { plan, conditions }) = pull(&aggregate.input) else {
        return Err(unsupported(what, join, "this form of correlation is not unnested yet"));
    };
    let Some(inner) = conditions.iter().map(correlated_column).collect::<Option<Vec<usize>>>() else {
        return Err(unsupported(what, join, "its correlation is not an equality with a column"));
    };
    if let Some(call) = aggregate.calls.iter().find(|call| call.function.builtin.is_none()) {
        let reason = format!("the result of {} over no rows is not known", call.function.name);
        return Err(unsupported(what, join, &reason));
    }
    let grouped = Aggregate { input: Box::new(plan), keys: distinct(&inner), calls: aggregate.calls.clone() };
    let keys = grouped.keys.len();
    let on = rebind(&conditions, &grouped.keys, width);
    let joined = left_join(left.clone(), Plan::Aggregate(grouped), on, join);
    let columns = joined.columns();
    let calls: Vec<(Expr, String)> = aggregate
        .calls
        .iter()
        .enumerate()
        .map(|(index, call)| {
            let place = width + keys + index;
            let column = Expr::column(place, &columns[place]);
            let counts = matches!(call.function.builtin.as_deref(), Some("count" | "regr_count"));
            (if counts { column.or_zero() } else { column }, call.name.clone())
        })
        .collect();
    let value = bind_outer(&exprs[0].0, &calls);
    Ok((joined, value))
}

/// The subquery's value over the joined columns: its aggregate results by position, its outer references directly.
fn bind_outer(value: &Expr, calls: &[(Expr, String)]) -> Expr {
    let mut composed = value.over_projection(calls);
    composed.nullable = true;
    composed.map_slots(|piece| match piece {
        Piece::Outer(1, column) => Piece::Column(*column),
        Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
        other => other.clone(),
    })
}

fn distinct(columns: &[usize]) -> Vec<usize> {
    let mut kept: Vec<usize> = vec![];
    for &column in columns {
        if !kept.contains(&column) {
            kept.push(column);
        }
    }
    kept
}

/// Correlation conditions over the left columns and the grouped right side, whose first columns are `keys`.
fn rebind(conditions: &[Expr], keys: &[usize], left_width: usize) -> Vec<Expr> {
    let place = |column: usize| keys.iter().position(|&key| key == column).unwrap_or(column);
    conditions.iter().map(|condition| bind(&condition.map_columns(place), left_width)).collect()
}

/// A call the rewrite itself makes.
fn builtin_call(name: &str, args: &[usize], ty: TypeRef) -> AggCall {
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

fn unsupported(name: &str, join: &DependentJoin, reason: &str) -> Unsupported {
    Unsupported {
        construct: Construct { name: name.to_owned(), position: join.position },
        reason: reason.to_owned(),
    }
}
