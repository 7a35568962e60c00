//! The second oracle: an engine that shares no code with PostgreSQL evaluates the defining query.
//!
//! DuckDB gets copies of the base tables at the snapshot at which the stream table is read ([`Mirror`]), never the
//! changes: it would apply them with other coercions, and a replayed change could repeat the very mistake it should find.
//! The query is translated ([`crate::translate`]); results are compared by value.

mod library;
mod mirror;

use std::path::Path;

use postgres::types::Type;

use crate::compare::{Equality, Relation, compare};
use crate::postgres::{FLOAT4_TOLERANCE, FLOAT8_TOLERANCE, Typed};
use crate::translate::translate;
use crate::{Error, Verdict};

pub use library::{VERSION, default_folder};
pub use mirror::Mirror;

/// The fraction by which an exact result of PostgreSQL may differ from one that DuckDB computes in double precision:
/// division and averages of decimals are that in DuckDB.
pub const DECIMAL_TOLERANCE: f64 = 1e-9;

/// Each removes a whole class of differences; they have to be statements of their own.
const SETTINGS: [&str; 5] = [
    // Integers divide to integers, and division by zero is an error.
    "SET integer_division = true",
    "SET default_null_order = 'postgres'",
    // One thread adds floating point numbers in one order.
    "SET threads = 1",
    "SET TimeZone = 'UTC'",
    "SET preserve_insertion_order = false",
];

/// An in-memory DuckDB.
pub struct DuckDb {
    connection: library::Connection,
}

/// A result of DuckDB: all cells as text, and the type each column had.
#[derive(Debug, Clone)]
pub struct Answer {
    pub relation: Relation,
    pub types: Vec<String>,
}

impl DuckDb {
    /// Opens a database with the library in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let mut duckdb = Self { connection: library::Connection::open(library::Functions::load(folder)?)? };
        for setting in SETTINGS {
            duckdb.run(setting)?;
        }
        Ok(duckdb)
    }

    /// Opens a database with the library that provisioning left in the cache.
    pub fn open_default() -> Result<Self, Error> {
        let folder = default_folder()
            .ok_or_else(|| Error::Library("neither PG_TRICKLE_DUCKDB nor HOME is set".to_owned()))?;
        Self::open(&folder)
    }

    /// Runs a statement for its effect.
    pub fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.run(sql).map(drop)
    }

    /// Runs a query; it has to be in DuckDB's dialect.
    pub fn fetch(&mut self, query: &str) -> Result<Answer, Error> {
        let (_, described) =
            self.connection.run(&format!("SELECT column_type FROM (DESCRIBE {query}\n) AS described"))?;
        let types = described.into_iter().flatten().map(Option::unwrap_or_default).collect();
        let all_text = format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{query}\n) AS answer");
        let (columns, rows) = self.connection.run(&all_text)?;
        Ok(Answer { relation: Relation { columns, rows }, types })
    }

    /// Compares the contents of a stream table, as PostgreSQL returned them, with the result of its defining query
    /// (in PostgreSQL's dialect) over the mirrored tables.
    pub fn judge(&mut self, found: &Typed, query: &str) -> Result<Verdict, Error> {
        let translated = match translate(query) {
            Ok(translation) => translation.sql,
            Err(reason) => return Ok(Verdict::NotComparable(reason.to_string())),
        };
        let answer = match self.fetch(&translated) {
            Ok(answer) => answer,
            // A dialect gap that no rule knows yet, or data this engine refuses. The run counts and lists it.
            Err(Error::DuckDb { message, .. }) => return Ok(Verdict::NotComparable(first_line(&message))),
            Err(error) => return Err(error),
        };
        if answer.relation.columns.len() != found.relation.columns.len() {
            return Ok(Verdict::Columns { expected: answer.relation.columns, found: found.columns() });
        }
        let mut equalities = Vec::new();
        for (kind, theirs) in found.types.iter().zip(&answer.types) {
            match equality(kind, theirs) {
                Ok(equality) => equalities.push(equality),
                Err(reason) => return Ok(Verdict::NotComparable(reason)),
            }
        }
        // Names are PostgreSQL's business: the engines name expressions differently.
        let expected = Relation { columns: found.relation.columns.clone(), rows: answer.relation.rows };
        Ok(match compare(&expected, &found.relation, &equalities) {
            Some(difference) => Verdict::Rows(Box::new(difference)),
            None => Verdict::Equal { rows: found.relation.rows.len() },
        })
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or(message).to_owned()
}

/// How values of a PostgreSQL type and a DuckDB type are compared, or why they cannot be.
fn equality(kind: &Type, theirs: &str) -> Result<Equality, String> {
    let is_approximate = theirs == "DOUBLE" || theirs == "FLOAT";
    Ok(match *kind {
        Type::FLOAT8 => Equality::Tolerance(FLOAT8_TOLERANCE),
        Type::FLOAT4 => Equality::Tolerance(FLOAT4_TOLERANCE),
        Type::NUMERIC if is_approximate => Equality::Tolerance(DECIMAL_TOLERANCE),
        Type::NUMERIC | Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Equality::Number,
        Type::BOOL => Equality::Boolean,
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::DATE | Type::UUID => Equality::Text,
        Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => Equality::Time,
        Type::INTERVAL => Equality::Interval,
        ref other => return Err(format!("no comparison is known for type {other}")),
    })
}
