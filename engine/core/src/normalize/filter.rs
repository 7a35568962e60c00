//! `push-filters`, `null-rejecting`, `one-sided-on`.
//!
//! A filter commutes with everything that keeps its columns and rows apart: bag projection (the condition is rewritten
//! over the projection's inputs), the preserved side of joins, the rows that functions are called for, union.
//! Conditions over an inner join become join predicates, where keys and access paths are derived from. A filter is moved
//! below a window function only if it is about whole partitions, and never below an aggregate or a limit.

use crate::expr::Expr;
use crate::plan::{DependentJoin, DependentKind, Filter, Join, OuterJoin, OuterKind, Plan, SemiJoin, Window};
use crate::types::Volatility;

/// The plan under `conditions`, each condition as deep as it may go.
pub(super) fn push(plan: Plan, mut conditions: Vec<Expr>) -> Plan {
    match plan {
        Plan::Filter(filter) => {
            // Inner conditions first: they were evaluated first.
            conditions.insert(0, filter.predicate);
            push(*filter.input, conditions)
        }
        Plan::Project(mut project) => {
            let is_movable = |condition: &Expr| {
                condition
                    .columns()
                    .iter()
                    .all(|&column| project.exprs[column].0.volatility != Volatility::Volatile)
            };
            let (moved, kept): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_movable);
            let moved = moved.iter().map(|condition| condition.over_projection(&project.exprs)).collect();
            project.input = Box::new(push(*project.input, moved));
            wrap(Plan::Project(project), kept)
        }
        Plan::Join(mut join) => {
            join.predicates.extend(conditions);
            flatten(join)
        }
        Plan::OuterJoin(join) => push_outer_join(join, conditions),
        Plan::SemiJoin(join) => Plan::SemiJoin(SemiJoin {
            anti: join.anti,
            left: Box::new(push(*join.left, conditions)),
            right: Box::new(push(*join.right, vec![])),
            on: join.on,
        }),
        Plan::UnionAll(mut union) => {
            union.inputs = union.inputs.into_iter().map(|input| push(input, conditions.clone())).collect();
            Plan::UnionAll(union)
        }
        Plan::Expand(mut expand) => {
            let width = expand.input.columns().len();
            let (moved, kept): (Vec<Expr>, Vec<Expr>) = conditions
                .into_iter()
                .partition(|condition| condition.columns().iter().all(|&column| column < width));
            expand.input = Box::new(push(*expand.input, moved));
            wrap(Plan::Expand(expand), kept)
        }
        Plan::Repeat(mut repeat) => {
            repeat.input = Box::new(push(*repeat.input, conditions));
            Plan::Repeat(repeat)
        }
        Plan::DependentJoin(join) => push_dependent_join(join, conditions),
        Plan::Window(window) => push_window(window, conditions),
        mut other => {
            for child in other.children_mut() {
                *child = push(child.clone(), vec![]);
            }
            wrap(other, conditions)
        }
    }
}

/// A condition that holds for all rows of a partition or for none takes whole partitions away, which no window function
/// sees. It must not tell rows of one partition apart, as the text of equal numbers does. Correlated conditions stay
/// above, from where they can be pulled out of a subquery.
fn push_window(mut window: Window, conditions: Vec<Expr>) -> Plan {
    let columns = window.input.columns();
    let is_of_partition =
        |column: &usize| window.partition.contains(column) && columns[*column].ty.equal_image;
    let (moved, kept): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(|condition| {
        let columns = condition.columns();
        !columns.is_empty() && columns.iter().all(is_of_partition) && !condition.is_correlated()
    });
    window.input = Box::new(push(*window.input, moved));
    wrap(Plan::Window(window), kept)
}

fn wrap(plan: Plan, conditions: Vec<Expr>) -> Plan {
    conditions
        .into_iter()
        .fold(plan, |input, predicate| Plan::Filter(Filter { input: Box::new(input), predicate }))
}

