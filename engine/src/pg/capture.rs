//! `pgtrickle.capture(source)`: the trigger that records what a statement changed.
//!
//! This is the one piece of the product that runs in other people's transactions: it must be minimal, and nothing in it
//! may fail for a change that is legal on the table. Columns go by name from the relation that fires to the source: a
//! partition or child may number them differently.

use crate::capture::buffer::column_name;
use crate::capture::target::{self, Target};
use crate::pg::append::{Appender, FIXED_COLUMNS};
use crate::pg::fmgr::{finfo, trigger_data};
use crate::pg::{compat, invalidation};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

finfo!(pg_finfo_pgt_capture);

unsafe extern "C-unwind" {
    /// Exported by the server (`utils/datum.h`) but absent from the bindings. It compares bytes and raises only for a
    /// type of impossible length.
    fn datumIsEqual(left: pg_sys::Datum, right: pg_sys::Datum, by_value: bool, length: i32) -> bool;
}

/// Where a captured column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Attribute number of the relation that fires.
    Attribute(i16),
    /// The same, of a virtual generated column: tuples show it as NULL.
    Generated(i16),
    /// The relation has no such column, or of another type: nobody reads it, or it could not have been changed.
    Nothing,
}

/// A [`Target`] as seen from the relation that fires.
struct Mapped {
    buffer: pg_sys::Oid,
    sequence: pg_sys::Oid,
    /// One per captured column, in the buffer's order.
    origins: Vec<Origin>,
    /// How its values compare byte by byte.
    shapes: Vec<(bool, i16)>,
}

type Key = (u32, u32);

thread_local! {
    /// By source and relation that fires.
    static KNOWN: RefCell<HashMap<Key, Rc<Mapped>>> = RefCell::default();
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relid: pg_sys::Oid) {
    // Invalidations arrive only while locks are taken or catalogs read, never while the map is borrowed.
    KNOWN.with_borrow_mut(|known| {
        let changed = relid.to_u32();
        known.retain(|&(source, member), mapped| {
            changed != 0 && changed != source && changed != member && relid != mapped.buffer
        });
    });
}

fn watch() {
    thread_local! {
        static WATCHING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !WATCHING.replace(true) {
        // SAFETY: the callback only touches a thread-local map and cannot raise.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0usize));
        }
    }
}

/// How often a buffer that is replaced while it is being opened is looked up again.
const ATTEMPTS: usize = 100;

