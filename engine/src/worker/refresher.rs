//! One wave of a scheduler, from claims to commit.
//!
//! The plan is read in a transaction before, because in REPEATABLE READ reading it would fix the snapshot, and the
//! locks must come first. A claim that another transaction has is not waited for.

use crate::error::OrReport;
use crate::pg::xact::{Failure, Isolation, worker_transaction};
use crate::refresh::Initiator;
use crate::refresh::wave::{self, MemberOutcome, OnFailure, Options};
use std::collections::BTreeMap;

/// What became of a wave.
#[derive(Debug)]
pub enum Outcome {
    /// It committed; members may have failed on their own.
    Done(BTreeMap<i64, MemberOutcome>),
    /// Another transaction has the claim of a member, or definitions changed meanwhile.
    Busy,
    /// Nothing of it happened.
    Failed(Failure),
}

/// Refreshes `targets` with everything upstream of them, in one transaction at one snapshot.
pub fn refresh(targets: &[i64]) -> Outcome {
    run(targets).unwrap_or_else(Outcome::Failed)
}

fn run(targets: &[i64]) -> Result<Outcome, Failure> {
    let plan = worker_transaction(Isolation::ReadCommitted, || wave::plan(targets, None))?;
    worker_transaction(Isolation::RepeatableRead, || {
        if wave::lock(&plan, false).is_err() {
            return Outcome::Busy;
        }
        let wave = wave::fix(plan.clone(), Initiator::Scheduler).or_report();
        // The snapshot was taken after the locks, so what is known now is what it shows.
        if wave::plan(targets, None) != plan {
            return Outcome::Busy;
        }
        let options = Options { on_failure: OnFailure::Continue, force: false };
        Outcome::Done(wave.run(targets, options).or_report())
    })
}
