//! Relations in memory: tuplestores that statements can read by name.

use crate::pg::compat;
use crate::pg::memory;
use crate::pg::plans::ColumnShape;
use crate::pg::value::{Row, decode};
use pg_trickle_core::program::RelationColumn;
use pgrx::pg_sys;
use std::ffi::CString;

/// A tuplestore with its row type. It lives in the memory context and resource owner of the [`Arena`] that made it.
pub struct Store {
    pub(super) state: *mut pg_sys::Tuplestorestate,
    pub(super) descriptor: pg_sys::TupleDesc,
}

impl Store {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        // SAFETY: the tuplestore lives as long as its arena, which outlives `self`.
        unsafe { pg_sys::tuplestore_tuple_count(self.state) as u64 }
    }

    /// What a plan depends on in each column.
    pub(super) fn columns(&self) -> Vec<ColumnShape> {
        // SAFETY: attribute numbers are within the descriptor; fields are copied.
        unsafe {
            (0..(*self.descriptor).natts as usize)
                .map(|index| {
                    let attribute = &*compat::attribute(self.descriptor, index);
                    ColumnShape {
                        type_oid: attribute.atttypid.to_u32(),
                        typmod: attribute.atttypmod,
                        collation: attribute.attcollation.to_u32(),
                    }
                })
                .collect()
        }
    }

    /// Copies all rows out.
    pub fn decode(&self) -> Vec<Row> {
        // SAFETY: tuplestore and descriptor belong together; the slot is dropped before either.
        unsafe {
            let natts = (*self.descriptor).natts as usize;
            let columns = self.columns();
            let slot =
                pg_sys::MakeSingleTupleTableSlot(self.descriptor, &raw const pg_sys::TTSOpsMinimalTuple);
            pg_sys::tuplestore_select_read_pointer(self.state, 0);
            pg_sys::tuplestore_rescan(self.state);
            let mut rows = Vec::new();
            while pg_sys::tuplestore_gettupleslot(self.state, true, false, slot) {
                pg_sys::slot_getsomeattrs_int(slot, natts as i32);
                let values = (0..natts).map(|i| {
                    decode(
                        *(*slot).tts_values.add(i),
                        *(*slot).tts_isnull.add(i),
                        pg_sys::Oid::from(columns[i].type_oid),
                    )
                });
                rows.push(Row(values.collect()));
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            rows
        }
    }
}

/// Owner of the stores of one refresh: its own memory context, and the resource owner that was current when it was
/// made, so that spilled files survive the subtransactions of a wave's members.
pub struct Arena {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Arena {
    pub fn new() -> Arena {
        // SAFETY: context and owner of the running transaction are valid.
        unsafe {
            Arena {
                context: memory::create(pg_sys::CurrentMemoryContext),
                owner: pg_sys::CurrentResourceOwner,
            }
        }
    }

    /// An empty store with these columns.
    pub fn store(&self, columns: &[RelationColumn]) -> Store {
        // SAFETY: the arena's context is live; the descriptor is filled before use.
        unsafe { memory::within(self.context, || self.with_descriptor(describe(columns))) }
    }

    /// An empty store with the row type `descriptor` (copied).
    ///
    /// # Safety
    /// `descriptor` is a valid tuple descriptor.
    pub(super) unsafe fn store_like(&self, descriptor: pg_sys::TupleDesc) -> Store {
        // SAFETY: see above.
        unsafe {
            memory::within(self.context, || self.with_descriptor(pg_sys::CreateTupleDescCopy(descriptor)))
        }
    }

    /// # Safety
    /// The arena's context is current and `descriptor` lives in it.
    unsafe fn with_descriptor(&self, descriptor: pg_sys::TupleDesc) -> Store {
        // SAFETY: the resource owner is restored; on error the server restores it itself.
        unsafe {
            let previous = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = self.owner;
            let state = pg_sys::tuplestore_begin_heap(true, false, pg_sys::work_mem);
            pg_sys::CurrentResourceOwner = previous;
            Store { state, descriptor }
        }
    }

    pub(super) fn context(&self) -> pg_sys::MemoryContext {
        self.context
    }

    /// Frees a store before the arena goes.
    pub fn free(&self, store: Store) {
        // SAFETY: the store was made by an arena and is not referenced by a running statement.
        unsafe {
            pg_sys::tuplestore_end(store.state);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: stores are ended by their holders first; what remains is memory.
            unsafe { pg_sys::MemoryContextDelete(self.context) };
        }
    }
}

/// A tuple descriptor in the current context.
///
/// # Safety
/// Called inside a transaction.
unsafe fn describe(columns: &[RelationColumn]) -> pg_sys::TupleDesc {
    // SAFETY: attribute numbers are within the template's size.
    unsafe {
        let descriptor = pg_sys::CreateTemplateTupleDesc(columns.len() as i32);
        for (index, column) in columns.iter().enumerate() {
            let number = (index + 1) as pg_sys::AttrNumber;
            let name = CString::new(column.name.as_str()).expect("column names of relations have no NUL");
            pg_sys::TupleDescInitEntry(
                descriptor,
                number,
                name.as_ptr(),
                pg_sys::Oid::from(column.ty.oid),
                column.ty.typmod,
                0,
            );
            pg_sys::TupleDescInitEntryCollation(descriptor, number, pg_sys::Oid::from(column.ty.collation));
        }
        descriptor
    }
}