/// The current buffer of `source`, open with ROW EXCLUSIVE.
///
/// Taking the lock lets invalidations in: what was known before it may be the past, so it is looked at again after it,
/// as the server does when it opens a relation by name.
///
/// # Safety
/// `relation` is the open relation that fires.
unsafe fn open(source: u32, relation: pg_sys::Relation) -> Option<(Rc<Mapped>, pg_sys::Relation)> {
    watch();
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: by contract; relations opened here are closed here or handed out.
    unsafe {
        let key = (source, (*relation).rd_id.to_u32());
        for _ in 0..ATTEMPTS {
            let known = KNOWN.with_borrow(|known| known.get(&key).cloned());
            if let Some(mapped) = known {
                let buffer = pg_sys::try_table_open(mapped.buffer, lock);
                let is_current =
                    KNOWN.with_borrow(|known| known.get(&key).is_some_and(|now| Rc::ptr_eq(now, &mapped)));
                if is_current && !buffer.is_null() {
                    return Some((mapped, buffer));
                }
                KNOWN.with_borrow_mut(|known| known.remove(&key));
                if !buffer.is_null() {
                    pg_sys::table_close(buffer, lock);
                }
                continue;
            }
            let before = invalidation::count();
            let target = target::find(key.0, key.1)?;
            let buffer = pg_sys::try_table_open(pg_sys::Oid::from(target.buffer), lock);
            if buffer.is_null() {
                continue;
            }
            let mapped = Rc::new(map(source, &target, relation, buffer));
            if invalidation::count() == before {
                KNOWN.with_borrow_mut(|known| known.insert(key, mapped));
            }
            pg_sys::table_close(buffer, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the change buffer of relation {source} cannot be opened"),
            "Was a table in schema pgtrickle_changes dropped by hand?"
        );
    }
}

/// # Safety
/// Both relations are open.
unsafe fn map(source: u32, target: &Target, relation: pg_sys::Relation, buffer: pg_sys::Relation) -> Mapped {
    // SAFETY: by contract; attribute numbers come from the server.
    unsafe {
        let width = (*(*buffer).rd_att).natts as usize - FIXED_COLUMNS;
        let mut origins = vec![Origin::Nothing; width];
        let shapes = (0..width).map(|column| {
            let attribute = &*compat::attribute((*buffer).rd_att, column + FIXED_COLUMNS);
            (attribute.attbyval, attribute.attlen)
        });
        let shapes = shapes.collect();
        for &attnum in &target.columns {
            let held = CString::new(column_name(attnum)).expect("a name without NUL");
            let place = pg_sys::get_attnum((*buffer).rd_id, held.as_ptr()) - FIXED_COLUMNS as i16 - 1;
            let name = pg_sys::get_attname(pg_sys::Oid::from(source), attnum, true);
            if place < 0 || name.is_null() {
                continue;
            }
            let own = pg_sys::get_attnum((*relation).rd_id, name);
            if own <= 0 {
                continue;
            }
            let attribute = &*compat::attribute((*relation).rd_att, own as usize - 1);
            let stored = &*compat::attribute((*buffer).rd_att, place as usize + FIXED_COLUMNS);
            if attribute.atttypid == stored.atttypid {
                let is_generated = compat::is_virtual(attribute);
                origins[place as usize] =
                    if is_generated { Origin::Generated(own) } else { Origin::Attribute(own) };
            }
        }
        Mapped { buffer: (*buffer).rd_id, sequence: pg_sys::Oid::from(target.sequence), origins, shapes }
    }
}

/// Reads the captured columns of tuples of one relation.
struct Reader<'a> {
    mapped: &'a Mapped,
    /// Attributes to deform.
    reach: i32,
    /// Expressions of generated columns, by column.
    generated: Vec<(usize, *mut pg_sys::ExprState)>,
    state: *mut pg_sys::EState,
}

impl<'a> Reader<'a> {
    /// # Safety
    /// `relation` is the open relation that fires, for which `mapped` was made.
    unsafe fn new(mapped: &'a Mapped, relation: pg_sys::Relation) -> Reader<'a> {
        let columns = mapped.origins.iter().enumerate();
        let virtuals: Vec<(usize, i16)> = columns
            .filter_map(|(column, origin)| match origin {
                Origin::Generated(attnum) => Some((column, *attnum)),
                _ => None,
            })
            .collect();
        let stored = mapped.origins.iter().map(|origin| match origin {
            Origin::Attribute(attnum) => i32::from(*attnum),
            _ => 0,
        });
        let reach = stored.max().unwrap_or(0);
        let mut state = std::ptr::null_mut();
        let mut generated = vec![];
        // SAFETY: by contract; the executor state lives in the current context.
        unsafe {
            if !virtuals.is_empty() {
                state = pg_sys::CreateExecutorState();
                pg_sys::MakePerTupleExprContext(state);
                for (column, attnum) in virtuals {
                    let attribute = &*compat::attribute((*relation).rd_att, attnum as usize - 1);
                    if let Some(expression) = compat::generation(relation, attribute) {
                        generated.push((column, pg_sys::ExecPrepareExpr(expression.cast(), state)));
                    }
                }
            }
        }
        Reader { mapped, reach, generated, state }
    }

    /// # Safety
    /// `slot` holds a tuple of the relation; the values live as long as the tuple, those of generated columns until
    /// [`Reader::forget`].
    unsafe fn read(&self, slot: *mut pg_sys::TupleTableSlot, image: &mut Image) {
        // SAFETY: by contract; `reach` covers every attribute that is looked at.
        unsafe {
            if i32::from((*slot).tts_nvalid) < self.reach {
                pg_sys::slot_getsomeattrs_int(slot, self.reach);
            }
            for (column, origin) in self.mapped.origins.iter().enumerate() {
                if let Origin::Attribute(attnum) = origin {
                    let index = *attnum as usize - 1;
                    image.values[column] = *(*slot).tts_values.add(index);
                    image.nulls[column] = *(*slot).tts_isnull.add(index);
                }
            }
            for &(column, expression) in &self.generated {
                let context = (*self.state).es_per_tuple_exprcontext;
                (*context).ecxt_scantuple = slot;
                let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
                let evaluate = (*expression).evalfunc.expect("a prepared expression can be evaluated");
                let is_null = &raw mut image.nulls[column];
                image.values[column] =
                    pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(expression, context, is_null));
                pg_sys::MemoryContextSwitchTo(before);
            }
        }
    }

