//! `narrow-aggregates`: what an aggregate does not read is projected away beneath it.
//!
//! The input's change is consolidated by all its columns before the aggregate sees it, and an arrangement stores them
//! all. Beneath `count(*)` over a join they would be those of every table.

use super::descend::columns_at;
use crate::expr::Expr;
use crate::plan::{Aggregate, Plan, Project};
use std::collections::BTreeSet;

/// The plan with every aggregate over the columns it reads, and no others.
pub(super) fn aggregates(mut plan: Plan) -> Plan {
    for child in plan.children_mut() {
        *child = aggregates(child.clone());
    }
    match plan {
        Plan::Aggregate(aggregate) => Plan::Aggregate(narrow(aggregate)),
        other => other,
    }
}

fn narrow(mut aggregate: Aggregate) -> Aggregate {
    let columns = aggregate.input.columns();
    let used = used(&aggregate);
    if used.len() == columns.len() {
        return aggregate;
    }
    let place = |column: usize| used.range(..column).count();
    for key in &mut aggregate.keys {
        *key = place(*key);
    }
    for call in &mut aggregate.calls {
        call.args.iter_mut().chain(&mut call.filter).for_each(|column| *column = place(*column));
        call.order_by.iter_mut().for_each(|key| key.column = place(key.column));
        call.direct_args.iter_mut().for_each(|argument| *argument = argument.map_columns(place));
    }
    aggregate.input = Box::new(match *aggregate.input {
        // Two projections in a row are one.
        Plan::Project(project) => Plan::Project(Project {
            exprs: used.iter().map(|&column| project.exprs[column].clone()).collect(),
            input: project.input,
        }),
        input => Plan::Project(Project { exprs: columns_at(&input, used), input: Box::new(input) }),
    });
    aggregate
}

/// Positions of the input's columns that the aggregate reads.
fn used(aggregate: &Aggregate) -> BTreeSet<usize> {
    let mut used: BTreeSet<usize> = aggregate.keys.iter().copied().collect();
    for call in &aggregate.calls {
        used.extend(call.args.iter().chain(&call.filter));
        used.extend(call.order_by.iter().map(|key| key.column));
        used.extend(call.direct_args.iter().flat_map(Expr::columns));
    }
    used
}
