//! Signals and waiting in background workers.
//!
//! SIGTERM goes to the server's own handler, `die`: it also ends a query that is running, which a flag of our own that
//! is looked at between refreshes would not. SIGHUP only sets a flag; a worker reads the configuration again where it
//! waits. SIGINT keeps the server's handler, so `pg_cancel_backend` cancels the running refresh and nothing more.

use pgrx::pg_sys;
use std::time::Duration;

unsafe extern "C-unwind" {
    /// The server's handler of SIGTERM in backends. Called by the kernel, never from Rust, so it has no guard.
    fn die(signal: std::ffi::c_int);
    /// The server's handler of SIGHUP. As `die`.
    fn SignalHandlerForConfigReload(signal: std::ffi::c_int);
}

/// Installs the handlers and lets signals through. Called once, first thing in a worker.
pub fn prepare_worker() {
    // SAFETY: both are the server's own handlers and async-signal-safe; they are installed before signals can arrive.
    unsafe {
        #[cfg(feature = "pg18")]
        {
            pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(die));
            pg_sys::pqsignal_be(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        }
        #[cfg(not(feature = "pg18"))]
        {
            pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die));
            pg_sys::pqsignal(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        }
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Ends the process if it was told to stop. A request to cancel that arrives outside a transaction finds nothing to
/// cancel and is dropped, as in an idle session.
pub fn check_stop() {
    // SAFETY: a flag of the backend, outside a transaction.
    unsafe { pg_sys::QueryCancelPending = 0 };
    pgrx::check_for_interrupts!();
}

/// Waits until the process latch is set or `timeout` has passed, then acts on signals and reads the configuration
/// again if asked to. Does not return if the process was told to stop or the postmaster is gone.
pub fn wait(event: WaitEvent, timeout: Duration) {
    let timeout_ms = std::ffi::c_long::try_from(timeout.as_millis()).unwrap_or(std::ffi::c_long::MAX);
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the latch is this process's own.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, timeout_ms, event.0);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    check_stop();
    reload_if_asked();
}

fn reload_if_asked() {
    // SAFETY: reads and clears a flag of the backend; the configuration is read outside a transaction.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// What a worker is shown to be waiting for in `pg_stat_activity`.
#[derive(Debug, Clone, Copy)]
pub struct WaitEvent(u32);

impl WaitEvent {
    /// A named event of an extension; before PostgreSQL 17 all of them are called `Extension`. The server keeps the
    /// names of the whole cluster in a small table, so they are few.
    pub fn named(name: &'static std::ffi::CStr) -> WaitEvent {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        {
            // SAFETY: the name is static; the server copies it.
            WaitEvent(unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) })
        }
        #[cfg(feature = "pg16")]
        {
            let _ = name;
            WaitEvent(pg_sys::PG_WAIT_EXTENSION)
        }
    }
}
