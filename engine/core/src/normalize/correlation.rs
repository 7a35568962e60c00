//! Correlation: which part of a plan looks at outer rows, and pulling correlated conditions to the top.

use crate::expr::{Expr, Piece};
use crate::plan::{Aggregate, Filter, Join, Plan, Project, SemiJoin, TopK, Window, WindowCall};
use crate::types::Column;

/// A plan without outer references whose first columns are the original's, and the conditions (over outer slots and
/// its columns) that were pulled out of it.
pub(super) struct Pulled {
    pub plan: Plan,
    pub conditions: Vec<Expr>,
}

/// True if some expression refers to an outer row at `depth` dependent joins above `plan`, or further out.
pub fn is_correlated(plan: &Plan, depth: u32) -> bool {
    let refers = |expr: &Expr| {
        expr.pieces.iter().any(|piece| matches!(piece, Piece::Outer(outer, _) if *outer >= depth))
    };
    if plan.expressions().into_iter().any(refers) {
        return true;
    }
    match plan {
        Plan::DependentJoin(join) => {
            is_correlated(&join.left, depth) || is_correlated(&join.right, depth + 1)
        }
        _ => plan.children().into_iter().any(|child| is_correlated(child, depth)),
    }
}

/// Replaces every expression of a plan, each with the number of dependent joins between it and the plan.
pub(super) fn map_expressions(plan: &mut Plan, depth: u32, map: &mut impl FnMut(&Expr, u32) -> Expr) {
    for expr in plan.expressions_mut() {
        *expr = map(expr, depth);
    }
    if let Plan::DependentJoin(join) = plan {
        map_expressions(&mut join.left, depth, map);
        map_expressions(&mut join.right, depth + 1, map);
        return;
    }
    for child in plan.children_mut() {
        map_expressions(child, depth, map);
    }
}

/// Gives the plan's references to the nearest outer row other places in it.
pub(super) fn move_outer(plan: &mut Plan, place: impl Fn(usize) -> usize) {
    map_expressions(plan, 0, &mut |expr, inside| {
        expr.map_slots(|piece| match piece {
            Piece::Outer(depth, column) if *depth == inside + 1 => Piece::Outer(*depth, place(*column)),
            other => other.clone(),
        })
    });
}

/// A plan that does not refer to the nearest outer row, seen from outside of that row's dependent join.
pub(super) fn outward(plan: &Plan) -> Plan {
    let mut moved = plan.clone();
    map_expressions(&mut moved, 0, &mut |expr, inside| {
        expr.map_slots(|piece| match piece {
            Piece::Outer(depth, column) if *depth > inside => Piece::Outer(depth - 1, *column),
            other => other.clone(),
        })
    });
    moved
}

/// Pulls every correlated condition to the top, or `None` where a correlated expression is not a condition that
/// commutes with what stands above it.
pub(super) fn pull(plan: &Plan) -> Option<Pulled> {
    if !is_correlated(plan, 1) {
        return Some(Pulled { plan: plan.clone(), conditions: vec![] });
    }
    match plan {
        Plan::Filter(filter) => {
            let mut pulled = pull(&filter.input)?;
            if filter.predicate.is_correlated() {
                pulled.conditions.push(filter.predicate.clone());
            } else {
                let input = Box::new(pulled.plan);
                pulled.plan = Plan::Filter(Filter { input, predicate: filter.predicate.clone() });
            }
            Some(pulled)
        }
        Plan::Project(project) => {
            if project.exprs.iter().any(|(expr, _)| expr.is_correlated()) {
                return None;
            }
            let pulled = pull(&project.input)?;
            Some(project_with_extras(project, pulled))
        }
        Plan::Join(join) => pull_join(join),
        Plan::SemiJoin(join) => {
            if is_correlated(&join.right, 1) || join.on.iter().any(Expr::is_correlated) {
                return None;
            }
            let width = join.left.columns().len();
            let pulled = pull(&join.left)?;
            let grown = pulled.plan.columns().len() - width;
            let shift = |column: usize| if column < width { column } else { column + grown };
            let plan = Plan::SemiJoin(SemiJoin {
                anti: join.anti,
                left: Box::new(pulled.plan),
                right: join.right.clone(),
                on: join.on.iter().map(|on| on.map_columns(shift)).collect(),
            });
            Some(Pulled { plan, conditions: pulled.conditions })
        }
        Plan::Aggregate(aggregate) if !aggregate.keys.is_empty() => pull_aggregate(aggregate),
        Plan::TopK(top) => pull_top_k(top),
        Plan::Window(window) => pull_window(window),
        _ => None,
    }
}

/// The projection over a pulled input, with the columns that the conditions need appended.
fn project_with_extras(project: &Project, pulled: Pulled) -> Pulled {
    let columns = pulled.plan.columns();
    let mut exprs = project.exprs.clone();
    let conditions = pulled
        .conditions
        .iter()
        .map(|condition| condition.map_columns(|column| exposed(&mut exprs, column, &columns)))
        .collect();
    Pulled { plan: Plan::Project(Project { input: Box::new(pulled.plan), exprs }), conditions }
}

