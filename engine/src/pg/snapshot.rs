//! Snapshots that a refresh holds on to.

use pgrx::pg_sys;

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
