//! One stream table's part of a wave: from its stored frontier to the wave's snapshot.

use crate::capture::buffer::{self, Buffer};
use crate::catalog;
use crate::catalog::definition::{Dependency, StreamTable};
use crate::catalog::known::{self, Known};
use crate::catalog::progress::{self, Home, Outcome, Progress};
use crate::error::{Error, Result};
use crate::lifecycle::{redefine, rekey};
use crate::pg::attached::{self, Hostile};
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::value::Param;
use crate::pg::{checked, fmgr, relation, security, snapshot, xact};
use crate::refresh::compiled::{self, Compiled};
use crate::refresh::constraints::Constraints;
use crate::refresh::gather::{self, Pending};
use crate::refresh::task::{Choice, Task};
use crate::refresh::{Action, Initiator, RowCounts, run};
use pg_trickle_core::frontier::{Frontier, TransactionSnapshot};
use pg_trickle_core::program::{Program, Step, source_delta_name};
use pg_trickle_core::query::Unsupported;
use pg_trickle_core::types::SourceId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What all members of a wave share.
pub struct Session {
    pub executor: Executor,
    pub home: Home,
    /// The wave's snapshot as the server reports it, without the own transaction.
    pub snapshot: TransactionSnapshot,
    pub initiator: Initiator,
}

/// What became of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    pub action: Action,
    pub counts: RowCounts,
    /// Own changes consumed per base table: none may follow in this wave.
    pub positions: BTreeMap<u32, i64>,
}

/// A captured source with its buffer and what is pending in it.
struct Source {
    relid: u32,
    is_stream_table: bool,
    buffers: Vec<Buffer>,
    pending: Pending,
    /// The highest own `change_id` there is.
    position: i64,
}

/// Brings one stream table to the session's snapshot. With `force` the table is recomputed whatever is pending.
pub fn refresh(session: &Session, known: &Known, force: bool) -> Result<Refreshed> {
    refresh_because(session, known, force.then_some("reinitialization asked for"))
}

/// Why a stream table is recomputed whose contents were made under another definition.
const REDEFINED: &str = "function replaced or view redefined";

/// The same, with the reason to recompute that the caller has.
fn refresh_because(session: &Session, known: &Known, forced: Option<&'static str>) -> Result<Refreshed> {
    let started = Instant::now();
    let executor = &session.executor;
    let stream_table = &known.stream_table;
    let progress = current_progress(session, stream_table)?;
    if let Some(fingerprint) = redefine::changed_fingerprint(stream_table) {
        redefine::adopt(executor, stream_table, &fingerprint)?;
        let renewed = reloaded(executor, stream_table)?;
        let refreshed = refresh_because(session, &renewed, Some(REDEFINED))?;
        redefine::settle(executor, &renewed.stream_table)?;
        return Ok(refreshed);
    }
    check_rights(known)?;
    check_hostile_objects(executor, stream_table)?;
    let sources = catalog::as_extension(|| probe_sources(executor, known, &progress));
    let unlogged = reads_unlogged(&known.dependencies);
    let reason = if unlogged && !has_sentinel(executor, stream_table) {
        Some("an unlogged source may have been emptied by a crash")
    } else {
        reason_to_recompute(&progress, &sources, forced)
    };
    let is_pending = sources.iter().any(|source| source.pending.rows > 0);
    let positions = sources
        .iter()
        .filter(|source| !source.is_stream_table)
        .map(|source| (source.relid, source.position))
        .collect();
    if reason.is_none() && !is_pending && stream_table.is_captured {
        checked::note(stream_table.pgt_id);
        return Ok(Refreshed { action: Action::NoData, counts: RowCounts::default(), positions });
    }
    let compiled = compiled::load(executor, stream_table)?;
    let is_foreign = forced == Some(REDEFINED);
    if let Some(maintenance) = compiled.outgrown(stream_table).filter(|_| !is_foreign) {
        rekey::rekey(executor, stream_table, maintenance);
        let renewed = reloaded(executor, stream_table)?;
        return refresh_because(session, &renewed, Some("key of the stream table changed"));
    }
    let mut constraints = Constraints::load(executor, stream_table);
    constraints.options.is_foreign = is_foreign;
    let choice = Choice { stream_table, compiled: &compiled, constraints: &constraints };
    let (task, counts) = match choice.recompute_first(progress.state_is_valid, reason)? {
        Some(task) => choice.run(executor, task)?,
        None => {
            let frontier =
                progress.frontier.as_ref().expect("without a frontier there is a reason to recompute");
            let (mut changed, mut rows) =
                catalog::as_extension(|| gather_changes(executor, &compiled, frontier, &sources));
            rows += poll(executor, stream_table, &compiled, &mut changed)?;
            let task = choice.change(&changed, rows)?;
            let (task, counts) = fmgr::since(frontier.time, || choice.run(executor, task))?;
            // Time has passed over nothing, or a look has found nothing: the frontier may stay where it is.
            let is_recomputed = !matches!(task.action, Action::Differential | Action::NoData);
            if !is_pending && counts == RowCounts::default() && !is_recomputed {
                executor.clear_relations();
                checked::note(stream_table.pgt_id);
                return Ok(Refreshed { action: Action::NoData, counts, positions });
            }
            (task, counts)
        }
    };
    catalog::as_extension(|| {
        let output = task.program.as_ref().and_then(|program| program.output.as_deref());
        if let Some(output) = output.filter(|_| has_consumers(executor, stream_table)) {
            buffer::append_change(executor, stream_table.relid, output);
        }
        finish(session, stream_table, &progress, &sources, &task, counts, started);
        if unlogged {
            put_sentinel(executor, stream_table);
        }
    });
    executor.clear_relations();
    Ok(Refreshed { action: task.action, counts, positions })
}

