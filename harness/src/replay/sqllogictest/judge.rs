//! One comparison of one stream table: with PostgreSQL at the same snapshot, and in turn with DuckDB.

use anyhow::Result;
use pg_trickle_corpus::sqllogictest::Life;
use pg_trickle_oracle::duckdb::{DuckDb, Mirror};
use pg_trickle_oracle::postgres::{Typed, fetch, judge_results};
use pg_trickle_oracle::translate::translate;
use pg_trickle_oracle::{Error, Verdict};
use postgres::{Client, IsolationLevel};

use super::super::subject::message;
use crate::agreement::by_value;
use crate::provision::duckdb;

/// Both oracles for one database.
pub(super) struct Judge {
    mirror: Mirror,
}

/// What PostgreSQL says.
pub(super) enum Judged {
    /// The stream table is its query: its contents, and whether some number is equal by value only.
    Equal {
        found: Typed,
        is_value_only: bool,
    },
    Wrong(String),
    /// The query itself raises an error on these tables.
    Raises(String),
}

/// What DuckDB says of a stream table that PostgreSQL agrees with.
pub(super) enum Second {
    NotAsked,
    Agrees,
    Differs(String),
    NotComparable(String),
}

impl Judge {
    /// Opens DuckDB, empty.
    pub(super) fn open() -> Result<Self> {
        Ok(Self { mirror: Mirror::new(DuckDb::open(&duckdb::get()?)?) })
    }

    /// Compares the stream table `name` with its definition.
    pub(super) fn compare(
        &mut self,
        client: &mut Client,
        name: &str,
        definition: &str,
        life: &Life,
        asks_duckdb: bool,
    ) -> Result<(Judged, Second)> {
        let mut snapshot = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()?;
        let expected = match fetch(&mut snapshot, definition) {
            Ok(expected) => expected,
            Err(Error::Postgres { source, .. }) if source.as_db_error().is_some() => {
                return Ok((Judged::Raises(message(&source)), Second::NotAsked));
            }
            Err(error) => return Err(error.into()),
        };
        let found = fetch(&mut snapshot, &format!("SELECT * FROM {name}"))?;
        let is_value_only = match judge_results(&expected, &found) {
            Verdict::Equal { .. } => false,
            Verdict::Rows(_) if by_value(&expected, &found).is_equal() => true,
            wrong => return Ok((Judged::Wrong(wrong.to_string()), Second::NotAsked)),
        };
        let second = match asks_duckdb {
            true => self.ask_duckdb(&mut snapshot, &found, definition, life)?,
            false => Second::NotAsked,
        };
        snapshot.rollback()?;
        Ok((Judged::Equal { found, is_value_only }, second))
    }

    fn ask_duckdb(
        &mut self,
        snapshot: &mut postgres::Transaction<'_>,
        found: &Typed,
        definition: &str,
        life: &Life,
    ) -> Result<Second> {
        for table in &life.tables {
            match self.mirror.refresh(snapshot, table) {
                Ok(_) => {}
                Err(Error::Mirror(reason)) => return Ok(Second::NotComparable(reason)),
                Err(error) => return Err(error.into()),
            }
        }
        for (name, query) in &life.views {
            let query = match translate(query) {
                Ok(translation) => translation.sql,
                Err(reason) => return Ok(Second::NotComparable(reason.to_string())),
            };
            self.mirror.duckdb().run(&format!("CREATE OR REPLACE VIEW {name} AS {query}"))?;
        }
        Ok(match self.mirror.duckdb().judge(found, definition)? {
            Verdict::Equal { .. } => Second::Agrees,
            Verdict::NotComparable(reason) => Second::NotComparable(reason),
            wrong => Second::Differs(wrong.to_string()),
        })
    }
}
