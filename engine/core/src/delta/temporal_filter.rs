//! Filters and projections that compare with the time of the refresh.
//!
//! ```text
//! d(f_tau(A)) = f_then(dA) + f_now(C) - f_then(C)
//!     C = rows of New(A) for which some comparison with time comes out differently then and now
//! ```
//!
//! because `f_now(A') - f_then(A) = f_then(A' - A) + (f_now - f_then)(A')`, and outside C the two do the same. Time may
//! go backwards: a refresh in a long transaction sees an earlier `now()` than the last one did.
//! Reads: dA, New(A).  Needs: an index on what is compared; without one, C is a scan of New(A).  Class: range of time.
//! Golden: corpus/rules/temporal_filter.test   Page: docs/operators/temporal_filter.md

use super::{Changed, Sharing, differentiate, sum};
use crate::expr::Expr;
use crate::plan::{Filter, Plan, Project};
use crate::query::{Construct, Unsupported};
use crate::refusal::Refusal;

type Rule = Result<Option<Plan>, Unsupported>;

pub(super) fn filter(filter: &Filter, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let delta = differentiate(&filter.input, changed, sharing)?;
    let over = |input: Plan, predicate: Expr| Plan::Filter(Filter { input: Box::new(input), predicate });
    let predicate = &filter.predicate;
    let delta = delta.map(|delta| sharing.steadied(delta, [predicate]));
    let mut terms: Vec<Plan> = delta.map(|delta| over(delta, predicate.then())).into_iter().collect();
    if predicate.is_comparison_with_time() {
        // C splits into the rows that enter and those that leave.
        for [enter, leave] in predicate.crossings() {
            terms.push(over((*filter.input).clone(), enter));
            terms.push(Plan::Negate(Box::new(over((*filter.input).clone(), leave))));
        }
    } else {
        let crossing = crossing(&filter.input, [predicate]);
        terms.push(over(crossing.clone(), predicate.clone()));
        terms.push(Plan::Negate(Box::new(over(crossing, predicate.then()))));
    }
    Ok(sum(terms))
}

pub(super) fn project(project: &Project, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let delta = differentiate(&project.input, changed, sharing)?;
    let over =
        |input: Plan, exprs: Vec<(Expr, String)>| Plan::Project(Project { input: Box::new(input), exprs });
    let now = project.exprs.clone();
    let then: Vec<(Expr, String)> = now.iter().map(|(expr, name)| (expr.then(), name.clone())).collect();
    let crossing = crossing(&project.input, now.iter().map(|(expr, _)| expr));
    let exprs = now.iter().map(|(expr, _)| expr);
    let delta = delta.map(|delta| sharing.steadied(delta, exprs));
    let mut terms: Vec<Plan> = delta.map(|delta| over(delta, then.clone())).into_iter().collect();
    terms.push(over(crossing.clone(), now));
    terms.push(Plan::Negate(Box::new(over(crossing, then))));
    Ok(sum(terms))
}

/// The rows for which some comparison in `exprs` comes out differently then and now.
fn crossing<'a>(input: &Plan, exprs: impl IntoIterator<Item = &'a Expr>) -> Plan {
    let crossings: Vec<Expr> = exprs.into_iter().flat_map(Expr::crossings).flatten().collect();
    Plan::Filter(Filter { input: Box::new(input.clone()), predicate: Expr::or(&crossings) })
}

/// Refuses time where no rule knows which rows it changes: outside comparisons, and in anything but a filter or a
/// projection.
pub(super) fn check(plan: &Plan) -> Result<(), Unsupported> {
    let has_rule = matches!(plan, Plan::Filter(_) | Plan::Project(_));
    let is_refused = |expr: &&Expr| expr.reads_time_at_large() || (!has_rule && expr.reads_time());
    if !plan.expressions().iter().any(is_refused) {
        return Ok(());
    }
    let reason = if has_rule { Refusal::TimeOfEveryRow } else { Refusal::TimeElsewhere };
    Err(Unsupported { construct: Construct { name: TIME.to_owned(), position: None }, reason })
}

/// What a refusal names if the front end knows no better.
pub const TIME: &str = "the current time";
