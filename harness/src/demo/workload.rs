//! The writer: the corpus's transactions at a steady pace, each with a numbered row of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pg_trickle_corpus::change::Transaction;
use pg_trickle_corpus::workload::Workload;
use postgres::Client;

/// What the writer did so far; shared with the reader.
#[derive(Default)]
pub(crate) struct Log {
    /// When the commit of transaction `n` returned, at index `n - 1`.
    commits: Mutex<Vec<Instant>>,
    statements: AtomicU64,
    is_stopped: AtomicBool,
}

impl Log {
    /// Transactions committed.
    pub(crate) fn committed(&self) -> u64 {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Statements in them.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// When transactions after `first` (exclusive) up to `last` committed; fewer if the writer has not noted them yet.
    pub(crate) fn commits(&self, first: u64, last: u64) -> Vec<Instant> {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let last = (last as usize).min(commits.len());
        commits.get(first as usize..last).unwrap_or_default().to_vec()
    }

    /// Asks the writer to end after its current transaction.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn note(&self, statements: usize) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        self.statements.fetch_add(statements as u64, Ordering::Relaxed);
    }
}

/// Starts the writer. It runs until it is stopped, and returns the first cycle it did not begin.
pub(crate) fn start(
    mut client: Client,
    workload: Arc<dyn Workload>,
    rate: f64,
    log: Arc<Log>,
) -> JoinHandle<Result<u32>> {
    thread::spawn(move || {
        let begin = Instant::now();
        let mut cycle = 1;
        loop {
            for transaction in &workload.cycle(cycle).transactions {
                let due = begin + Duration::from_secs_f64(log.committed() as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if log.is_stopped() {
                    return Ok(cycle + 1);
                }
                write(&mut client, transaction, log.committed() + 1)
                    .with_context(|| format!("cycle {cycle}, transaction \"{}\"", transaction.name))?;
                log.note(transaction.statements.len() + 1);
            }
            cycle += 1;
        }
    })
}

fn write(client: &mut Client, transaction: &Transaction, number: u64) -> Result<()> {
    let mut open = client.transaction()?;
    for statement in &transaction.statements {
        open.batch_execute(&statement.sql).with_context(|| statement.sql.clone())?;
    }
    open.execute("INSERT INTO heartbeat VALUES ($1)", &[&(number as i64)])?;
    Ok(open.commit()?)
}
