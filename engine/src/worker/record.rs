//! Writing down what became of refreshes that did not succeed. Successful ones write for themselves.

use crate::catalog;
use crate::pg::exec::Executor;
use crate::pg::lock;
use crate::pg::relation::qualified_name;
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Param;
use crate::pg::xact::{Failure, Isolation, worker_transaction};
use pg_trickle_core::retry::Retry;
use pgrx::PgSqlErrorCode;

/// Records a failed refresh; returns the number of failures in a row as far as is known. Nothing is recorded if the
/// stream table is gone, or held by another transaction, which may be refreshing it successfully.
pub fn failure(pgt_id: i64, failure: &Failure, took_ms: u64, errors_max: u32) -> u32 {
    let recorded = worker_transaction(Isolation::ReadCommitted, || {
        if !lock::claim(catalog::definitions_relation(), pgt_id, false) {
            return None;
        }
        catalog::as_extension(|| write_failure(pgt_id, failure, took_ms, errors_max))
    });
    match recorded {
        Ok(errors) => errors.unwrap_or(1),
        Err(second) => {
            pgrx::log!("pg_trickle could not record a failed refresh: {}", second.message);
            1
        }
    }
}

fn write_failure(pgt_id: i64, failure: &Failure, took_ms: u64, errors_max: u32) -> Option<u32> {
    let executor = Executor::new(Snapshot::latest());
    let message = message(failure);
    let is_permanent = Retry::after(&sqlstate(failure.code)) == Retry::Never;
    let row = executor.row(
        include_str!("../../../sql/queries/record_failure.sql"),
        &[Param::Int(pgt_id), Param::text(&message), Param::Bool(is_permanent)],
    )?;
    let errors = u32::try_from(row.int(0)).unwrap_or(u32::MAX);
    unfinished(&executor, pgt_id, "FAILED", &message, took_ms);
    alert(&executor, pgt_id, "refresh_failed", &message);
    if !is_permanent && errors >= errors_max {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET suspended = true WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[Param::Int(pgt_id)],
        );
        alert(&executor, pgt_id, "suspended", &message);
    }
    Some(errors)
}

/// Records that a stream table is not refreshed because of an upstream one.
pub fn skipped(pgt_id: i64, upstream: i64) -> Result<(), Failure> {
    worker_transaction(Isolation::ReadCommitted, || {
        catalog::as_extension(|| {
            let executor = Executor::new(Snapshot::latest());
            let name = executor
                .row(
                    "SELECT d.pgt_relid FROM pgtrickle.pgt_definitions AS d \
                     WHERE d.pgt_id OPERATOR(pg_catalog.=) $1",
                    &[Param::Int(upstream)],
                )
                .and_then(|row| qualified_name(row.oid(0)))
                .unwrap_or_else(|| upstream.to_string());
            let message = format!("upstream stream table {name} cannot be refreshed");
            unfinished(&executor, pgt_id, "SKIPPED", &message, 0);
        });
    })
}

fn unfinished(executor: &Executor, pgt_id: i64, status: &str, message: &str, took_ms: u64) {
    executor.modify(
        include_str!("../../../sql/queries/insert_unfinished.sql"),
        &[Param::Int(pgt_id), Param::text(status), Param::text(message), Param::text(took_ms.to_string())],
    );
}

fn alert(executor: &Executor, pgt_id: i64, event: &str, message: &str) {
    executor.rows(
        include_str!("../../../sql/queries/alert.sql"),
        &[Param::Int(pgt_id), Param::text(event), Param::text(message)],
    );
}

/// Message and detail in one line of text.
pub fn message(failure: &Failure) -> String {
    match &failure.detail {
        Some(detail) => format!("{}: {detail}", failure.message),
        None => failure.message.clone(),
    }
}

/// The five characters of an error code, which the server packs into six bits each.
pub fn sqlstate(code: PgSqlErrorCode) -> String {
    let packed = code as u32;
    (0..5).map(|place| char::from((packed >> (6 * place) & 0x3f) as u8 + b'0')).collect()
}
