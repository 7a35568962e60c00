//! `scalars-last`: scalar subqueries that may raise stand above joins and limits that do not look at them.
//!
//! ```text
//! Join on p                               Project: the columns as they were
//!   Project                                 scalar v, S
//!     scalar v, S           ─▶                Join on p
//!       L                                       L
//!   R                                           R
//! ```
//!
//! PostgreSQL evaluates the select list of a subquery in FROM that it pulls up for the rows the joins leave, and a select
//! list with subqueries for the rows a LIMIT leaves; so only for these may a scalar subquery have too many rows, or
//! contain one that has (`design-review.md` 7.2). Subqueries of which neither can be so stay where they are.

use super::correlation::{move_outer, pull};
use super::descend::columns_at;
use super::domain::outer_columns;
use super::unnest::tying_columns;
use crate::expr::{Expr, SortKey};
use crate::plan::{DependentJoin, DependentKind, Join, OuterJoin, OuterKind, Plan, Project, TopK};

/// The plan with every such subquery as high as it may go.
pub(super) fn scalars_last(mut plan: Plan) -> Plan {
    for child in plan.children_mut() {
        *child = scalars_last(child.clone());
    }
    match &plan {
        Plan::Join(join) => (0..join.inputs.len()).find_map(|input| above_join(join, input)).unwrap_or(plan),
        Plan::OuterJoin(join) if join.kind == OuterKind::Left => above_left_join(join).unwrap_or(plan),
        Plan::TopK(top) if top.limit.is_some() || top.offset.is_some() => above_top_k(top).unwrap_or(plan),
        _ => plan,
    }
}

/// A plan as subqueries evaluated for the rows of another, and a projection over both.
struct Lifted {
    base: Plan,
    /// Innermost first; their left sides are not looked at.
    joins: Vec<DependentJoin>,
    /// The plan's columns over those of `base`, then those the joins add.
    exprs: Vec<(Expr, String)>,
}

impl Lifted {
    fn of(plan: &Plan) -> Option<Lifted> {
        match plan {
            Plan::Project(node) => {
                let below = Lifted::of(&node.input)?;
                let composed =
                    |(expr, name): &(Expr, String)| (expr.over_projection(&below.exprs), name.clone());
                Some(Lifted { exprs: node.exprs.iter().map(composed).collect(), ..below })
            }
            Plan::DependentJoin(join)
                if matches!(join.kind, DependentKind::Scalar | DependentKind::Array) =>
            {
                if let Some(below) = Lifted::of(&join.left) {
                    return below.with(join);
                }
                let columns = plan.columns().len();
                let exprs = columns_at(plan, 0..columns);
                may_raise(join).then(|| Lifted {
                    base: (*join.left).clone(),
                    joins: vec![join.clone()],
                    exprs,
                })
            }
            _ => None,
        }
    }

    /// With one more subquery on top, if it looks at bare columns.
    fn with(mut self, join: &DependentJoin) -> Option<Lifted> {
        let added = join.adds.as_ref()?;
        let bare = |column: usize| self.exprs[column].0.as_column();
        if outer_columns(&join.right, 1).into_iter().any(|column| bare(column).is_none()) {
            return None;
        }
        let mut right = join.right.clone();
        move_outer(&mut right, |column| bare(column).unwrap_or(column));
        let place = self.base.columns().len() + self.joins.len();
        self.exprs.push(Expr::named(place, added));
        self.joins.push(DependentJoin { right, ..join.clone() });
        Some(self)
    }

    /// The place in `base` of a column of the plan, if it is one.
    fn place(&self, column: usize) -> Option<usize> {
        self.exprs[column].0.as_column().filter(|&place| place < self.base.columns().len())
    }

    /// The same over `base` in place of the own one, whose columns it has from `start` on, and the projection on `exprs`,
    /// which are over the columns of `base` and of what is added.
    fn over(&self, base: Plan, start: usize, exprs: Vec<(Expr, String)>) -> Plan {
        let moved = self.moved(base.columns().len(), start);
        let mut plan = base;
        for join in &self.joins {
            let mut right = join.right.clone();
            move_outer(&mut right, &moved);
            plan = Plan::DependentJoin(DependentJoin { left: Box::new(plan), right, ..join.clone() });
        }
        Plan::Project(Project { input: Box::new(plan), exprs })
    }

