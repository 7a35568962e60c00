//! Stages: the only place with state (`design.md` 3.4).
//!
//! A plan is cut below every stateful operator. A stage is one such operator over a fragment of linear and bilinear
//! operators. It is given the consolidated change of its input, finds the affected keys, computes their new output
//! from state and change (or from the new input where the operator cannot be inverted), emits new minus old, applies
//! itself to its state; only then its consumers run and read the state as `New`.

pub mod accumulator;
pub mod aggregate;
pub mod top_k;

use crate::expr::{Expr, SortKey};
use crate::plan::{AggCall, Aggregate, Plan, SetOpKind, Stored, TopK, UnionAll};
use crate::query::{Construct, Unsupported};
use crate::types::{Column, StageId};

/// One stateful operator over a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub id: StageId,
    pub input: Plan,
    pub operator: Operator,
}

/// The stateful operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// See [`Aggregate`].
    Aggregate { keys: Vec<usize>, calls: Vec<AggCall> },
    /// See [`TopK`].
    TopK { partition: Vec<usize>, order: Vec<SortKey>, limit: Option<Expr>, offset: Option<Expr> },
}

/// A query as stages, bottom-up, and the fragment over them that is the stream table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    pub stages: Vec<Stage>,
    pub result: Plan,
}

impl Stage {
    /// Output columns.
    pub fn columns(&self) -> Vec<Column> {
        self.plan().columns()
    }

    /// The operator over its input as a plan: what the stage's output must equal.
    pub fn plan(&self) -> Plan {
        let input = Box::new(self.input.clone());
        match &self.operator {
            Operator::Aggregate { keys, calls } => {
                Plan::Aggregate(Aggregate { input, keys: keys.clone(), calls: calls.clone() })
            }
            Operator::TopK { partition, order, limit, offset } => Plan::TopK(TopK {
                input,
                partition: partition.clone(),
                order: order.clone(),
                limit: limit.clone(),
                offset: offset.clone(),
                with_ties: false,
                position: None,
            }),
        }
    }
}

/// Cuts a normalised plan below its stateful operators. Equal stages are shared.
pub fn cut(plan: &Plan) -> Result<Staged, Unsupported> {
    let mut stages = vec![];
    let result = cut_into(plan, &mut stages)?;
    Ok(Staged { stages, result })
}

fn cut_into(plan: &Plan, stages: &mut Vec<Stage>) -> Result<Plan, Unsupported> {
    match plan {
        Plan::Aggregate(aggregate) => {
            let input = cut_into(&aggregate.input, stages)?;
            let operator =
                Operator::Aggregate { keys: aggregate.keys.clone(), calls: aggregate.calls.clone() };
            Ok(stored(stages, input, operator))
        }
        Plan::TopK(top) => {
            if top.with_ties {
                return Err(unsupported(
                    "FETCH FIRST .. WITH TIES",
                    top.position,
                    "it is not maintained yet",
                ));
            }
            if [&top.limit, &top.offset].into_iter().flatten().any(|count| !count.columns().is_empty()) {
                return Err(unsupported(
                    "LIMIT that depends on a row",
                    top.position,
                    "it is not maintained yet",
                ));
            }
            let input = cut_into(&top.input, stages)?;
            let operator = Operator::TopK {
                partition: top.partition.clone(),
                order: top.order.clone(),
                limit: top.limit.clone(),
                offset: top.offset.clone(),
            };
            Ok(stored(stages, input, operator))
        }
        Plan::SetOp(set_op) if set_op.kind == SetOpKind::Union && !set_op.all => {
            let both =
                Plan::UnionAll(UnionAll { inputs: vec![(*set_op.left).clone(), (*set_op.right).clone()] });
            let keys = (0..both.columns().len()).collect();
            cut_into(&Plan::Aggregate(Aggregate { input: Box::new(both), keys, calls: vec![] }), stages)
        }
        Plan::SetOp(set_op) => {
            let name = match (set_op.kind, set_op.all) {
                (SetOpKind::Intersect, true) => "INTERSECT ALL",
                (SetOpKind::Intersect, false) => "INTERSECT",
                (SetOpKind::Except, true) => "EXCEPT ALL",
                (SetOpKind::Except, false) => "EXCEPT",
                (SetOpKind::Union, _) => "UNION",
            };
            Err(unsupported(name, set_op.position, "it is not maintained yet"))
        }
        Plan::DependentJoin(join) => {
            Err(unsupported("correlated subquery", join.position, "this form is not unnested yet"))
        }
        other => {
            let mut copy = other.clone();
            for child in copy.children_mut() {
                *child = cut_into(child, stages)?;
            }
            Ok(copy)
        }
    }
}

fn stored(stages: &mut Vec<Stage>, input: Plan, operator: Operator) -> Plan {
    let known = stages.iter().position(|stage| stage.operator == operator && stage.input == input);
    let position = known.unwrap_or_else(|| {
        stages.push(Stage { id: StageId(stages.len() as u32), input, operator });
        stages.len() - 1
    });
    let stage = &stages[position];
    let plan = stage.plan();
    Plan::Stored(Stored { stage: stage.id, columns: plan.columns(), keys: plan.keys() })
}

fn unsupported(name: &str, position: Option<u32>, reason: &str) -> Unsupported {
    Unsupported { construct: Construct { name: name.to_owned(), position }, reason: reason.to_owned() }
}
