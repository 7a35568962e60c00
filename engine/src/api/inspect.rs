//! Looking at stream tables. Most of it is SQL (`sql/inspect.sql`); here is what needs the engine.

use crate::api::define::{choose, required};
use crate::catalog::definition;
use crate::error::{OrReport, Result};
use crate::pg::checked;
use crate::pg::exec::Executor;
use crate::pg::snapshot::Snapshot;
use crate::refresh::explain;
use crate::refresh::recommend::{self, Recommendation};
use crate::refresh::verify::{self, Finding};
use pgrx::prelude::*;

/// The id of the stream table a user names; raises if there is none.
#[pg_extern(stable, parallel_unsafe)]
pub fn stream_table_id(name: Option<&str>) -> i64 {
    definition::resolve(&Executor::new(Snapshot::latest()), "name", name).or_report().pgt_id
}

/// `value`, or an error that says which argument is NULL or negative.
#[pg_extern(immutable, parallel_safe)]
pub fn required_int(argument: &str, value: Option<i32>) -> i32 {
    let (code, problem) = match value {
        Some(value) if value >= 0 => return value,
        Some(_) => (PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "negative"),
        None => (PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED, "NULL"),
    };
    ereport!(ERROR, code, format!("argument \"{argument}\" must not be {problem}"));
}

/// When a refresh last found a stream table up to date and wrote nothing; NULL if none has since the server started.
#[pg_extern(volatile, parallel_unsafe)]
pub fn checked_at(pgt_id: i64) -> Option<TimestampWithTimeZone> {
    checked::at(pgt_id).and_then(|at| TimestampWithTimeZone::try_from(at).ok())
}

/// `pgtrickle.parse_duration_seconds(input)`.
#[pg_extern(immutable, parallel_safe)]
fn parse_duration_seconds(input: Option<&str>) -> i64 {
    required("input", input)
        .and_then(|input| Ok(pg_trickle_core::schedule::parse_duration_seconds(input)? as i64))
        .or_report()
}

/// `pgtrickle.explain_stream_table(name, format)`: how a stream table is maintained.
#[pg_extern(volatile, parallel_unsafe)]
fn explain_stream_table(name: Option<&str>, format: default!(Option<&str>, "'text'")) -> String {
    explain(name, format).or_report()
}

fn explain(name: Option<&str>, format: Option<&str>) -> Result<String> {
    let format = choose("format", required("format", format)?, &["text", "json"])?;
    let executor = Executor::new(Snapshot::latest());
    let stream_table = definition::resolve(&executor, "name", name)?;
    definition::check_owner(&stream_table)?;
    let explanation = explain::explain(&executor, &stream_table)?;
    Ok(if format == "json" { explanation.json() } else { explanation.text() })
}

/// `pgtrickle.recommend_indexes(name)`: indexes on sources that changes need to find their rows; for all stream tables
/// the user may act for if no name is given.
#[pg_extern(volatile, parallel_unsafe)]
fn recommend_indexes(
    name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(stream_table, String),
        name!(source_table, String),
        name!(definition, String),
        name!(reason, String),
    ),
> {
    let found = recommendations(name).or_report();
    TableIterator::new(
        found.into_iter().map(|found| (found.stream_table, found.source, found.definition, found.reason)),
    )
}

fn recommendations(name: Option<&str>) -> Result<Vec<Recommendation>> {
    let executor = Executor::new(Snapshot::latest());
    let stream_tables = match name {
        None => definition::visible(&executor),
        Some(name) => {
            let stream_table = definition::resolve(&executor, "name", Some(name))?;
            definition::check_owner(&stream_table)?;
            vec![stream_table]
        }
    };
    let mut found = vec![];
    for stream_table in &stream_tables {
        found.extend(recommend::recommend(&executor, stream_table)?);
    }
    Ok(found)
}

/// `pgtrickle.verify_stream_table(name, repair)`: refreshes, then compares contents and hidden state with a
/// recomputation under the same snapshot.
#[pg_extern(volatile, parallel_unsafe)]
fn verify_stream_table(
    name: Option<&str>,
    repair: default!(Option<bool>, "false"),
) -> TableIterator<
    'static,
    (
        name!(check_name, String),
        name!(ok, bool),
        name!(missing_rows, i64),
        name!(surplus_rows, i64),
        name!(detail, Option<String>),
    ),
> {
    let findings = required("repair", repair).and_then(|repair| verify::verify(name, repair)).or_report();
    TableIterator::new(findings.into_iter().map(|Finding { check, missing, surplus, detail }| {
        (check, missing == 0 && surplus == 0, missing, surplus, detail)
    }))
}
