//! How far a stream table is: frontier and run state.

use crate::pg::exec::Executor;
use crate::pg::value::{Param, Row};
use crate::pg::xact;
use pg_trickle_core::frontier::Frontier;
use std::collections::BTreeMap;

/// A row of `pgt_progress`.
#[derive(Debug, Clone)]
pub struct Progress {
    pub version: i64,
    /// None if never populated, or if the stored one belongs to another cluster or database.
    pub frontier: Option<Frontier>,
    /// The stored frontier is another cluster's or database's.
    pub is_foreign: bool,
    pub state_is_valid: bool,
    pub needs_reinit: bool,
    /// Some DDL on a source is not consumed by the frontier.
    pub is_altered: bool,
}

/// Which cluster and database a frontier belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    pub system_identifier: i64,
    pub database: u32,
}

impl Home {
    /// This cluster and database.
    pub fn here() -> Home {
        Home { system_identifier: xact::system_identifier(), database: xact::database() }
    }
}

/// Loads the progress of a stream table as the executor's snapshot shows it.
pub fn load(executor: &Executor, pgt_id: i64, home: Home) -> Option<Progress> {
    let row = executor.fixed_row(include_str!("../../../sql/queries/progress.sql"), &[Param::Int(pgt_id)])?;
    let stored = frontier(&row);
    let stored_home = (row.optional_int(5), row.optional_int(6));
    let is_foreign = stored.as_ref().is_some_and(|frontier| {
        stored_home != (Some(home.system_identifier), Some(i64::from(home.database)))
            || frontier.snapshot.xmax > xact::next_xid()
    });
    Some(Progress {
        version: row.int(0),
        frontier: stored.filter(|_| !is_foreign),
        is_foreign,
        state_is_valid: row.flag(7),
        needs_reinit: row.flag(8),
        is_altered: row.flag(14),
    })
}

fn frontier(row: &Row) -> Option<Frontier> {
    let consumed: BTreeMap<u32, i64> =
        serde_json::from_str(&row.text(4)).expect("consumed positions are an object of integers");
    Some(Frontier {
        snapshot: row.optional_text(2)?.parse().expect("the catalog stores a pg_snapshot"),
        own_xid: row.optional_text(3)?.parse().expect("the catalog stores an xid8"),
        consumed,
        time: row.int(13),
    })
}

/// What a refresh stores at its end.
pub struct Outcome<'a> {
    pub frontier: &'a Frontier,
    pub home: Home,
    pub state_is_valid: bool,
    pub effective_mode: &'a str,
    /// Duration of a FULL refresh.
    pub full_ms: Option<f64>,
}

/// Stores a frontier; the caller runs as the extension's owner.
pub fn store(executor: &Executor, pgt_id: i64, outcome: &Outcome) {
    let consumed = serde_json::to_string(&outcome.frontier.consumed).expect("integers serialise");
    let full_ms = outcome.full_ms.map(|ms| ms.to_string());
    let touched = executor.fixed_modify(
        include_str!("../../../sql/queries/store_frontier.sql"),
        &[
            Param::Int(pgt_id),
            Param::text(outcome.frontier.snapshot.to_string()),
            Param::text(outcome.frontier.own_xid.to_string()),
            Param::text(consumed),
            Param::Int(outcome.home.system_identifier),
            Param::Oid(outcome.home.database),
            Param::Bool(outcome.state_is_valid),
            Param::text(outcome.effective_mode),
            Param::optional_text(full_ms.as_deref()),
        ],
    );
    assert!(touched == 1, "stream table {pgt_id} has no progress row");
}
