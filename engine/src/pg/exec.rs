//! Runs one SQL text under an explicit snapshot, with named in-memory relations in sight.
//!
//! SPI chooses snapshots by isolation level and by whether a statement is read-only; here every statement, SELECT and
//! DML alike, sees the executor's snapshot plus everything this transaction wrote before (`design-review.md` 2.1).

use crate::pg::memory::Scope;
use crate::pg::plans::{self, ColumnShape, Planning, RelationShape};
use crate::pg::snapshot::Snapshot;
use crate::pg::store::{Arena, Store};
use crate::pg::value::{Param, Row};
use pg_trickle_core::program::RelationColumn;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};

unsafe extern "C-unwind" {
    /// Exported by the server (`executor/tstoreReceiver.h`) but absent from the bindings. It only sets fields and
    /// cannot raise, so it needs no guard.
    fn SetTuplestoreDestReceiverParams(
        receiver: *mut pg_sys::DestReceiver,
        store: *mut pg_sys::Tuplestorestate,
        context: pg_sys::MemoryContext,
        detoast: bool,
        target: pg_sys::TupleDesc,
        map_failure_message: *const std::ffi::c_char,
    );
}

/// Statements under one snapshot, and the relations they hand to each other.
pub struct Executor {
    snapshot: Snapshot,
    relations: RefCell<BTreeMap<String, Store>>,
    arena: Arena,
}

/// Where the rows of a statement go.
enum Destination<'a> {
    Nowhere,
    /// Kept under the declared columns' names.
    Relation(&'a [RelationColumn], &'a mut Option<Store>),
    /// Kept as they come.
    Rows(&'a mut Option<Store>),
    /// Added to a store of the same row type.
    Store(*mut pg_sys::Tuplestorestate, Vec<ColumnShape>),
}

impl Executor {
    pub fn new(snapshot: Snapshot) -> Executor {
        Executor { snapshot, relations: RefCell::default(), arena: Arena::new() }
    }

    /// What every statement sees.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Runs a query and decodes its rows.
    pub fn rows(&self, sql: &str, params: &[Param]) -> Vec<Row> {
        self.decoded(sql, params, Planning::Once)
    }

    /// Runs a query that returns at most one row.
    pub fn row(&self, sql: &str, params: &[Param]) -> Option<Row> {
        at_most_one(self.rows(sql, params), sql)
    }

    /// As [`Executor::rows`], for a text that never changes: its plan is kept.
    pub fn fixed_rows(&self, sql: &'static str, params: &[Param]) -> Vec<Row> {
        self.decoded(sql, params, Planning::Cached)
    }

    /// As [`Executor::row`], for a text that never changes: its plan is kept.
    pub fn fixed_row(&self, sql: &'static str, params: &[Param]) -> Option<Row> {
        at_most_one(self.fixed_rows(sql, params), sql)
    }

    fn decoded(&self, sql: &str, params: &[Param], planning: Planning) -> Vec<Row> {
        let mut kept = None;
        self.execute(sql, params, planning, Destination::Rows(&mut kept));
        let store = kept.expect("a query keeps its rows");
        let rows = store.decode();
        self.arena.free(store);
        rows
    }

    /// Runs a data-modifying statement; returns the number of rows it touched.
    pub fn modify(&self, sql: &str, params: &[Param]) -> u64 {
        self.execute(sql, params, Planning::Once, Destination::Nowhere)
    }

    /// As [`Executor::modify`], for a text that never changes: its plan is kept.
    pub fn fixed_modify(&self, sql: &'static str, params: &[Param]) -> u64 {
        self.execute(sql, params, Planning::Cached, Destination::Nowhere)
    }

    /// As [`Executor::modify`], keeping the plan if so planned.
    pub fn modify_planned(&self, sql: &str, planning: Planning) -> u64 {
        self.execute(sql, &[], planning, Destination::Nowhere)
    }

    /// A query that returns exactly one row.
    pub fn single_row_planned(&self, sql: &str, params: &[Param], planning: Planning) -> Row {
        let rows = self.decoded(sql, params, planning);
        at_most_one(rows, sql).unwrap_or_else(|| panic!("no row from: {sql}"))
    }

