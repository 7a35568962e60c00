//! Recursions among the stages: what they are given, and what a round adds to the next one.

use super::{Inlined, Maintenance, fragment_change};
use crate::delta::{Changed, Sharing};
use crate::plan::{Plan, Round};
use crate::query::Unsupported;
use crate::sql::identity::consolidate;
use crate::sql::lower::{Lowering, NotLowerable, StoredRelation};
use crate::sql::select::union_all;
use crate::sql::{column_name, list};
use crate::stage::recursion::{RecursionStage, carry};
use crate::stage::{Operator, Stage};
use crate::types::{Column, StageId};
use std::collections::BTreeMap;

impl Maintenance {
    pub(super) fn recursion(&self, table: String, stage: &Stage, all: bool) -> RecursionStage<'_> {
        let follow = self.follows.get(&stage.id).map_or("", String::as_str);
        RecursionStage { id: stage.id, table, columns: stage.columns(), all, follow }
    }

    /// See [`crate::sql::lower::Relations::rounds`]. After [`crate::stage::cut`] every round is one of a stage.
    pub(super) fn old_rounds(&self, round: &Round, alias: &str) -> StoredRelation {
        let stage = &self.staged.stages[round.of.unwrap_or(StageId(0)).0 as usize];
        let all = matches!(stage.operator, Operator::Recursion { all: true, .. });
        self.recursion(self.state_table(stage.id), stage, all).old_rounds(alias)
    }

    /// The change that a stage is given: of its input; for a recursion, of the derivations over the old rounds.
    pub(super) fn input_change(
        &self,
        stage: &Stage,
        changed: &Changed,
        sharing: &mut Sharing,
    ) -> Result<Option<Plan>, Unsupported> {
        match &stage.operator {
            Operator::Recursion { step, .. } => {
                carry::derived_change(&stage.input, step, stage.id, changed, sharing)
            }
            _ => fragment_change(&stage.input, changed, sharing),
        }
    }

    /// The change that a stage is given, a query with `columns` and a weight, consolidated.
    pub(super) fn consolidated(&self, stage: &Stage, columns: &[Column], body: &str) -> String {
        match stage.operator {
            Operator::Recursion { all, .. } => {
                self.recursion(self.state_table(stage.id), stage, all).grouped(body)
            }
            _ => consolidate(columns, body),
        }
    }

    /// What the change of a round adds to the next one, for a stage that is a recursion.
    pub(super) fn round_change(&self, stage: &Stage) -> Result<Option<Plan>, Unsupported> {
        match &stage.operator {
            Operator::Recursion { step, .. } => carry::next_change(step, stage.id),
            _ => Ok(None),
        }
    }

    /// The same as queries.
    pub(super) fn follow_rounds(&self) -> Result<BTreeMap<StageId, String>, Unsupported> {
        let mut follows = BTreeMap::new();
        for stage in &self.staged.stages {
            if let Some(change) = self.round_change(stage)? {
                follows.insert(stage.id, self.change(&change)?);
            }
        }
        Ok(follows)
    }
}

/// The name of a recursion in the query for a stream table's contents.
const RECURSION: &str = "pgt_recursion";

/// The rows of a recursion as a query that looks like its state. Base and step are one query each for the server, which
/// allows one recursive reference only: the step is evaluated beside each row of the round before.
pub(super) fn inlined(
    relations: &Inlined<'_>,
    stage: &Stage,
    all: bool,
    step: &Plan,
) -> Result<String, NotLowerable> {
    let base = union_all(&Lowering::new(relations).lower(&stage.input)?, false);
    let step = union_all(&Lowering::new(relations).lower(step)?, false);
    let columns = list((0..stage.columns().len()).map(column_name));
    let union = if all { "UNION ALL" } else { "UNION" };
    Ok(format!(
        "(WITH RECURSIVE {RECURSION} ({columns}) AS (SELECT b.* FROM ({base}) b {union} \
         SELECT n.* FROM {RECURSION} pgt_round, LATERAL ({step}) n) \
         SELECT {columns}, 1::pg_catalog.int8 AS n, 0::pg_catalog.int8 AS k, true AS m FROM {RECURSION})"
    ))
}

/// The row of the round before, beside which [`inlined`] evaluates the step.
pub(super) fn row_of_round(round: &Round, alias: &str) -> StoredRelation {
    let names = || (0..round.columns.len()).map(column_name);
    StoredRelation {
        relation: format!("(SELECT {})", list(names().map(|name| format!("pgt_round.{name}")))),
        columns: names().map(|name| format!("{alias}.{name}")).collect(),
        multiplicity: None,
    }
}
