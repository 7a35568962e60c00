//! The columns of tables, as the rounds of changes have to know them.

use anyhow::Result;
use pg_trickle_corpus::sqllogictest::mutation::{Column, Family, Table};
use postgres::Client;

const COLUMNS: &str = "\
SELECT a.attname::text, t.typcategory::text, NOT a.attnotnull, EXISTS (
    SELECT FROM pg_catalog.pg_index i
    WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey))
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = $1::text::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum";

/// Reads the columns of these tables from the catalog.
pub(super) fn describe(client: &mut Client, names: &[&String]) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for name in names {
        let rows = client.query(COLUMNS, &[name])?;
        let columns = rows.iter().map(|row| Column {
            name: row.get(0),
            family: match row.get::<_, String>(1).as_str() {
                "N" => Family::Number,
                "S" => Family::Text,
                _ => Family::Other,
            },
            is_nullable: row.get(2),
            is_unique: row.get(3),
        });
        tables.push(Table { name: (*name).clone(), columns: columns.collect() });
    }
    Ok(tables)
}
