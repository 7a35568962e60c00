//! Set-returning functions, for each row.
//!
//! ```text
//! d(A x f(a)) = dA x f(a)          d(A left x f(a) on p) = dA left x f(a) on p
//! ```
//!
//! The rows of `f` depend on the input row alone: functions are immutable and the item reads no table. So the operator
//! is linear, its outer form included: whether a row is null-extended is decided by the row itself. The rows that
//! belong to an input row carry its weight.  Reads: dA.  Needs: nothing.  Class: linear.
//! Golden: `corpus/rules/expand.test`.  Page: `docs/operators/expand.md`.

use super::{Changed, Sharing, differentiate};
use crate::plan::{Expand, Plan};
use crate::query::Unsupported;

pub(super) fn rule(
    expand: &Expand,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    let delta = differentiate(&expand.input, changed, sharing)?;
    Ok(delta.map(|delta| {
        let input = sharing.steadied(delta, expand.exprs());
        Plan::Expand(Expand { input: Box::new(input), ..expand.clone() })
    }))
}
