//! Where the changes of a relation go: looked up by the capture trigger, once per backend and change of definition.

use crate::capture::{buffer, install};
use crate::catalog;
use crate::pg::exec::Executor;
use crate::pg::relation;
use crate::pg::snapshot::Snapshot;

/// The current buffer of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub buffer: u32,
    pub sequence: u32,
    /// Attribute numbers of the source that the buffer holds.
    pub columns: Vec<i16>,
}

/// Where changes of `member` go as changes of `source`. None if nobody records them: the source is not captured any
/// more, or the member is no longer part of it, and a trigger was left.
pub fn find(source: u32, member: u32) -> Option<Target> {
    catalog::as_extension(|| {
        let executor = Executor::new(Snapshot::latest());
        let current = buffer::generations(&executor, source).into_iter().find(|buffer| buffer.is_current)?;
        // A new session asks this at its first change, mostly of the source itself.
        let is_part = || install::tree(&executor, source).iter().any(|known| known.relid == member);
        if member != source && !is_part() {
            return None;
        }
        let sequence = relation::find("pgtrickle_changes", &buffer::sequence_relation(source))?;
        Some(Target { buffer: current.relid, sequence, columns: current.columns })
    })
}
