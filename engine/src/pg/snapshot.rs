//! Snapshots that a refresh holds on to.

use pg_trickle_core::frontier::TransactionSnapshot;
use pgrx::pg_sys;
use std::ffi::CStr;

/// A registered snapshot.
pub struct Snapshot {
    snapshot: pg_sys::Snapshot,
}

impl Snapshot {
    /// A new snapshot, whatever the isolation level.
    pub fn latest() -> Snapshot {
        // SAFETY: inside a transaction; registering copies the static snapshot.
        unsafe { Snapshot { snapshot: pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) } }
    }

    /// The snapshot a refresh works under: the transaction's own from REPEATABLE READ up, a new one below.
    pub fn for_refresh() -> Snapshot {
        if transaction_snapshot_is_fixed() {
            // SAFETY: inside a transaction.
            unsafe { Snapshot { snapshot: pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) } }
        } else {
            Snapshot::latest()
        }
    }

    /// The transactions it shows, in the terms of `pg_snapshot`: without the own one.
    pub fn transactions(&self) -> TransactionSnapshot {
        // SAFETY: both functions take what they are given here; the text is copied.
        let text = unsafe {
            pg_sys::PushActiveSnapshot(self.snapshot);
            let current = pgrx::direct_function_call_as_datum(pg_sys::pg_current_snapshot, &[]);
            let text = pgrx::direct_function_call_as_datum(pg_sys::pg_snapshot_out, &[current]);
            pg_sys::PopActiveSnapshot();
            let text = text.expect("neither function returns NULL");
            CStr::from_ptr(text.cast_mut_ptr()).to_string_lossy().into_owned()
        };
        text.parse().expect("the server prints a pg_snapshot")
    }

    pub(super) fn as_ptr(&self) -> pg_sys::Snapshot {
        self.snapshot
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered by the constructor and unregistered once.
            unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
        }
    }
}

/// Whether the transaction runs at REPEATABLE READ or SERIALIZABLE.
pub fn transaction_snapshot_is_fixed() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
