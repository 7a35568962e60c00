//! A wave: some stream tables with everything upstream of them, in one transaction at one snapshot.
//!
//! A change of an upstream member reaches its consumers through its change buffer: the rows carry this transaction's
//! id, which no stored frontier counts as complete, so they are pending for every consumer until it consumes them by
//! position.

use crate::capture::buffer::Buffer;
use crate::catalog;
use crate::catalog::definition::StreamTable;
use crate::catalog::known::{self, Known};
use crate::catalog::progress::Home;
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::lock::{self, Mode};
use crate::pg::relation;
use crate::pg::snapshot::{self, Snapshot};
use crate::pg::value::Param;
use crate::pg::xact;
use crate::pg::xact::Failure;
use crate::refresh::Initiator;
use crate::refresh::gather;
use crate::refresh::member::{self, Refreshed, Session};
use pg_trickle_core::graph::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a wave locks and in which order its members run; read from the catalog before any lock is held and read
/// again under the wave's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WavePlan {
    /// Upstream first.
    pub members: Vec<Member>,
    /// Sources with partitions and children, ascending; then their buffers.
    pub relations: Vec<u32>,
    /// Stream tables of the members, ascending.
    pub targets: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub pgt_id: i64,
    pub known: Rc<Known>,
    pub upstream: Vec<i64>,
}

/// What a wave for these stream tables needs, as the catalog is now or as a fixed view shows it.
pub fn plan(targets: &[i64], fixed: Option<&Executor>) -> WavePlan {
    let mut members: BTreeMap<i64, Member> = BTreeMap::new();
    let mut wanted: Vec<i64> = targets.to_vec();
    while let Some(pgt_id) = wanted.pop() {
        if members.contains_key(&pgt_id) {
            continue;
        }
        let Some(known) = known::get(pgt_id, fixed) else { continue };
        let mut upstream: Vec<i64> =
            known.dependencies.iter().filter_map(|dependency| dependency.pgt_id).collect();
        upstream.sort_unstable();
        wanted.extend(&upstream);
        members.insert(pgt_id, Member { pgt_id, known, upstream });
    }
    let all = || members.values().map(|member| &member.known);
    let read = all().flat_map(|known| known.dependencies.iter().map(|dependency| dependency.relid));
    let read: BTreeSet<u32> = read.collect();
    let sources: BTreeSet<u32> = read.into_iter().flat_map(relation::with_children).collect();
    let buffers: BTreeSet<u32> =
        all().flat_map(|known| known.buffers.values().flatten()).map(|buffer| buffer.relid).collect();
    let targets: BTreeSet<u32> = all().map(|known| known.stream_table.relid).collect();
    WavePlan {
        members: upstream_first(members.into_values().collect()),
        relations: sources.into_iter().chain(buffers).collect(),
        targets: targets.into_iter().collect(),
    }
}

/// The members, each after everything it reads.
fn upstream_first(mut members: Vec<Member>) -> Vec<Member> {
    let edges = members.iter().flat_map(|member| member.upstream.iter().map(|&up| (member.pgt_id, up)));
    let order = Graph::new(members.iter().map(|member| member.pgt_id), edges).upstream_first();
    members.sort_by_key(|member| order.iter().position(|&id| id == member.pgt_id));
    members
}

/// Takes the claims and relation locks of a wave, none of which needs a snapshot. Without `wait`, returns the first
/// stream table that another transaction has claimed.
pub fn lock(plan: &WavePlan, wait: bool) -> std::result::Result<(), i64> {
    let catalog = catalog::definitions_relation();
    let claims: BTreeSet<i64> = plan.members.iter().map(|member| member.pgt_id).collect();
    for pgt_id in claims {
        if !lock::claim(catalog, pgt_id, wait) {
            return Err(pgt_id);
        }
    }
    for &relid in &plan.relations {
        lock::relation(relid, Mode::Read);
    }
    for &relid in &plan.targets {
        lock::relation(relid, Mode::Write);
    }
    for &relid in plan.relations.iter().chain(&plan.targets) {
        lock::check_not_in_use(relid, c"refresh");
    }
    Ok(())
}

/// What became of a member of a wave.
#[derive(Debug, Clone)]
pub enum MemberOutcome {
    Refreshed(Refreshed),
    Failed(Failure),
    /// Something upstream of it could not be brought to the snapshot.
    Skipped {
        upstream: i64,
    },
}

/// How a wave treats the failure of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The error ends the transaction (or the caller's subtransaction).
    Raise,
    /// The member is rolled back, its consumers are skipped, the others go on.
    Continue,
}

/// How to run a wave.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub on_failure: OnFailure,
    /// Recompute the named stream tables whatever is pending.
    pub force: bool,
}

/// A wave whose locks are held, at its snapshot.
pub struct Wave {
    pub session: Session,
    pub plan: WavePlan,
}

