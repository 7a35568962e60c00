//! Creating, altering and dropping stream tables.

use crate::catalog::definition::Mode;
use crate::error::{Error, OrReport, Result};
use crate::lifecycle::create::{self, NewStreamTable};
use crate::lifecycle::remove;
use crate::pg::relation::QualifiedName;
use pg_trickle_core::schedule::Schedule;
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// `pgtrickle.create_stream_table(..)`.
#[expect(clippy::too_many_arguments, reason = "the SQL signature is fixed")]
#[pg_extern(volatile, parallel_unsafe)]
fn create_stream_table(
    name: Option<&str>,
    query: Option<&str>,
    schedule: default!(Option<&str>, "'calculated'"),
    refresh_mode: default!(Option<&str>, "'AUTO'"),
    initialize: default!(Option<bool>, "true"),
    diamond_consistency: default!(Option<&str>, "NULL"),
    diamond_schedule_policy: default!(Option<&str>, "NULL"),
    cdc_mode: default!(Option<&str>, "NULL"),
    append_only: default!(Option<bool>, "false"),
    pooler_compatibility_mode: default!(Option<bool>, "false"),
    partition_by: default!(Option<&str>, "NULL"),
    sla: default!(Option<Interval>, "NULL"),
) {
    let arguments = Arguments {
        name,
        query,
        schedule,
        refresh_mode,
        initialize,
        diamond_consistency,
        diamond_schedule_policy,
        cdc_mode,
        append_only,
        pooler_compatibility_mode,
        partition_by,
        sla,
    };
    arguments.validate(false).and_then(|new| create::create(&new)).or_report();
}

/// `pgtrickle.create_stream_table_if_not_exists(..)`.
#[expect(clippy::too_many_arguments, reason = "the SQL signature is fixed")]
#[pg_extern(volatile, parallel_unsafe)]
fn create_stream_table_if_not_exists(
    name: Option<&str>,
    query: Option<&str>,
    schedule: default!(Option<&str>, "'calculated'"),
    refresh_mode: default!(Option<&str>, "'AUTO'"),
    initialize: default!(Option<bool>, "true"),
    diamond_consistency: default!(Option<&str>, "NULL"),
    diamond_schedule_policy: default!(Option<&str>, "NULL"),
    cdc_mode: default!(Option<&str>, "NULL"),
    append_only: default!(Option<bool>, "false"),
    pooler_compatibility_mode: default!(Option<bool>, "false"),
    partition_by: default!(Option<&str>, "NULL"),
    sla: default!(Option<Interval>, "NULL"),
) {
    let arguments = Arguments {
        name,
        query,
        schedule,
        refresh_mode,
        initialize,
        diamond_consistency,
        diamond_schedule_policy,
        cdc_mode,
        append_only,
        pooler_compatibility_mode,
        partition_by,
        sla,
    };
    arguments.validate(true).and_then(|new| create::create(&new)).or_report();
}

/// `pgtrickle.drop_stream_table(name, cascade)`.
#[pg_extern(volatile, parallel_unsafe)]
fn drop_stream_table(name: Option<&str>, cascade: default!(Option<bool>, "false")) {
    required("cascade", cascade).and_then(|cascade| remove::drop(name, cascade)).or_report();
}

/// Arguments of the creating functions as they come.
struct Arguments<'a> {
    name: Option<&'a str>,
    query: Option<&'a str>,
    schedule: Option<&'a str>,
    refresh_mode: Option<&'a str>,
    initialize: Option<bool>,
    diamond_consistency: Option<&'a str>,
    diamond_schedule_policy: Option<&'a str>,
    cdc_mode: Option<&'a str>,
    append_only: Option<bool>,
    pooler_compatibility_mode: Option<bool>,
    partition_by: Option<&'a str>,
    sla: Option<Interval>,
}

impl Arguments<'_> {
    fn validate(self, if_not_exists: bool) -> Result<NewStreamTable> {
        if self.partition_by.is_some() {
            return Err(Error::NotSupportedOption {
                option: "partition_by",
                reason: "Stream tables are not partitioned.".to_owned(),
            });
        }
        if required("append_only", self.append_only)? {
            return Err(Error::NotSupportedOption {
                option: "append_only",
                reason: "Every change of a source is captured exactly.".to_owned(),
            });
        }
        let choice = |option, value: Option<&str>, valid: &'static [&'static str]| match value {
            None => Ok(None),
            Some(value) => choose(option, value, valid).map(Some),
        };
        Ok(NewStreamTable {
            name: QualifiedName::parse(required("name", self.name)?),
            query: required("query", self.query)?.to_owned(),
            schedule: Schedule::parse(required("schedule", self.schedule)?)?,
            schedule_text: required("schedule", self.schedule)?.trim().to_owned(),
            mode: parse_mode(required("refresh_mode", self.refresh_mode)?)?,
            initialize: required("initialize", self.initialize)?,
            diamond_consistency: choice(
                "diamond_consistency",
                self.diamond_consistency,
                &["none", "atomic"],
            )?,
            diamond_schedule_policy: choice(
                "diamond_schedule_policy",
                self.diamond_schedule_policy,
                &["fastest", "slowest"],
            )?,
            cdc_mode: choice("cdc_mode", self.cdc_mode, &["auto", "trigger", "wal"])?
                .map(refuse_wal)
                .transpose()?,
            append_only: false,
            pooler_compatibility_mode: required("pooler_compatibility_mode", self.pooler_compatibility_mode)?,
            sla_ms: self.sla.map(milliseconds).transpose()?,
            if_not_exists,
        })
    }
}

pub fn required<T>(argument: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or(Error::NullArgument { argument })
}

/// One of the valid spellings, in lower case.
pub fn choose(option: &'static str, value: &str, valid: &'static [&'static str]) -> Result<String> {
    valid
        .iter()
        .find(|known| known.eq_ignore_ascii_case(value))
        .map(|known| (*known).to_owned())
        .ok_or_else(|| Error::InvalidOption { option, value: value.to_owned(), valid })
}

pub fn parse_mode(value: &str) -> Result<Mode> {
    if value.eq_ignore_ascii_case("IMMEDIATE") {
        return Err(Error::NotSupportedOption {
            option: "refresh_mode",
            reason: "IMMEDIATE is not available; stream tables are refreshed after the writer's transaction."
                .to_owned(),
        });
    }
    Mode::parse(value).ok_or_else(|| Error::InvalidOption {
        option: "refresh_mode",
        value: value.to_owned(),
        valid: Mode::VALID,
    })
}

fn refuse_wal(mode: String) -> Result<String> {
    if mode == "wal" {
        return Err(Error::NotSupportedOption {
            option: "cdc_mode",
            reason: "Changes are captured by triggers.".to_owned(),
        });
    }
    Ok(mode)
}

/// Length of an SLA in milliseconds.
fn milliseconds(sla: Interval) -> Result<i64> {
    let milliseconds = sla.as_micros() / 1000;
    i64::try_from(milliseconds).ok().filter(|&milliseconds| milliseconds > 0).ok_or_else(|| {
        Error::InvalidSchedule {
            value: "sla".to_owned(),
            reason: "An SLA is a positive interval.".to_owned(),
        }
    })
}
