//! What a refresh reads: which stages keep their input, which indexes states get, the work class of a change of each
//! source, and the indexes on sources that a change needs.

use super::Maintenance;
use crate::access::{self, Indexes, Leaf, Read};
use crate::delta::{Changed, Sharing, differentiate};
use crate::plan::Plan;
use crate::query::Unsupported;
use crate::sql::{list, quote};
use crate::stage::{Lookup, Recomputes, Stage};
use crate::types::{SourceId, StageId};
use std::collections::BTreeSet;

/// How the work of a refresh grows, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkClass {
    /// With the change: what is read is found by index from changed rows.
    FollowsChange,
    /// With the groups and partitions that the change touches.
    AffectedPartitions,
    /// With a source or a state: it is read as a whole.
    Scan,
}

impl WorkClass {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            WorkClass::FollowsChange => "follows the change",
            WorkClass::AffectedPartitions => "affected partitions",
            WorkClass::Scan => "scan",
        }
    }
}

/// The work of a refresh after a change of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub class: WorkClass,
    /// Why, worst first; each a clause.
    pub reasons: Vec<String>,
}

/// An index on a source that would lead a change to the rows it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingIndex {
    pub source: SourceId,
    /// Indexes into the source's columns.
    pub columns: Vec<usize>,
    /// The statement that creates it.
    pub definition: String,
}

/// The change of a stage's input, or of the result.
struct Change {
    stage: Option<StageId>,
    reads: Vec<Read>,
}

impl Maintenance {
    /// Chooses the stages that keep their input: those that read it again by key where no index leads to a key's rows.
    pub(super) fn arrange(&mut self, states: &[String]) {
        let chosen = self.staged.stages.iter().filter(|stage| {
            if !states.is_empty() {
                return states.contains(&self.arrangement_table(stage.id));
            }
            let keys = self.with_stage(stage, |stage| {
                stage.rereads_by().filter(|_| stage.can_keep_input()).map(<[usize]>::to_vec)
            });
            let is_storable = stage.input.columns().iter().all(|column| column.ty.is_storable());
            is_storable && keys.is_some_and(|keys| !self.leads_to_groups(&stage.input, &keys))
        });
        self.arranged = chosen.map(|stage| stage.id).collect();
    }

    /// True if indexes lead from the values of all `keys` to the rows of `input` that have them, and to no others but
    /// those that join conditions remove.
    fn leads_to_groups(&self, input: &Plan, keys: &[usize]) -> bool {
        let columns = input.columns();
        // A condition that is true for NULL, too, leads through no index; with one key the two cases stand apart.
        let is_comparable = keys.len() == 1 || keys.iter().all(|&key| !columns[key].nullable);
        let given: BTreeSet<usize> = keys.iter().copied().collect();
        let reads = access::reads(input, &given, self);
        let covers = |read: &Read| match read.leaf {
            Leaf::Source(source) => self.source_info(source).indexes.iter().any(|index| {
                let (leading, rest): (Vec<usize>, Vec<usize>) =
                    index.columns.iter().partition(|column| read.by.contains(column));
                let is_prefix = index.columns.starts_with(&leading);
                (is_prefix && leading.len() >= keys.len()) || (index.is_unique && rest.is_empty())
            }),
            Leaf::Stage(_) => false,
        };
        is_comparable && reads.iter().all(|read| read.is_indexed) && reads.first().is_some_and(covers)
    }

    /// Statements that create the indexes by which changes and rereadings find rows of states.
    pub(super) fn lookup_indexes(&self) -> Vec<String> {
        let everything = (0..self.sources.len() as u32).map(SourceId).collect();
        let mut statements = BTreeSet::new();
        let mut see = |read: &Read| {
            let lookup = match read.leaf {
                Leaf::Stage(stage) => Some(self.lookup(stage, &read.by)),
                Leaf::Source(source) => self.polled_source(source).map(|polled| polled.lookup(&read.by)),
            };
            if let Some(Lookup::CreateIndex(statement)) = lookup {
                statements.insert(statement);
            }
        };
        // [`super::plan`] has shown that the changes can be derived.
        for change in self.changes(&everything).unwrap_or_default() {
            change.reads.iter().for_each(&mut see);
        }
        for stage in &self.staged.stages {
            self.rereads(stage).iter().for_each(&mut see);
        }
        statements.into_iter().collect()
    }

    /// The work of a refresh after a change of `source`.
    pub fn work(&self, source: SourceId) -> Result<Work, Unsupported> {
        let mut reasons: Vec<(WorkClass, String)> = vec![];
        if let Some(polled) = self.polled_source(source) {
            let name = &polled.info.name;
            let reason =
                format!("{name} is compared with a copy at every refresh: its changes are not captured");
            reasons.push((WorkClass::Scan, reason));
        }
        let mut changed = BTreeSet::new();
        for change in self.changes(&BTreeSet::from([source]))? {
            changed.extend(change.stage);
            let scans = change.reads.iter().filter_map(|read| self.scanned(read));
            reasons.extend(scans.map(|what| (WorkClass::Scan, what)));
        }
        for stage in self.staged.stages.iter().filter(|stage| changed.contains(&stage.id)) {
            reasons.extend(self.reread_work(stage));
            reasons.extend(match self.with_stage(stage, |stage| stage.recomputes()) {
                Recomputes::Nothing => None,
                Recomputes::Partitions(reason) => Some((WorkClass::AffectedPartitions, reason)),
                Recomputes::State(reason) => Some((WorkClass::Scan, reason)),
            });
        }
        let class = reasons.iter().map(|(class, _)| *class).max().unwrap_or(WorkClass::FollowsChange);
        reasons.sort_by_key(|(class, _)| std::cmp::Reverse(*class));
        reasons.dedup();
        Ok(Work { class, reasons: reasons.into_iter().map(|(_, reason)| reason).collect() })
    }