    /// Runs a query and keeps its rows as the relation `name`; returns their number.
    ///
    /// The columns take the declared names. Their types must be the declared ones: a wrong declaration would make
    /// later statements misread memory, so it is an internal error here.
    pub fn keep(
        &self,
        name: &str,
        columns: &[RelationColumn],
        sql: &str,
        params: &[Param],
        planning: Planning,
    ) -> u64 {
        let mut kept = None;
        let processed = self.execute(sql, params, planning, Destination::Relation(columns, &mut kept));
        self.insert_relation(name, kept.expect("a query keeps its rows"));
        processed
    }

    /// As [`Executor::keep`], with the columns the query has.
    pub fn keep_as_is(&self, name: &str, sql: &str) -> u64 {
        let mut kept = None;
        let processed = self.execute(sql, &[], Planning::Once, Destination::Rows(&mut kept));
        self.insert_relation(name, kept.expect("a query keeps its rows"));
        processed
    }

    /// Runs a query that does not read the relation `name` and adds its rows to it.
    ///
    /// # Panics
    /// If there is no such relation, or its columns are of other types.
    pub fn append(&self, name: &str, sql: &str, planning: Planning) -> u64 {
        let target = {
            let relations = self.relations.borrow();
            let store = relations.get(name).unwrap_or_else(|| panic!("no relation {name}"));
            Destination::Store(store.state, store.columns())
        };
        self.execute(sql, &[], planning, target)
    }

    /// The first column of the first row of a kept relation, an integer; None if it has no row.
    pub fn first_integer(&self, name: &str) -> Option<i64> {
        self.relations.borrow().get(name)?.decode().first().map(|row| row.int(0))
    }

    /// Makes `name` an empty relation.
    pub fn keep_empty(&self, name: &str, columns: &[RelationColumn]) {
        let store = self.arena.store(columns);
        self.insert_relation(name, store);
    }

    /// Number of rows of a kept relation.
    pub fn relation_rows(&self, name: &str) -> Option<u64> {
        self.relations.borrow().get(name).map(Store::rows)
    }

    /// Frees every kept relation.
    pub fn clear_relations(&self) {
        self.clear_relations_but(&BTreeSet::new());
    }

    /// Frees every kept relation with another name than these.
    pub fn clear_relations_but(&self, names: &BTreeSet<String>) {
        let all = std::mem::take(&mut *self.relations.borrow_mut());
        for (name, store) in all {
            if names.contains(&name) {
                self.relations.borrow_mut().insert(name, store);
            } else {
                self.arena.free(store);
            }
        }
    }

    fn insert_relation(&self, name: &str, store: Store) {
        if let Some(previous) = self.relations.borrow_mut().insert(name.to_owned(), store) {
            self.arena.free(previous);
        }
    }

