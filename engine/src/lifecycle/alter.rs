//! Changing settings of a stream table.

use crate::catalog;
use crate::catalog::definition::{self, Mode, StreamTable};
use crate::error::{Error, Result};
use crate::lifecycle::create;
use crate::pg::exec::Executor;
use crate::pg::lock;
use crate::pg::shmem;
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Param;
use crate::refresh::compiled;
use pg_trickle_core::schedule::Schedule;

/// What to change; None leaves it as it is.
#[derive(Debug, Clone)]
pub struct Changes {
    /// With the text the user wrote.
    pub schedule: Option<(Schedule, String)>,
    pub mode: Option<Mode>,
    pub suspended: Option<bool>,
    pub pooler_compatibility_mode: Option<bool>,
}

/// Changes settings. Only a change of mode waits for a running refresh.
pub fn alter(name: &str, changes: &Changes) -> Result<()> {
    shmem::wake_scheduler_at_commit();
    let executor = Executor::new(Snapshot::latest());
    let stream_table = definition::resolve(&executor, "name", Some(name))?;
    definition::check_owner(&stream_table)?;
    if let Some(mode) = changes.mode.filter(|&mode| mode != stream_table.mode) {
        change_mode(&stream_table, mode)?;
    }
    let (text, seconds) = match &changes.schedule {
        Some((schedule, text)) => (Some(text.as_str()), schedule.seconds().map(|seconds| seconds as i64)),
        None => (None, None),
    };
    let suspended = changes.suspended.map(|suspended| suspended.to_string());
    let pooler = changes.pooler_compatibility_mode.map(|pooler| pooler.to_string());
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET \
                 schedule = CASE WHEN $2 IS NULL THEN schedule ELSE $2 END, \
                 schedule_seconds = CASE WHEN $2 IS NULL THEN schedule_seconds ELSE $3 END, \
                 suspended = CASE WHEN $4 IS NULL THEN suspended ELSE $4::pg_catalog.bool END, \
                 pooler_compatibility_mode = CASE WHEN $5 IS NULL THEN pooler_compatibility_mode \
                     ELSE $5::pg_catalog.bool END, \
                 updated_at = pg_catalog.now() \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[
                Param::Int(stream_table.pgt_id),
                Param::optional_text(text),
                Param::optional_int(seconds),
                Param::optional_text(suspended.as_deref()),
                Param::optional_text(pooler.as_deref()),
            ],
        )
    });
    if changes.suspended == Some(false) {
        forget_errors(&executor, stream_table.pgt_id);
    }
    Ok(())
}

/// Ends suspension and error status.
pub fn resume(name: &str) -> Result<()> {
    shmem::wake_scheduler_at_commit();
    let executor = Executor::new(Snapshot::latest());
    let stream_table = definition::resolve(&executor, "name", Some(name))?;
    definition::check_owner(&stream_table)?;
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET suspended = false, updated_at = pg_catalog.now() \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1 AND suspended",
            &[Param::Int(stream_table.pgt_id)],
        )
    });
    forget_errors(&executor, stream_table.pgt_id);
    Ok(())
}

fn forget_errors(executor: &Executor, pgt_id: i64) {
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_progress SET in_error = false, consecutive_errors = 0 \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1 \
                 AND (in_error OR consecutive_errors OPERATOR(pg_catalog.>) 0)",
            &[Param::Int(pgt_id)],
        )
    });
}

/// Switches the mode; one that needs state the table has not got creates it, and the next refresh fills it.
fn change_mode(stream_table: &StreamTable, mode: Mode) -> Result<()> {
    lock::claim(catalog::definitions_relation(), stream_table.pgt_id, true);
    let executor = Executor::new(Snapshot::latest());
    let stream_table = definition::load(&executor, stream_table.pgt_id)
        .ok_or_else(|| Error::NoSuchStreamTable { name: stream_table.display_name() })?;
    if mode == Mode::Differential && !stream_table.is_differential {
        let reason = stream_table.downgrade_reason.clone().unwrap_or_default();
        let (construct, reason) = reason.split_once(": ").unwrap_or(("the query", &reason));
        return Err(Error::NotDifferential {
            construct: construct.to_owned(),
            position: None,
            reason: reason.to_owned(),
        });
    }
    let compiled = compiled::load(&executor, &stream_table)?;
    let mut state_tables = stream_table.state_tables.clone();
    let needs_states = mode != Mode::Full && stream_table.is_differential && state_tables.is_empty();
    if let (Ok(maintenance), true) = (&compiled.maintenance, needs_states) {
        state_tables = maintenance.state_tables();
        catalog::ddl_as_extension(|| {
            create::create_states(maintenance, stream_table.relid, stream_table.owner);
        });
    }
    let json = serde_json::to_string(&state_tables).expect("strings serialise");
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET refresh_mode = $2, generation = generation OPERATOR(pg_catalog.+) 1, \
                 state_tables = ARRAY(SELECT e FROM pg_catalog.json_array_elements_text($3::pg_catalog.json) AS e) \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[Param::Int(stream_table.pgt_id), Param::text(mode.as_str()), Param::text(json)],
        )
    });
    Ok(())
}
