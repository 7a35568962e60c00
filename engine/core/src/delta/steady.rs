//! Expressions that may raise do not see rows that cancel.
//!
//! Where both sides of an operator changed, its change is a sum of terms, and a row of one term may be taken back by
//! another: `dL anti Old(R)` holds a left row that arrives together with its match, and the flip of that match takes it
//! back. Such a row is in neither state. The server would never evaluate a scalar subquery for it, nor a division, and
//! for the rows that are in a state it has. So where cancelling is possible, and before a condition
//! always, since the server is free to look at one before it joins, the change is consolidated before
//!
//! - an expression that checks the number of rows of a scalar subquery (`design-review.md` 7.2);
//! - in a careful change, which is tried after another has raised, any expression that is more than a column.
//!
//! ```text
//! support(consolidated dA)  is part of  support(Old(A)) + support(New(A))
//! ```
//!
//! For a careful change projections go above the joins whose terms cancel, as far as these do not look at what is
//! computed: `(project A) anti R = project (A anti R)`.
//! Reads: dA.  Needs: nothing.
//! Golden: `corpus/rules/steady.test`.  Page: `docs/operators/steady.md`.

use super::{Changed, Sharing};
use crate::expr::{Expr, Shape};
use crate::plan::{Join, OuterJoin, OuterKind, Plan, Project, SemiJoin};
use crate::types::Column;

impl Sharing {
    /// The change of the input of a condition or a function as `exprs`, its expressions, may look at it: consolidated, if
    /// one of them may raise. Even without rows that cancel it has to be a relation by then: the server looks at a
    /// condition as soon as it has the columns, which may be before they are joined with everything that they come with.
    pub(super) fn steadied<'a>(&mut self, delta: Plan, exprs: impl IntoIterator<Item = &'a Expr>) -> Plan {
        if exprs.into_iter().any(|expr| self.may_raise(expr)) { self.share(delta) } else { delta }
    }

    /// The same for a projection, which is computed last and looks at some of the columns only: consolidated, if there may
    /// be rows that cancel.
    pub(super) fn steadied_projection(&mut self, delta: Plan, project: &Project, changed: &Changed) -> Plan {
        let exprs = || project.exprs.iter().map(|(expr, _)| expr);
        if !(exprs().any(|expr| self.may_raise(expr)) && cancels(&project.input, changed)) {
            return Plan::Project(Project { input: Box::new(delta), exprs: project.exprs.clone() });
        }
        let mut used: Vec<usize> = exprs().flat_map(Expr::columns).collect();
        used.sort_unstable();
        used.dedup();
        let columns = delta.columns();
        let kept = used.iter().map(|&column| Expr::named(column, &columns[column]));
        let kept = Plan::Project(Project { exprs: kept.collect(), input: Box::new(delta) });
        let place = |column: usize| used.partition_point(|&known| known < column);
        let exprs =
            project.exprs.iter().map(|(expr, name)| (expr.map_columns(place), name.clone())).collect();
        Plan::Project(Project { input: Box::new(self.share(kept)), exprs })
    }

    /// Whether an expression may raise for a row that the query never looks at.
    pub(super) fn may_raise(&self, expr: &Expr) -> bool {
        expr.checks_rows() || (self.is_careful && !is_plain(expr))
    }
}

/// True if the change of `plan` may hold rows that cancel: somewhere two sides of an operator changed, or the time did.
fn cancels(plan: &Plan, changed: &Changed) -> bool {
    let sides = match plan {
        Plan::Join(_) | Plan::OuterJoin(_) | Plan::SemiJoin(_) => plan.children(),
        _ => vec![],
    };
    let is_of_several = sides.into_iter().filter(|side| changes(side, changed)).count() > 1;
    let is_of_time = changed.time && plan.expressions().into_iter().any(Expr::reads_time);
    is_of_several || is_of_time || plan.children().into_iter().any(|child| cancels(child, changed))
}

