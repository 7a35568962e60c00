//! A corpus in a database: loading, and applying changes.

use std::io::BufWriter;

use anyhow::{Context, Result};
use pg_trickle_corpus::change::{Cycle, Transaction};
use pg_trickle_corpus::workload::Workload;
use postgres::Client;

/// Creates the tables, fills them, creates the indexes, and collects statistics.
pub fn load(client: &mut Client, workload: &dyn Workload) -> Result<()> {
    client.batch_execute(workload.schema()).context("creating the tables")?;
    for table in workload.tables() {
        let copy = workload.copy_statement(table);
        let sink = client.copy_in(&copy).with_context(|| format!("loading {table}"))?;
        // The rows go out in pieces of this size rather than line by line.
        let mut buffered = BufWriter::with_capacity(1 << 16, sink);
        workload.write_rows(table, &mut buffered).with_context(|| format!("loading {table}"))?;
        let sink = buffered.into_inner().map_err(|error| error.into_error())?;
        sink.finish().with_context(|| format!("loading {table}"))?;
    }
    client.batch_execute(workload.indexes()).context("creating the indexes")?;
    client.batch_execute("VACUUM ANALYZE").context("collecting statistics")
}

/// Runs the transactions of a cycle, one after the other.
pub fn apply(client: &mut Client, cycle: &Cycle) -> Result<()> {
    for transaction in &cycle.transactions {
        apply_transaction(client, transaction)
            .with_context(|| format!("cycle {}, transaction \"{}\"", cycle.number, transaction.name))?;
    }
    Ok(())
}

/// Runs one transaction. Nothing of it remains if a statement fails.
pub fn apply_transaction(client: &mut Client, transaction: &Transaction) -> Result<()> {
    let mut open = client.transaction()?;
    for statement in &transaction.statements {
        open.batch_execute(&statement.sql).with_context(|| statement.sql.clone())?;
    }
    Ok(open.commit()?)
}
