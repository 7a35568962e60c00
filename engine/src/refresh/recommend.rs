//! Indexes on sources by which a change finds the rows it needs.

use crate::catalog::definition::StreamTable;
use crate::error::Result;
use crate::pg::exec::Executor;
use crate::refresh::{compiled, member};

/// An index that is not there.
pub struct Recommendation {
    pub stream_table: String,
    pub source: String,
    /// The statement that creates it.
    pub definition: String,
    pub reason: String,
}

/// What a stream table's refreshes would use. Nothing for one that is recomputed.
pub fn recommend(executor: &Executor, stream_table: &StreamTable) -> Result<Vec<Recommendation>> {
    let compiled = compiled::load(executor, stream_table)?;
    let Ok(maintenance) = &compiled.maintenance else { return Ok(vec![]) };
    if !stream_table.runs_differentially() {
        return Ok(vec![]);
    }
    let missing = maintenance.missing_indexes().map_err(member::not_differential)?;
    let described = missing.into_iter().map(|index| {
        let source = &compiled.sources[index.source.0 as usize];
        let columns: Vec<&str> =
            index.columns.iter().map(|&column| source.columns[column].column.name.as_str()).collect();
        Recommendation {
            stream_table: stream_table.display_name(),
            source: source.name.clone(),
            definition: index.definition,
            reason: format!(
                "a refresh looks rows up by ({}); without an index it reads the table",
                columns.join(", ")
            ),
        }
    });
    Ok(described.collect())
}
