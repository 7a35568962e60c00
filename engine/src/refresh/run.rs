//! Runs core's programs.

use crate::catalog;
use crate::catalog::definition::StreamTable;
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::{fmgr, security};
use crate::refresh::RowCounts;
use pg_trickle_core::program::{Action, Identity, Program, Step};

/// Runs every step of a program in order and counts the rows written to the stream table.
pub fn run(
    executor: &Executor,
    stream_table: &StreamTable,
    program: &Program,
    planning: Planning,
) -> Result<RowCounts> {
    let mut counts = RowCounts::default();
    fmgr::applying_to(stream_table.relid, || {
        for step in &program.steps {
            match step.identity {
                Identity::Owner => security::run_as(stream_table.owner, &stream_table.settings, || {
                    run_step(executor, stream_table, step, planning, &mut counts)
                }),
                Identity::Extension => {
                    catalog::as_extension(|| run_step(executor, stream_table, step, planning, &mut counts))
                }
            }?;
        }
        Ok(counts)
    })
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
            executor.keep(into, columns, sql, planning);
        }
        Action::Modify { sql, expect, counts: kind } => {
            let expected = expect.as_ref().map(|query| executor.single_row_planned(query, planning).int(0));
            let touched = executor.modify_planned(sql, planning);
            if let Some(expected) = expected.filter(|&expected| expected != touched as i64) {
                return Err(inconsistent(format!("{touched} rows touched where {expected} were due")));
            }
            counts.add(*kind, touched);
        }
        Action::Check { sql, message } => {
            if executor.single_row_planned(sql, planning).flag(0) {
                return Err(inconsistent(message.clone()));
            }
        }
    }
    Ok(())
}
