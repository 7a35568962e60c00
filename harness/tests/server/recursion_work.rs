//! Work of a recursion follows the rounds that change: the same change of a tree reads about as much in one eight times
//! larger.

use std::time::Instant;

use anyhow::{Result, ensure};
use pg_trickle_harness::cluster::test_database;
use postgres::Client;

const STREAM_TABLES: &[(&str, &str)] = &[
    (
        "reached",
        "WITH RECURSIVE r AS (SELECT id FROM tree WHERE parent = 0 UNION SELECT t.id FROM tree t JOIN r ON t.parent = r.id) \
         SELECT id FROM r",
    ),
    (
        "levels",
        "WITH RECURSIVE r AS (SELECT id, 0 AS level FROM tree WHERE parent = 0 UNION ALL \
         SELECT t.id, r.level + 1 FROM tree t JOIN r ON t.parent = r.id) SELECT id, level FROM r",
    ),
];

const CHANGES: &[&str] = &[
    "INSERT INTO tree SELECT 1000000 + i, 1000 + i FROM generate_series(1, 5) i",
    "UPDATE tree SET parent = 90 WHERE id BETWEEN 1000001 AND 1000005",
    "DELETE FROM tree WHERE id BETWEEN 1000001 AND 1000005",
];

const READ: &str = "
    SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i') AND n.nspname IN ('public', 'pgtrickle_state')";

#[test]
fn work_follows_the_change_of_rounds() -> Result<()> {
    let (small, large) = (measure(2_000)?, measure(16_000)?);
    for (small, large) in small.iter().zip(&large) {
        println!("{}: {} rows read, then {}", small.0, small.1, large.1);
        ensure!(
            large.1 <= 2 * small.1 + 100,
            "{} reads more of a larger tree: {} and {}",
            small.0,
            small.1,
            large.1
        );
    }
    Ok(())
}

/// Rows read by each refresh, in a tree of so many nodes with four branches at each.
fn measure(nodes: i32) -> Result<Vec<(String, i64)>> {
    let database = test_database()?;
    let mut client = database.connect()?;
    client.batch_execute(&format!(
        "CREATE TABLE tree (id int PRIMARY KEY, parent int); CREATE INDEX ON tree (parent);
         INSERT INTO tree SELECT i, (i + 2) / 4 FROM generate_series(1, {nodes}) i WHERE i > 1;
         INSERT INTO tree VALUES (1, 0)"
    ))?;
    let mut all = vec![];
    for (name, query) in STREAM_TABLES {
        let started = Instant::now();
        client
            .execute("SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')", &[name, query])?;
        println!("{name}: {nodes} nodes filled in {} ms", started.elapsed().as_millis());
    }
    client.batch_execute("VACUUM ANALYZE")?;
    client.batch_execute("SET enable_seqscan = off")?;
    for change in CHANGES {
        client.batch_execute(change)?;
        for (name, _) in STREAM_TABLES {
            all.push((format!("{name} after {change}"), refresh(&mut client, name)?));
        }
    }
    Ok(all)
}

fn refresh(client: &mut Client, name: &str) -> Result<i64> {
    let started = Instant::now();
    client.batch_execute("BEGIN")?;
    let before: i64 = client.query_one(READ, &[])?.get(0);
    client.execute("SELECT pgtrickle.refresh_stream_table($1)", &[&name])?;
    let after: i64 = client.query_one(READ, &[])?.get(0);
    client.batch_execute("COMMIT")?;
    println!("{name}: refreshed in {} ms", started.elapsed().as_millis());
    Ok(after - before)
}
