//! Semi and anti join by match counts.
//!
//! ```text
//! d(L anti R) = dL * [matches before = 0]  -  Flip(L, R)
//! d(L semi R) = dL * [matches before > 0]  +  Flip(L, R)
//! Flip(L, R)  = New(L) * ([matches before = 0] - [matches after = 0])
//! ```
//!
//! The first term ranges over all of dL, against the *old* right side; only the second is restricted to rows whose match
//! count dR can change (`design-review.md` 5.1).  Reads: dL, New(L), New(R), dR.  Needs: New(R) of positive weights.

use super::{Changed, Sharing, differentiate, sum};
use crate::expr::Expr;
use crate::plan::{Filter, Flip, Old, Plan, SemiJoin};
use crate::query::Unsupported;

pub(super) fn rule(
    join: &SemiJoin,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    let left = differentiate(&join.left, changed, sharing)?;
    let right = differentiate(&join.right, changed, sharing)?.map(|delta| sharing.share(delta));
    let mut terms = vec![];
    if let Some(delta) = left {
        let delta = sharing.steadied(delta, &join.on);
        let right = match &right {
            Some(delta) => Plan::Old(Old { new: join.right.clone(), delta: Box::new(delta.clone()) }),
            None => (*join.right).clone(),
        };
        terms.push(Plan::SemiJoin(SemiJoin {
            anti: join.anti,
            left: Box::new(delta),
            right: Box::new(right),
            on: join.on.clone(),
        }));
    }
    if let Some(delta) = right {
        // What concerns the left row alone decides which are read, unless only a row that meets one of the right side may
        // be looked at.
        let width = join.left.columns().len();
        let is_of_left = |condition: &&Expr| {
            let columns = condition.columns();
            let is_inside = columns.iter().all(|&column| column < width) && !columns.is_empty();
            is_inside && !sharing.may_raise(condition)
        };
        let (own, on): (Vec<&Expr>, Vec<&Expr>) = join.on.iter().partition(is_of_left);
        let left = own.into_iter().fold((*join.left).clone(), |input, predicate| {
            Plan::Filter(Filter { input: Box::new(input), predicate: predicate.clone() })
        });
        let flip = Plan::Flip(Flip {
            left: Box::new(left),
            right: join.right.clone(),
            delta: Box::new(delta),
            on: on.into_iter().cloned().collect(),
        });
        terms.push(if join.anti { Plan::Negate(Box::new(flip)) } else { flip });
    }
    Ok(sum(terms))
}