/// True if the plan has a change.
fn changes(plan: &Plan, changed: &Changed) -> bool {
    let mut found = false;
    plan.visit(&mut |plan| {
        found |= match plan {
            Plan::Source(source) => changed.sources.contains(&source.source),
            Plan::Stored(stored) => changed.stages.contains(&stored.stage),
            Plan::Round(round) => round.of.is_some() && round.of == changed.round,
            other => changed.time && other.expressions().into_iter().any(Expr::reads_time),
        };
    });
    found
}

/// The same rows, projections computed above the joins that do not look at what is computed.
pub fn projections_last(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for child in plan.children_mut() {
        *child = projections_last(child);
    }
    let project = |input: Plan, exprs| Plan::Project(Project { input: Box::new(input), exprs });
    let later = match &plan {
        Plan::Project(node) => computed(&node.input).map(|below| {
            let composed = |(expr, name): &(Expr, String)| (expr.over_projection(&below.exprs), name.clone());
            project((*below.input).clone(), node.exprs.iter().map(composed).collect())
        }),
        Plan::SemiJoin(node) => computed(&node.left).and_then(|below| {
            let (mut exprs, on) = around(&[vec![], node.right.columns()], 0, below, &node.on)?;
            exprs.truncate(below.exprs.len());
            let joined = Plan::SemiJoin(SemiJoin { left: below.input.clone(), on, ..node.clone() });
            Some(project(joined, exprs))
        }),
        Plan::OuterJoin(node) if node.kind == OuterKind::Left => computed(&node.left).and_then(|below| {
            let right = plan.columns().split_off(below.exprs.len());
            let (exprs, on) = around(&[vec![], right], 0, below, &node.on)?;
            let joined = Plan::OuterJoin(OuterJoin { left: below.input.clone(), on, ..node.clone() });
            Some(project(joined, exprs))
        }),
        Plan::Join(node) => (0..node.inputs.len()).find_map(|index| {
            let below = computed(&node.inputs[index])?;
            let sides: Vec<Vec<Column>> = node.inputs.iter().map(Plan::columns).collect();
            let (exprs, predicates) = around(&sides, index, below, &node.predicates)?;
            let mut inputs = node.inputs.clone();
            inputs[index] = (*below.input).clone();
            // Other inputs may be projections, too.
            Some(projections_last(&project(Plan::Join(Join { inputs, predicates }), exprs)))
        }),
        _ => None,
    };
    later.unwrap_or(plan)
}

/// The plan as a projection that computes something.
fn computed(plan: &Plan) -> Option<&Project> {
    let Plan::Project(project) = plan else { return None };
    project.exprs.iter().any(|(expr, _)| !is_plain(expr)).then_some(project)
}

fn is_plain(expr: &Expr) -> bool {
    matches!(expr.shape, Shape::Column | Shape::Constant)
}

/// Expressions with the names of their columns.
type Named = Vec<(Expr, String)>;

/// The columns of all sides of a join, and its conditions, over those of the join that has the input of the projection
/// `below` in the place of side `index`; None if a condition looks at what is computed.
fn around(sides: &[Vec<Column>], index: usize, below: &Project, on: &[Expr]) -> Option<(Named, Vec<Expr>)> {
    let mut exprs = vec![];
    let mut start = 0;
    for (side, columns) in sides.iter().enumerate() {
        if side == index {
            let moved =
                |(expr, name): &(Expr, String)| (expr.map_columns(|column| column + start), name.clone());
            exprs.extend(below.exprs.iter().map(moved));
            start += below.input.columns().len();
            continue;
        }
        let columns = columns.iter().enumerate();
        exprs.extend(columns.clone().map(|(place, each)| Expr::named(start + place, each)));
        start += columns.len();
    }
    let on =
        on.iter().map(|condition| condition.over_bare_projection(&exprs)).collect::<Option<Vec<Expr>>>()?;
    Some((exprs, on))
}
