//! A stream table whose definition means something else than it did: a function it calls was replaced, a view it reads
//! was redefined.
//!
//! Both happen behind the stream table's back and change rows that no source has changed. Each refresh therefore
//! compares a fingerprint of the definition with the one the contents were made under. The server executes functions as
//! they are, not as the refresh's snapshot shows them; so the fingerprint is that of now, and a replacement that commits
//! while a refresh is running is found by the next one.

use crate::catalog;
use crate::catalog::definition::{self, StreamTable};
use crate::catalog::meaning;
use crate::error::{Error, Result};
use crate::lifecycle::rekey;
use crate::pg::exec::Executor;
use crate::pg::value::Param;
use crate::refresh::compiled::{self, Compiled};
use pg_trickle_core::query::SourceInfo;
use pg_trickle_core::stage::polled::is_polled;

/// The definition's fingerprint, if it is not the one the contents were made under.
pub fn changed_fingerprint(stream_table: &StreamTable) -> Option<String> {
    let found = meaning::load(stream_table.query_view);
    (stream_table.fingerprint.as_ref() != Some(&found.fingerprint)).then(|| found.fingerprint.clone())
}

/// Fits a stream table to what its definition means now. States and contents are rebuilt by the caller. What does not
/// fit is an error, and the stream table stays as it is.
pub fn adopt(executor: &Executor, stream_table: &StreamTable, fingerprint: &str) -> Result<()> {
    let refuse = |reason: String, hint: &str| {
        Err(Error::NotRefreshable { name: stream_table.display_name(), reason, hint: hint.to_owned() })
    };
    let compiled = compiled::load(executor, stream_table)?;
    if let Some(volatile) = &compiled.volatile {
        let reason = format!("{} in its definition is volatile now", volatile.name);
        return refuse(reason, "Make it IMMUTABLE again, or drop the stream table.");
    }
    if let Some(source) = uncovered(executor, stream_table, &compiled) {
        let reason = format!("a view it reads was redefined and now reads more of {}", source.name);
        return refuse(reason, "Drop the stream table and create it again, or restore the view.");
    }
    match &compiled.maintenance {
        // The contents need not fit the new key: until they are rebuilt they are a bag.
        Ok(maintenance) if stream_table.is_differential => {
            rekey::restate(executor, stream_table, maintenance);
            rekey::reindex(executor, stream_table, &maintenance.shape().as_bag());
        }
        Err(unsupported) if stream_table.is_differential => {
            if stream_table.mode == definition::Mode::Differential {
                return Err(Error::NotDifferential {
                    construct: unsupported.construct.name.clone(),
                    position: None,
                    reason: unsupported.reason.to_string(),
                });
            }
            pgrx::notice!(
                "stream table \"{}\" is refreshed in FULL mode from now on because of {}: {}",
                stream_table.display_name(),
                unsupported.construct.name,
                unsupported.reason
            );
        }
        _ => {}
    }
    let downgrade = compiled
        .maintenance
        .as_ref()
        .err()
        .map(|unsupported| format!("{}: {}", unsupported.construct.name, unsupported.reason));
    let is_captured = compiled.is_still && !compiled.sources.iter().any(is_polled);
    catalog::as_extension(|| {
        executor.modify(
            "UPDATE pgtrickle.pgt_definitions SET function_hashes = $2, is_captured = $3, \
                 supported_mode = CASE WHEN $4 IS NULL THEN supported_mode ELSE 'FULL' END, \
                 downgrade_reason = CASE WHEN $4 IS NULL THEN downgrade_reason ELSE $4 END, \
                 generation = generation OPERATOR(pg_catalog.+) 1 \
             WHERE pgt_id OPERATOR(pg_catalog.=) $1",
            &[
                Param::Int(stream_table.pgt_id),
                Param::text(fingerprint),
                Param::Bool(is_captured),
                Param::optional_text(downgrade.as_deref()),
            ],
        )
    });
    Ok(())
}

/// Addresses the rows by the key that the definition has now, once the contents have been rebuilt.
pub fn settle(executor: &Executor, stream_table: &StreamTable) -> Result<()> {
    let compiled = compiled::load(executor, stream_table)?;
    if let Some(maintenance) = compiled.outgrown(stream_table) {
        rekey::reindex(executor, stream_table, maintenance.shape());
    }
    Ok(())
}

/// A source that the definition reads, or a column of it, for which nothing was prepared.
fn uncovered<'c>(
    executor: &Executor,
    stream_table: &StreamTable,
    compiled: &'c Compiled,
) -> Option<&'c SourceInfo> {
    let dependencies = definition::dependencies(executor, stream_table.pgt_id);
    compiled.sources.iter().find(|source| {
        let known = dependencies.iter().find(|dependency| dependency.relid == source.relid);
        let is_covered = known.is_some_and(|dependency| {
            source.columns.iter().all(|column| dependency.columns.contains(&column.attnum))
        });
        !is_covered
    })
}
