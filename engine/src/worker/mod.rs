//! Background workers.
//!
//! ```text
//! postmaster ─▶ launcher (in no database) ─▶ one scheduler per database that has the extension ─▶ refreshes, collection
//!                  ▲ looks at pg_database, is asked through shared memory (CREATE EXTENSION), sees schedulers end
//! ```
//!
//! They exist only if the library is named in `shared_preload_libraries`. A scheduler holds no lock while it waits, so
//! DROP EXTENSION and DROP DATABASE go ahead: it notices either within a second and ends.

pub mod launcher;
mod record;
mod refresher;
mod scheduler;

use crate::pg::{shmem, worker};

/// Registers what only a preloaded library can have. Without effect otherwise.
pub fn register() {
    if shmem::is_preloading() {
        shmem::register();
        worker::register_launcher("pgt_launcher_main");
    }
}
