//! What a session's statements read, as the server counts it for the current transaction.

use std::collections::BTreeMap;

use anyhow::Result;
use postgres::GenericClient;

/// For each relation the rows read so far in this transaction by sequential scans, and entries by index scans; and the
/// pages that were read for them. Catalogs are left out, and so is what workers of a parallel query read.
const READ: &str = "
    SELECT c.oid::regclass::text, coalesce(pg_stat_get_xact_tuples_returned(c.oid), 0),
           coalesce(pg_stat_get_xact_blocks_fetched(c.oid), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i', 'm')
        AND n.nspname IN ('public', 'pgtrickle_state', 'recompute', 'concurrent', 'by_hand')";

/// Rows and pages by relation. The counts include those of earlier transactions that the session has not handed on, so
/// that only differences within a transaction mean something.
pub fn read_so_far(client: &mut impl GenericClient) -> Result<BTreeMap<String, (i64, i64)>> {
    let rows = client.query(READ, &[])?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

/// What was read of each relation between two looks.
pub fn between(
    before: &BTreeMap<String, (i64, i64)>,
    after: BTreeMap<String, (i64, i64)>,
) -> BTreeMap<String, (i64, i64)> {
    let since = |(name, (rows, pages)): (String, (i64, i64))| {
        let (rows_before, pages_before) = before.get(&name).copied().unwrap_or_default();
        (name, (rows - rows_before, pages - pages_before))
    };
    after.into_iter().map(since).collect()
}

/// Rows and pages of all relations.
pub fn total(read: &BTreeMap<String, (i64, i64)>) -> (i64, i64) {
    read.values().fold((0, 0), |sum, read| (sum.0 + read.0, sum.1 + read.1))
}