/// The output position that is input column `column`, appended if there is none.
fn exposed(exprs: &mut Vec<(Expr, String)>, column: usize, columns: &[Column]) -> usize {
    if let Some(known) = exprs.iter().position(|(expr, _)| expr.as_column() == Some(column)) {
        return known;
    }
    exprs.push(Expr::named(column, &columns[column]));
    exprs.len() - 1
}

fn pull_join(join: &Join) -> Option<Pulled> {
    let mut inputs = vec![];
    // For each original column its place in the join of pulled inputs.
    let mut places = vec![];
    let mut conditions: Vec<Expr> = vec![];
    let mut width = 0;
    for input in &join.inputs {
        let pulled = pull(input)?;
        places.extend((0..input.columns().len()).map(|column| column + width));
        conditions
            .extend(pulled.conditions.iter().map(|condition| condition.map_columns(|column| column + width)));
        width += pulled.plan.columns().len();
        inputs.push(pulled.plan);
    }
    let mut predicates = vec![];
    for predicate in &join.predicates {
        let moved = predicate.map_columns(|column| places[column]);
        if moved.is_correlated() { conditions.push(moved) } else { predicates.push(moved) }
    }
    let joined = Plan::Join(Join { inputs, predicates });
    if places.len() == width {
        return Some(Pulled { plan: joined, conditions });
    }
    let columns = joined.columns();
    let exprs = places.iter().map(|&place| Expr::named(place, &columns[place]));
    let project = Project { input: Box::new(Plan::Values(NO_ROWS)), exprs: exprs.collect() };
    Some(project_with_extras(&project, Pulled { plan: joined, conditions }))
}

/// A placeholder input that `project_with_extras` replaces.
const NO_ROWS: crate::plan::Values = crate::plan::Values { columns: vec![], rows: vec![] };

/// Equality of an outer value with an inner column fixes that column within each outer row's groups, so grouping by it
/// as well gives the same groups and lets the condition stand above.
fn pull_aggregate(aggregate: &Aggregate) -> Option<Pulled> {
    if Plan::Aggregate(aggregate.clone()).expressions().iter().any(|expr| expr.is_correlated()) {
        return None;
    }
    let pulled = pull(&aggregate.input)?;
    let inner = pulled.conditions.iter().map(correlated_column).collect::<Option<Vec<usize>>>()?;
    let mut keys = aggregate.keys.clone();
    for column in inner {
        if !keys.contains(&column) {
            keys.push(column);
        }
    }
    let place = |column: usize| keys.iter().position(|&key| key == column);
    let conditions = pulled
        .conditions
        .iter()
        .map(|condition| condition.map_columns(|column| place(column).unwrap_or(column)));
    let conditions: Vec<Expr> = conditions.collect();
    let grouped = Plan::Aggregate(Aggregate {
        input: Box::new(pulled.plan),
        keys: keys.clone(),
        calls: aggregate.calls.clone(),
    });
    let columns = grouped.columns();
    let visible = (0..aggregate.keys.len()).chain(keys.len()..columns.len());
    let exprs = visible.map(|column| Expr::named(column, &columns[column]));
    let project = Project { input: Box::new(Plan::Values(NO_ROWS)), exprs: exprs.collect() };
    Some(project_with_extras(&project, Pulled { plan: grouped, conditions }))
}

/// An equality with an outer value fixes the inner column, so the first rows for one outer row are the first rows of the
/// partition by that column.
fn pull_top_k(top: &TopK) -> Option<Pulled> {
    if top.limit.iter().chain(&top.offset).any(Expr::is_correlated) {
        return None;
    }
    let pulled = pull(&top.input)?;
    let inner = pulled.conditions.iter().map(correlated_column).collect::<Option<Vec<usize>>>()?;
    let mut partition = top.partition.clone();
    partition.extend(inner);
    partition.sort_unstable();
    partition.dedup();
    let plan = Plan::TopK(TopK { input: Box::new(pulled.plan), partition, ..top.clone() });
    Some(Pulled { plan, conditions: pulled.conditions })
}

/// The same for windows: the rows for one outer row are those of the partition by that column.
fn pull_window(window: &Window) -> Option<Pulled> {
    if window.calls.iter().flat_map(WindowCall::expressions).any(Expr::is_correlated) {
        return None;
    }
    let width = window.input.columns().len();
    let pulled = pull(&window.input)?;
    let inner = pulled.conditions.iter().map(correlated_column).collect::<Option<Vec<usize>>>()?;
    let mut partition = window.partition.clone();
    partition.extend(inner);
    partition.sort_unstable();
    partition.dedup();
    let numbered = pulled.plan.columns().len();
    let plan = Plan::Window(Window { input: Box::new(pulled.plan), partition, ..window.clone() });
    let columns = plan.columns();
    let visible = (0..width).chain(numbered..columns.len());
    let exprs = visible.map(|column| Expr::named(column, &columns[column]));
    let project = Project { input: Box::new(Plan::Values(NO_ROWS)), exprs: exprs.collect() };
    Some(project_with_extras(&project, Pulled { plan, conditions: pulled.conditions }))
}

/// The inner column, if the condition is `outer column = inner column`.
pub(super) fn correlated_column(condition: &Expr) -> Option<usize> {
    match condition.equality()? {
        (Piece::Outer(..), Piece::Column(column)) | (Piece::Column(column), Piece::Outer(..)) => {
            Some(*column)
        }
        _ => None,
    }
}