    /// Indexes on sources that a change of any source needs and that are not there.
    pub fn missing_indexes(&self) -> Result<Vec<MissingIndex>, Unsupported> {
        let mut missing = BTreeSet::new();
        let mut see = |read: &Read| {
            let Leaf::Source(source) = read.leaf else { return };
            if read.is_indexed || read.by.is_empty() || self.polled_source(source).is_some() {
                return;
            }
            let columns: Vec<usize> = read.by.iter().copied().collect();
            let info = self.source_info(source);
            let names = list(columns.iter().map(|&column| quote(&info.columns[column].column.name)));
            let definition = format!("CREATE INDEX ON {} ({names})", info.name.trim_start_matches("ONLY "));
            missing.insert(MissingIndex { source, columns, definition });
        };
        for source in (0..self.sources.len() as u32).map(SourceId) {
            for change in self.changes(&BTreeSet::from([source]))? {
                change.reads.iter().for_each(&mut see);
            }
        }
        for stage in &self.staged.stages {
            self.rereads(stage).iter().for_each(&mut see);
        }
        Ok(missing.into_iter().collect())
    }

    /// The changes of stages' inputs and of the result, with what is read to compute them.
    fn changes(&self, changed: &BTreeSet<SourceId>) -> Result<Vec<Change>, Unsupported> {
        let mut changed = Changed::sources(changed.iter().copied());
        let mut sharing = Sharing::default();
        let mut shared = 0;
        let mut all = vec![];
        let nothing = BTreeSet::new();
        let stages = self.staged.stages.iter().map(Some);
        for stage in stages.chain([None]) {
            let delta = match stage {
                Some(stage) => self.input_change(stage, &changed, &mut sharing)?,
                None => differentiate(&self.staged.result, &changed, &mut sharing)?,
            };
            let Some(delta) = delta else { continue };
            let follow = stage.map_or(Ok(None), |stage| self.round_change(stage))?;
            let stage = stage.map(|stage| stage.id);
            let plans = sharing.plans[shared..].iter().chain([&delta]).chain(&follow);
            let reads = plans.flat_map(|plan| access::reads(plan, &nothing, self)).collect();
            all.push(Change { stage, reads });
            shared = sharing.plans.len();
            changed.stages.extend(stage);
        }
        Ok(all)
    }

    /// What a stage reads of its input again, given the keys of a group.
    fn rereads(&self, stage: &Stage) -> Vec<Read> {
        if self.arranged.contains(&stage.id) {
            return vec![];
        }
        let keys = self.with_stage(stage, |stage| stage.rereads_by().map(<[usize]>::to_vec));
        keys.map_or_else(Vec::new, |keys| access::reads(&stage.input, &keys.into_iter().collect(), self))
    }

    /// The work of reading a stage's input again for what a change touches.
    fn reread_work(&self, stage: &Stage) -> Vec<(WorkClass, String)> {
        let id = stage.id.0;
        let scans: Vec<String> = self.rereads(stage).iter().filter_map(|read| self.scanned(read)).collect();
        if !scans.is_empty() {
            let again = |what| (WorkClass::Scan, format!("stage {id} reads groups again: {what}"));
            return scans.into_iter().map(again).collect();
        }
        let from =
            if self.arranged.contains(&stage.id) { "the input it keeps" } else { "its input, by index" };
        if self.with_stage(stage, |stage| stage.rereads_by().is_none()) {
            return vec![];
        }
        let reason = format!("stage {id} may read groups that the change touches again, from {from}");
        vec![(WorkClass::AffectedPartitions, reason)]
    }

    /// What a reading that no index leads scans.
    fn scanned(&self, read: &Read) -> Option<String> {
        if read.is_indexed {
            return None;
        }
        let (name, columns) = match read.leaf {
            Leaf::Source(source) => {
                let info = self.source_info(source);
                let name = |&column: &usize| info.columns[column].column.name.clone();
                let whole = match self.polled_source(source) {
                    Some(polled) => format!("the copy of {}", polled.info.name),
                    None => info.name.clone(),
                };
                (whole, read.by.iter().map(name).collect::<Vec<_>>())
            }
            Leaf::Stage(stage) => {
                let columns = self.staged.stages[stage.0 as usize].columns();
                let name = |&column: &usize| columns[column].name.clone();
                (format!("state {}", self.state_table(stage)), read.by.iter().map(name).collect())
            }
        };
        Some(if columns.is_empty() {
            format!("{name} is read as a whole: no equality leads to the rows needed")
        } else {
            format!("{name} is read as a whole: there is no index on ({})", list(columns))
        })
    }

    fn source_info(&self, source: SourceId) -> &crate::query::SourceInfo {
        &self.sources[source.0 as usize]
    }

    fn lookup(&self, stage: StageId, given: &BTreeSet<usize>) -> Lookup {
        self.with_stage(&self.staged.stages[stage.0 as usize], |stage| stage.lookup(given))
    }
}

impl Indexes for Maintenance {
    fn leads_to_source(&self, source: SourceId, columns: &BTreeSet<usize>) -> bool {
        match self.polled_source(source) {
            Some(polled) => polled.lookup(columns) != Lookup::Scan,
            None => self.source_info(source).indexes.iter().any(|index| columns.contains(&index.columns[0])),
        }
    }

    fn leads_to_stage(&self, stage: StageId, columns: &BTreeSet<usize>) -> bool {
        self.lookup(stage, columns) != Lookup::Scan
    }
}