fn reloaded(executor: &Executor, stream_table: &StreamTable) -> Result<Known> {
    known::read(executor, stream_table.pgt_id)
        .ok_or_else(|| Error::NoSuchStreamTable { name: stream_table.display_name() })
}

/// Fills a new, empty stream table and stores its first frontier.
pub fn populate(session: &Session, known: &Known) -> Result<()> {
    let started = Instant::now();
    let executor = &session.executor;
    let stream_table = &known.stream_table;
    let progress = current_progress(session, stream_table)?;
    check_rights(known)?;
    let sources = catalog::as_extension(|| probe_sources(executor, known, &progress));
    let compiled = compiled::load(executor, stream_table)?;
    let constraints = Constraints::load(executor, stream_table);
    let (task, counts) =
        Choice { stream_table, compiled: &compiled, constraints: &constraints }.populate(executor)?;
    catalog::as_extension(|| {
        finish(session, stream_table, &progress, &sources, &task, counts, started);
        if reads_unlogged(&known.dependencies) {
            put_sentinel(executor, stream_table);
        }
    });
    executor.clear_relations();
    Ok(())
}

/// The error for a program that cannot be built although the query was accepted.
pub fn not_differential(unsupported: Unsupported) -> Error {
    Error::NotDifferential {
        construct: unsupported.construct.name,
        position: None,
        reason: unsupported.reason.to_string(),
    }
}

/// The progress row under the session's snapshot, which must show the newest committed one.
fn current_progress(session: &Session, stream_table: &StreamTable) -> Result<Progress> {
    let missing = || Error::NoSuchStreamTable { name: stream_table.display_name() };
    let progress =
        progress::load(&session.executor, stream_table.pgt_id, session.home).ok_or_else(missing)?;
    if snapshot::transaction_snapshot_is_fixed() {
        let latest = Executor::new(snapshot::Snapshot::latest());
        let newest = progress::load(&latest, stream_table.pgt_id, session.home).ok_or_else(missing)?;
        if newest.version != progress.version {
            return Err(Error::Serialization {
                message: format!(
                    "could not refresh stream table \"{}\": it was refreshed by another transaction",
                    stream_table.display_name()
                ),
                detail: "That refresh committed after this transaction's snapshot was taken.".to_owned(),
            });
        }
    }
    // A stream table created in this transaction was filled under a snapshot newer than the transaction's own.
    let is_newer = |frontier: &Frontier| !session.snapshot.includes(&frontier.snapshot);
    if progress.frontier.as_ref().is_some_and(is_newer) {
        return Err(Error::Serialization {
            message: format!(
                "could not refresh stream table \"{}\" under this snapshot",
                stream_table.display_name()
            ),
            detail: "The stream table is at a newer snapshot than the transaction's own.".to_owned(),
        });
    }
    Ok(progress)
}