    /// Where a column of the base and of what is added is over a base of `width` columns that has it from `start` on.
    fn moved(&self, width: usize, start: usize) -> impl Fn(usize) -> usize + use<> {
        let own = self.base.columns().len();
        move |column| if column < own { column + start } else { column - own + width }
    }
}

/// True if the subquery may have several rows, or holds one that may.
pub(super) fn may_raise(join: &DependentJoin) -> bool {
    let right = &*join.right;
    let mut found = false;
    right.visit(&mut |plan| {
        found |= matches!(plan, Plan::DependentJoin(inner) if may_have_several_rows(inner))
    });
    found || may_have_several_rows(join)
}

fn may_have_several_rows(join: &DependentJoin) -> bool {
    if join.kind != DependentKind::Scalar || join.right.keys().iter().any(Vec::is_empty) {
        return false;
    }
    let Some(pulled) = pull(&join.right) else { return true };
    let tying = tying_columns(&pulled).unwrap_or_default();
    !pulled.plan.keys().iter().any(|key| key.iter().all(|column| tying.contains(column)))
}

fn above_join(join: &Join, index: usize) -> Option<Plan> {
    let lifted = Lifted::of(&join.inputs[index])?;
    let start: usize = join.inputs[..index].iter().map(|input| input.columns().len()).sum();
    let before = join.inputs[index].columns().len();
    let now = lifted.base.columns().len();
    let place = |column: usize| match column.checked_sub(start) {
        Some(local) if local < before => lifted.place(local).map(|place| place + start),
        Some(_) => Some(column - before + now),
        None => Some(column),
    };
    let predicates = join.predicates.iter().map(|predicate| moved(predicate, place));
    let predicates = predicates.collect::<Option<Vec<Expr>>>()?;
    let mut inputs = join.inputs.clone();
    inputs[index] = lifted.base.clone();
    let base = Plan::Join(Join { inputs, predicates });
    let width = base.columns().len();
    let mut exprs = columns_at(&base, 0..start);
    let at = lifted.moved(width, start);
    exprs.extend(lifted.exprs.iter().map(|(expr, name)| (expr.map_columns(&at), name.clone())));
    exprs.extend(columns_at(&base, start + now..width));
    // Another input may hold such subqueries, too.
    Some(lifted.over(scalars_last(base), start, exprs))
}

fn above_left_join(join: &OuterJoin) -> Option<Plan> {
    let lifted = Lifted::of(&join.left)?;
    let (before, now) = (join.left.columns().len(), lifted.base.columns().len());
    let place =
        |column: usize| if column < before { lifted.place(column) } else { Some(column - before + now) };
    let on = join.on.iter().map(|condition| moved(condition, place)).collect::<Option<Vec<Expr>>>()?;
    let left = Box::new(lifted.base.clone());
    let base = Plan::OuterJoin(OuterJoin { left, on, ..join.clone() });
    let width = base.columns().len();
    let at = lifted.moved(width, 0);
    let mut exprs: Vec<(Expr, String)> =
        lifted.exprs.iter().map(|(expr, name)| (expr.map_columns(&at), name.clone())).collect();
    exprs.extend(columns_at(&base, now..width));
    Some(lifted.over(base, 0, exprs))
}

fn above_top_k(top: &TopK) -> Option<Plan> {
    let lifted = Lifted::of(&top.input)?;
    let place = |column: usize| lifted.place(column);
    let partition = top.partition.iter().map(|&column| place(column)).collect::<Option<Vec<usize>>>()?;
    let order = top.order.iter().map(|key| Some(SortKey { column: place(key.column)?, ..key.clone() }));
    let order = order.collect::<Option<Vec<SortKey>>>()?;
    let bound = |bound: &Option<Expr>| match bound {
        Some(bound) => moved(bound, place).map(Some),
        None => Some(None),
    };
    let (limit, offset) = (bound(&top.limit)?, bound(&top.offset)?);
    let input = Box::new(lifted.base.clone());
    let base = Plan::TopK(TopK { input, partition, order, limit, offset, ..top.clone() });
    let exprs = lifted.exprs.clone();
    Some(lifted.over(base, 0, exprs))
}

/// An expression over moved columns; None if it looks at one that is nowhere.
fn moved(expr: &Expr, place: impl Fn(usize) -> Option<usize>) -> Option<Expr> {
    expr.columns()
        .iter()
        .all(|&column| place(column).is_some())
        .then(|| expr.map_columns(|column| place(column).unwrap_or(column)))
}
