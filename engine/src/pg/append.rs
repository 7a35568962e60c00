//! Appends rows to a change buffer the way COPY does: many at a time, without a plan.
//!
//! The caller is a trigger in somebody else's transaction. Nothing is evaluated and no permission is asked for: the rows
//! are the extension's own record of what the statement did.

use crate::pg::compat;
use pgrx::pg_sys;
use std::ptr;

/// Rows that are written together, and the bytes after which fewer are.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 256 * 1024;

/// The columns of a buffer before the captured ones: `change_id`, `xid`, `weight`.
pub const FIXED_COLUMNS: usize = 3;

unsafe extern "C-unwind" {
    /// Exported by the server (`commands/sequence.h`) but absent from the bindings. Can raise.
    fn nextval_internal(relid: pg_sys::Oid, check_permissions: bool) -> i64;
}

/// An open buffer and the rows not written yet.
pub struct Appender {
    relation: pg_sys::Relation,
    sequence: pg_sys::Oid,
    command: pg_sys::CommandId,
    /// Change number and transaction. Drawn with the first row: a statement that changed nothing draws no number and
    /// assigns no transaction id.
    stamp: Option<(pg_sys::Datum, pg_sys::Datum)>,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    waiting: usize,
    bytes: usize,
    /// Holds the waiting tuples.
    context: pg_sys::MemoryContext,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    indexes: Option<Vec<Index>>,
}

struct Index {
    relation: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    /// The block last entered, for an index with one entry per range of blocks.
    entered: Option<u32>,
}

impl Appender {
    /// # Safety
    /// `relation` is a buffer opened with ROW EXCLUSIVE. It is closed, and the lock kept, by [`Appender::finish`], or by
    /// the abort of the transaction.
    pub unsafe fn new(relation: pg_sys::Relation, sequence: pg_sys::Oid) -> Appender {
        // SAFETY: by contract; the context is a child of the current one and goes with it if an error unwinds.
        unsafe {
            let width = (*(*relation).rd_att).natts as usize;
            Appender {
                relation,
                sequence,
                command: pg_sys::GetCurrentCommandId(true),
                stamp: None,
                slots: Vec::new(),
                waiting: 0,
                bytes: 0,
                context: pg_sys::AllocSetContextCreateExtended(
                    pg_sys::CurrentMemoryContext,
                    c"pg_trickle captured rows".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                ),
                values: vec![pg_sys::Datum::null(); width],
                nulls: vec![true; width],
                indexes: None,
            }
        }
    }

