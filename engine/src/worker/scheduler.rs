//! The scheduler of one database: looks what is due, refreshes it, removes what has been consumed.

use super::record;
use super::refresher::{self, Outcome};
use crate::capture::collect;
use crate::catalog;
use crate::guc::Settings;
use crate::pg::exec::Executor;
use crate::pg::relation;
use crate::pg::shmem::{self, Farewell};
use crate::pg::signal::{self, WaitEvent};
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Row;
use crate::pg::worker;
use crate::pg::xact::{Failure, Isolation, worker_transaction};
use crate::refresh::Action;
use crate::refresh::wave::MemberOutcome;
use pg_trickle_core::agenda::{Agenda, Memory, Subject, Tier, agenda};
use pg_trickle_core::retry::Retry;
use pg_trickle_core::schedule::{Bounds, Moment, Pace, Schedule};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Longest sleep: within this time a scheduler notices that somebody wants its database for himself, well before DROP
/// DATABASE gives up waiting (5 s).
const NAP: Duration = Duration::from_secs(1);
/// Between two collections when no refresh of this scheduler gave a reason for one.
const COLLECTION: Duration = Duration::from_secs(10);

/// Settings of a scheduler's session that configuration files must not change. In a deadlock, and in a queue for a
/// lock, it is the worker that gives way, never the user.
const FIXED_SETTINGS: [(&str, &str); 6] = [
    ("application_name", "pg_trickle scheduler"),
    ("deadlock_timeout", "300ms"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
];

/// Entry point.
///
/// # Safety
/// Called by the server in a new process.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_scheduler_main(argument: pg_sys::Datum) {
    signal::prepare_worker();
    worker::connect(worker::database_argument(argument));
    if !shmem::enter_scheduler() {
        return;
    }
    for (name, value) in FIXED_SETTINGS {
        worker::fix_setting(name, value);
    }
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    worker::fix_setting("transaction_timeout", "0");
    let event = WaitEvent::named(c"PgTrickleSchedulerMain");
    let mut scheduler = Scheduler::default();
    while let Some(pause) = scheduler.round() {
        signal::wait(event, pause);
    }
}

/// What a scheduler knows between two looks.
#[derive(Default)]
struct Scheduler {
    memory: BTreeMap<i64, Memory>,
    names: BTreeMap<i64, String>,
    /// Stream tables whose being blocked is in the history already.
    known_blocked: BTreeSet<i64>,
    greeted: bool,
    next_look: Option<Instant>,
    last_collection: Option<Instant>,
}

/// One look at the catalog.
enum Look {
    /// Somebody wants the database.
    Wanted,
    NoExtension,
    At {
        now: Moment,
        subjects: Vec<Subject>,
        names: BTreeMap<i64, String>,
    },
}

impl Scheduler {
    /// Does what there is to do; returns how long to wait, or None to end.
    fn round(&mut self) -> Option<Duration> {
        let settings = Settings::current();
        let is_dirty = shmem::begin_tick(seconds_now());
        let is_time = self.next_look.is_none_or(|next| next <= Instant::now());
        if !(is_dirty || is_time) {
            return self.nap();
        }
        if is_dirty {
            // Whatever stood in the way may be gone.
            self.memory.values_mut().for_each(Memory::encourage);
        }
        let next = match look(self.greeted) {
            Ok(Look::Wanted) => return farewell(Farewell::Yielded),
            Ok(Look::NoExtension) => return farewell(Farewell::NoExtension),
            Ok(Look::At { now, subjects, names }) => {
                self.greeted = true;
                self.names = names;
                self.act(&settings, now, &subjects)
            }
            Err(failure) => {
                report("could not look for stream tables that are due", &failure);
                None
            }
        };
        let pause = next.unwrap_or(settings.scheduler_interval).min(settings.scheduler_interval);
        self.next_look = Some(Instant::now() + pause);
        worker::report_activity(None);
        Some(pause.min(NAP))
    }

    /// Between two looks: only whether somebody wants the database.
    fn nap(&self) -> Option<Duration> {
        let is_wanted = worker_transaction(Isolation::ReadCommitted, worker::database_is_wanted);
        if is_wanted.is_ok_and(|is_wanted| is_wanted) {
            return farewell(Farewell::Yielded);
        }
        let left = self.next_look.map(|next| next.saturating_duration_since(Instant::now()));
        Some(left.unwrap_or(NAP).min(NAP))
    }