/// Inner joins among the inputs become part of one n-ary join; conditions over one input go into it.
fn flatten(join: Join) -> Plan {
    let mut inputs = vec![];
    let mut predicates = vec![];
    let mut offset = 0;
    for input in join.inputs {
        let (input, timed) = apart_from_time(push(input, vec![]));
        predicates.extend(timed.iter().map(|p| p.map_columns(|column| column + offset)));
        match input {
            Plan::Join(inner) => {
                predicates.extend(inner.predicates.iter().map(|p| p.map_columns(|column| column + offset)));
                for input in inner.inputs {
                    offset += input.columns().len();
                    inputs.push(input);
                }
            }
            input => {
                offset += input.columns().len();
                inputs.push(input);
            }
        }
    }
    predicates.extend(join.predicates);
    let mut start = 0;
    for input in &mut inputs {
        let end = start + input.columns().len();
        let local: Vec<Expr> = predicates
            .extract_if(.., |predicate| {
                let columns = predicate.columns();
                !columns.is_empty() && columns.iter().all(|column| (start..end).contains(column))
            })
            .map(|predicate| predicate.map_columns(|column| column - start))
            .collect();
        if !local.is_empty() {
            *input = push(input.clone(), local);
        }
        start = end;
    }
    // Conditions with time stand above the join, where they have a rule.
    let timed = predicates.extract_if(.., |predicate| predicate.reads_time()).collect();
    let joined = match (inputs.len(), predicates.is_empty()) {
        (1, true) => inputs.remove(0),
        _ => Plan::Join(Join { inputs, predicates }),
    };
    wrap(joined, timed)
}

/// A join under conditions with time, and these; another plan as it is.
fn apart_from_time(plan: Plan) -> (Plan, Vec<Expr>) {
    match plan {
        Plan::Filter(filter) if filter.predicate.reads_time() => {
            let Filter { input, predicate } = filter;
            match apart_from_time(*input) {
                (Plan::Join(join), mut timed) => {
                    timed.push(predicate);
                    (Plan::Join(join), timed)
                }
                (input, timed) => {
                    let input = Box::new(wrap(input, timed));
                    (Plan::Filter(Filter { input, predicate }), vec![])
                }
            }
        }
        other => (other, vec![]),
    }
}

fn push_outer_join(mut join: OuterJoin, conditions: Vec<Expr>) -> Plan {
    let width = join.left.columns().len();
    let rejects_nulls =
        |condition: &Expr| condition.strict && condition.columns().iter().any(|&column| column >= width);
    if join.kind == OuterKind::Left && conditions.iter().any(rejects_nulls) {
        let mut predicates = join.on;
        predicates.extend(conditions);
        return flatten(Join { inputs: vec![*join.left, *join.right], predicates });
    }
    if join.kind == OuterKind::Full {
        join.left = Box::new(push(*join.left, vec![]));
        join.right = Box::new(push(*join.right, vec![]));
        return wrap(Plan::OuterJoin(join), conditions);
    }
    let (left, kept): (Vec<Expr>, Vec<Expr>) = conditions
        .into_iter()
        .partition(|condition| condition.columns().iter().all(|&column| column < width));
    let (right, on): (Vec<Expr>, Vec<Expr>) = join.on.into_iter().partition(|condition| {
        let columns = condition.columns();
        !columns.is_empty() && columns.iter().all(|&column| column >= width)
    });
    let right = right.iter().map(|condition| condition.map_columns(|column| column - width)).collect();
    let joined = Plan::OuterJoin(OuterJoin {
        kind: join.kind,
        left: Box::new(push(*join.left, left)),
        right: Box::new(push(*join.right, right)),
        on,
        position: join.position,
    });
    wrap(joined, kept)
}

/// Conditions over left columns alone go left. The others stay above; those that are just the mark stand innermost,
/// where `mark-to-semi` finds them.
fn push_dependent_join(join: DependentJoin, conditions: Vec<Expr>) -> Plan {
    let width = join.left.columns().len();
    let (left, kept): (Vec<Expr>, Vec<Expr>) = conditions
        .into_iter()
        .partition(|condition| condition.columns().iter().all(|&column| column < width));
    let is_mark = |condition: &Expr| {
        join.kind == DependentKind::Mark
            && condition.as_column().or(condition.as_negated_column()) == Some(width)
    };
    let (mut above, others): (Vec<Expr>, Vec<Expr>) = kept.into_iter().partition(is_mark);
    above.extend(others);
    let joined = Plan::DependentJoin(DependentJoin {
        left: Box::new(push(*join.left, left)),
        right: Box::new(push(*join.right, vec![])),
        ..join
    });
    wrap(joined, above)
}