    /// Appends one row: `weight`, and the captured columns in the buffer's order.
    ///
    /// # Safety
    /// The values are of the captured columns' types.
    pub unsafe fn push(&mut self, weight: i32, values: &[pg_sys::Datum], nulls: &[bool]) {
        // SAFETY: by contract; the tuple is copied into the appender's own context.
        unsafe {
            let (change_id, xid) = self.stamp();
            self.values[..FIXED_COLUMNS].copy_from_slice(&[change_id, xid, pg_sys::Datum::from(weight)]);
            self.nulls[..FIXED_COLUMNS].fill(false);
            self.values[FIXED_COLUMNS..].copy_from_slice(values);
            self.nulls[FIXED_COLUMNS..].copy_from_slice(nulls);
            let descriptor = (*self.relation).rd_att;
            let before = pg_sys::MemoryContextSwitchTo(self.context);
            let tuple =
                pg_sys::heap_form_tuple(descriptor, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
            pg_sys::MemoryContextSwitchTo(before);
            if self.waiting == self.slots.len() {
                self.slots
                    .push(pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsHeapTuple));
            }
            pg_sys::ExecStoreHeapTuple(tuple, self.slots[self.waiting], false);
            self.waiting += 1;
            self.bytes += (*tuple).t_len as usize;
            if self.waiting == BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush();
            }
        }
    }

    /// Appends the marker that says the contents were replaced.
    ///
    /// # Safety
    /// As [`Appender::new`].
    pub unsafe fn push_marker(&mut self) {
        let captured = self.values.len() - FIXED_COLUMNS;
        // SAFETY: NULL is a value of every type; domain constraints are not the buffer's business.
        unsafe { self.push(0, &vec![pg_sys::Datum::null(); captured], &vec![true; captured]) }
    }

    fn stamp(&mut self) -> (pg_sys::Datum, pg_sys::Datum) {
        *self.stamp.get_or_insert_with(|| {
            // SAFETY: the sequence exists as long as the buffer; xid8 is passed by value on the platforms supported.
            unsafe {
                let change_id = pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(self.sequence, false));
                let xid = pg_sys::GetTopFullTransactionId().value;
                (pg_sys::Datum::from(change_id), pg_sys::Datum::from(xid))
            }
        })
    }

    /// # Safety
    /// As [`Appender::new`].
    unsafe fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        pg_sys::check_for_interrupts!();
        // SAFETY: the waiting slots hold tuples of the relation's type; the callback is the table's access method's own.
        unsafe {
            let insert = (*(*self.relation).rd_tableam).multi_insert.expect("a table can be written");
            let (relation, slots) = (self.relation, self.slots.as_mut_ptr());
            let (waiting, command) = (self.waiting as i32, self.command);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                insert(relation, slots, waiting, command, 0, ptr::null_mut());
            });
            self.enter_indexes();
            for &slot in &self.slots[..self.waiting] {
                let clear = (*(*slot).tts_ops).clear.expect("every kind of slot can be cleared");
                pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
            }
            pg_sys::MemoryContextReset(self.context);
        }
        self.waiting = 0;
        self.bytes = 0;
    }

    /// # Safety
    /// The waiting slots have been inserted and know their addresses.
    unsafe fn enter_indexes(&mut self) {
        // SAFETY: by contract; indexes of buffers are on plain columns, so no executor state is needed.
        unsafe {
            if self.indexes.is_none() {
                self.indexes = Some(self.open_indexes());
            }
            let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
            let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
            for index in self.indexes.iter_mut().flatten() {
                let summarizes = (*(*index.relation).rd_indam).amsummarizing;
                for &slot in &self.slots[..self.waiting] {
                    let address = &raw mut (*slot).tts_tid;
                    let block =
                        (u32::from((*address).ip_blkid.bi_hi) << 16) | u32::from((*address).ip_blkid.bi_lo);
                    // All rows of one statement have one transaction, which is what is summarised.
                    if summarizes && index.entered == Some(block) {
                        continue;
                    }
                    index.entered = Some(block);
                    pg_sys::FormIndexDatum(
                        index.info,
                        slot,
                        ptr::null_mut(),
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                    );
                    pg_sys::index_insert(
                        index.relation,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                        address,
                        self.relation,
                        pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                        false,
                        index.info,
                    );
                }
            }
        }
    }

    /// # Safety
    /// As [`Appender::new`].
    unsafe fn open_indexes(&self) -> Vec<Index> {
        // SAFETY: the list is a copy of the relation's own, of OIDs; no index is no list.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.relation);
            let length = if list.is_null() { 0 } else { (*list).length as usize };
            (0..length)
                .map(|position| {
                    let oid = (*(*list).elements.add(position)).oid_value;
                    let relation = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE);
                    Index { relation, info: pg_sys::BuildIndexInfo(relation), entered: None }
                })
                .collect()
        }
    }

    /// Writes what is waiting and closes the buffer, whose lock the transaction keeps.
    ///
    /// # Safety
    /// As [`Appender::new`].
    pub unsafe fn finish(mut self) {
        // SAFETY: everything closed here was opened by this value, or handed to it.
        unsafe {
            self.flush();
            for index in self.indexes.take().into_iter().flatten() {
                compat::index_insert_done(index.relation, index.info);
                pg_sys::index_close(index.relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
            for slot in std::mem::take(&mut self.slots) {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::MemoryContextDelete(self.context);
            pg_sys::table_close(self.relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}
