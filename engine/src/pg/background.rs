//! One-shot background workers: work that must commit on its own while its caller's transaction waits.
//!
//! The request travels in a dynamic shared memory segment, which also takes the reply.

use crate::pg::{signal, xact};
use pgrx::pg_sys;

/// Room for a reply.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// Header of the shared segment; request, then room for the reply, follow.
#[repr(C)]
struct Header {
    database: u32,
    request_bytes: u64,
    reply_bytes: u64,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReply {
    /// All worker slots are in use.
    NoSlot,
    /// The worker ended without replying.
    Died,
}

/// Starts a worker that runs `function` (an exported C function of this library) on `request`, waits for its end, and
/// returns its reply. The wait can be cancelled.
pub fn run(function: &str, title: &str, request: &[u8]) -> Result<Vec<u8>, NoReply> {
    // SAFETY: the segment is large enough for header, request and reply, and stays mapped until detached below; the
    // worker has ended before the reply is read.
    unsafe {
        let segment = pg_sys::dsm_create(HEADER_BYTES + request.len() + REPLY_BYTES_MAX, 0);
        let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
        base.cast::<Header>().write(Header {
            database: xact::database(),
            request_bytes: request.len() as u64,
            reply_bytes: 0,
        });
        std::ptr::copy_nonoverlapping(request.as_ptr(), base.add(HEADER_BYTES), request.len());

        let mut worker: pg_sys::BackgroundWorker = std::mem::zeroed();
        copy_name(&mut worker.bgw_name, title);
        copy_name(&mut worker.bgw_type, "pg_trickle one-shot worker");
        copy_name(&mut worker.bgw_library_name, "pg_trickle");
        copy_name(&mut worker.bgw_function_name, function);
        worker.bgw_flags =
            (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
        worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
        worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
        worker.bgw_main_arg = pg_sys::Datum::from(pg_sys::dsm_segment_handle(segment));
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let mut handle = std::ptr::null_mut();
        if !pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle) {
            pg_sys::dsm_detach(segment);
            return Err(NoReply::NoSlot);
        }
        let status = pg_sys::WaitForBackgroundWorkerShutdown(handle);
        let bytes = (*base.cast::<Header>()).reply_bytes as usize;
        let reply = std::slice::from_raw_parts(base.add(HEADER_BYTES + request.len()), bytes).to_vec();
        pg_sys::dsm_detach(segment);
        if status != pg_sys::BgwHandleStatus::BGWH_STOPPED || reply.is_empty() {
            return Err(NoReply::Died);
        }
        Ok(reply)
    }
}

/// The worker's side: connects to the caller's database as superuser, runs `body` on the request, stores its reply.
///
/// # Safety
/// Called once, first thing in the worker, with the worker's argument.
pub unsafe fn serve(argument: pg_sys::Datum, body: impl FnOnce(&[u8]) -> Vec<u8>) {
    // SAFETY: the caller of `run` keeps the segment until this process has ended; if it is gone, attaching fails and
    // there is nobody to answer.
    unsafe {
        signal::prepare_worker();
        let segment = pg_sys::dsm_attach(argument.value() as pg_sys::dsm_handle);
        if segment.is_null() {
            return;
        }
        let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let header = base.cast::<Header>();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            pg_sys::Oid::from((*header).database),
            pg_sys::InvalidOid,
            0,
        );
        let request = std::slice::from_raw_parts(base.add(HEADER_BYTES), (*header).request_bytes as usize);
        let reply = body(request);
        let bytes = reply.len().min(REPLY_BYTES_MAX);
        std::ptr::copy_nonoverlapping(reply.as_ptr(), base.add(HEADER_BYTES + request.len()), bytes);
        (*header).reply_bytes = bytes as u64;
    }
}

/// Sleeps on the latch; returns early when it is set, and ends the process if it was told to stop.
pub fn pause(milliseconds: i64) {
    // SAFETY: the latch is this process's own.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        xact::check_interrupts();
    }
}

/// Copies a name into a fixed C buffer, cut to fit.
pub(super) fn copy_name<const N: usize>(buffer: &mut [std::ffi::c_char; N], name: &str) {
    for (slot, byte) in buffer[..N - 1].iter_mut().zip(name.bytes()) {
        *slot = byte as std::ffi::c_char;
    }
}