    fn execute(&self, sql: &str, params: &[Param], planning: Planning, destination: Destination) -> u64 {
        let _scope = Scope::enter();
        let text = CString::new(sql).expect("SQL text has no NUL");
        // SAFETY: everything allocated below lives in the scope's context, which outlives the statement; kept rows go
        // to the arena. The snapshot is registered for the life of `self`.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushCopiedSnapshot(self.snapshot.as_ptr());
            pg_sys::UpdateActiveSnapshotCommandId();
            let processed = self.plan_and_run(sql, &text, params, planning, destination);
            pg_sys::PopActiveSnapshot();
            pg_sys::CommandCounterIncrement();
            processed
        }
    }

    /// # Safety
    /// The active snapshot is the one to use and a scratch memory context is current. `text` is `sql`.
    unsafe fn plan_and_run(
        &self,
        sql: &str,
        text: &CStr,
        params: &[Param],
        planning: Planning,
        destination: Destination,
    ) -> u64 {
        let mut types: Vec<pg_sys::Oid> = params.iter().map(Param::type_oid).collect();
        // SAFETY: see above.
        unsafe {
            let environment = self.environment();
            let bound = bind(params);
            match planning {
                Planning::Once => {
                    let (_, queries) = analyze(text, &types, environment);
                    let query = list_first(queries).cast::<pg_sys::Query>();
                    let options = pg_sys::CURSOR_OPT_PARALLEL_OK as i32;
                    let planned = pg_sys::pg_plan_query(query, text.as_ptr(), options, bound);
                    self.run_planned(planned, text, bound, environment, destination)
                }
                Planning::Cached => {
                    let relations = self.relations_in(sql);
                    let parameter_types = types.clone();
                    let fetched = plans::fetch(sql, text, relations, &mut types, bound, environment, || {
                        analyze(text, &parameter_types, environment)
                    });
                    let processed =
                        self.run_planned(fetched.statement(), text, bound, environment, destination);
                    fetched.release();
                    processed
                }
            }
        }
    }

    /// The kept relations a statement mentions, with their numbers of rows.
    fn relations_in(&self, sql: &str) -> Vec<(RelationShape, u64)> {
        let relations = self.relations.borrow();
        let mentioned = relations.iter().filter(|(name, _)| sql.contains(name.as_str()));
        mentioned
            .map(|(name, store)| {
                (RelationShape { name: name.clone(), columns: store.columns() }, store.rows())
            })
            .collect()
    }

    /// # Safety
    /// As [`Executor::plan_and_run`].
    unsafe fn run_planned(
        &self,
        planned: *mut pg_sys::PlannedStmt,
        text: &CStr,
        bound: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: Destination,
    ) -> u64 {
        // SAFETY: the calls follow the executor's life cycle; the receiver outlives the run.
        unsafe {
            let keeps = !matches!(destination, Destination::Nowhere);
            let receiver = pg_sys::CreateDestReceiver(if keeps {
                pg_sys::CommandDest::DestTuplestore
            } else {
                pg_sys::CommandDest::DestNone
            });
            let desc = pg_sys::CreateQueryDesc(
                planned,
                text.as_ptr(),
                pg_sys::GetActiveSnapshot(),
                std::ptr::null_mut(),
                receiver,
                bound,
                environment,
                0,
            );
            pg_sys::ExecutorStart(desc, 0);
            let kept = match &destination {
                Destination::Nowhere => None,
                Destination::Store(_, columns) => {
                    check_columns((*desc).tupDesc, columns, text);
                    None
                }
                Destination::Rows(_) => Some(self.arena.store_like((*desc).tupDesc)),
                Destination::Relation(columns, _) => {
                    check_row_type((*desc).tupDesc, columns, text);
                    Some(self.arena.store(columns))
                }
            };
            let target = match &destination {
                Destination::Store(state, _) => Some(*state),
                _ => kept.as_ref().map(|store| store.state),
            };
            if let Some(target) = target {
                SetTuplestoreDestReceiverParams(
                    receiver,
                    target,
                    self.arena.context(),
                    false,
                    std::ptr::null_mut(),
                    std::ptr::null(),
                );
            }
            #[cfg(not(feature = "pg18"))]
            pg_sys::ExecutorRun(desc, pg_sys::ScanDirection::ForwardScanDirection, 0, true);
            #[cfg(feature = "pg18")]
            pg_sys::ExecutorRun(desc, pg_sys::ScanDirection::ForwardScanDirection, 0);
            let processed = (*(*desc).estate).es_processed;
            pg_sys::ExecutorFinish(desc);
            pg_sys::ExecutorEnd(desc);
            pg_sys::FreeQueryDesc(desc);
            if let Some(destroy) = (*receiver).rDestroy {
                destroy(receiver);
            }
            match destination {
                Destination::Nowhere | Destination::Store(..) => {}
                Destination::Rows(slot) | Destination::Relation(_, slot) => *slot = kept,
            }
            processed
        }
    }

    /// A query environment with all kept relations.
    ///
    /// # Safety
    /// The current memory context outlives the statement.
    unsafe fn environment(&self) -> *mut pg_sys::QueryEnvironment {
        // SAFETY: names are copied into the current context; stores live in the arena.
        unsafe {
            let environment = pg_sys::create_queryEnv();
            for (name, store) in self.relations.borrow().iter() {
                let relation = pg_sys::palloc0(size_of::<pg_sys::EphemeralNamedRelationData>())
                    .cast::<pg_sys::EphemeralNamedRelationData>();
                let name = CString::new(name.as_str()).expect("relation names have no NUL");
                (*relation).md.name = pg_sys::pstrdup(name.as_ptr());
                (*relation).md.reliddesc = pg_sys::InvalidOid;
                (*relation).md.tupdesc = store.descriptor;
                (*relation).md.enrtype = pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE;
                (*relation).md.enrtuples = store.rows() as f64;
                (*relation).reldata = store.state.cast();
                pg_sys::register_ENR(environment, relation);
            }
            environment
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear_relations();
        }
    }
}