    /// Refreshes what is due and collects; returns when something more is due.
    fn act(&mut self, settings: &Settings, now: Moment, subjects: &[Subject]) -> Option<Duration> {
        self.memory.retain(|id, _| subjects.iter().any(|subject| subject.pgt_id == *id));
        if !settings.enabled {
            return None;
        }
        let began = Instant::now();
        let agenda = agenda(subjects, &self.memory, bounds(settings), now);
        self.note_blocked(&agenda.blocked);
        shmem::set_refreshing(!agenda.waves.is_empty());
        let mut wrote = false;
        for wave in &agenda.waves {
            worker::report_activity(Some("refreshing stream tables"));
            wrote |= self.refresh(settings, &agenda, wave, now, began);
            signal::check_stop();
        }
        shmem::set_refreshing(false);
        if wrote || self.last_collection.is_none_or(|last| last.elapsed() >= COLLECTION) {
            self.last_collection = Some(Instant::now());
            if let Err(failure) = collect::collect_apart() {
                report("could not remove consumed changes", &failure);
            }
        }
        if !agenda.waves.is_empty() {
            // What has just been refreshed is due again by its own pace.
            let again = self::agenda(subjects, &self.memory, bounds(settings), now).next_in_ms;
            return again.map(|ms| Duration::from_millis(ms).saturating_sub(began.elapsed()));
        }
        agenda.next_in_ms.map(Duration::from_millis)
    }

    /// Runs one wave; returns whether it wrote anything.
    fn refresh(
        &mut self,
        settings: &Settings,
        agenda: &Agenda,
        wave: &[i64],
        look: Moment,
        looked: Instant,
    ) -> bool {
        let started = Instant::now();
        let outcome = refresher::refresh(wave);
        let took_ms = started.elapsed().as_millis() as u64;
        // The same clock as the agenda's, so that pauses are counted from there.
        let began = later(look, started.duration_since(looked));
        let ended = later(look, looked.elapsed());
        let pace = |id: &i64| agenda.paces.get(id);
        match outcome {
            Outcome::Done(members) => {
                let mut wrote = false;
                for (id, outcome) in &members {
                    match outcome {
                        MemberOutcome::Refreshed(refreshed) => {
                            wrote |= refreshed.action != Action::NoData;
                            let known = self.memory.entry(*id).or_default();
                            known.refreshed(began, took_ms, pace(id), settings.auto_backoff);
                        }
                        MemberOutcome::Failed(failure) => {
                            self.failed(settings, *id, failure, took_ms, ended, pace(id));
                        }
                        MemberOutcome::Skipped { upstream } => {
                            pgrx::debug1!(
                                "pg_trickle: {} waits for {}",
                                self.name(*id),
                                self.name(*upstream)
                            );
                        }
                    }
                }
                wrote
            }
            Outcome::Busy => {
                self.postpone(wave, ended);
                false
            }
            Outcome::Failed(failure) if wave.len() > 1 && retry(&failure) != Retry::Soon => {
                // Whose fault it was shows when each is refreshed on its own.
                let alone = |id: &i64| self.refresh(settings, agenda, &[*id], look, looked);
                wave.iter().map(alone).fold(false, |wrote, also| wrote | also)
            }
            Outcome::Failed(failure) => {
                for id in wave {
                    self.failed(settings, *id, &failure, took_ms, ended, pace(id));
                }
                false
            }
        }
    }

    /// Name of a stream table for messages.
    fn name(&self, id: i64) -> String {
        self.names.get(&id).map_or_else(|| id.to_string(), |name| format!("stream table {name}"))
    }

    fn postpone(&mut self, wave: &[i64], at: Moment) {
        for id in wave {
            self.memory.entry(*id).or_default().postponed(at);
        }
    }

    fn failed(
        &mut self,
        settings: &Settings,
        id: i64,
        failure: &Failure,
        took_ms: u64,
        at: Moment,
        pace: Option<&Pace>,
    ) {
        if retry(failure) == Retry::Soon {
            self.postpone(&[id], at);
            return;
        }
        if retry(failure) == Retry::Never && self.memory.entry(id).or_default().doubts() {
            self.postpone(&[id], at);
            return;
        }
        pgrx::log!("pg_trickle could not refresh {}: {}", self.name(id), record::message(failure));
        let errors = record::failure(id, failure, took_ms, settings.max_consecutive_errors);
        self.memory.entry(id).or_default().failed(at, errors, pace);
    }

