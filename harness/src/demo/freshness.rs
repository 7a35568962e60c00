//! The reader: when does the effect of each transaction show up in a stream table?
//!
//! Every transaction of the workload inserts its number into `heartbeat`; the stream table over it shows the largest.
//! The reader asks for it again and again, and when a number shows up, every transaction up to it is visible. The
//! sample is the time from the return of its commit, on this machine's clock, to the answer.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postgres::{Client, Statement};

use super::HEARTBEAT;
use super::workload::Log;
use crate::report::{Freshness, percentile};

/// Between two looks; a bound on the error of a sample.
const PAUSE: Duration = Duration::from_millis(5);

/// Creates the heartbeat and the stream table over it.
pub(crate) fn create(client: &mut Client, schedule: &str) -> Result<()> {
    client.batch_execute("CREATE TABLE heartbeat (number bigint PRIMARY KEY)")?;
    let query = "SELECT count(*) AS beats, max(number) AS latest FROM heartbeat";
    client
        .execute(
            "SELECT pgtrickle.create_stream_table($1, $2, schedule => $3)",
            &[&HEARTBEAT, &query, &schedule],
        )
        .context("creating the stream table that measures freshness")
        .map(drop)
}

/// Watches the stream table.
pub(crate) struct Reader {
    client: Client,
    look: Option<Statement>,
    log: Arc<Log>,
    seen: u64,
    samples_ms: Vec<f64>,
}

impl Reader {
    pub(crate) fn new(client: Client, log: Arc<Log>) -> Self {
        Self { client, look: None, log, seen: 0, samples_ms: Vec::new() }
    }

    /// Waits a little and looks once.
    pub(crate) fn look(&mut self) -> Result<()> {
        thread::sleep(PAUSE);
        let statement = match self.look.take() {
            Some(statement) => statement,
            None => self.client.prepare(&format!("SELECT coalesce(latest, 0) FROM {HEARTBEAT}"))?,
        };
        let row = self.client.query_opt(&statement, &[])?;
        self.look = Some(statement);
        let visible = row.map_or(0, |row| row.get::<_, i64>(0)) as u64;
        let now = Instant::now();
        // A number can show up before the writer has noted the return of its commit; it is counted at the next look.
        let commits = self.log.commits(self.seen, visible);
        self.seen += commits.len() as u64;
        let ms = |commit: Instant| now.saturating_duration_since(commit).as_secs_f64() * 1000.0;
        self.samples_ms.extend(commits.into_iter().map(ms));
        Ok(())
    }

    /// Whether every committed transaction is visible.
    pub(crate) fn has_seen_everything(&self) -> bool {
        self.unseen() == 0
    }

    /// Committed transactions that are not visible.
    pub(crate) fn unseen(&self) -> u64 {
        self.log.committed().saturating_sub(self.seen)
    }

    /// Every sample.
    pub(crate) fn samples_ms(&self) -> &[f64] {
        &self.samples_ms
    }

    /// The latest sample.
    pub(crate) fn latest_ms(&self) -> Option<f64> {
        self.samples_ms.last().copied()
    }

    /// The figures; nothing if nothing became visible.
    pub(crate) fn freshness(&self, seconds: f64) -> Option<Freshness> {
        let at = |percent| percentile(self.samples_ms.iter().copied(), percent);
        Some(Freshness {
            samples: self.samples_ms.len(),
            p50_ms: at(50.0)?,
            p99_ms: at(99.0)?,
            max_ms: at(100.0)?,
            method: "Each transaction of the workload also inserts its number into a table; a reader polls a stream \
                     table over it and notes when the number shows up."
                .to_owned(),
            transactions: self.log.committed(),
            statements: self.log.statements(),
            seconds,
        })
    }
}
