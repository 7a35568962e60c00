//! Sources whose changes nobody records: each refresh polls them.

use super::Maintenance;
use crate::program::Step;
use crate::query::SourceInfo;
use crate::stage::polled::{Polled, is_polled};
use crate::types::SourceId;

/// The sources as fragments read them: a copy has neither keys nor indexes of its source.
pub(super) fn known(sources: &[SourceInfo]) -> Vec<SourceInfo> {
    let known = |source: &SourceInfo| match is_polled(source) {
        true => SourceInfo { keys: vec![], indexes: vec![], ..source.clone() },
        false => source.clone(),
    };
    sources.iter().map(known).collect()
}

impl Maintenance {
    /// For each polled source the step that finds its change; the executor runs these first and counts those with rows
    /// among the changed sources.
    pub fn polls(&self) -> Vec<(SourceId, Step)> {
        self.polled().map(|polled| (polled.source, polled.poll())).collect()
    }

    pub(super) fn polled(&self) -> impl Iterator<Item = Polled<'_>> {
        (0..self.sources.len() as u32).filter_map(|index| self.polled_source(SourceId(index)))
    }

    pub(super) fn polled_source(&self, source: SourceId) -> Option<Polled<'_>> {
        let info = self.sources.get(source.0 as usize).filter(|info| is_polled(info))?;
        let table = format!("{}source_{}", self.names.state_prefix, source.0);
        Some(Polled::new(source, info, table))
    }
}
