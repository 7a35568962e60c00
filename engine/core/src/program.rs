//! Programs: what a refresh executes. SQL steps over base tables, state tables and named in-memory relations.
//!
//! The engine's executor is dumb on purpose: it runs the steps in order under one snapshot, keeps the named relations
//! as tuplestores that later steps can read by name, and checks row counts.

use crate::types::{SourceId, TypeRef};
use serde::{Deserialize, Serialize};

/// A list of steps, run in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub steps: Vec<Step>,
    /// The relation that holds the change of the stream table itself (columns `c1..cn`, then `w`), consolidated; for
    /// consumers of the stream table. None for a program that populates an empty stream table.
    pub output: Option<String>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is for, e.g. `stage 2: groups`; shown in errors and explanations.
    pub label: String,
    pub identity: Identity,
    /// Run only if this relation has rows. A skipped [`Action::Select`] leaves its relation empty.
    pub when: Option<String>,
    pub action: Action,
}

/// On whose behalf a step runs (`design-review.md` 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// The stream table's owner, restricted: evaluates user expressions, writes the stream table.
    Owner,
    /// The extension's owner: writes state; no user expression.
    Extension,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Runs `sql` and keeps its result under the name `into`, readable by later steps as a relation of that name.
    Select { into: String, columns: Vec<RelationColumn>, sql: String },
    /// Adds the result of `sql`, which does not read it, to the relation `into` that an earlier step made.
    Append { into: String, sql: String },
    /// Runs `steps` once for each number that `next` gives, which it is asked for again after each run, until it gives
    /// none. The number is kept as the only row of the relation `round`, in its column `k`. Beyond the deepest round the
    /// user allows, a round for which `grows` (one boolean) is true is an error.
    Rounds { next: String, round: String, grows: String, steps: Vec<Step> },
    /// Data-modifying statement. `expect` is a query for one `int8`: the number of rows it must touch.
    Modify { sql: String, expect: Option<String>, counts: Counts },
    /// A query that returns one boolean; if it is true the refresh stops with an internal-consistency error
    /// that says `message`, and the stream table is rebuilt.
    Check { sql: String, message: String },
}

impl Program {
    /// Every statement with its step's label, those of rounds once.
    pub fn statements(&self) -> Vec<(&str, &str)> {
        let mut all = vec![];
        collect(&self.steps, &mut all);
        all
    }
}

fn collect<'a>(steps: &'a [Step], all: &mut Vec<(&'a str, &'a str)>) {
    for step in steps {
        match &step.action {
            Action::Select { sql, .. }
            | Action::Append { sql, .. }
            | Action::Modify { sql, .. }
            | Action::Check { sql, .. } => all.push((&step.label, sql)),
            Action::Rounds { next, steps, .. } => {
                all.push((&step.label, next));
                collect(steps, all);
            }
        }
    }
}

/// What the rows a [`Action::Modify`] touches count as in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counts {
    Inserted,
    Deleted,
    /// An update in place counts as one inserted and one deleted row.
    Updated,
    /// State, not the stream table.
    State,
}

/// A column of a named relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationColumn {
    pub name: String,
    pub ty: TypeRef,
}

/// The consolidated change of one source as the executor must provide it before the first step: a relation
/// `name` with columns `c1..cn` in the order of [`crate::query::SourceInfo::columns`] and `w int8`, no two rows with
/// one image, no weight 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub source: SourceId,
    pub name: String,
}

/// The relation name of a source's change.
pub fn source_delta_name(source: SourceId) -> String {
    format!("pgt_d_source_{}", source.0)
}