    /// Puts into the history, once, that a stream table waits for an upstream that cannot be refreshed.
    fn note_blocked(&mut self, blocked: &[(i64, i64)]) {
        for (id, upstream) in blocked {
            if self.known_blocked.insert(*id)
                && let Err(failure) = record::skipped(*id, *upstream)
            {
                report("could not record a skipped refresh", &failure);
            }
        }
        self.known_blocked.retain(|id| blocked.iter().any(|(other, _)| other == id));
    }
}

fn farewell(farewell: Farewell) -> Option<Duration> {
    shmem::set_farewell(farewell);
    None
}

fn bounds(settings: &Settings) -> Bounds {
    Bounds { default_seconds: settings.default_schedule_seconds, min_seconds: settings.min_schedule_seconds }
}

fn retry(failure: &Failure) -> Retry {
    Retry::after(&record::sqlstate(failure.code))
}

fn report(what: &str, failure: &Failure) {
    // A lock that somebody else has is no news: the next look tries again.
    if retry(failure) != Retry::Soon {
        pgrx::log!("pg_trickle scheduler {what}: {}", record::message(failure));
    }
}

fn later(moment: Moment, by: Duration) -> Moment {
    let ms = by.as_millis() as i64;
    Moment { epoch_ms: moment.epoch_ms + ms, civil_ms: moment.civil_ms + ms }
}

fn seconds_now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |elapsed| elapsed.as_secs() as i64)
}

/// Reads the catalog in a transaction that writes nothing.
fn look(greeted: bool) -> Result<Look, Failure> {
    let tiered = Settings::current().tiered_scheduling;
    worker_transaction(Isolation::ReadCommitted, || {
        if worker::database_is_wanted() {
            return Look::Wanted;
        }
        if relation::find("pgtrickle", "pgt_definitions").is_none() {
            return Look::NoExtension;
        }
        catalog::as_extension(|| {
            let executor = Executor::new(Snapshot::latest());
            if !greeted {
                compare_versions(&executor);
            }
            let clock = executor
                .fixed_row(include_str!("../../../sql/queries/clock.sql"), &[])
                .expect("a clock tells the time");
            let now = Moment { epoch_ms: clock.int(0), civil_ms: clock.int(1) };
            let rows = executor.fixed_rows(include_str!("../../../sql/queries/schedule.sql"), &[]);
            let names = rows.iter().map(|row| (row.int(0), row.text(8))).collect();
            Look::At { now, subjects: subjects(&rows, tiered), names }
        })
    })
}

fn subjects(rows: &[Row], tiered: bool) -> Vec<Subject> {
    rows.iter()
        .map(|row| Subject {
            pgt_id: row.int(0),
            // Validated when it was stored.
            schedule: Schedule::parse(&row.text(1)).unwrap_or(Schedule::Calculated),
            is_immediate: row.text(2) == "IMMEDIATE",
            tier: Tier::named(&row.text(3)).filter(|_| tiered).unwrap_or(Tier::Hot),
            is_active: row.flag(4),
            upstream: row
                .optional_text(5)
                .unwrap_or_default()
                .split(',')
                .filter_map(|id| id.parse().ok())
                .collect(),
            last_refresh: row
                .optional_int(6)
                .zip(row.optional_int(7))
                .map(|(epoch_ms, civil_ms)| Moment { epoch_ms, civil_ms }),
        })
        .collect()
}

/// A preloaded library is replaced by a restart, the extension's objects by ALTER EXTENSION; in between they differ.
fn compare_versions(executor: &Executor) {
    let row = executor.row(
        "SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_trickle'",
        &[],
    );
    let installed = row.map(|row| row.text(0)).unwrap_or_default();
    let library = env!("CARGO_PKG_VERSION");
    if installed != library {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!(
                "pg_trickle library has version {library}, the extension in this database version {installed}"
            ),
            "Restart the server after installing a new library, then run ALTER EXTENSION pg_trickle UPDATE."
        );
    }
}
