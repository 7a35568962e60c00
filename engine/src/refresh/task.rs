//! What one refresh does, and what it does instead when that raises.
//!
//! A program may evaluate an expression that the defining query never evaluates: a stage computes a cast that stands
//! under CASE, a delta meets a row that a recompute would not see. So a program that raises is undone and the next
//! slower one tried: change, change in which no expression meets rows that cancel, rebuild of all states, the defining
//! query itself. What that raises, the user sees.

use crate::catalog::definition::StreamTable;
use crate::error::Result;
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::xact::{self, Failure};
use crate::refresh::compiled::Compiled;
use crate::refresh::constraints::Constraints;
use crate::refresh::member::not_differential;
use crate::refresh::{Action, RowCounts, run};
use pg_trickle_core::maintain::{Maintenance, populate_by_query, recompute_by_query};
use pg_trickle_core::program::{Program, source_delta_name};
use pg_trickle_core::types::SourceId;
use std::collections::BTreeSet;
use std::rc::Rc;

/// One way to refresh.
pub struct Task {
    pub action: Action,
    pub reason: Option<String>,
    /// None: nothing is to be done but to move the frontier.
    pub program: Option<Rc<Program>>,
    /// The sources whose changes the program takes.
    pub changed: BTreeSet<SourceId>,
    /// Consolidated rows of the sources' changes.
    pub delta_rows: u64,
    /// The states are right afterwards.
    pub keeps_state: bool,
    /// Differential maintenance was wanted and something stood in the way.
    pub is_fallback: bool,
}

/// What there is to choose from.
pub struct Choice<'a> {
    pub stream_table: &'a StreamTable,
    pub compiled: &'a Compiled,
    pub constraints: &'a Constraints,
}