    /// Frees the values of generated columns.
    ///
    /// # Safety
    /// No value read before is used again.
    unsafe fn forget(&self) {
        if !self.state.is_null() {
            // SAFETY: by contract.
            unsafe { pg_sys::ReScanExprContext((*self.state).es_per_tuple_exprcontext) }
        }
    }

    /// # Safety
    /// As [`Reader::forget`].
    unsafe fn finish(self) {
        if !self.state.is_null() {
            // SAFETY: by contract.
            unsafe { pg_sys::FreeExecutorState(self.state) }
        }
    }
}

/// The captured columns of one row.
struct Image {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Image {
    fn new(width: usize) -> Image {
        Image { values: vec![pg_sys::Datum::null(); width], nulls: vec![true; width] }
    }

    /// Byte for byte: a value stored in two ways counts as changed, and cancels when changes are gathered.
    ///
    /// # Safety
    /// Both images are of one relation's tuples, still alive.
    unsafe fn is_same(&self, other: &Image, shapes: &[(bool, i16)]) -> bool {
        (0..shapes.len()).all(|column| {
            let (by_value, length) = shapes[column];
            self.nulls[column] == other.nulls[column]
                && (self.nulls[column]
                    // SAFETY: by contract.
                    || unsafe {
                        datumIsEqual(self.values[column], other.values[column], by_value, length.into())
                    })
        })
    }
}

/// A transition table, read from its beginning.
struct Transition {
    store: *mut pg_sys::Tuplestorestate,
    pointer: i32,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Transition {
    /// # Safety
    /// `store` is a transition table of `relation`. Other triggers read it, too, each by a pointer of its own.
    unsafe fn new(store: *mut pg_sys::Tuplestorestate, relation: pg_sys::Relation) -> Transition {
        // SAFETY: by contract.
        unsafe {
            let pointer = pg_sys::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as i32);
            pg_sys::tuplestore_select_read_pointer(store, pointer);
            pg_sys::tuplestore_rescan(store);
            let slot =
                pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsMinimalTuple);
            Transition { store, pointer, slot }
        }
    }

    /// # Safety
    /// Ends the life of the tuple read before.
    unsafe fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: the store is alive during the trigger.
        unsafe {
            pg_sys::tuplestore_select_read_pointer(self.store, self.pointer);
            pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot).then_some(self.slot)
        }
    }

    /// # Safety
    /// No tuple read before is used again.
    unsafe fn finish(self) {
        // SAFETY: by contract.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) }
    }
}

/// # Safety
/// Called by the trigger manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_capture(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server calls it so.
    unsafe { record(trigger_data(fcinfo, "capture")) };
    pg_sys::Datum::from(0usize)
}

/// The source named by the trigger's argument.
///
/// # Safety
/// `trigger` is the trigger that fires.
unsafe fn source_of(trigger: *const pg_sys::Trigger) -> Option<u32> {
    // SAFETY: arguments are `tgnargs` C strings.
    unsafe {
        ((*trigger).tgnargs == 1).then(|| CStr::from_ptr(*(*trigger).tgargs))?.to_str().ok()?.parse().ok()
    }
}

