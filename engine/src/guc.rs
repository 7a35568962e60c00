//! The settings, as one table.
//!
//! A job reads them once, into a [`Settings`] value, and passes that on: a value can change between two reads.

use crate::pg::setting::{self, Declaration, inert_hook};
use pgrx::guc::{GucContext, GucFlags, GucSetting, PostgresGucEnum};
use std::ffi::{CStr, CString};
use std::time::Duration;

/// `pg_trickle.cdc_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum CdcMode {
    #[name = c"trigger"]
    Trigger,
    #[name = c"wal"]
    Wal,
    #[name = c"auto"]
    Auto,
}

/// `pg_trickle.cdc_trigger_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum TriggerMode {
    #[name = c"statement"]
    Statement,
    #[name = c"row"]
    Row,
}

/// `pg_trickle.buffer_partitioning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Partitioning {
    #[name = c"off"]
    Off,
    #[name = c"on"]
    On,
    #[name = c"auto"]
    Auto,
}

/// `pg_trickle.parallel_refresh_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum ParallelMode {
    #[name = c"off"]
    Off,
    #[name = c"dry_run"]
    DryRun,
    #[name = c"on"]
    On,
}

impl ParallelMode {
    pub fn as_str(self) -> &'static str {
        match self {
            ParallelMode::Off => "off",
            ParallelMode::DryRun => "dry_run",
            ParallelMode::On => "on",
        }
    }
}

/// `pg_trickle.user_triggers`. `on` is an old name of `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum UserTriggers {
    #[name = c"auto"]
    Auto,
    #[name = c"off"]
    Off,
    #[name = c"on"]
    #[hidden = true]
    On,
}

const fn c_text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a text ends in NUL and has no other"),
    }
}

/// The server's type of a kind of setting.
macro_rules! raw {
    (bool) => { bool };
    (float) => { f64 };
    (text) => { *mut std::ffi::c_char };
    ($other:ident) => { i32 };
}

/// Rust's type of a kind of setting.
macro_rules! value {
    (bool $($rest:tt)*) => { bool };
    (int $($rest:tt)*) => { i32 };
    (float $($rest:tt)*) => { f64 };
    (text $($rest:tt)*) => { Option<CString> };
    (choice $type:ty, $($rest:tt)*) => { $type };
}

macro_rules! initial {
    (bool $default:expr) => {
        $default
    };
    (int $default:expr, $range:expr) => {
        $default
    };
    (float $default:expr, $range:expr) => {
        $default
    };
    (text $default:expr) => {
        Some($default)
    };
    (choice $type:ty, $default:expr) => {
        $default
    };
}

macro_rules! define {
    ($declaration:expr, $value:expr, $check:expr, bool $default:expr) => {
        setting::define_bool($declaration, $value, $check)
    };
    ($declaration:expr, $value:expr, $check:expr, int $default:expr, $range:expr) => {
        setting::define_int($declaration, $value, $range, $check)
    };
    ($declaration:expr, $value:expr, $check:expr, float $default:expr, $range:expr) => {
        setting::define_float($declaration, $value, $range, $check)
    };
    ($declaration:expr, $value:expr, $check:expr, text $default:expr) => {
        setting::define_text($declaration, $value, $check)
    };
    ($declaration:expr, $value:expr, $check:expr, choice $type:ty, $default:expr) => {
        setting::define_choice($declaration, $value, $check)
    };
}

/// The check hook: none for a setting with effect.
macro_rules! check {
    ($kind:ident, $name:expr, $reason:expr, effective) => {
        None
    };
    ($kind:ident, $name:expr, $reason:expr, inert) => {
        inert_hook!(raw!($kind), $name, $reason)
    };
}