fn at_most_one(mut rows: Vec<Row>, sql: &str) -> Option<Row> {
    assert!(rows.len() <= 1, "more than one row from: {sql}");
    rows.pop()
}

/// The raw statement of a text and its one analysed and rewritten query.
///
/// # Safety
/// A snapshot is active and a scratch memory context is current.
unsafe fn analyze(
    text: &CStr,
    types: &[pg_sys::Oid],
    environment: *mut pg_sys::QueryEnvironment,
) -> (*mut pg_sys::RawStmt, *mut pg_sys::List) {
    // SAFETY: list cells are of the node types the server's functions return. Analysis scribbles on the raw tree, so
    // it gets a copy.
    unsafe {
        let parsed = pg_sys::pg_parse_query(text.as_ptr());
        assert!(list_length(parsed) == 1, "one statement at a time: {text:?}");
        let raw = list_first(parsed).cast::<pg_sys::RawStmt>();
        let copy = pg_sys::copyObjectImpl(raw.cast()).cast::<pg_sys::RawStmt>();
        let rewritten = pg_sys::pg_analyze_and_rewrite_fixedparams(
            copy,
            text.as_ptr(),
            types.as_ptr(),
            types.len() as i32,
            environment,
        );
        assert!(list_length(rewritten) == 1, "a rule on the table rewrites the statement: {text:?}");
        let query = list_first(rewritten).cast::<pg_sys::Query>();
        assert!((*query).commandType != pg_sys::CmdType::CMD_UTILITY, "not a plannable statement: {text:?}");
        (raw, rewritten)
    }
}

/// # Safety
/// `list` is a valid list or null.
unsafe fn list_length(list: *mut pg_sys::List) -> i32 {
    // SAFETY: null is the empty list.
    unsafe { if list.is_null() { 0 } else { (*list).length } }
}

/// # Safety
/// `list` is a list of pointers with at least one member.
unsafe fn list_first(list: *mut pg_sys::List) -> *mut std::ffi::c_void {
    // SAFETY: see above.
    unsafe { (*(*list).elements).ptr_value }
}

/// The parameter list of a statement, null if it has none.
///
/// # Safety
/// The current memory context outlives the statement.
unsafe fn bind(params: &[Param]) -> pg_sys::ParamListInfo {
    if params.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: `makeParamList` allocates room for as many entries as asked for.
    unsafe {
        let list = pg_sys::makeParamList(params.len() as i32);
        let entries = (*list).params.as_mut_ptr();
        for (index, param) in params.iter().enumerate() {
            let entry = entries.add(index);
            let datum = param.datum();
            (*entry).value = datum.unwrap_or(pg_sys::Datum::from(0));
            (*entry).isnull = datum.is_none();
            (*entry).pflags = pg_sys::PARAM_FLAG_CONST as u16;
            (*entry).ptype = param.type_oid();
        }
        list
    }
}

/// Panics (an internal error for the user) unless the statement returns rows of the types of a store.
///
/// # Safety
/// `actual` is a valid tuple descriptor.
unsafe fn check_columns(actual: pg_sys::TupleDesc, stored: &[ColumnShape], text: &CStr) {
    // SAFETY: attribute numbers are within the descriptor.
    let types = unsafe {
        (1..=(*actual).natts).map(|number| pg_sys::SPI_gettypeid(actual, number).to_u32()).collect::<Vec<_>>()
    };
    assert!(
        types.iter().eq(stored.iter().map(|column| &column.type_oid)),
        "statement returns other types than those of the relation it adds to: {text:?}"
    );
}

/// Panics (an internal error for the user) unless the statement returns the declared types.
///
/// # Safety
/// `actual` is a valid tuple descriptor.
unsafe fn check_row_type(actual: pg_sys::TupleDesc, declared: &[RelationColumn], text: &CStr) {
    // SAFETY: attribute numbers are within the descriptor.
    unsafe {
        let natts = (*actual).natts as usize;
        assert!(
            natts == declared.len(),
            "statement returns {natts} columns where {} are declared: {text:?}",
            declared.len()
        );
        for (index, column) in declared.iter().enumerate() {
            let oid = pg_sys::SPI_gettypeid(actual, (index + 1) as i32);
            assert!(
                oid == pg_sys::Oid::from(column.ty.oid),
                "column {} is of type {} where {} is declared: {text:?}",
                column.name,
                oid.to_u32(),
                column.ty.name
            );
        }
    }
}
