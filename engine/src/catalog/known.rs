//! What a session knows of a stream table: what it is, what it reads, and where the changes of that are kept.
//!
//! The server announces changes of relations, not of rows. So a trigger on the catalog tables that this is read from
//! announces a change of their rows as one of the relation of definitions, and what was read may be kept until then.

use crate::capture::buffer::{self, Buffer};
use crate::catalog;
use crate::catalog::definition::{self, Dependency, StreamTable};
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::invalidation::{self, Watch};
use crate::pg::relation;
use crate::pg::snapshot::{self, Snapshot};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A stream table with what a refresh has to know before it looks at data.
#[derive(Debug)]
pub struct Known {
    pub stream_table: StreamTable,
    /// By ascending OID.
    pub dependencies: Vec<Dependency>,
    /// Generations of the buffers of captured sources, oldest first.
    pub buffers: BTreeMap<u32, Vec<Buffer>>,
    watch: Watch,
}

impl PartialEq for Known {
    fn eq(&self, other: &Known) -> bool {
        // All of it: what is known from before a wait for locks may bear an old name or fingerprint.
        self.stream_table == other.stream_table
            && self.dependencies == other.dependencies
            && self.buffers == other.buffers
    }
}

impl Eq for Known {}

thread_local! {
    static KNOWN: RefCell<HashMap<i64, Rc<Known>>> = RefCell::default();
    /// By the stream table's OID.
    static IDS: RefCell<HashMap<u32, i64>> = RefCell::default();
}

/// The executor under whose snapshot the catalog is to be read: only where the transaction's snapshot is fixed, and may
/// be older than what the session knows.
pub fn fixed_view() -> Option<Executor> {
    snapshot::transaction_snapshot_is_fixed().then(|| Executor::new(Snapshot::for_refresh()))
}

/// The stream table of an id, as it is now or as a fixed view shows it.
pub fn get(pgt_id: i64, fixed: Option<&Executor>) -> Option<Rc<Known>> {
    if let Some(executor) = fixed {
        return read(executor, pgt_id).map(Rc::new);
    }
    let known = KNOWN.with_borrow(|known| known.get(&pgt_id).cloned());
    if let Some(known) = known.filter(|known| known.watch.is_current()) {
        return Some(known);
    }
    // Under a snapshot taken after the last announcement that was heard: an older one might miss what it was about.
    let since = invalidation::count();
    let known = Rc::new(read_since(&Executor::new(Snapshot::latest()), pgt_id, since)?);
    KNOWN.with_borrow_mut(|all| {
        // Nobody asks again for stream tables that were dropped.
        all.retain(|_, old| old.watch.is_current());
        all.insert(pgt_id, known.clone());
    });
    IDS.with_borrow_mut(|ids| ids.insert(known.stream_table.relid, pgt_id));
    Some(known)
}

/// The stream table that a user names, likewise.
pub fn resolve(argument: &'static str, name: Option<&str>, fixed: Option<&Executor>) -> Result<Rc<Known>> {
    let relid = definition::named_relation(argument, name)?;
    let known = IDS.with_borrow(|ids| ids.get(&relid).copied()).and_then(|pgt_id| get(pgt_id, fixed));
    if let Some(known) = known.filter(|known| known.stream_table.relid == relid) {
        return Ok(known);
    }
    let stream_table = match fixed {
        Some(executor) => definition::by_relid(executor, relid),
        None => definition::by_relid(&Executor::new(Snapshot::latest()), relid),
    };
    let known = stream_table.and_then(|stream_table| get(stream_table.pgt_id, fixed));
    known.ok_or_else(|| Error::NotAStreamTable { name: name.unwrap_or_default().to_owned() })
}

/// The stream table of an id, as the executor's snapshot shows it.
pub fn read(executor: &Executor, pgt_id: i64) -> Option<Known> {
    read_since(executor, pgt_id, invalidation::count())
}

fn read_since(executor: &Executor, pgt_id: i64, since: u64) -> Option<Known> {
    let stream_table = definition::load(executor, pgt_id)?;
    let dependencies = definition::dependencies(executor, pgt_id);
    let captured = || dependencies.iter().filter(|dependency| dependency.is_captured);
    let relids: Vec<u32> = captured().map(|dependency| dependency.relid).collect();
    let mut buffers = buffer::generations_of(executor, &relids);
    for dependency in captured() {
        // Generations without some column this stream table reads were drained before its first snapshot.
        if let Some(generations) = buffers.get_mut(&dependency.relid) {
            generations
                .retain(|buffer| dependency.columns.iter().all(|attnum| buffer.columns.contains(attnum)));
        }
    }
    let relations = [catalog::definitions_relation(), stream_table.relid];
    let schema = relation::schema_of(stream_table.relid);
    let watch = Watch::new(&relations, &[], schema.as_slice(), since);
    Some(Known { stream_table, dependencies, buffers, watch })
}