macro_rules! settings {
    ($(
        $name:ident: $kind:ident($($shape:tt)*), $context:ident, $flag:ident,
        $description:literal, $effect:ident $detail:literal;
    )*) => {
        mod value {
            //! One variable per setting, written by the server.
            #![allow(non_upper_case_globals)]
            use super::*;
            $(
                pub static $name: GucSetting<value!($kind $($shape)*)> =
                    GucSetting::<value!($kind $($shape)*)>::new(initial!($kind $($shape)*));
            )*
        }

        /// Registers every setting. Called once, when the library is loaded.
        pub fn register() {
            $({
                const NAME: &CStr = c_text(concat!("pg_trickle.", stringify!($name), "\0"));
                const DETAIL: &CStr = c_text(concat!($detail, "\0"));
                let declaration = Declaration {
                    name: NAME,
                    description: c_text(concat!($description, "\0")),
                    detail: DETAIL,
                    context: GucContext::$context,
                    flags: flag::$flag,
                };
                define!(declaration, &value::$name, check!($kind, NAME, DETAIL, $effect), $kind $($shape)*);
            })*
            setting::reserve_prefix(c"pg_trickle");
        }
    };
}

/// Units.
mod flag {
    use super::GucFlags;
    /// The unit is in the name.
    pub const NAMED: GucFlags = GucFlags::empty();
    pub const MS: GucFlags = GucFlags::UNIT_MS;
}

