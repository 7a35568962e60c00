//! The launcher: sees to it that every database with the extension has a scheduler.
//!
//! Which databases have it cannot be known from outside. So a scheduler is started in each, which ends at once if it
//! finds no extension; that is done again now and then, and when CREATE EXTENSION asks for it. A scheduler that ends
//! unexpectedly is started again after a pause that doubles each time.

use crate::pg::shmem::{self, Farewell};
use crate::pg::signal::{self, WaitEvent};
use crate::pg::worker::{self, Database, Handle};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks at the list of databases.
const LOOK: Duration = Duration::from_secs(10);
/// Before looking again for the extension in a database that did not have it.
const WITHOUT_EXTENSION: Duration = Duration::from_secs(60);
/// Before connecting again to a database that somebody wanted for himself.
const YIELDED: Duration = Duration::from_secs(3);
/// First and longest pause after a scheduler ended unexpectedly.
const CRASHED: Duration = Duration::from_secs(1);
const CRASHED_MAX: Duration = Duration::from_secs(60);
/// A scheduler that ran this long is not taken for one that cannot run at all.
const STABLE: Duration = Duration::from_secs(60);
/// Before asking again for a worker slot.
const OUT_OF_SLOTS: Duration = Duration::from_secs(5);
/// Schedulers that may be starting at the same time, so that looking for the extension in many databases leaves worker
/// slots to others.
const STARTING_MAX: usize = 4;

/// What the launcher knows of a database's scheduler.
enum Status {
    Running {
        handle: Handle,
        since: Instant,
    },
    /// It runs, left by an earlier launcher.
    Inherited,
    Waiting {
        until: Instant,
    },
}

struct Entry {
    status: Status,
    /// Pause after the next unexpected end.
    pause: Duration,
    /// It could not be started for want of a worker slot.
    wants_slot: bool,
}

/// Entry point.
///
/// # Safety
/// Called by the server in a new process.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_launcher_main(_argument: pg_sys::Datum) {
    signal::prepare_worker();
    worker::connect_to_shared_catalogs();
    shmem::enter_launcher();
    let event = WaitEvent::named(c"PgTrickleLauncherMain");
    let mut entries = BTreeMap::new();
    loop {
        let pause = round(&mut entries);
        signal::wait(event, pause);
    }
}

/// Looks at all databases once; returns how long to wait.
fn round(entries: &mut BTreeMap<u32, Entry>) -> Duration {
    let now = Instant::now();
    let databases = match worker::databases() {
        Ok(databases) => databases,
        Err(failure) => {
            pgrx::log!("pg_trickle launcher could not read the list of databases: {}", failure.message);
            return LOOK;
        }
    };
    let requests = shmem::take_requests();
    entries.retain(|oid, _| {
        let exists = databases.iter().any(|database| database.oid == *oid);
        if !exists {
            shmem::forget(*oid);
        }
        exists
    });
    for database in &databases {
        let entry = entries.entry(database.oid).or_insert(Entry {
            status: Status::Waiting { until: now },
            pause: CRASHED,
            wants_slot: false,
        });
        observe(entry, database, now);
        let is_requested = requests.as_ref().is_none_or(|requests| requests.contains(&database.oid));
        if let Status::Waiting { until } = &mut entry.status
            && is_requested
        {
            *until = now;
        }
    }
    start(entries, &databases, now);
    let next = entries
        .values()
        .filter_map(|entry| match entry.status {
            Status::Waiting { until } => Some(until.saturating_duration_since(now)),
            Status::Running { .. } | Status::Inherited => None,
        })
        .min();
    // Those that could not be started because too many are starting are looked at when one of these has.
    next.filter(|next| !next.is_zero()).map_or(LOOK, |next| next.min(LOOK))
}

/// Notices that a scheduler has ended, and why.
fn observe(entry: &mut Entry, database: &Database, now: Instant) {
    let ran = match &entry.status {
        Status::Running { handle, since } if handle.has_ended() => now.saturating_duration_since(*since),
        Status::Inherited if !shmem::has_scheduler(database.oid) => STABLE,
        _ => return,
    };
    // It ended because it found another.
    if shmem::has_scheduler(database.oid) {
        entry.status = Status::Inherited;
        return;
    }
    let farewell = shmem::scheduler_of(database.oid).map(|scheduler| scheduler.farewell);
    let pause = match farewell {
        Some(Farewell::NoExtension) => WITHOUT_EXTENSION,
        Some(Farewell::Yielded) => YIELDED,
        Some(Farewell::None) | None => {
            let pause = if ran >= STABLE { CRASHED } else { entry.pause };
            entry.pause = (pause * 2).min(CRASHED_MAX);
            pgrx::log!(
                "pg_trickle scheduler for database \"{}\" ended unexpectedly, starting it again in {} s",
                database.name,
                pause.as_secs()
            );
            pause
        }
    };
    shmem::forget(database.oid);
    entry.status = Status::Waiting { until: now + pause };
}

/// Starts schedulers that are due, as far as worker slots allow.
fn start(entries: &mut BTreeMap<u32, Entry>, databases: &[Database], now: Instant) {
    let is_starting = |(oid, entry): (&u32, &Entry)| {
        matches!(entry.status, Status::Running { .. }) && !shmem::has_scheduler(*oid)
    };
    let mut starting = entries.iter().filter(|entry| is_starting(*entry)).count();
    for database in databases {
        let Some(entry) = entries.get_mut(&database.oid) else { continue };
        let is_due = matches!(entry.status, Status::Waiting { until } if until <= now);
        if !is_due {
            continue;
        }
        if shmem::has_scheduler(database.oid) {
            entry.status = Status::Inherited;
            continue;
        }
        if starting == STARTING_MAX {
            break;
        }
        let handle = Handle::start_for_database(
            "pgt_scheduler_main",
            &format!("pg_trickle scheduler for database {}", database.oid),
            "pg_trickle scheduler",
            database.oid,
        );
        entry.wants_slot = handle.is_none();
        match handle {
            Some(handle) => {
                entry.status = Status::Running { handle, since: now };
                starting += 1;
            }
            None => entry.status = Status::Waiting { until: now + OUT_OF_SLOTS },
        }
    }
    let are_exhausted = entries.values().any(|entry| entry.wants_slot);
    if shmem::set_out_of_slots(are_exhausted) {
        report_slots(are_exhausted);
    }
}

fn report_slots(are_exhausted: bool) {
    if are_exhausted {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            "pg_trickle could not start a scheduler: all background worker slots are in use",
            "Stream tables of some databases are not refreshed. Increase max_worker_processes and restart the server."
        );
    } else {
        pgrx::log!("pg_trickle has worker slots again");
    }
}
