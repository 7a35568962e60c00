//! `marks-first`: conditions stand before the subqueries they do not look at.
//!
//! ```text
//! Filter [NOT] m                          Project: without m
//!   mark m, R                               scalar v, S
//!     scalar v, S            ─▶               Filter [NOT] m
//!       L                                       mark m, R
//!                                                 L
//! ```
//!
//! if `R` and the comparison look at columns of `L` only. PostgreSQL evaluates WHERE before the select list of a
//! subquery in FROM that it pulls up, so a row that EXISTS or IN takes away is never one for which a scalar subquery
//! has too many rows (`design-review.md` 7.2). Where the right side is evaluated for the distinct outer values, these
//! are fewer, too. A subquery that gains neither stays where it is: joined late or early, it costs the same. Conditions
//! without subqueries have gone to `L` by `push-filters`.

use super::correlation::move_outer;
use super::descend::{columns_at, keep};
use super::domain::outer_columns;
use super::late::may_raise;
use super::unnest::needs_domain;
use crate::expr::Expr;
use crate::plan::{DependentJoin, DependentKind, Filter, OuterKind, Plan, Project};
use crate::types::Volatility;
use std::collections::{BTreeMap, BTreeSet};

/// The plan with every condition of that kind as deep as it may go.
pub(super) fn marks_first(mut plan: Plan) -> Plan {
    for child in plan.children_mut() {
        *child = marks_first(child.clone());
    }
    let Plan::Filter(filter) = &plan else { return plan };
    let Some(mark) = Mark::of(filter) else { return plan };
    let columns = mark.join.left.columns();
    let inputs = mark.reads().into_iter().map(|column| (column, Expr::column(column, &columns[column])));
    let Some(sunk) = mark.sunk(&mark.join.left, &inputs.collect()) else { return plan };
    let mut exprs = columns_at(&sunk, 0..columns.len());
    let name = mark.join.adds.as_ref().map_or_else(String::new, |column| column.name.clone());
    exprs.push((Expr::boolean(!mark.is_negated), name));
    Plan::Project(Project { input: Box::new(sunk), exprs })
}

/// EXISTS, IN and the like as a condition.
struct Mark<'a> {
    join: &'a DependentJoin,
    predicate: &'a Expr,
    is_negated: bool,
}

/// For each column of its left side that a mark reads, that column over another plan.
type Inputs = BTreeMap<usize, Expr>;

impl Mark<'_> {
    fn of(filter: &Filter) -> Option<Mark<'_>> {
        let Plan::DependentJoin(join) = &*filter.input else { return None };
        let predicate = &filter.predicate;
        let mark = join.left.columns().len();
        let is_negated = predicate.as_negated_column() == Some(mark);
        let is_condition = is_negated || predicate.as_column() == Some(mark);
        (join.kind == DependentKind::Mark && is_condition).then_some(Mark { join, predicate, is_negated })
    }

    /// The columns of the left side that the right side and the comparison look at.
    fn reads(&self) -> BTreeSet<usize> {
        let width = self.join.left.columns().len();
        let of_on = self.join.on.iter().flat_map(Expr::columns).filter(|&column| column < width);
        let mut all = outer_columns(&self.join.right, 1);
        all.extend(of_on);
        all
    }

    /// The rows of `plan` that satisfy the condition, if it can stand below a dependent join in there. The columns stay.
    fn sunk(&self, plan: &Plan, inputs: &Inputs) -> Option<Plan> {
        match plan {
            Plan::Project(node) => {
                let inputs = inputs.iter().map(|(&column, expr)| (column, expr.over_projection(&node.exprs)));
                let inputs: Inputs = inputs.collect();
                if inputs.values().any(|expr| expr.volatility == Volatility::Volatile) {
                    return None;
                }
                let input = Box::new(self.sunk(&node.input, &inputs)?);
                Some(Plan::Project(Project { input, exprs: node.exprs.clone() }))
            }
            Plan::Filter(node) => {
                let input = Box::new(self.sunk(&node.input, inputs)?);
                Some(Plan::Filter(Filter { input, predicate: node.predicate.clone() }))
            }
            Plan::Join(node) => {
                let mut start = 0;
                for (index, input) in node.inputs.iter().enumerate() {
                    let end = start + input.columns().len();
                    if let Some(inputs) = within(inputs, start..end) {
                        let mut join = node.clone();
                        join.inputs[index] = self.sunk(input, &inputs)?;
                        return Some(Plan::Join(join));
                    }
                    start = end;
                }
                None
            }
            Plan::OuterJoin(node) if node.kind == OuterKind::Left => {
                let inputs = within(inputs, 0..node.left.columns().len())?;
                let mut join = node.clone();
                *join.left = self.sunk(&node.left, &inputs)?;
                Some(Plan::OuterJoin(join))
            }
            Plan::DependentJoin(node) => {
                let inputs = within(inputs, 0..node.left.columns().len())?;
                let mut join = node.clone();
                *join.left = match self.sunk(&node.left, &inputs) {
                    Some(left) => left,
                    None if gains(node) => self.over(&node.left, &inputs),
                    None => return None,
                };
                Some(Plan::DependentJoin(join))
            }
            _ => None,
        }
    }

    /// The rows of `plan` that satisfy the condition.
    fn over(&self, plan: &Plan, inputs: &Inputs) -> Plan {
        let width = plan.columns().len();
        let mut exprs = columns_at(plan, 0..width);
        let mut places = BTreeMap::new();
        for (&column, expr) in inputs {
            let place = expr.as_column().unwrap_or_else(|| {
                exprs.push((expr.clone(), format!("outer_{column}")));
                exprs.len() - 1
            });
            places.insert(column, place);
        }
        let left = match exprs.len() == width {
            true => plan.clone(),
            false => Plan::Project(Project { input: Box::new(plan.clone()), exprs }),
        };
        let (before, now) = (self.join.left.columns().len(), left.columns().len());
        let place = |column: usize| if column < before { places[&column] } else { column - before + now };
        let mut right = self.join.right.clone();
        move_outer(&mut right, |column| places[&column]);
        let joined = Plan::DependentJoin(DependentJoin {
            left: Box::new(left),
            right,
            on: self.join.on.iter().map(|condition| condition.map_columns(place)).collect(),
            ..self.join.clone()
        });
        let predicate = self.predicate.map_columns(place);
        keep(Plan::Filter(Filter { input: Box::new(joined), predicate }), 0..width)
    }
}

/// True if the dependent join is better evaluated for fewer rows: its right side may raise, or is evaluated for the
/// distinct outer values.
fn gains(join: &DependentJoin) -> bool {
    join.kind != DependentKind::Mark && (may_raise(join) || needs_domain(&join.right))
}

/// The inputs over these columns only, which are columns of another plan from 0 on; None if some are of other columns.
fn within(inputs: &Inputs, range: std::ops::Range<usize>) -> Option<Inputs> {
    let is_within = |expr: &Expr| expr.columns().iter().all(|column| range.contains(column));
    if !inputs.values().all(is_within) {
        return None;
    }
    Some(inputs.iter().map(|(&column, expr)| (column, expr.map_columns(|c| c - range.start))).collect())
}
