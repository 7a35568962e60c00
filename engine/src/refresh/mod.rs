//! Refreshing stream tables.
//!
//! ```text
//! wave::plan ─▶ locks (claims, sources, targets, buffers) ─▶ S1 ─▶ still the same plan?
//!                                                                      │ per member, upstream first
//!        freshness, rights, hostile objects ─▶ gather pending changes ─▶ program ─▶ change handed down, frontier, history
//! ```
//!
//! Locks need no snapshot and come before it. Everything read afterwards, the frontier included, is read under S1.

pub mod compiled;
pub mod constraints;
pub mod explain;
pub mod gather;
pub mod member;
pub mod recommend;
pub mod run;
pub mod task;
pub mod verify;
pub mod wave;

use pg_trickle_core::program::Counts;

/// Who asked for a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    Scheduler,
    Manual,
    Initial,
}

impl Initiator {
    pub fn as_str(self) -> &'static str {
        match self {
            Initiator::Scheduler => "SCHEDULER",
            Initiator::Manual => "MANUAL",
            Initiator::Initial => "INITIAL",
        }
    }
}

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    NoData,
    Full,
    Differential,
    Reinitialize,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::NoData => "NO_DATA",
            Action::Full => "FULL",
            Action::Differential => "DIFFERENTIAL",
            Action::Reinitialize => "REINITIALIZE",
        }
    }
}

/// Rows written to the stream table and its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts {
    pub inserted: u64,
    pub deleted: u64,
    /// Rows of states.
    pub state: u64,
}

impl RowCounts {
    fn add(&mut self, counts: Counts, rows: u64) {
        match counts {
            Counts::Inserted => self.inserted += rows,
            Counts::Deleted => self.deleted += rows,
            Counts::Updated => {
                self.inserted += rows;
                self.deleted += rows;
            }
            Counts::State => self.state += rows,
        }
    }
}
