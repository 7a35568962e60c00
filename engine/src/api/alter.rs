//! Altering stream tables: `alter_stream_table`, `resume_stream_table`.

use crate::api::define::{choose, parse_mode, required};
use crate::error::{Error, OrReport, Result};
use crate::lifecycle::alter::{self, Changes};
use pg_trickle_core::schedule::Schedule;
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// `pgtrickle.alter_stream_table(..)`: NULL leaves a setting as it is.
#[expect(clippy::too_many_arguments, reason = "the SQL signature is fixed")]
#[pg_extern(volatile, parallel_unsafe)]
fn alter_stream_table(
    name: Option<&str>,
    query: default!(Option<&str>, "NULL"),
    schedule: default!(Option<&str>, "NULL"),
    refresh_mode: default!(Option<&str>, "NULL"),
    status: default!(Option<&str>, "NULL"),
    diamond_consistency: default!(Option<&str>, "NULL"),
    diamond_schedule_policy: default!(Option<&str>, "NULL"),
    cdc_mode: default!(Option<&str>, "NULL"),
    append_only: default!(Option<bool>, "NULL"),
    pooler_compatibility_mode: default!(Option<bool>, "NULL"),
    tier: default!(Option<&str>, "NULL"),
    fuse: default!(Option<&str>, "NULL"),
    fuse_ceiling: default!(Option<i64>, "NULL"),
    fuse_sensitivity: default!(Option<i32>, "NULL"),
    partition_by: default!(Option<&str>, "NULL"),
    sla: default!(Option<Interval>, "NULL"),
    shadow_build: default!(Option<bool>, "false"),
) {
    let refused: [(&'static str, bool); 12] = [
        ("query", query.is_some()),
        ("diamond_consistency", diamond_consistency.is_some()),
        ("diamond_schedule_policy", diamond_schedule_policy.is_some()),
        ("cdc_mode", cdc_mode.is_some_and(|mode| !mode.eq_ignore_ascii_case("trigger"))),
        ("append_only", append_only == Some(true)),
        ("tier", tier.is_some()),
        ("fuse", fuse.is_some()),
        ("fuse_ceiling", fuse_ceiling.is_some()),
        ("fuse_sensitivity", fuse_sensitivity.is_some()),
        ("partition_by", partition_by.is_some()),
        ("sla", sla.is_some()),
        ("shadow_build", shadow_build == Some(true)),
    ];
    let change = || -> Result<()> {
        let name = required("name", name)?;
        if let Some((option, _)) = refused.iter().find(|(_, given)| *given) {
            return Err(Error::NotSupportedOption {
                option,
                reason: "alter_stream_table changes schedule, refresh_mode and status.".to_owned(),
            });
        }
        let schedule = match schedule {
            Some(text) => Some((Schedule::parse(text)?, text.trim().to_owned())),
            None => None,
        };
        let suspended = match status {
            Some(status) => Some(choose("status", status, &["ACTIVE", "SUSPENDED"])? == "SUSPENDED"),
            None => None,
        };
        let mode = refresh_mode.map(parse_mode).transpose()?;
        alter::alter(name, &Changes { schedule, mode, suspended, pooler_compatibility_mode })
    };
    change().or_report();
}

/// `pgtrickle.resume_stream_table(name)`: ends suspension and forgets past errors.
#[pg_extern(volatile, parallel_unsafe)]
fn resume_stream_table(name: Option<&str>) {
    required("name", name).and_then(alter::resume).or_report();
}
