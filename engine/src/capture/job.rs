//! Installs capture in a transaction of its own, while the creating transaction waits (`design-review.md` 10.1).
//!
//! CREATE TRIGGER holds its lock to the end of its transaction and queues every writer behind it: in the creating
//! transaction that would be the whole populate. Here it is held for a moment, and asked for with a short timeout.

use crate::capture::install::{self, Wanted};
use crate::catalog;
use crate::error::{Error, Result};
use crate::guc::Settings;
use crate::pg::background::{self, NoReply};
use crate::pg::exec::Executor;
use crate::pg::lock;
use crate::pg::relation;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi;
use crate::pg::value::Param;
use crate::pg::xact::{self, Failure, Isolation};
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};

/// Pauses between attempts, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<i64> = 20..=200;

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    pgt_id: i64,
    wanted: Vec<Wanted>,
    /// How long writers of a source may have to wait behind one attempt to lock it.
    lock_timeout_ms: u64,
}

/// None is success.
type Reply = Option<Refusal>;

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    code: i32,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

/// Installs capture and registers the consumer, both committed on return. False if no worker could ever do it for
/// this transaction.
pub fn run(pgt_id: i64, wanted: &[Wanted]) -> Result<bool> {
    if !is_possible(wanted) {
        return Ok(false);
    }
    let lock_timeout_ms = Settings::current().capture_lock_timeout.as_millis() as u64;
    let request = Request { pgt_id, wanted: wanted.to_vec(), lock_timeout_ms };
    let bytes = serde_json::to_vec(&request).expect("a request serialises");
    let reply = match background::run("pgt_capture_worker", "pg_trickle capture installer", &bytes) {
        Ok(reply) => reply,
        Err(NoReply::NoSlot) => return Ok(false),
        Err(NoReply::Died) => {
            return Err(Error::Raised {
                code: PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                message: "the worker that installs change capture ended unexpectedly".to_owned(),
                detail: None,
                hint: Some("The server log says why.".to_owned()),
            });
        }
    };
    let reply: Reply = serde_json::from_slice(&reply).expect("the worker replies in the agreed form");
    match reply {
        None => Ok(true),
        Some(refusal) => Err(Error::Raised {
            code: PgSqlErrorCode::from(refusal.code),
            message: refusal.message,
            detail: refusal.detail,
            hint: refusal.hint,
        }),
    }
}

/// Whether another transaction can see the sources and the catalog, and can get the locks it needs while this one
/// waits for it.
fn is_possible(wanted: &[Wanted]) -> bool {
    let catalog = catalog::definitions_relation();
    if relation::facts(catalog).is_none_or(|facts| facts.created_here) {
        return false;
    }
    wanted.iter().all(|wanted| {
        let hidden = relation::facts(wanted.source).is_none_or(|facts| facts.created_here);
        let own_lock = match wanted.stream_table {
            Some(upstream) => holds_claim(catalog, upstream),
            None => lock::holds_write_lock(wanted.source),
        };
        !hidden && !own_lock
    })
}

/// Whether this session holds the claim of a stream table.
fn holds_claim(catalog: u32, pgt_id: i64) -> bool {
    Executor::new(Snapshot::latest())
        .fixed_row(
            "SELECT 1 FROM pg_catalog.pg_locks AS l \
             WHERE l.locktype OPERATOR(pg_catalog.=) 'object' AND l.granted \
                 AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
                 AND l.classid OPERATOR(pg_catalog.=) $1 AND l.objid OPERATOR(pg_catalog.=) $2 LIMIT 1",
            &[Param::Oid(catalog), Param::Oid((pgt_id & 0xffff_ffff) as u32)],
        )
        .is_some()
}

/// Entry point of the worker.
///
/// # Safety
/// Called by the server in a new process.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_capture_worker(argument: pg_sys::Datum) {
    // SAFETY: first thing in the worker.
    unsafe {
        background::serve(argument, |request| {
            let request: Request =
                serde_json::from_slice(request).expect("the caller asks in the agreed form");
            let reply: Reply = work(&request).err().map(|failure| Refusal {
                code: failure.code as i32,
                message: failure.message,
                detail: failure.detail,
                hint: failure.hint,
            });
            serde_json::to_vec(&reply).expect("a reply serialises")
        });
    }
}

fn work(request: &Request) -> std::result::Result<(), Failure> {
    // The consumer first: from here on nothing is collected that it will need, whichever buffer it reads.
    retrying(request, || {
        let executor = Executor::new(Snapshot::latest());
        for wanted in &request.wanted {
            if let Some(upstream) = wanted.stream_table {
                // A wave reads the consumer list under its own claim: either it sees this consumer, or it has
                // committed before the new table's snapshot.
                lock::claim(catalog::definitions_relation(), upstream, true);
            }
            catalog::as_extension(|| install::register_consumer(&executor, wanted, request.pgt_id));
        }
    })?;
    for wanted in &request.wanted {
        retrying(request, || {
            let executor = Executor::new(Snapshot::latest());
            if catalog::as_extension(|| install::is_installed(&executor, wanted)) {
                return;
            }
            match wanted.stream_table {
                Some(upstream) => {
                    lock::claim(catalog::definitions_relation(), upstream, true);
                }
                None => install::lock_tree(wanted.source),
            }
            // A snapshot from before the lock would miss what another installer did meanwhile.
            drop(executor);
            // Under the pinned search path types print with their schema.
            catalog::as_extension(|| install::install(&Executor::new(Snapshot::latest()), wanted));
        })?;
    }
    Ok(())
}

/// Runs `body` in a transaction with a short lock timeout, again after a pause if it ran into it, as long as the
/// creating transaction is there.
fn retrying(request: &Request, body: impl Fn()) -> std::result::Result<(), Failure> {
    let mut pause = *PAUSE_MS.start();
    loop {
        let outcome = xact::worker_transaction(Isolation::ReadCommitted, || {
            spi::ddl(&format!("SET LOCAL lock_timeout = {}", request.lock_timeout_ms));
            body();
        });
        match outcome {
            Ok(()) => return Ok(()),
            Err(failure) if failure.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => {}
            Err(failure) => return Err(failure),
        }
        let orphaned = xact::worker_transaction(Isolation::ReadCommitted, || {
            lock::claim(catalog::definitions_relation(), request.pgt_id, false)
        })?;
        if orphaned {
            return Ok(());
        }
        background::pause(pause);
        pause = (pause * 2).min(*PAUSE_MS.end());
    }
}
