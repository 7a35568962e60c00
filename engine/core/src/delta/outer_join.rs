//! Left and full join as inner join plus null-extended anti joins.
//!
//! ```text
//! L left R = (L join R) + (L anti R) x NULLs          L full R = (L left R) + NULLs x (R anti L)
//! ```
//!
//! Each part is differentiated by its own rule. The null-extended row carries the left row's weight.

use super::{Changed, Sharing, inner_join, semi_join, sum};
use crate::expr::Expr;
use crate::plan::{Join, OuterJoin, OuterKind, Plan, Project, SemiJoin};
use crate::query::Unsupported;
use crate::types::Column;

pub(super) fn rule(
    join: &OuterJoin,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    let (left, right) = (join.left.columns(), join.right.columns());
    let inner =
        Join { inputs: vec![(*join.left).clone(), (*join.right).clone()], predicates: join.on.clone() };
    let mut terms: Vec<Plan> = inner_join::rule(&inner, changed, sharing)?.into_iter().collect();
    let unmatched_left =
        SemiJoin { anti: true, left: join.left.clone(), right: join.right.clone(), on: join.on.clone() };
    if let Some(delta) = semi_join::rule(&unmatched_left, changed, sharing)? {
        let kept = kept_columns(&left, 0);
        terms.push(project(delta, kept.chain(null_columns(&right))));
    }
    if join.kind == OuterKind::Full {
        // The mirrored anti join sees the sides exchanged, so its conditions are over right then left columns.
        let mirror =
            |column: usize| if column < left.len() { column + right.len() } else { column - left.len() };
        let unmatched_right = SemiJoin {
            anti: true,
            left: join.right.clone(),
            right: join.left.clone(),
            on: join.on.iter().map(|predicate| predicate.map_columns(mirror)).collect(),
        };
        if let Some(delta) = semi_join::rule(&unmatched_right, changed, sharing)? {
            terms.push(project(delta, null_columns(&left).chain(kept_columns(&right, 0))));
        }
    }
    Ok(sum(terms))
}

fn project(input: Plan, exprs: impl Iterator<Item = (Expr, String)>) -> Plan {
    Plan::Project(Project { input: Box::new(input), exprs: exprs.collect() })
}

fn kept_columns(columns: &[Column], offset: usize) -> impl Iterator<Item = (Expr, String)> {
    columns.iter().enumerate().map(move |(index, column)| Expr::named(index + offset, column))
}

fn null_columns(columns: &[Column]) -> impl Iterator<Item = (Expr, String)> {
    columns.iter().map(|column| (Expr::null(column), column.name.clone()))
}
