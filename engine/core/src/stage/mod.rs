//! Stages: the only place with state (`design.md` 3.4).
//!
//! A plan is cut below every stateful operator. A stage is one such operator over a fragment of linear and bilinear
//! operators. It is given the consolidated change of its input, finds the affected keys, computes their new output
//! from state and change (or from the new input where the operator cannot be inverted), emits new minus old, applies
//! itself to its state; only then its consumers run and read the state as `New`.

pub mod accumulator;
pub mod aggregate;
pub mod arrangement;
pub mod polled;
pub mod recursion;
mod set_op;
pub mod top_k;
pub mod window;

use crate::delta::TIME;
use crate::expr::{Expr, SortKey};
use crate::plan::{AggCall, Aggregate, Plan, Recursive, Stored, TopK, Window, WindowCall};
use crate::program::{Action, Identity, Step};
use crate::query::{Construct, Unsupported};
use crate::refusal::Refusal;
use crate::sql::lower::StoredRelation;
use crate::sql::{column_name, list};
use crate::types::{Column, StageId, TypeRef};
use std::collections::BTreeSet;

/// One stateful operator over a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub id: StageId,
    pub input: Plan,
    pub operator: Operator,
}

/// What every kind of stage renders.
pub trait StageSql {
    fn id(&self) -> StageId;

    /// Statements that create the state table and its indexes.
    fn ddl(&self) -> Vec<String>;

    /// How consumers read the stage's output.
    fn stored(&self, alias: &str) -> StoredRelation;

    /// The relation that must hold the consolidated change of the input.
    fn input_name(&self) -> String {
        self.name("input")
    }

    /// The stage's own relation for this purpose.
    fn name(&self, what: &str) -> String {
        format!("pgt_{what}_{}", self.id().0)
    }

    /// A step to be made whatever has changed.
    fn always(&self, label: &str, identity: Identity, action: Action) -> Step {
        Step { label: format!("stage {}: {label}", self.id().0), identity, when: None, action }
    }

    /// A step to be made if the input changes.
    fn step(&self, label: &str, identity: Identity, action: Action) -> Step {
        Step { when: Some(self.input_name()), ..self.always(label, identity, action) }
    }

    /// The steps from the input's change to the output's change (relation `into`) and the new state. `input` is the
    /// stage's input after the change, as a query with columns `c1..cn`.
    fn steps(&self, input: &str, into: &str) -> Vec<Step>;

    /// The steps that fill an empty state table from the stage's input, a query with columns `c1..cn`.
    fn populate(&self, input: &str) -> Vec<Step>;

    /// The columns of the input by which the stage reads its new input again for affected keys; None if it never does.
    fn rereads_by(&self) -> Option<&[usize]> {
        None
    }

    /// The stage can read its input from an [`arrangement`].
    fn can_keep_input(&self) -> bool {
        false
    }

    /// What a change makes the stage compute again, beyond what it reads of its input.
    fn recomputes(&self) -> Recomputes {
        Recomputes::Nothing
    }

    /// How consumers find output rows of which these columns are given.
    fn lookup(&self, _given: &BTreeSet<usize>) -> Lookup {
        Lookup::Scan
    }
}

/// The definitions of `c1..cn` in a table that keeps rows of these columns.
fn definitions(columns: &[Column]) -> impl Iterator<Item = String> {
    columns.iter().enumerate().map(|(index, column)| {
        let not_null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", column_name(index), column.ty.definition())
    })
}

/// How rows of a stage's output are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// All of them are read.
    Scan,
    /// By an index that the state has anyway.
    Index,
    /// By an index that is created for it.
    CreateIndex(String),
}

impl Lookup {
    /// An index on the first of the named columns of a state that has one.
    fn by_columns(table: &str, columns: &[(String, &TypeRef)]) -> Lookup {
        let compact: Vec<String> = columns
            .iter()
            .filter(|(_, ty)| ty.ordered && ty.is_compact())
            .map(|(name, _)| name.clone())
            .collect();
        if !compact.is_empty() {
            return Lookup::CreateIndex(format!("CREATE INDEX ON {table} ({})", list(compact)));
        }
        // Values of any length fit a hash index.
        match columns.iter().find(|(_, ty)| ty.hashable) {
            Some((name, _)) => Lookup::CreateIndex(format!("CREATE INDEX ON {table} USING hash ({name})")),
            None => Lookup::Scan,
        }
    }
}

/// What a stage computes again from its own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recomputes {
    /// What follows the change.
    Nothing,
    /// Rows of the partitions that a change touches; with the reason.
    Partitions(String),
    /// All rows; with the reason.
    State(String),
}

/// The stateful operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// See [`Aggregate`].
    Aggregate { keys: Vec<usize>, calls: Vec<AggCall> },
    /// See [`TopK`].
    TopK {
        partition: Vec<usize>,
        order: Vec<SortKey>,
        limit: Option<Expr>,
        offset: Option<Expr>,
        with_ties: bool,
    },
    /// See [`Window`].
    Window { partition: Vec<usize>, order: Vec<SortKey>, calls: Vec<WindowCall> },
    /// See [`Recursive`]; the stage's input is the base.
    Recursion { all: bool, step: Plan },
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
            Operator::TopK { partition, order, limit, offset, with_ties } => Plan::TopK(TopK {
                input,
                partition: partition.clone(),
                order: order.clone(),
                limit: limit.clone(),
                offset: offset.clone(),
                with_ties: *with_ties,
                position: None,
            }),
            Operator::Window { partition, order, calls } => Plan::Window(Window {
                input,
                partition: partition.clone(),
                order: order.clone(),
                calls: calls.clone(),
            }),
            Operator::Recursion { all, step } => Plan::Recursive(Recursive {
                all: *all,
                base: input,
                step: Box::new(step.clone()),
                name: String::new(),
                position: None,
            }),
        }
    }
}

