//! A stream table's query, analysed, and the programs that maintain it; cached per backend.
//!
//! The defining query lives in a view, whose text the server prints with today's names. A change of anything it leads to
//! may change that text or its meaning, so what is derived from it is kept until then.

use crate::catalog;
use crate::catalog::definition::StreamTable;
use crate::catalog::meaning::{self, Meaning};
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::pinned::PinnedSettings;
use crate::pg::value::Param;
use crate::pg::{relation, security};
use pg_trickle_core::delta;
use pg_trickle_core::maintain::{self, ApplyOptions, Maintenance, Names, TableShape};
use pg_trickle_core::plan::Plan;
use pg_trickle_core::program::Program;
use pg_trickle_core::query::{Analyzed, Construct, SourceInfo, StableClass, Unsupported};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{SourceId, Volatility};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Instant;

/// Changed sources, and whether the table has a unique constraint besides its key.
type DeltaKey = (BTreeSet<SourceId>, bool);

/// Everything derived from a stream table's definition.
pub struct Compiled {
    /// The stream table, for messages and for programs.
    name: String,
    owner: u32,
    generation: i64,
    meaning: Rc<Meaning>,
    /// The query with today's names.
    pub query_sql: String,
    pub sources: Vec<SourceInfo>,
    /// The query as the front end made it of the text, if it has a plan.
    pub plan: Option<Plan>,
    pub shape: TableShape,
    /// How it is maintained differentially, or why not.
    pub maintenance: std::result::Result<Maintenance, Unsupported>,
    /// A volatile construct, which no definition may have.
    pub volatile: Option<Construct>,
    /// Nothing but its sources changes the result.
    pub is_still: bool,
    /// Delta programs by changed sources.
    deltas: RefCell<HashMap<DeltaKey, Rc<Program>>>,
}

impl Compiled {
    /// Whether it is what compiling the stream table now would come to.
    fn is_current(&self, stream_table: &StreamTable) -> bool {
        self.generation == stream_table.generation
            && self.owner == stream_table.owner
            && self.name == stream_table.display_name()
            && self.meaning.is_current()
    }

    /// How the stream table is maintained now, if that needs another key than the one it was made for.
    pub fn outgrown(&self, stream_table: &StreamTable) -> Option<&Maintenance> {
        let maintenance = self.maintenance.as_ref().ok()?;
        (stream_table.is_differential && maintenance.shape().key != stream_table.key).then_some(maintenance)
    }

    /// The query that orders ties as they are kept, if the definition leaves that open.
    pub fn tie_breaking_query(&self) -> Option<String> {
        self.maintenance.as_ref().ok().filter(|maintenance| maintenance.breaks_ties())?.query().ok()
    }

    /// The query for a recompute without state. Of rows that tie it chooses those that differential maintenance would
    /// (`design-review.md` 8.4), so that a table may change its mode, and two tables of one query are equal.
    pub fn recompute_sql(&self) -> String {
        self.tie_breaking_query().unwrap_or_else(|| self.query_sql.clone())
    }

    /// The program for a change of exactly these sources.
    pub fn delta(
        &self,
        changed: &BTreeSet<SourceId>,
        options: ApplyOptions,
    ) -> std::result::Result<Rc<Program>, Unsupported> {
        let maintenance = self.maintenance.as_ref().map_err(Unsupported::clone)?;
        let key = (changed.clone(), options.has_extra_unique);
        if let Some(program) = self.deltas.borrow().get(&key) {
            return Ok(program.clone());
        }
        let clock = Instant::now();
        let program = Rc::new(maintenance.delta(changed, options)?);
        pgrx::debug1!(
            "pg_trickle compiled {} for {} changed sources in {:.1} ms",
            self.name,
            changed.len(),
            clock.elapsed().as_secs_f64() * 1e3
        );
        self.deltas.borrow_mut().insert(key, program.clone());
        Ok(program)
    }
}

thread_local! {
    /// By stream table.
    static CACHE: RefCell<HashMap<i64, Rc<Compiled>>> = RefCell::default();
}

