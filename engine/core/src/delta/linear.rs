//! Linear operators are their own change.  d(f(A)) = f(dA)  for f a filter, a bag projection, a sum, a negation, the
//! repetition of rows.  Reads: dA.  Needs: nothing.
//!
//! What may raise is spared the rows of dA that cancel (`steady`).

use super::{Changed, Sharing, differentiate, sum};
use crate::plan::{Filter, Plan, Project, Repeat, UnionAll};
use crate::query::Unsupported;

type Rule = Result<Option<Plan>, Unsupported>;

pub(super) fn filter(filter: &Filter, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let delta = differentiate(&filter.input, changed, sharing)?;
    Ok(delta.map(|delta| {
        let input = sharing.steadied(delta, [&filter.predicate]);
        Plan::Filter(Filter { input: Box::new(input), predicate: filter.predicate.clone() })
    }))
}

pub(super) fn project(project: &Project, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let delta = differentiate(&project.input, changed, sharing)?;
    Ok(delta.map(|delta| sharing.steadied_projection(delta, project, changed)))
}

pub(super) fn repeat(repeat: &Repeat, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let delta = differentiate(&repeat.input, changed, sharing)?;
    Ok(delta.map(|delta| {
        let input = sharing.steadied(delta, [&repeat.count]);
        Plan::Repeat(Repeat { input: Box::new(input), count: repeat.count.clone() })
    }))
}

pub(super) fn negate(input: &Plan, changed: &Changed, sharing: &mut Sharing) -> Rule {
    Ok(differentiate(input, changed, sharing)?.map(|delta| Plan::Negate(Box::new(delta))))
}

pub(super) fn union_all(union: &UnionAll, changed: &Changed, sharing: &mut Sharing) -> Rule {
    let mut terms = vec![];
    for input in &union.inputs {
        terms.extend(differentiate(input, changed, sharing)?);
    }
    Ok(sum(terms))
}