/// # Safety
/// `data` is what the trigger manager says of the event.
unsafe fn record(data: &pg_sys::TriggerData) {
    // SAFETY: by contract; slots and transition tables are there as the kind of event says.
    unsafe {
        let Some(source) = source_of(data.tg_trigger) else {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "pgtrickle.capture() takes the OID of its source as its only argument"
            );
        };
        let operation = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        let is_row = data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0;
        if !is_row && operation != pg_sys::TRIGGER_EVENT_TRUNCATE && is_untouched(data) {
            return;
        }
        let Some((mapped, buffer)) = open(source, data.tg_relation) else { return };
        let mut appender = Appender::new(buffer, mapped.sequence);
        if operation == pg_sys::TRIGGER_EVENT_TRUNCATE {
            appender.push_marker();
            appender.finish();
            return;
        }
        let reader = Reader::new(&mapped, data.tg_relation);
        if is_row {
            let (old, new) = match operation {
                pg_sys::TRIGGER_EVENT_INSERT => (None, Some(data.tg_trigslot)),
                pg_sys::TRIGGER_EVENT_DELETE => (Some(data.tg_trigslot), None),
                _ => (Some(data.tg_trigslot), Some(data.tg_newslot)),
            };
            push_pair(&mut appender, &reader, old, new, &mut images(&mapped));
        } else {
            push_transitions(&mut appender, &reader, data);
        }
        reader.finish();
        appender.finish();
    }
}

/// The statement touched no row.
///
/// # Safety
/// As [`record`], for a statement trigger with transition tables.
unsafe fn is_untouched(data: &pg_sys::TriggerData) -> bool {
    // SAFETY: by contract.
    [data.tg_oldtable, data.tg_newtable]
        .into_iter()
        .filter(|store| !store.is_null())
        .all(|store| unsafe { pg_sys::tuplestore_tuple_count(store) } == 0)
}

fn images(mapped: &Mapped) -> [Image; 2] {
    [Image::new(mapped.origins.len()), Image::new(mapped.origins.len())]
}

/// The rows before and after come in pairs, but for a row whose way into another partition a trigger has stopped. Pairs
/// matter only for leaving out what did not change: whatever is paired, the sum is the same.
///
/// # Safety
/// As [`record`].
unsafe fn push_transitions(appender: &mut Appender, reader: &Reader, data: &pg_sys::TriggerData) {
    // SAFETY: by contract.
    unsafe {
        let transition = |store: *mut pg_sys::Tuplestorestate| {
            (!store.is_null()).then(|| Transition::new(store, data.tg_relation))
        };
        let (mut before, mut after) = (transition(data.tg_oldtable), transition(data.tg_newtable));
        let mut images = images(reader.mapped);
        loop {
            let old = before.as_mut().and_then(|table| table.next());
            let new = after.as_mut().and_then(|table| table.next());
            if old.is_none() && new.is_none() {
                break;
            }
            push_pair(appender, reader, old, new, &mut images);
        }
        before.into_iter().chain(after).for_each(|table| table.finish());
    }
}

/// # Safety
/// The slots hold tuples of the reader's relation.
unsafe fn push_pair(
    appender: &mut Appender,
    reader: &Reader,
    old: Option<*mut pg_sys::TupleTableSlot>,
    new: Option<*mut pg_sys::TupleTableSlot>,
    [before, after]: &mut [Image; 2],
) {
    // SAFETY: by contract; tuples and images outlive the calls, which copy them.
    unsafe {
        if let Some(slot) = old {
            reader.read(slot, before);
        }
        if let Some(slot) = new {
            reader.read(slot, after);
        }
        let is_unchanged = old.is_some() && new.is_some() && before.is_same(after, &reader.mapped.shapes);
        if !is_unchanged {
            if old.is_some() {
                appender.push(-1, &before.values, &before.nulls);
            }
            if new.is_some() {
                appender.push(1, &after.values, &after.nulls);
            }
        }
        reader.forget();
    }
}