/// The compiled definition of a stream table.
pub fn load(executor: &Executor, stream_table: &StreamTable) -> Result<Rc<Compiled>> {
    let found = CACHE.with_borrow(|cache| cache.get(&stream_table.pgt_id).cloned());
    if let Some(found) = found.filter(|found| found.is_current(stream_table)) {
        return Ok(found);
    }
    let clock = Instant::now();
    let compiled = Rc::new(compile(executor, stream_table)?);
    let milliseconds = clock.elapsed().as_secs_f64() * 1e3;
    pgrx::debug1!("pg_trickle analysed {} in {milliseconds:.1} ms", compiled.name);
    CACHE.with_borrow_mut(|cache| {
        // Nobody asks again for stream tables that were dropped.
        cache.retain(|_, old| old.meaning.is_current());
        cache.insert(stream_table.pgt_id, compiled.clone());
    });
    Ok(compiled)
}

/// The text of the view that holds a definition, without the final semicolon.
pub fn definition_text(executor: &Executor, query_view: u32) -> Option<String> {
    let row = catalog::as_extension(|| {
        // Constants must read the same whatever the session's date style.
        let _pinned = PinnedSettings::for_printing();
        executor.fixed_row("SELECT pg_catalog.pg_get_viewdef($1::pg_catalog.oid)", &[Param::Oid(query_view)])
    })?;
    Some(row.optional_text(0)?.trim_end().trim_end_matches(';').to_owned())
}

/// How a query is maintained, or why it is not.
/// `states` are the state tables that were made for it, none for a new one.
pub fn maintenance(
    analyzed: &Analyzed,
    names: &Names,
    states: &[String],
) -> std::result::Result<Maintenance, Unsupported> {
    let has_children = |relid| relation::facts(relid).is_some_and(|facts| facts.may_have_children);
    // Changes of children are captured with those of their parent and cannot be told apart.
    let only =
        analyzed.sources.iter().find(|source| source.name.starts_with("ONLY ") && has_children(source.relid));
    if let Some(source) = only {
        return Err(Unsupported {
            construct: Construct { name: source.name.clone(), position: None },
            reason: Refusal::OnlyParent,
        });
    }
    let planned =
        analyzed.plan.clone().and_then(|plan| maintain::plan(&plan, &analyzed.sources, names, states));
    planned.map_err(|unsupported| named_by_query(unsupported, analyzed))
}

/// The core does not know how the query reads the time.
fn named_by_query(unsupported: Unsupported, analyzed: &Analyzed) -> Unsupported {
    let timed = analyzed.stable_constructs.iter().find(|stable| stable.class == StableClass::Time);
    match timed.filter(|_| unsupported.construct.name == delta::TIME) {
        Some(timed) => Unsupported { construct: timed.construct.clone(), ..unsupported },
        None => unsupported,
    }
}

fn compile(executor: &Executor, stream_table: &StreamTable) -> Result<Compiled> {
    // Before anything is read: what changes meanwhile is noticed by the next refresh.
    let meaning = meaning::load(stream_table.query_view);
    let query_sql =
        definition_text(executor, stream_table.query_view).ok_or_else(|| Error::NotRefreshable {
            name: stream_table.display_name(),
            reason: "its defining query was dropped together with something it reads".to_owned(),
            hint: "Drop the stream table and create it again.".to_owned(),
        })?;
    let analyzed =
        security::run_as(stream_table.owner, &stream_table.settings, || crate::analyze::analyze(&query_sql))?;
    let maintenance = maintenance(&analyzed, &stream_table.names(), &stream_table.state_tables);
    let volatile =
        analyzed.volatile_construct.clone().filter(|_| analyzed.volatility == Volatility::Volatile);
    let is_still = analyzed.stable_constructs.iter().all(|stable| stable.class == StableClass::Settings);
    // The stored key is the one the indexes and the apply programs were made for.
    let shape = TableShape { columns: analyzed.columns, key: stream_table.key.clone() };
    let (sources, plan, deltas) = (analyzed.sources, analyzed.plan.ok(), RefCell::default());
    let (name, owner, generation) =
        (stream_table.display_name(), stream_table.owner, stream_table.generation);
    Ok(Compiled {
        name,
        owner,
        generation,
        meaning,
        query_sql,
        sources,
        plan,
        shape,
        maintenance,
        volatile,
        is_still,
        deltas,
    })
}
