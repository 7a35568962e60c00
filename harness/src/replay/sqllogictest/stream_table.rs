//! What the extension says of a stream table.

use std::collections::BTreeMap;

use anyhow::Result;
use postgres::Client;
use serde_json::Value;

use super::result::Class;

/// How it is maintained, and why it is not maintained from its changes if it is not.
pub(super) fn class(client: &mut Client, name: &str) -> Result<(Class, Option<String>)> {
    let text: String =
        client.query_one("SELECT pgtrickle.explain_stream_table($1, 'json')", &[&name])?.get(0);
    let explained: Value = serde_json::from_str(&text)?;
    if explained["effective_mode"] == "FULL" {
        return Ok((Class::Recomputed, explained["reason"].as_str().map(str::to_owned)));
    }
    let sources = explained["sources"].as_array().map_or(&[][..], Vec::as_slice);
    let classes = sources.iter().map(|source| match source["work"]["class"].as_str() {
        Some("follows the change") => Class::Delta,
        Some("affected partitions") => Class::AffectedKeys,
        _ => Class::Scan,
    });
    Ok((classes.max().unwrap_or(Class::Constant), None))
}

/// The actions of its refreshes, with their number.
pub(super) fn actions(client: &mut Client, name: &str) -> Result<BTreeMap<String, u64>> {
    let rows = client.query(
        "SELECT h.action, pg_catalog.count(*) FROM pgtrickle.pgt_refresh_history h \
         JOIN pgtrickle.pgt_stream_tables s USING (pgt_id) WHERE s.pgt_name = $1 GROUP BY 1",
        &[&name],
    )?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1) as u64)).collect())
}
