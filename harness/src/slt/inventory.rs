//! What is in a database, as a list of lines: to show that a refused call left no trace.

use anyhow::Result;
use postgres::Client;

/// Objects of every kind that creating a stream table makes, in every schema of users and of the extension.
const OBJECTS: &str = "\
SELECT pg_catalog.format('%s %s', c.relkind, c.oid::regclass) FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL
SELECT 'function ' || p.oid::regprocedure FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
UNION ALL
SELECT pg_catalog.format('trigger %s on %s %s', t.tgname, t.tgrelid::regclass, t.tgenabled)
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule ' || r.rulename || ' on ' || r.ev_class::regclass FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384
UNION ALL
SELECT 'schema ' || n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid >= 16384";

/// Tables of the extension's catalog, whose rows are part of the inventory.
const CATALOG: &str = "\
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pgtrickle' AND c.relkind = 'r' ORDER BY c.relname";

/// Lists the objects and the rows of the extension's catalog.
pub fn take(client: &mut Client) -> Result<Vec<String>> {
    let mut lines: Vec<String> = client.query(OBJECTS, &[])?.iter().map(|row| row.get(0)).collect();
    for row in client.query(CATALOG, &[])? {
        let table: String = row.get(0);
        let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[])?;
        lines.extend(rows.iter().map(|row| format!("{table} {}", row.get::<_, String>(0))));
    }
    lines.sort();
    Ok(lines)
}

/// Lines that are in one inventory only.
pub fn changes(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(new).collect()
}
