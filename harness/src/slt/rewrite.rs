//! Rewriting a script's expectations with what the server answers.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use sqllogictest::{
    AsyncDB, ExpectedError, MakeConnection, Record, RecordOutput, Runner, StatementExpect,
    default_column_validator, default_normalizer, default_validator, parse_file, update_record_with_output,
};

use super::session::{Failure, Session};

/// Runs a script and writes it anew. A statement that is expected to fail with a SQLSTATE keeps that form.
pub fn rewrite<M: MakeConnection<Conn = Session>>(
    runner: &mut Runner<Session, M>,
    path: &Path,
) -> Result<()> {
    let records = parse_file(path).with_context(|| path.display().to_string())?;
    let mut text = String::new();
    for record in records {
        let output = futures_executor::block_on(runner.apply_record(record.clone()));
        let record = match with_state(&record, &output) {
            Some(record) => record,
            None => update_record_with_output(
                &record,
                &output,
                " ",
                default_validator,
                default_normalizer,
                default_column_validator,
            )
            .unwrap_or(record),
        };
        // Records that the parser adds print as nothing.
        let printed = record.to_string();
        if !printed.is_empty() || matches!(record, Record::Newline) {
            writeln!(text, "{printed}")?;
        }
    }
    std::fs::write(path, format!("{}\n", text.trim_end()))?;
    Ok(())
}

type ScriptRecord = Record<<Session as AsyncDB>::ColumnType>;

/// The record with the SQLSTATE that came, if it expects one and the statement failed.
fn with_state(
    record: &ScriptRecord,
    output: &RecordOutput<<Session as AsyncDB>::ColumnType>,
) -> Option<ScriptRecord> {
    let mut record = record.clone();
    let Record::Statement { expected: StatementExpect::Error(ExpectedError::SqlState(expected)), .. } =
        &mut record
    else {
        return None;
    };
    let RecordOutput::Statement { error: Some(error), .. } = output else { return None };
    *expected = <Session as AsyncDB>::error_sql_state(error.downcast_ref::<Failure>()?)?;
    Some(record)
}
