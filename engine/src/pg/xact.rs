//! Transactions: own transaction id, subtransactions, whole transactions of workers.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::panic::AssertUnwindSafe;

/// The running transaction's top-level id, if it has one.
pub fn own_xid() -> Option<u64> {
    // SAFETY: reads backend state.
    let xid = unsafe { pg_sys::GetTopFullTransactionIdIfAny() };
    (xid.value != 0).then_some(xid.value)
}

/// The running transaction's top-level id; assigns one if there is none.
pub fn assign_xid() -> u64 {
    // SAFETY: inside a transaction; raises in recovery.
    unsafe { pg_sys::GetTopFullTransactionId().value }
}

/// `now()`, in microseconds as the server counts them.
pub fn time() -> i64 {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// The cluster's identifier.
pub fn system_identifier() -> i64 {
    // SAFETY: reads shared memory set at start.
    unsafe { pg_sys::GetSystemIdentifier() as i64 }
}

/// The id the next transaction will get.
pub fn next_xid() -> u64 {
    // SAFETY: reads shared memory under its lock.
    unsafe { pg_sys::ReadNextFullTransactionId().value }
}

/// The OID of the database this backend is connected to.
pub fn database() -> u32 {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// What went wrong inside [`subtransaction`] or [`worker_transaction`], copied out of the server.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: PgSqlErrorCode,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Failure {
    fn from_caught(caught: &CaughtError) -> Failure {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. }) = caught;
        Failure {
            code: report.sql_error_code(),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
        }
    }

    /// An expression could not be evaluated, or the engine found its own bookkeeping wrong: another way to compute the
    /// same may succeed.
    pub fn is_about_data(&self) -> bool {
        let class = |code: PgSqlErrorCode| code as i32 & 0xfff;
        [
            PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        ]
        .iter()
        .any(|&known| class(known) == class(self.code))
    }

    /// It came from [`roll_back`].
    pub fn is_deliberate(&self) -> bool {
        self.message == DELIBERATE
    }

    /// The backend was told to stop: never to be absorbed.
    pub fn is_interrupt(&self) -> bool {
        matches!(
            self.code,
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED
                | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
                | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
        )
    }
}

/// What [`roll_back`] raises.
const DELIBERATE: &str = "pg_trickle: deliberate rollback of a subtransaction";

/// Ends the innermost [`subtransaction`] and undoes what it did.
pub fn roll_back() -> ! {
    ereport!(ERROR, PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK, DELIBERATE);
}

/// Runs `body` and catches an error that unwinds out of it.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Box<(Failure, CaughtError)>> {
    PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|caught| Err(Box::new((Failure::from_caught(&caught), caught))))
        .catch_rust_panic(|caught| Err(Box::new((Failure::from_caught(&caught), caught))))
        .execute()
}

/// The failure, unless the backend was told to stop.
fn absorb(caught: Box<(Failure, CaughtError)>) -> Failure {
    let (failure, caught) = *caught;
    if failure.is_interrupt() { caught.rethrow() } else { failure }
}

/// Runs `body` in a subtransaction: an error rolls back what it did and is returned. Cancellation and shutdown are
/// not absorbed.
pub fn subtransaction<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    // SAFETY: context and owner are restored on both ways out, as PL/pgSQL does for a block with EXCEPTION.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let outcome = catch(body);
        match &outcome {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => {
                pg_sys::CurrentMemoryContext = context;
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
            }
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        outcome.map_err(absorb)
    }
}

/// Isolation level of a worker's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
}

/// Runs `body` in a transaction of its own, in a background worker: commits on return, aborts on an error, which is
/// returned; cancellation is one, while a request to end the process does not come back at all. No snapshot exists
/// when `body` starts, so it can take locks before its first one.
pub fn worker_transaction<T>(isolation: Isolation, body: impl FnOnce() -> T) -> Result<T, Failure> {
    // SAFETY: only called by background workers outside a transaction; each start is paired with a commit or abort.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::XactIsoLevel = match isolation {
            Isolation::ReadCommitted => pg_sys::XACT_READ_COMMITTED as i32,
            Isolation::RepeatableRead => pg_sys::XACT_REPEATABLE_READ as i32,
        };
        let outcome = catch(|| {
            let result = body();
            pg_sys::CommitTransactionCommand();
            result
        });
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        outcome.map_err(|caught| caught.0)
    }
}

/// Raises if the backend was asked to cancel or to end.
pub fn check_interrupts() {
    pgrx::check_for_interrupts!();
}
