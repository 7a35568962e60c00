//! n-ary inner join, telescoping.
//!
//! ```text
//! d(R1 .. Rn) = sum over changed i of  New(R1) .. New(R(i-1)) * dRi * Old(R(i+1)) .. Old(Rn)
//! ```
//!
//! Reads: dRi, New(Rj) for every j, Old(Rj) of changed inputs after i only.  Needs: nothing.  Class: bilinear.
//! An unchanged input is read plainly: its old state is its new state. Old states are expanded by linearity,
//! `Old(R) = New(R) - dR`, while the number of terms stays small, so that every term is a flat join the planner can
//! reorder (`design-review.md` 4.2). Self-joins need no care: every occurrence is an input of its own.

use super::{Changed, Sharing, differentiate, sum};
use crate::plan::{Join, Old, Plan};
use crate::query::Unsupported;

/// With up to this many changed inputs after the i-th, a term is expanded into `2^k` flat joins.
const EXPANDED_MAX: usize = 2;

pub(super) fn rule(
    join: &Join,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    let mut deltas = vec![];
    for input in &join.inputs {
        deltas.push(differentiate(input, changed, sharing)?);
    }
    let is_used_again = deltas.iter().flatten().count() > 1;
    let mut kept = |delta| {
        if is_used_again { sharing.share(delta) } else { sharing.steadied(delta, &join.predicates) }
    };
    let deltas: Vec<Option<Plan>> = deltas.into_iter().map(|delta| delta.map(&mut kept)).collect();
    let mut terms = vec![];
    for (index, delta) in deltas.iter().enumerate() {
        let Some(delta) = delta else { continue };
        let later: Vec<usize> = (index + 1..deltas.len()).filter(|&other| deltas[other].is_some()).collect();
        let mut inputs = join.inputs.clone();
        inputs[index] = delta.clone();
        if later.len() > EXPANDED_MAX {
            for &other in &later {
                if let Some(delta) = &deltas[other] {
                    let new = Box::new(inputs[other].clone());
                    inputs[other] = Plan::Old(Old { new, delta: Box::new(delta.clone()) });
                }
            }
            terms.push(term(join, inputs));
            continue;
        }
        for subset in 0..1_u32 << later.len() {
            let mut inputs = inputs.clone();
            for (bit, &other) in later.iter().enumerate() {
                if let (true, Some(delta)) = (subset & (1 << bit) != 0, &deltas[other]) {
                    inputs[other] = delta.clone();
                }
            }
            let joined = term(join, inputs);
            terms.push(if subset.count_ones() % 2 == 1 { Plan::Negate(Box::new(joined)) } else { joined });
        }
    }
    Ok(sum(terms))
}

fn term(join: &Join, inputs: Vec<Plan>) -> Plan {
    Plan::Join(Join { inputs, predicates: join.predicates.clone() })
}