/// Locks a wave for `targets` and fixes its snapshot, for a caller inside a transaction that may wait.
pub fn begin(targets: &[i64], initiator: Initiator) -> Result<Wave> {
    let fixed = known::fixed_view();
    let mut plan = self::plan(targets, fixed.as_ref());
    loop {
        // A caller that waits cannot find a claim taken.
        let _ = lock(&plan, true);
        let wave = fix(plan.clone(), initiator)?;
        let again = self::plan(targets, fixed.as_ref());
        if again == plan {
            return Ok(wave);
        }
        // The catalog changed while waiting for the locks: take those of the new plan as well. Under a fixed
        // snapshot the two never differ.
        plan = again;
    }
}

/// Fixes the snapshot of a wave whose locks are held.
pub fn fix(plan: WavePlan, initiator: Initiator) -> Result<Wave> {
    let wave = fix_under(Snapshot::for_refresh(), plan, initiator);
    if snapshot::transaction_snapshot_is_fixed() {
        check_storage(&wave.session.executor, &wave.plan)?;
    }
    Ok(wave)
}

/// A wave under a given snapshot, taken after its locks.
pub fn fix_under(snapshot: Snapshot, plan: WavePlan, initiator: Initiator) -> Wave {
    let executor = Executor::new(snapshot);
    let snapshot = executor.snapshot().transactions();
    let home = Home::here();
    Wave { session: Session { executor, home, snapshot, initiator }, plan }
}

/// TRUNCATE and rewriting ALTER TABLE are not seen through a snapshot: one that is older than such a command would
/// read an empty table.
fn check_storage(executor: &Executor, plan: &WavePlan) -> Result<()> {
    let rewritten = executor.fixed_row(
        include_str!("../../../sql/queries/rewritten_relations.sql"),
        &[Param::list(plan.relations.iter().chain(&plan.targets))],
    );
    match rewritten {
        None => Ok(()),
        Some(row) => Err(Error::Serialization {
            message: format!(
                "could not refresh under this snapshot: {} was truncated or rewritten",
                row.text(0)
            ),
            detail: "That happened after this transaction's snapshot was taken.".to_owned(),
        }),
    }
}

impl Wave {
    /// Refreshes the members, upstream first. `targets` are those the caller named.
    pub fn run(&self, targets: &[i64], options: Options) -> Result<BTreeMap<i64, MemberOutcome>> {
        let mut outcomes: BTreeMap<i64, MemberOutcome> = BTreeMap::new();
        for member in &self.plan.members {
            let blocked = member
                .upstream
                .iter()
                .find(|id| !matches!(outcomes.get(id), Some(MemberOutcome::Refreshed(_)) | None));
            if let Some(&upstream) = blocked {
                outcomes.insert(member.pgt_id, MemberOutcome::Skipped { upstream });
                continue;
            }
            let force = options.force && targets.contains(&member.pgt_id);
            let refresh = || {
                refuse_suspended(&member.known.stream_table, targets)?;
                member::refresh(&self.session, &member.known, force)
            };
            let outcome = match options.on_failure {
                OnFailure::Raise => MemberOutcome::Refreshed(refresh()?),
                OnFailure::Continue => {
                    match xact::subtransaction(|| refresh().unwrap_or_else(|error| error.report())) {
                        Ok(refreshed) => MemberOutcome::Refreshed(refreshed),
                        Err(failure) => {
                            self.session.executor.clear_relations();
                            MemberOutcome::Failed(failure)
                        }
                    }
                }
            };
            outcomes.insert(member.pgt_id, outcome);
        }
        self.check_no_own_changes(&outcomes)?;
        Ok(outcomes)
    }

    /// A trigger on a stream table that changes a source of the same wave would let members see different cuts.
    ///
    /// Looked for in the buffers that the wave has locked: of others the collector may drop one meanwhile.
    fn check_no_own_changes(&self, outcomes: &BTreeMap<i64, MemberOutcome>) -> Result<()> {
        if xact::own_xid().is_none() {
            return Ok(());
        }
        let mut consumed: Vec<(u32, &[Buffer], i64)> = vec![];
        for member in &self.plan.members {
            let Some(MemberOutcome::Refreshed(refreshed)) = outcomes.get(&member.pgt_id) else { continue };
            for (&source, &position) in &refreshed.positions {
                let buffers = member.known.buffers.get(&source).map_or(&[][..], Vec::as_slice);
                match consumed.iter_mut().find(|known| known.0 == source && known.1 == buffers) {
                    Some(known) => known.2 = known.2.min(position),
                    None => consumed.push((source, buffers, position)),
                }
            }
        }
        catalog::as_extension(|| {
            for (source, buffers, position) in consumed {
                if gather::own_position(&self.session.executor, buffers) > position {
                    let name = crate::pg::relation::qualified_name(source).unwrap_or_default();
                    return Err(Error::SourceChangedByTrigger { source: name });
                }
            }
            Ok(())
        })
    }
}

/// A suspended upstream cannot be brought to the snapshot; a suspended stream table is refreshed only by name.
fn refuse_suspended(stream_table: &StreamTable, targets: &[i64]) -> Result<()> {
    if stream_table.suspended && !targets.contains(&stream_table.pgt_id) {
        return Err(Error::NotRefreshable {
            name: stream_table.display_name(),
            reason: "it is suspended".to_owned(),
            hint: "Resume it with pgtrickle.resume_stream_table.".to_owned(),
        });
    }
    Ok(())
}
