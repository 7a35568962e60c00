//! The script's own session: it refreshes and compares, and keeps what the script said about comparing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::inventory;
use crate::agreement::{self, Expectations, RefreshOrder, StreamTable};
use crate::cluster::TestDatabase;
use crate::report::ScriptTally;

/// A comparison waits for locks of the script's own open transactions; then the script is wrong, not slow.
const PATIENCE: &str = "60s";

/// Refreshes and compares after each change.
pub struct Judge {
    client: Client,
    expectations: Expectations,
    /// Whether changes are followed by a comparison.
    compares: bool,
    /// Comparisons so far, of all stream tables each.
    rounds: u64,
    tally: ScriptTally,
    /// Stream tables that were compared so far.
    seen: BTreeSet<String>,
    inventory: Option<Vec<String>>,
    failure: Option<String>,
}

impl Judge {
    pub fn open(database: &TestDatabase) -> Result<Judge> {
        let mut client = database.connect()?;
        client.batch_execute(&format!("SET statement_timeout = '{PATIENCE}'"))?;
        Ok(Judge {
            client,
            expectations: Expectations::default(),
            compares: true,
            rounds: 0,
            tally: ScriptTally::default(),
            seen: BTreeSet::new(),
            inventory: None,
            failure: None,
        })
    }

    pub fn set_comparing(&mut self, on: bool) {
        self.compares = on;
    }

    /// Compares, if the script wants it, unless the session that has changed something is inside a transaction block.
    pub fn after_change(&mut self, pid: i32) -> Result<()> {
        if !self.compares {
            return Ok(());
        }
        // A session reports its state before it reports that it is ready.
        let in_block: bool = self
            .client
            .query_one(
                "SELECT state LIKE 'idle in transaction%' FROM pg_catalog.pg_stat_activity WHERE pid = $1",
                &[&pid],
            )?
            .get(0);
        if in_block { Ok(()) } else { self.compare() }
    }

    /// Refreshes and compares. Stream tables over stream tables are refreshed from either end in turn.
    pub fn compare(&mut self) -> Result<()> {
        self.rounds += 1;
        let order = if self.rounds.is_multiple_of(2) {
            RefreshOrder::ConsumersFirst
        } else {
            RefreshOrder::SourcesFirst
        };
        let outcome = self.refresh_and_check(order);
        self.note(outcome)
    }

    fn refresh_and_check(&mut self, order: RefreshOrder) -> Result<()> {
        self.tally.refreshes += agreement::refresh_all(&mut self.client, order)?;
        self.check_all()
    }

    fn check_all(&mut self) -> Result<()> {
        let compared = agreement::check_all(&mut self.client, &self.expectations)?;
        self.tally.comparisons += compared.len();
        self.seen.extend(compared);
        Ok(())
    }

    /// Compares without a refresh.
    pub fn check(&mut self) -> Result<()> {
        let outcome = self.check_all();
        self.note(outcome)
    }

    /// Refreshes, compares, and verifies hidden state.
    pub fn settle(&mut self) -> Result<()> {
        let before = self.tally.comparisons;
        self.refresh_and_check(RefreshOrder::SourcesFirst)?;
        agreement::verify_all(&mut self.client)?;
        self.tally.verifications += self.tally.comparisons - before;
        Ok(())
    }

    /// What was done so far.
    pub fn tally(&self) -> ScriptTally {
        ScriptTally { stream_tables: self.seen.len(), ..self.tally }
    }

    /// Keeps the first failure: when expectations are rewritten, a statement that fails becomes one that should.
    fn note(&mut self, outcome: Result<()>) -> Result<()> {
        if let Err(error) = &outcome {
            self.failure.get_or_insert_with(|| format!("{error:#}"));
        }
        outcome
    }

    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Compares a stream table with another query than its own from now on.
    pub fn set_query(&mut self, name: &str, query: &str) -> Result<()> {
        let table = self.find(name)?;
        self.expectations.queries.insert(table.name, query.to_owned());
        Ok(())
    }

    /// Compares the numbers of a stream table by value instead of text from now on.
    pub fn set_by_value(&mut self, name: &str) -> Result<()> {
        let table = self.find(name)?;
        self.expectations.by_value.push(table.name);
        Ok(())
    }

    fn find(&mut self, name: &str) -> Result<StreamTable> {
        let qualified: String = self
            .client
            .query_one(
                "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid = $1::text::pg_catalog.regclass",
                &[&name],
            )
            .with_context(|| format!("there is no table {name}"))?
            .get(0);
        let tables = agreement::stream_tables(&mut self.client)?;
        tables
            .into_iter()
            .find(|table| table.name == qualified)
            .with_context(|| format!("{qualified} is not a stream table"))
    }

    /// Remembers what is in the catalogs.
    pub fn keep_inventory(&mut self) -> Result<()> {
        self.inventory = Some(inventory::take(&mut self.client)?);
        Ok(())
    }

    /// Fails if the catalogs are not as they were when the inventory was taken.
    pub fn check_inventory(&mut self) -> Result<()> {
        let before = self.inventory.as_ref().context("no inventory was taken before")?;
        let after = inventory::take(&mut self.client)?;
        let changes = inventory::changes(before, &after);
        if !changes.is_empty() {
            bail!("the catalogs have changed:\n{}", changes.join("\n"));
        }
        Ok(())
    }
}
