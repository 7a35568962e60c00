//! Differentiation: the change of a plan as a plan.
//!
//! Contract of every rule: with `New` the state after the change and `d` the change, the result denotes
//! `plan(New) - plan(New - d)`. Leaves of the result read `New` ([`Plan::Source`], [`Plan::Stored`]) and changes
//! ([`Plan::Delta`]); old states appear as [`Plan::Old`] or expanded by linearity. `None` says that the plan reads
//! nothing that changed. Plans must be fragments: stateful operators have been cut into stages before.

mod expand;
mod inner_join;
mod linear;
mod outer_join;
mod semi_join;
mod steady;
mod temporal_filter;

pub use steady::projections_last;
pub use temporal_filter::TIME;

use crate::plan::{Delta, DeltaOf, Plan, UnionAll};
use crate::query::{Construct, Unsupported};
use crate::refusal::Refusal;
use crate::types::{SourceId, StageId};
use std::collections::BTreeSet;

/// What changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    pub sources: BTreeSet<SourceId>,
    pub stages: BTreeSet<StageId>,
    /// The time of the refresh is not that of the frontier.
    pub time: bool,
    /// A round of this recursion, whose change is [`DeltaOf::Round`].
    pub round: Option<StageId>,
}

impl Changed {
    /// Only base relations changed.
    pub fn sources(sources: impl IntoIterator<Item = SourceId>) -> Changed {
        Changed { sources: sources.into_iter().collect(), ..Changed::default() }
    }
}

/// Changes of subplans that several terms use: computed once, consolidated, in this order, before the plan that reads
/// them as [`DeltaOf::Shared`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    pub plans: Vec<Plan>,
    /// Every expression is spared the rows that cancel, not only those known to raise; see `steady`.
    pub is_careful: bool,
}

impl Sharing {
    /// The change itself if reading it several times costs nothing more, else a reference to it.
    fn share(&mut self, delta: Plan) -> Plan {
        if is_cheap(&delta) {
            return delta;
        }
        let columns = delta.columns();
        let ordinals = (0..columns.len()).collect();
        let position = self.plans.iter().position(|known| *known == delta).unwrap_or_else(|| {
            self.plans.push(delta);
            self.plans.len() - 1
        });
        let of = DeltaOf::Shared(position as u32);
        Plan::Delta(Delta { of, ordinals, columns })
    }
}

/// A change that is already in a named relation, perhaps filtered.
fn is_cheap(delta: &Plan) -> bool {
    match delta {
        Plan::Delta(_) => true,
        Plan::Filter(filter) => is_cheap(&filter.input),
        Plan::Project(project) => is_cheap(&project.input),
        Plan::Negate(input) => is_cheap(input),
        _ => false,
    }
}

/// The change of `plan`, or `None` if it reads nothing that changed.
pub fn differentiate(
    plan: &Plan,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    if changed.time {
        temporal_filter::check(plan)?;
    }
    match plan {
        Plan::Source(source) => Ok(changed.sources.contains(&source.source).then(|| {
            Plan::Delta(Delta {
                of: DeltaOf::Source(source.source),
                ordinals: source.ordinals.clone(),
                columns: source.columns.clone(),
            })
        })),
        Plan::Stored(stored) => Ok(changed.stages.contains(&stored.stage).then(|| {
            Plan::Delta(Delta {
                of: DeltaOf::Stage(stored.stage),
                ordinals: (0..stored.columns.len()).collect(),
                columns: stored.columns.clone(),
            })
        })),
        Plan::Values(_) => Ok(None),
        Plan::Round(round) => Ok(round.of.filter(|_| changed.round == round.of).map(|stage| {
            Plan::Delta(Delta {
                of: DeltaOf::Round(stage),
                ordinals: (0..round.columns.len()).collect(),
                columns: round.columns.clone(),
            })
        })),
        Plan::Filter(filter) if changed.time && filter.predicate.reads_time() => {
            temporal_filter::filter(filter, changed, sharing)
        }
        Plan::Filter(filter) => linear::filter(filter, changed, sharing),
        Plan::Project(project) if changed.time && project.exprs.iter().any(|(expr, _)| expr.reads_time()) => {
            temporal_filter::project(project, changed, sharing)
        }
        Plan::Project(project) => linear::project(project, changed, sharing),
        Plan::UnionAll(union) => linear::union_all(union, changed, sharing),
        Plan::Repeat(repeat) => linear::repeat(repeat, changed, sharing),
        Plan::Expand(expand) => expand::rule(expand, changed, sharing),
        Plan::Negate(input) => linear::negate(input, changed, sharing),
        Plan::Join(join) => inner_join::rule(join, changed, sharing),
        Plan::OuterJoin(join) => outer_join::rule(join, changed, sharing),
        Plan::SemiJoin(join) => semi_join::rule(join, changed, sharing),
        Plan::Delta(_) | Plan::Old(_) | Plan::Flip(_) => Err(not_a_fragment("a change")),
        Plan::Aggregate(_) => Err(not_a_fragment("an aggregate")),
        Plan::SetOp(_) => Err(not_a_fragment("a set operation")),
        Plan::Recursive(_) => Err(not_a_fragment("a recursive query")),
        Plan::TopK(_) => Err(not_a_fragment("a LIMIT")),
        Plan::Window(_) => Err(not_a_fragment("a window function")),
        Plan::DependentJoin(_) => Err(not_a_fragment("a correlated subquery")),
    }
}

fn not_a_fragment(name: &str) -> Unsupported {
    Unsupported {
        construct: Construct { name: name.to_owned(), position: None },
        reason: Refusal::NotAFragment,
    }
}

/// The sum of changes; `None` for no term.
fn sum(mut terms: Vec<Plan>) -> Option<Plan> {
    match terms.len() {
        0 => None,
        1 => terms.pop(),
        _ => Some(Plan::UnionAll(UnionAll { inputs: terms })),
    }
}
