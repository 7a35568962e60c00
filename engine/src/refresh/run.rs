//! Runs core's programs.

use crate::catalog;
use crate::catalog::definition::StreamTable;
use crate::error::{Error, Result};
use crate::guc::Settings;
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::{fmgr, security};
use crate::refresh::RowCounts;
use pg_trickle_core::program::{Action, Identity, Program, RelationColumn, Step};
use pg_trickle_core::types::TypeRef;

/// Runs every step of a program in order and counts the rows written to the stream table.
pub fn run(
    executor: &Executor,
    stream_table: &StreamTable,
    program: &Program,
    planning: Planning,
) -> Result<RowCounts> {
    let mut counts = RowCounts::default();
    fmgr::applying_to(stream_table.relid, || {
        run_steps(executor, stream_table, &program.steps, planning, &mut counts)?;
        Ok(counts)
    })
}

fn run_steps(
    executor: &Executor,
    stream_table: &StreamTable,
    steps: &[Step],
    planning: Planning,
    counts: &mut RowCounts,
) -> Result<()> {
    for step in steps {
        if let Action::Rounds { next, round, grows, steps } = &step.action {
            let next = Next { sql: next, round, grows };
            while next.begins(executor, stream_table, planning)? {
                run_steps(executor, stream_table, steps, planning, counts)?;
            }
            continue;
        }
        match step.identity {
            Identity::Owner => security::run_as(stream_table.owner, &stream_table.settings, || {
                run_step(executor, stream_table, step, planning, counts)
            }),
            Identity::Extension => {
                catalog::as_extension(|| run_step(executor, stream_table, step, planning, counts))
            }
        }?;
    }
    Ok(())
}

/// How a recursion goes on; see [`Action::Rounds`].
struct Next<'a> {
    sql: &'a str,
    round: &'a str,
    grows: &'a str,
}

impl Next<'_> {
    /// Whether there is a further round, whose number is kept for its steps.
    fn begins(&self, executor: &Executor, stream_table: &StreamTable, planning: Planning) -> Result<bool> {
        let number = [RelationColumn { name: "k".to_owned(), ty: TypeRef::int8() }];
        security::run_as(stream_table.owner, &stream_table.settings, || {
            executor.keep(self.round, &number, self.sql, &[], planning);
            let Some(round) = executor.first_integer(self.round) else { return Ok(false) };
            let limit = i64::from(Settings::current().recursive_max_depth);
            // Rows that leave deep rounds may always do so.
            if limit > 0 && round > limit && executor.single_row_planned(self.grows, &[], planning).flag(0) {
                return Err(Error::RecursionTooDeep { name: stream_table.display_name(), limit });
            }
            Ok(true)
        })
    }
}

fn run_step(
    executor: &Executor,
    stream_table: &StreamTable,
    step: &Step,
    planning: Planning,
    counts: &mut RowCounts,
) -> Result<()> {
    let inconsistent = |detail: String| Error::Inconsistent {
        message: format!("stream table \"{}\" is inconsistent", stream_table.display_name()),
        detail: format!("{}: {detail}", step.label),
    };
    let skipped = step.when.as_ref().is_some_and(|name| executor.relation_rows(name).unwrap_or(0) == 0);
    match &step.action {
        Action::Select { into, columns, .. } if skipped => executor.keep_empty(into, columns),
        _ if skipped => {}
        Action::Select { into, columns, sql } => {
            executor.keep(into, columns, sql, &[], planning);
        }
        Action::Append { into, sql } => {
            executor.append(into, sql, planning);
        }
        Action::Rounds { .. } => unreachable!("rounds are no single step"),
        Action::Modify { sql, expect, counts: kind } => {
            let expected =
                expect.as_ref().map(|query| executor.single_row_planned(query, &[], planning).int(0));
            let touched = executor.modify_planned(sql, planning);
            if let Some(expected) = expected.filter(|&expected| expected != touched as i64) {
                return Err(inconsistent(format!("{touched} rows touched where {expected} were due")));
            }
            counts.add(*kind, touched);
        }
        Action::Check { sql, message } => {
            if executor.single_row_planned(sql, &[], planning).flag(0) {
                return Err(inconsistent(message.clone()));
            }
        }
    }
    Ok(())
}