// `effective` settings do what their text says. `inert` ones are accepted and say why they do nothing. Settings of the
// scheduler and of capture are the superuser's; those of a single session's refreshes are everybody's.
settings! {
    agg_diff_cardinality_threshold: int(1000, 0..=100_000_000), Userset, NAMED,
        "Groups below which creating an aggregate warns that a FULL refresh may be cheaper.",
        inert "Not used by this version.";
    algebraic_drift_reset_cycles: int(0, 0..=100_000), Suset, NAMED,
        "Differential refreshes after which aggregates are rebuilt to remove float drift.",
        inert "Aggregates over floats are recomputed from the rows of their group, so there is no drift.";
    allow_circular: bool(false), Suset, NAMED,
        "Allows stream tables that read each other in a ring.",
        inert "This version refuses cycles.";
    auto_backoff: bool(false), Suset, NAMED,
        "Doubles the interval of a stream table while its refreshes take longer than the interval.",
        effective "It is reset by the first refresh that is on time.";
    block_source_ddl: bool(true), Suset, NAMED,
        "Refuses DDL on sources that would break a stream table.",
        inert "Dropping what a stream table reads is always refused; other DDL leads to a rebuild.";
    buffer_alert_threshold: int(1_000_000, 1000..=100_000_000), Suset, NAMED,
        "Pending rows of a change buffer above which an alert is sent.",
        inert "Not used by this version.";
    buffer_partitioning: choice(Partitioning, Partitioning::Off), Suset, NAMED,
        "Partitions change buffers.",
        inert "Change buffers are not partitioned; consumed rows are removed by an index.";
    capture_lock_timeout: int(20, 1..=60_000), Suset, MS,
        "Time that writers of a source may have to wait behind one attempt to install capture.",
        effective "The attempt is repeated after a pause.";
    cdc_mode: choice(CdcMode, CdcMode::Auto), Suset, NAMED,
        "How changes of sources are captured.",
        inert "This version captures changes by triggers.";
    cdc_trigger_mode: choice(TriggerMode, TriggerMode::Statement), Suset, NAMED,
        "Level of capture triggers.",
        inert "Statement triggers are used wherever they see every change, row triggers elsewhere.";
    change_buffer_schema: text(c"pgtrickle_changes"), Suset, NAMED,
        "Schema of change buffers.",
        inert "Change buffers are always in schema pgtrickle_changes.";
    cleanup_use_truncate: bool(true), Suset, NAMED,
        "Empties change buffers by TRUNCATE.",
        inert "TRUNCATE would make writers wait; consumed rows are deleted.";
    compact_threshold: int(100_000, 0..=100_000_000), Suset, NAMED,
        "Pending rows above which a change buffer is compacted.",
        inert "Changes are consolidated when they are read.";
    default_schedule_seconds: int(1, 1..=86_400), Suset, NAMED,
        "Interval of a calculated schedule without consumers, in seconds.",
        effective "";
    delta_amplification_threshold: float(100.0, 0.0..=100_000.0), Suset, NAMED,
        "Ratio of output to input changes above which a warning is logged.",
        inert "Not used by this version.";
    differential_max_change_ratio: float(0.15, 0.0..=1.0), Userset, NAMED,
        "Share of changed rows above which AUTO chooses FULL.",
        inert "Not used by this version.";
    enabled: bool(true), Suset, NAMED,
        "Lets schedulers refresh stream tables.",
        effective "Manual refreshes are not affected.";
    foreign_table_polling: bool(false), Suset, NAMED,
        "Detects changes of foreign tables by comparing them with a copy.",
        effective "In force when a stream table is created; without it one over a foreign table is refreshed in FULL mode.";
    fuse_default_ceiling: int(0, 0..=2_000_000_000), Suset, NAMED,
        "Pending rows at which the fuse of a stream table blows; 0 is none.",
        inert "Not used by this version.";
    ivm_recursive_max_depth: int(100, 0..=100_000), Userset, NAMED,
        "Rounds a recursive query may take after the first.",
        effective "A change that needs further ones is an error; 0 is no limit.";
    ivm_topk_max_limit: int(1000, 0..=1_000_000), Userset, NAMED,
        "Largest LIMIT of a stream table in IMMEDIATE mode.",
        inert "Not used by this version.";
    log_merge_sql: bool(false), Suset, NAMED,
        "Logs the SQL of refreshes.",
        inert "pgtrickle.explain_stream_table shows it.";
    matview_polling: bool(false), Suset, NAMED,
        "Detects changes of materialized views by comparing them with a copy.",
        effective "In force when a stream table is created; without it one over a materialized view is refreshed in FULL mode.";
    max_concurrent_refreshes: int(4, 1..=32), Suset, NAMED,
        "Refreshes of one database that run at the same time.",
        inert "This version refreshes one group of stream tables after another.";
    max_consecutive_errors: int(3, 1..=100), Suset, NAMED,
        "Failed refreshes in a row after which a stream table is suspended.",
        effective "Errors that cannot go away by themselves put it into status ERROR at once.";
    max_dynamic_refresh_workers: int(4, 1..=64), Suset, NAMED,
        "Refresh workers of the cluster.",
        inert "This version refreshes one group of stream tables after another.";
    max_fixpoint_iterations: int(100, 1..=10_000), Suset, NAMED,
        "Rounds after which a cycle of stream tables that still changes is an error.",
        inert "This version refuses cycles.";
    max_grouping_set_branches: int(64, 1..=65_536), Userset, NAMED,
        "Grouping sets a query may have.",
        inert "Not used by this version.";
    max_parallel_workers: int(0, 0..=32), Suset, NAMED,
        "Refresh workers of one database; 0 refreshes in the scheduler itself.",
        inert "This version refreshes in the scheduler itself.";
    max_parse_depth: int(64, 1..=10_000), Userset, NAMED,
        "Nesting a query may have.",
        inert "The server's own limit, max_stack_depth, applies.";
    merge_planner_hints: bool(true), Userset, NAMED,
        "Old name of a part of pg_trickle.planner_aggressive.",
        inert "It is an old name; refreshes plan with exact row counts and need no hints.";
    merge_seqscan_threshold: float(0.001, 0.0..=1.0), Userset, NAMED,
        "Share of changed rows below which sequential scans are discouraged.",
        inert "Refreshes plan with exact row counts and need no hints.";
    merge_work_mem_mb: int(64, 8..=4096), Userset, NAMED,
        "Old name of a part of pg_trickle.planner_aggressive.",
        inert "It is an old name; refreshes use work_mem.";
    min_schedule_seconds: int(1, 1..=86_400), Suset, NAMED,
        "Shortest interval a schedule may have, in seconds.",
        effective "Shorter intervals of existing stream tables are lengthened to it.";
    notify_coalesce_ms: int(250, 0..=60_000), Userset, NAMED,
        "Time within which notifications of subscribers are merged.",
        inert "Not used by this version.";
    parallel_refresh_mode: choice(ParallelMode, ParallelMode::Off), Suset, NAMED,
        "Refreshes independent stream tables in parallel.",
        inert "This version refreshes one group of stream tables after another.";
    per_database_worker_quota: int(0, 0..=64), Suset, NAMED,
        "Refresh workers a database may have; 0 is no limit of its own.",
        inert "This version refreshes in the scheduler itself.";
    planner_aggressive: bool(true), Userset, NAMED,
        "Adjusts planner settings for refreshes.",
        inert "Refreshes plan with exact row counts and need no hints.";
    prediction_min_samples: int(5, 0..=1000), Userset, NAMED,
        "Refreshes needed before durations are predicted.",
        inert "Not used by this version.";
    prediction_ratio: float(1.5, 1.0..=10.0), Userset, NAMED,
        "Ratio of predicted to FULL duration above which FULL is chosen.",
        inert "Not used by this version.";
    prediction_window: int(60, 5..=1440), Userset, NAMED,
        "Minutes of history that predictions use.",
        inert "Not used by this version.";
    scheduler_interval_ms: int(1000, 100..=600_000), Suset, NAMED,
        "Longest time between two looks of a scheduler at what is due, in milliseconds.",
        effective "A scheduler looks sooner when a stream table becomes due or is changed.";
    slot_lag_critical_threshold_mb: int(1024, 1..=1_048_576), Suset, NAMED,
        "Lag of a replication slot that is critical.",
        inert "This version captures changes by triggers and has no slots.";
    slot_lag_warning_threshold_mb: int(100, 1..=1_048_576), Suset, NAMED,
        "Lag of a replication slot that deserves a warning.",
        inert "This version captures changes by triggers and has no slots.";
    tick_watermark_enabled: bool(true), Suset, NAMED,
        "Consumes all sources of a refresh up to one point.",
        inert "A refresh reads everything at one snapshot, always.";
    tiered_scheduling: bool(true), Suset, NAMED,
        "Lets the tier of a stream table slow its schedule: warm by 2, cold by 10, frozen for ever.",
        effective "";
    unlogged_buffers: bool(false), Suset, NAMED,
        "Makes new change buffers unlogged.",
        inert "Not used by this version.";
    use_prepared_statements: bool(true), Userset, NAMED,
        "Keeps plans of refresh statements.",
        inert "Plans depend on the number of changed rows and are made for each refresh.";
    user_triggers: choice(UserTriggers, UserTriggers::Auto), Suset, NAMED,
        "Whether user triggers on stream tables fire during refreshes.",
        inert "A refresh writes only rows that changed, by ordinary statements, and AFTER triggers always fire.";
    wal_transition_timeout: int(300, 10..=3600), Suset, NAMED,
        "Seconds after which a change of the capture mode is given up.",
        inert "This version captures changes by triggers.";
    shadow_refresh_throttle_ms: int(0, 0..=60_000), Suset, NAMED,
        "Pause between steps of a shadow build.",
        inert "Not used by this version.";
}