/// The owner may read every used column of every source, and no row-level security filters them for him.
fn check_rights(known: &Known) -> Result<()> {
    let (stream_table, dependencies) = (&known.stream_table, &known.dependencies);
    // Where the query runs as it stands the server checks, view by view.
    if stream_table.runs_differentially() {
        let unreadable = dependencies.iter().find_map(|dependency| {
            security::unreadable(dependency.relid, &dependency.columns, stream_table.owner)
        });
        if let Some(unreadable) = unreadable {
            return Err(Error::InsufficientPrivilege {
                message: format!(
                    "the owner of stream table \"{}\" may not read {unreadable}",
                    stream_table.display_name()
                ),
                hint: "Grant SELECT on it (and USAGE on its schema) to the owner.".to_owned(),
            });
        }
    }
    for dependency in dependencies {
        if security::row_security_applies(dependency.relid, stream_table.owner) {
            return Err(Error::UnsupportedSource {
                source: relation::qualified_name(dependency.relid).unwrap_or_default(),
                reason: "Row-level security applies to it for the stream table's owner.".to_owned(),
                hint: "Let a role with BYPASSRLS own the stream table, or exempt its owner.".to_owned(),
            });
        }
    }
    Ok(())
}

/// Nothing on the stream table changes what the engine's statements do.
pub fn check_hostile_objects(executor: &Executor, stream_table: &StreamTable) -> Result<()> {
    let object = match attached::hostile(stream_table.relid, stream_table.query_view) {
        None => return Ok(()),
        Some(Hostile::Trigger(name)) => format!("trigger \"{name}\""),
        Some(Hostile::Rule(rule)) => {
            let sql = "SELECT r.rulename::pg_catalog.text FROM pg_catalog.pg_rewrite AS r \
                       WHERE r.oid OPERATOR(pg_catalog.=) $1";
            let name = executor.fixed_row(sql, &[Param::Oid(rule)]).map(|row| row.text(0));
            format!("rule \"{}\"", name.unwrap_or_default())
        }
        Some(Hostile::ForcedRowSecurity) => "FORCE ROW LEVEL SECURITY".to_owned(),
        Some(Hostile::Columns) => "changed column list".to_owned(),
        Some(Hostile::Inheritance) => "inheritance".to_owned(),
    };
    Err(Error::HostileObject { name: stream_table.display_name(), object })
}

fn probe_sources(executor: &Executor, known: &Known, progress: &Progress) -> Vec<Source> {
    known
        .dependencies
        .iter()
        .filter(|dependency| dependency.is_captured)
        .map(|dependency| {
            let buffers = known.buffers.get(&dependency.relid).cloned().unwrap_or_default();
            let pending = match &progress.frontier {
                Some(frontier) => gather::probe(executor, &buffers, dependency.relid, frontier),
                None => Pending::default(),
            };
            Source {
                relid: dependency.relid,
                is_stream_table: dependency.pgt_id.is_some(),
                pending,
                position: gather::own_position(executor, &buffers),
                buffers,
            }
        })
        .collect()
}

/// Why the stream table must be recomputed whatever its mode, if it must.
fn reason_to_recompute(
    progress: &Progress,
    sources: &[Source],
    forced: Option<&'static str>,
) -> Option<&'static str> {
    if progress.frontier.is_none() {
        return Some(if progress.is_foreign { "frontier of another cluster" } else { "not populated" });
    }
    if forced.is_some() {
        return forced;
    }
    if progress.needs_reinit {
        return Some("reinitialization asked for");
    }
    if sources.iter().any(|source| source.pending.has_marker) {
        return Some("source truncated");
    }
    progress.is_altered.then_some("source altered")
}

fn reads_unlogged(dependencies: &[Dependency]) -> bool {
    dependencies
        .iter()
        .any(|dependency| relation::facts(dependency.relid).is_some_and(|facts| facts.persistence == 'u'))
}

/// Whether no crash came between the last refresh and now.
fn has_sentinel(executor: &Executor, stream_table: &StreamTable) -> bool {
    executor
        .fixed_row(
            "SELECT 1 FROM pgtrickle.pgt_unlogged_sentinels AS s WHERE s.pgt_id OPERATOR(pg_catalog.=) $1",
            &[Param::Int(stream_table.pgt_id)],
        )
        .is_some()
}

