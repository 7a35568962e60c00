//! Copies of PostgreSQL's tables in DuckDB, at the snapshot of one transaction.
//!
//! A table is exported as CSV, which keeps NULL apart from the empty string by quoting, and loaded only if the export
//! differs from what was loaded last.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};

use postgres::GenericClient;
use tempfile::NamedTempFile;

use super::DuckDb;
use crate::Error;

/// A DuckDB and what it holds.
pub struct Mirror {
    duckdb: DuckDb,
    /// Table name to the hash of the columns and the export that were loaded.
    loaded: BTreeMap<String, u64>,
}

/// Text that stands for NULL in the export; PostgreSQL quotes a value that reads like it, and DuckDB is told to take
/// quoted text as text.
const NULL: &str = "\\N";

impl Mirror {
    /// An empty mirror.
    pub fn new(duckdb: DuckDb) -> Self {
        Self { duckdb, loaded: BTreeMap::new() }
    }

    /// The database, to ask it.
    pub fn duckdb(&mut self) -> &mut DuckDb {
        &mut self.duckdb
    }

    /// Brings the copy of `table` (as SQL writes it, in the search path or qualified) to what `client` sees. Returns
    /// whether anything had to be loaded.
    pub fn refresh(&mut self, client: &mut impl GenericClient, table: &str) -> Result<bool, Error> {
        let columns = columns(client, table)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let export =
            format!("COPY (SELECT {} FROM {table}) TO STDOUT (FORMAT csv, NULL '{NULL}')", names.join(", "));
        let mut rows = Vec::new();
        client.copy_out(&export).map_err(Error::postgres(&export))?.read_to_end(&mut rows)?;
        let mut hasher = DefaultHasher::new();
        columns.hash(&mut hasher);
        rows.hash(&mut hasher);
        let hash = hasher.finish();
        if self.loaded.get(table) == Some(&hash) {
            return Ok(false);
        }
        self.load(table, &columns, &rows)?;
        self.loaded.insert(table.to_owned(), hash);
        Ok(true)
    }

    fn load(&mut self, table: &str, columns: &[Column], rows: &[u8]) -> Result<(), Error> {
        let mut file = NamedTempFile::with_suffix(".csv")?;
        file.write_all(rows)?;
        file.flush()?;
        let definitions: Vec<String> =
            columns.iter().map(|column| format!("{} {}", column.name, column.duckdb_type)).collect();
        let path = file.path().to_string_lossy().replace('\'', "''");
        self.duckdb.run(&format!("CREATE OR REPLACE TABLE {table} ({})", definitions.join(", ")))?;
        self.duckdb.run(&format!(
            "COPY {table} FROM '{path}' (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', \
             NULLSTR '{NULL}', ALLOW_QUOTED_NULLS false, AUTO_DETECT false)"
        ))
    }
}

#[derive(Hash)]
struct Column {
    /// Quoted always: the engines reserve different words.
    name: String,
    duckdb_type: String,
}

fn columns(client: &mut impl GenericClient, table: &str) -> Result<Vec<Column>, Error> {
    const SQL: &str = "SELECT '\"' || pg_catalog.replace(attname, '\"', '\"\"') || '\"', pg_catalog.format_type(atttypid, atttypmod) \
         FROM pg_catalog.pg_attribute WHERE attrelid = $1::text::pg_catalog.regclass AND attnum > 0 \
         AND NOT attisdropped ORDER BY attnum";
    let rows = client.query(SQL, &[&table]).map_err(Error::postgres(SQL))?;
    rows.iter()
        .map(|row| {
            let (name, kind): (String, String) = (row.get(0), row.get(1));
            match duckdb_type(&kind) {
                Some(duckdb_type) => Ok(Column { name, duckdb_type }),
                None => Err(Error::Mirror(format!(
                    "column {name} of {table} is {kind}, which has no counterpart in DuckDB"
                ))),
            }
        })
        .collect()
}

/// DuckDB's name of a PostgreSQL type, where values mean the same.
fn duckdb_type(kind: &str) -> Option<String> {
    if let Some(precision) = kind.strip_prefix("numeric(") {
        // DuckDB has at most 38 digits.
        let digits: u32 = precision.split([',', ')']).next()?.parse().ok()?;
        return (digits <= 38).then(|| format!("DECIMAL({precision}"));
    }
    // Lengths and precisions are kept by the values themselves, and by nothing else that a query sees.
    let unbounded = match (kind.find('('), kind.find(')')) {
        (Some(open), Some(close)) => format!("{}{}", &kind[..open], &kind[close + 1..]),
        _ => kind.to_owned(),
    };
    let name = match unbounded.as_str() {
        "smallint" => "SMALLINT",
        "integer" => "INTEGER",
        "bigint" => "BIGINT",
        "text" | "character varying" | "name" => "VARCHAR",
        "boolean" => "BOOLEAN",
        "date" => "DATE",
        "timestamp without time zone" => "TIMESTAMP",
        "timestamp with time zone" => "TIMESTAMPTZ",
        "time without time zone" => "TIME",
        "interval" => "INTERVAL",
        "double precision" => "DOUBLE",
        "uuid" => "UUID",
        _ => return None,
    };
    Some(name.to_owned())
}