/// The settings that something in this version reads, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub enabled: bool,
    pub auto_backoff: bool,
    pub tiered_scheduling: bool,
    pub scheduler_interval: Duration,
    pub default_schedule_seconds: u64,
    pub min_schedule_seconds: u64,
    pub max_consecutive_errors: u32,
    pub capture_lock_timeout: Duration,
    pub max_parallel_workers: u32,
    pub per_database_worker_quota: u32,
    pub parallel_refresh_mode: ParallelMode,
    pub matview_polling: bool,
    pub foreign_table_polling: bool,
    pub recursive_max_depth: u32,
}

impl Settings {
    /// The values now in force in this session.
    pub fn current() -> Settings {
        Settings {
            enabled: value::enabled.get(),
            auto_backoff: value::auto_backoff.get(),
            tiered_scheduling: value::tiered_scheduling.get(),
            scheduler_interval: milliseconds(value::scheduler_interval_ms.get()),
            default_schedule_seconds: value::default_schedule_seconds.get().unsigned_abs().into(),
            min_schedule_seconds: value::min_schedule_seconds.get().unsigned_abs().into(),
            max_consecutive_errors: value::max_consecutive_errors.get().unsigned_abs(),
            capture_lock_timeout: milliseconds(value::capture_lock_timeout.get()),
            max_parallel_workers: value::max_parallel_workers.get().unsigned_abs(),
            per_database_worker_quota: value::per_database_worker_quota.get().unsigned_abs(),
            parallel_refresh_mode: value::parallel_refresh_mode.get(),
            matview_polling: value::matview_polling.get(),
            foreign_table_polling: value::foreign_table_polling.get(),
            recursive_max_depth: value::ivm_recursive_max_depth.get().unsigned_abs(),
        }
    }
}

fn milliseconds(value: i32) -> Duration {
    Duration::from_millis(value.unsigned_abs().into())
}