impl Choice<'_> {
    /// The task if changes do not matter: no differential maintenance, states that are not valid, or a `reason`.
    pub fn recompute_first(&self, state_is_valid: bool, reason: Option<&str>) -> Result<Option<Task>> {
        let wants_changes = self.stream_table.runs_differentially();
        match &self.compiled.maintenance {
            Ok(_) if wants_changes && state_is_valid && reason.is_none() => Ok(None),
            Ok(_) if wants_changes => {
                let reason = reason.unwrap_or("state is to be rebuilt").to_owned();
                self.rebuild(reason, false).map(Some)
            }
            Ok(_) => Ok(Some(self.by_query(reason.map(str::to_owned), false))),
            Err(unsupported) => Ok(Some(self.by_query(Some(unsupported.reason.to_string()), wants_changes))),
        }
    }

    /// Fills an empty stream table and its states; if that raises, the stream table alone. Its states are then for the next
    /// refresh to fill, when the rows that made it raise may be gone.
    pub fn populate(&self, executor: &Executor) -> Result<(Task, RowCounts)> {
        let initial = |reason: String, keeps_state: bool, is_fallback: bool| Task {
            action: Action::Full,
            reason: Some(reason),
            program: None,
            changed: BTreeSet::new(),
            delta_rows: 0,
            keeps_state,
            is_fallback,
        };
        let mut reason = "initial population".to_owned();
        let mut query = self.compiled.recompute_sql();
        let mut is_fallback = false;
        if let (Ok(maintenance), true) = (&self.compiled.maintenance, self.stream_table.runs_differentially())
        {
            let program = maintenance.populate().map_err(not_differential)?;
            match self.attempt(executor, &program, Planning::Once) {
                Ok(counts) => return Ok((initial(reason, true, false), counts)),
                Err(failure) if failure.is_about_data() => {
                    self.warn("the states of stream table", "could not be filled", &failure);
                    executor.clear_relations();
                    reason = format!("initial population, without states, because of: {}", failure.message);
                    query.clone_from(&self.compiled.query_sql);
                    is_fallback = true;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        let program = populate_by_query(&self.compiled.shape, &self.stream_table.names(), &query);
        let counts = run::run(executor, self.stream_table, &program, Planning::Once)?;
        Ok((initial(reason, false, is_fallback), counts))
    }

    /// The task for a change of these sources, and of the time if the query reads it.
    pub fn change(&self, changed: &BTreeSet<SourceId>, delta_rows: u64) -> Result<Task> {
        let reads_time = self.compiled.maintenance.as_ref().is_ok_and(Maintenance::reads_time);
        let program = if changed.is_empty() && !reads_time {
            None
        } else {
            Some(self.compiled.delta(changed, self.constraints.options).map_err(not_differential)?)
        };
        Ok(Task {
            action: if program.is_some() { Action::Differential } else { Action::NoData },
            reason: None,
            program,
            changed: changed.clone(),
            delta_rows,
            keeps_state: true,
            is_fallback: false,
        })
    }

    fn maintenance(&self) -> Result<&Maintenance> {
        self.compiled.maintenance.as_ref().map_err(|error| not_differential(error.clone()))
    }

    /// The change that failed, done with care; None if that is nothing else.
    fn careful(&self, failed: &Task, reason: String) -> Result<Option<Task>> {
        let program = self.maintenance()?.careful_delta(&failed.changed, self.constraints.options);
        let program = program.map_err(not_differential)?;
        let is_other = failed.reason.is_none() && failed.program.as_deref() != Some(&program);
        Ok(is_other.then(|| Task {
            action: Action::Differential,
            reason: Some(reason),
            program: Some(Rc::new(program)),
            changed: failed.changed.clone(),
            delta_rows: failed.delta_rows,
            keeps_state: true,
            is_fallback: false,
        }))
    }

    /// All states anew, and the difference of the stream table.
    fn rebuild(&self, reason: String, is_fallback: bool) -> Result<Task> {
        let program = self.maintenance()?.recompute(self.constraints.options).map_err(not_differential)?;
        Ok(Task {
            action: Action::Reinitialize,
            reason: Some(reason),
            program: Some(Rc::new(program)),
            changed: BTreeSet::new(),
            delta_rows: 0,
            keeps_state: true,
            is_fallback,
        })
    }

    /// The whole query anew, without state. In place of what failed it is run as it stands: what that raises is the
    /// user's.
    fn by_query(&self, reason: Option<String>, is_fallback: bool) -> Task {
        let query = if is_fallback { self.compiled.query_sql.clone() } else { self.compiled.recompute_sql() };
        Task {
            action: Action::Full,
            reason,
            program: Some(Rc::new(recompute_by_query(
                &self.compiled.shape,
                &self.stream_table.names(),
                &query,
                self.constraints.options,
            ))),
            changed: BTreeSet::new(),
            delta_rows: 0,
            keeps_state: false,
            is_fallback,
        }
    }

    /// Runs a task or what replaces it; returns the one that succeeded.
    pub fn run(&self, executor: &Executor, first: Task) -> Result<(Task, RowCounts)> {
        self.constraints.checked_at_once(|| self.run_chain(executor, first))
    }

    fn run_chain(&self, executor: &Executor, first: Task) -> Result<(Task, RowCounts)> {
        let mut task = first;
        loop {
            let Some(program) = task.program.clone() else { return Ok((task, RowCounts::default())) };
            if task.action == Action::Full {
                let counts = run::run(executor, self.stream_table, &program, Planning::Once)?;
                return Ok((task, counts));
            }
            let is_usual = task.action == Action::Differential && task.reason.is_none();
            let planning = if is_usual { Planning::Cached } else { Planning::Once };
            match self.attempt(executor, &program, planning) {
                Ok(counts) => return Ok((task, counts)),
                Err(failure) if failure.is_about_data() => {
                    task = self.instead(&task, &failure)?;
                    let kept: BTreeSet<String> =
                        task.changed.iter().map(|&source| source_delta_name(source)).collect();
                    executor.clear_relations_but(&kept);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Runs a program; what raises is undone.
    fn attempt(
        &self,
        executor: &Executor,
        program: &Program,
        planning: Planning,
    ) -> std::result::Result<RowCounts, Failure> {
        xact::subtransaction(|| {
            run::run(executor, self.stream_table, program, planning).unwrap_or_else(|error| error.report())
        })
    }

    fn warn(&self, subject: &str, what: &str, failure: &Failure) {
        let name = self.stream_table.display_name();
        pgrx::warning!("{subject} \"{name}\" {what}: {}", failure.message);
    }

    fn instead(&self, failed: &Task, failure: &Failure) -> Result<Task> {
        if failed.action == Action::Differential {
            let reason = format!("rows that cancel were left out, because of: {}", failure.message);
            if let Some(task) = self.careful(failed, reason)? {
                return Ok(task);
            }
        }
        let subject = format!("{} refresh of stream table", failed.action.as_str());
        self.warn(&subject, "failed and is replaced by a recomputation", failure);
        let reason = format!("{} failed: {}", failed.action.as_str(), failure.message);
        match failed.action {
            Action::Differential => self.rebuild(reason, true),
            _ => Ok(self.by_query(Some(reason), true)),
        }
    }
}