impl Stage {
    /// True if rows that tie in the operator's order can make a difference to its output, or any value of a group will do.
    pub(crate) fn breaks_ties(&self) -> bool {
        let keys = self.input.keys();
        match &self.operator {
            Operator::Recursion { .. } => false,
            Operator::Aggregate { calls, .. } => {
                calls.iter().any(|call| call.function.builtin.as_deref() == Some("any_value"))
            }
            Operator::TopK { partition, order, with_ties, .. } => {
                !with_ties && !is_total(&keys, partition, order)
            }
            Operator::Window { partition, order, calls } => {
                calls.iter().any(WindowCall::sees_order_of_peers) && !is_total(&keys, partition, order)
            }
        }
    }
}

/// True if no two rows of a partition tie: the partition and the order hold a key.
fn is_total(keys: &[Vec<usize>], partition: &[usize], order: &[SortKey]) -> bool {
    let order: Vec<usize> = order.iter().filter(|key| key.using.is_none()).map(|key| key.column).collect();
    is_key(keys, partition, &order)
}

/// True if the partition and some columns hold a key.
fn is_key(keys: &[Vec<usize>], partition: &[usize], columns: &[usize]) -> bool {
    keys.iter().any(|key| key.iter().all(|column| partition.contains(column) || columns.contains(column)))
}

/// Cuts a normalised plan below its stateful operators. Equal stages are shared.
pub fn cut(plan: &Plan) -> Result<Staged, Unsupported> {
    let mut stages = vec![];
    let result = cut_into(plan, &mut stages)?;
    Ok(Staged { stages, result })
}

fn cut_into(plan: &Plan, stages: &mut Vec<Stage>) -> Result<Plan, Unsupported> {
    let has_state = matches!(plan, Plan::Aggregate(_) | Plan::TopK(_) | Plan::Window(_));
    if has_state && plan.expressions().into_iter().any(Expr::reads_time) {
        return Err(unsupported(TIME, None, Refusal::TimeElsewhere));
    }
    match plan {
        Plan::Aggregate(aggregate) => {
            let columns = aggregate.input.columns();
            check_kept(aggregate.keys.iter().map(|&key| &columns[key]), "grouping", None)?;
            let input = cut_into(&aggregate.input, stages)?;
            let operator =
                Operator::Aggregate { keys: aggregate.keys.clone(), calls: aggregate.calls.clone() };
            Ok(stored(stages, input, operator))
        }
        Plan::TopK(top) => {
            if top.with_ties && top.limit.is_none() {
                return Err(unsupported(
                    "FETCH FIRST NULL ROWS WITH TIES",
                    top.position,
                    Refusal::TiesOfNoNumber,
                ));
            }
            check_kept(&top.input.columns(), "LIMIT", top.position)?;
            let input = cut_into(&top.input, stages)?;
            let operator = Operator::TopK {
                partition: top.partition.clone(),
                order: top.order.clone(),
                limit: top.limit.clone(),
                offset: top.offset.clone(),
                with_ties: top.with_ties,
            };
            Ok(stored(stages, input, operator))
        }
        Plan::Window(window) => {
            let position = window.calls.first().and_then(|call| call.position);
            check_kept(&window.input.columns(), "window function", position)?;
            let input = cut_into(&window.input, stages)?;
            let operator = Operator::Window {
                partition: window.partition.clone(),
                order: window.order.clone(),
                calls: window.calls.clone(),
            };
            Ok(stored(stages, input, operator))
        }
        Plan::SetOp(set_op) => cut_into(&set_op::as_groups(set_op), stages),
        Plan::Recursive(recursive) => cut_recursion(recursive, stages),
        Plan::DependentJoin(join) => {
            Err(unsupported("correlated subquery", join.position, Refusal::NotUnnested))
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

/// What a state keeps must be of types a table can have.
fn check_kept<'a>(
    columns: impl IntoIterator<Item = &'a Column>,
    construct: &str,
    position: Option<u32>,
) -> Result<(), Unsupported> {
    if columns.into_iter().all(|column| column.ty.is_storable()) {
        return Ok(());
    }
    Err(unsupported(construct, position, Refusal::RecordKept))
}

/// The step is checked as the query has it, so that a refusal names what stands there.
fn cut_recursion(recursive: &Recursive, stages: &mut Vec<Stage>) -> Result<Plan, Unsupported> {
    let refused =
        |reason| unsupported(&format!("recursive query {}", recursive.name), recursive.position, reason);
    recursion::carry::carried(&recursive.step, StageId(0)).map_err(refused)?;
    let columns = recursive.base.columns();
    if columns.is_empty() {
        return Err(refused(Refusal::RecursionColumns));
    }
    if !columns.iter().all(|column| column.ty.is_storable()) {
        return Err(refused(Refusal::RecursionRecord));
    }
    let mut reads_time = false;
    recursive.step.visit(&mut |plan| reads_time |= plan.expressions().into_iter().any(Expr::reads_time));
    if reads_time {
        return Err(unsupported(TIME, None, Refusal::TimeElsewhere));
    }
    let input = cut_into(&recursive.base, stages)?;
    let step = cut_into(&recursive.step, stages)?;
    Ok(stored(stages, input, Operator::Recursion { all: recursive.all, step }))
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

fn unsupported(name: &str, position: Option<u32>, reason: Refusal) -> Unsupported {
    Unsupported { construct: Construct { name: name.to_owned(), position }, reason }
}
