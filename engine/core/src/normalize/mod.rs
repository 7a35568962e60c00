//! Named rewrites that bring a query into the form that can be cut into stages and differentiated.
//!
//! | rewrite | file | what it does |
//! |---|---|---|
//! | `push-filters` | `filter` | conditions move to where they restrict most; equality conditions reach joins |
//! | `null-rejecting` | `filter` | a left join under a condition that NULLs cannot pass is an inner join |
//! | `one-sided-on` | `filter` | ON conditions over the right side alone restrict the right side |
//! | `scalars-last` | `late` | scalar subqueries that may raise stand above joins and limits that do not look at them |
//! | `marks-first` | `early` | `EXISTS`, `IN` as a condition stand before the subqueries they do not look at |
//! | `mark-to-semi` | `unnest` | `EXISTS`, `IN` as a condition is a semi join, negated an anti join |
//! | `null-aware` | `null_aware` | `NOT IN` with NULLs is a sequence of anti joins by equality |
//! | `mark-to-union` | `unnest` | `EXISTS`, `IN` as a value is a union of the rows for which it is true, NULL, false |
//! | `scalar-to-join` | `unnest` | a scalar subquery is a join with its only row, or with its rows grouped by the correlation |
//! | `array-to-join` | `unnest` | ARRAY(subquery) is a join with its rows collected by the correlation |
//! | `lateral-to-join` | `unnest` | LATERAL is a join |
//! | `push-domain` | `domain`, `descend` | a right side that is correlated elsewhere than in conditions is evaluated for the distinct outer values |
//! | `distinct-arguments` | `distinct` | `count(DISTINCT x)` and the like count the rows of a DISTINCT |
//! | `checks-above` | `unnest` | several rows of a scalar subquery are an error where the value is used |
//! | `rank-to-top-k` | `rank` | a bound on `row_number()` limits the rows of each partition beneath the window |
//! | `narrow-aggregates` | `narrow` | columns that an aggregate does not read end beneath it |

mod correlation;
mod descend;
mod distinct;
mod domain;
mod early;
mod filter;
mod late;
mod narrow;
mod null_aware;
mod rank;
mod unnest;

use crate::plan::Plan;
use crate::query::Unsupported;

pub use correlation::is_correlated;

/// Applies all rewrites. The result has no dependent join and the same rows.
pub fn normalize(plan: &Plan) -> Result<Plan, Unsupported> {
    let pushed = filter::push(plan.clone(), vec![]);
    let unnested = unnest::unnest(early::marks_first(late::scalars_last(pushed)))?;
    Ok(narrow::aggregates(distinct::split(rank::limit(filter::push(unnested, vec![])))))
}
