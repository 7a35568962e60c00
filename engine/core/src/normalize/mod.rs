//! Named rewrites that bring a query into the form that can be cut into stages and differentiated.
//!
//! | rewrite | file | what it does |
//! |---|---|---|
//! | `push-filters` | `filter` | conditions move to where they restrict most; equality conditions reach joins |
//! | `null-rejecting` | `filter` | a left join under a condition that NULLs cannot pass is an inner join |
//! | `one-sided-on` | `filter` | ON conditions over the right side alone restrict the right side |
//! | `mark-to-semi` | `unnest` | `EXISTS`, `IN` as a condition is a semi join, negated an anti join |
//! | `mark-to-union` | `unnest` | `EXISTS`, `IN` as a value is a union of the rows for which it is true, NULL, false |
//! | `scalar-to-join` | `unnest` | a scalar subquery is a join with its only row, or with its rows grouped by the correlation |
//! | `lateral-to-join` | `unnest` | LATERAL with pulled-up conditions is a join |

mod correlation;
mod filter;
mod unnest;

use crate::plan::Plan;
use crate::query::Unsupported;

/// Applies all rewrites. The result has no dependent join and the same rows.
pub fn normalize(plan: &Plan) -> Result<Plan, Unsupported> {
    let pushed = filter::push(plan.clone(), vec![]);
    let unnested = unnest::unnest(pushed)?;
    Ok(filter::push(unnested, vec![]))
}