fn put_sentinel(executor: &Executor, stream_table: &StreamTable) {
    executor.fixed_modify(
        "INSERT INTO pgtrickle.pgt_unlogged_sentinels (pgt_id) VALUES ($1) ON CONFLICT DO NOTHING",
        &[Param::Int(stream_table.pgt_id)],
    );
}

/// Consolidates the pending changes of every source; returns which sources have any, and the number of their rows.
fn gather_changes(
    executor: &Executor,
    compiled: &Compiled,
    frontier: &Frontier,
    sources: &[Source],
) -> (BTreeSet<SourceId>, u64) {
    let mut changed = BTreeSet::new();
    let mut rows = 0;
    for (index, info) in compiled.sources.iter().enumerate() {
        let id = SourceId(index as u32);
        let Some(source) = sources.iter().find(|source| source.relid == info.relid) else { continue };
        if source.pending.rows == 0 {
            continue;
        }
        let net = gather::consolidate(executor, &source.buffers, id, info, frontier, source.pending);
        debug_assert_eq!(executor.relation_rows(&source_delta_name(id)), Some(net));
        if net > 0 {
            changed.insert(id);
            rows += net;
        }
    }
    (changed, rows)
}

/// Looks at the sources whose changes nobody records, as the owner; adds those that changed, and returns the number of
/// rows of their changes.
fn poll(
    executor: &Executor,
    stream_table: &StreamTable,
    compiled: &Compiled,
    changed: &mut BTreeSet<SourceId>,
) -> Result<u64> {
    let Ok(maintenance) = &compiled.maintenance else { return Ok(0) };
    let (sources, steps): (Vec<SourceId>, Vec<Step>) = maintenance.polls().into_iter().unzip();
    run::run(executor, stream_table, &Program { steps, output: None }, Planning::Once)?;
    let mut rows = 0;
    for source in sources {
        let found = executor.relation_rows(&source_delta_name(source)).unwrap_or(0);
        if found > 0 {
            changed.insert(source);
            rows += found;
        }
    }
    Ok(rows)
}

fn has_consumers(executor: &Executor, stream_table: &StreamTable) -> bool {
    executor
        .fixed_row(
            "SELECT 1 FROM pgtrickle.pgt_consumers AS c WHERE c.source_relid OPERATOR(pg_catalog.=) $1 LIMIT 1",
            &[Param::Oid(stream_table.relid)],
        )
        .is_some()
}

/// Stores the frontier and the history row.
fn finish(
    session: &Session,
    stream_table: &StreamTable,
    progress: &Progress,
    sources: &[Source],
    task: &Task,
    counts: RowCounts,
    started: Instant,
) {
    let own_xid = xact::assign_xid();
    let mut consumed = match &progress.frontier {
        Some(frontier) if frontier.own_xid == own_xid => frontier.consumed.clone(),
        _ => BTreeMap::new(),
    };
    for source in sources.iter().filter(|source| source.position > 0) {
        consumed.insert(source.relid, source.position);
    }
    let frontier = Frontier {
        snapshot: session.snapshot.clone().with_own(Some(own_xid)),
        own_xid,
        consumed,
        time: xact::time(),
    };
    // The time of this refresh may be earlier than that of a later one that found nothing to do.
    checked::forget(stream_table.pgt_id);
    let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
    progress::store(
        &session.executor,
        stream_table.pgt_id,
        &Outcome {
            frontier: &frontier,
            home: session.home,
            state_is_valid: task.keeps_state,
            effective_mode: if task.keeps_state { "DIFFERENTIAL" } else { "FULL" },
            full_ms: (task.action == Action::Full).then_some(elapsed_ms),
        },
    );
    session.executor.fixed_rows(
        include_str!("../../../sql/queries/insert_history.sql"),
        &[
            Param::Int(stream_table.pgt_id),
            Param::text(elapsed_ms.to_string()),
            Param::text(task.action.as_str()),
            Param::optional_text(task.reason.as_deref()),
            Param::Int(counts.inserted as i64),
            Param::Int(counts.deleted as i64),
            Param::Int(task.delta_rows as i64),
            Param::Bool(task.is_fallback),
            Param::text(session.initiator.as_str()),
            Param::text(frontier.snapshot.to_string()),
        ],
    );
}
