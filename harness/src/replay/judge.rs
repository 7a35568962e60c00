//! The oracles' part of a cycle.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use pg_trickle_corpus::change::Cycle;
use pg_trickle_corpus::workload::{Query, Workload};
use pg_trickle_oracle::compare::Relation;
use pg_trickle_oracle::duckdb::{DuckDb, Mirror};
use pg_trickle_oracle::postgres::{Typed, fetch, judge_results};
use pg_trickle_oracle::{Error, compare};
use postgres::Client;

use crate::agreement::by_value;
use crate::provision::duckdb;
use crate::report::{CycleRun, Judgement, QueryRun, Refreshed};

/// Both oracles, and the right results of the cycle before.
pub struct Oracles {
    mirror: Mirror,
    previous: BTreeMap<String, Relation>,
}

/// What the oracles say about one query in one cycle.
pub struct Judged {
    pub rows: usize,
    pub changed: bool,
    pub postgres: Judgement,
    pub duckdb: Judgement,
}

impl Oracles {
    /// Opens DuckDB, after getting its library if need be.
    pub fn open() -> Result<Self> {
        let duckdb = DuckDb::open(&duckdb::get()?).context("the DuckDB oracle")?;
        Ok(Self { mirror: Mirror::new(duckdb), previous: BTreeMap::new() })
    }

    /// Judges every created relation in one snapshot. Only tables that `cycle` touches are copied to DuckDB anew; all
    /// of them if it is `None`. A refused query yields a judgement that nobody reads.
    pub fn judge_all(
        &mut self,
        client: &mut Client,
        workload: &dyn Workload,
        queries: &[Query],
        relations: &[QueryRun],
        cycle: Option<&Cycle>,
    ) -> Result<Vec<Judged>> {
        let mut snapshot = client
            .build_transaction()
            .isolation_level(postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()?;
        let touched = cycle.map(Cycle::tables);
        for table in workload.tables() {
            if touched.as_ref().is_none_or(|touched| touched.contains(table)) {
                self.mirror.refresh(&mut snapshot, table)?;
            }
        }
        let mut all = Vec::new();
        for (query, relation) in queries.iter().zip(relations) {
            let expected = fetch(&mut snapshot, &query.oracle_sql)?;
            let (postgres, duckdb) = match relation.refused {
                Some(_) => (Judgement::none("refused"), Judgement::none("refused")),
                None => {
                    let found = fetch(&mut snapshot, &format!("SELECT * FROM {}", relation.name))?;
                    let by_duckdb = self.mirror.duckdb().judge(&found, &query.oracle_sql)?;
                    (by_postgres(&expected, &found), Judgement::new(&by_duckdb))
                }
            };
            let rows = expected.relation.rows.len();
            let before = self.previous.insert(query.name.clone(), expected.relation.clone());
            let changed = before.is_some_and(|before| differ(&before, &expected.relation));
            all.push(Judged { rows, changed, postgres, duckdb });
        }
        // Reading wrote nothing; an error here would only say that the connection broke.
        snapshot.rollback().map_err(|source| Error::Postgres { sql: "ROLLBACK".to_owned(), source })?;
        Ok(all)
    }
}

/// The verdict on a stream table by the query's result in the same snapshot, text for text.
fn by_postgres(expected: &Typed, found: &Typed) -> Judgement {
    let verdict = judge_results(expected, found);
    let text_only = verdict.is_wrong() && by_value(expected, found).is_equal();
    Judgement { text_only, ..Judgement::new(&verdict) }
}

fn differ(before: &Relation, after: &Relation) -> bool {
    let text = vec![compare::Equality::Text; after.columns.len()];
    compare::compare(before, after, &text).is_some()
}

/// A refresh and its verdicts as a line of the report.
pub(super) fn cycle_run(cycle: u32, refreshed: Refreshed, judged: Judged) -> CycleRun {
    CycleRun {
        cycle,
        refreshed,
        rows: judged.rows,
        changed: judged.changed,
        postgres: judged.postgres,
        duckdb: judged.duckdb,
    }
}
