//! What a window reads and writes follows the span of a change, not the partition.
//!
//! One partition at two sizes, eight times apart, gets the same change: rows at its end, a value in its middle. A refresh
//! must read and write about as many rows at both sizes.

use anyhow::{Result, ensure};
use pg_trickle_harness::cluster::test_database;

const SMALL: i64 = 3_000;
const LARGE: i64 = 24_000;

/// How much more may be read at the larger size, for deeper indexes.
const SLACK: i64 = 40;

/// Calls over `PARTITION BY g ORDER BY id`, each of which follows a change at the end.
const CALLS: &[(&str, &str)] = &[
    ("numbers", "row_number() OVER w AS a"),
    ("ranks", "rank() OVER w AS a, dense_rank() OVER w AS b"),
    (
        "sums",
        "sum(v) OVER w AS a, sum(n) OVER (w ROWS UNBOUNDED PRECEDING) AS b, count(*) OVER w AS c, max(v) OVER w AS d",
    ),
    (
        "neighbours",
        "lag(v, 2) OVER w AS a, lead(v) OVER w AS b, avg(n) OVER (w ROWS 3 PRECEDING) AS c, first_value(v) OVER w AS d",
    ),
    ("groups", "sum(v) OVER (w GROUPS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS a"),
];

/// Of these a change in the middle leaves nothing behind.
const LOCAL: &[&str] = &["numbers", "neighbours", "groups"];

/// Rows read and rows written so far in this transaction, catalogs left out.
const ROWS: &str = "
    SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int8,
           coalesce(sum(pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
                        + pg_stat_get_xact_tuples_deleted(c.oid)), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i') AND n.nspname IN ('public', 'pgtrickle_state')";

struct Work {
    name: &'static str,
    change: &'static str,
    read: i64,
    written: i64,
}

#[test]
fn window_follows_the_span() -> Result<()> {
    let (small, large) = (measure(SMALL)?, measure(LARGE)?);
    let mut failures = vec![];
    for (small, large) in small.iter().zip(&large) {
        let line = format!(
            "{} ({}): {} rows read and {} written, then {} and {}",
            small.name, small.change, small.read, small.written, large.read, large.written
        );
        println!("{line}");
        if large.read > small.read + SLACK || large.written > small.written {
            failures.push(line);
        }
    }
    ensure!(failures.is_empty(), "more is read or written in a larger partition:\n{}", failures.join("\n"));
    Ok(())
}

fn measure(rows: i64) -> Result<Vec<Work>> {
    let database = test_database()?;
    let mut client = database.connect()?;
    client.batch_execute("CREATE TABLE series (id int PRIMARY KEY, g int, v int, n numeric)")?;
    client.execute(
        "INSERT INTO series SELECT k, 1, k % 17, k / 8.0 FROM generate_series(1, $1::int8) k",
        &[&rows],
    )?;
    for (name, calls) in CALLS {
        let query = format!("SELECT id, v, {calls} FROM series WINDOW w AS (PARTITION BY g ORDER BY id)");
        client.execute(
            "SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')",
            &[name, &query],
        )?;
    }
    client.batch_execute("VACUUM ANALYZE")?;
    let changes = [
        (
            "end",
            "INSERT INTO series SELECT m + k, 1, k, k / 4.0 FROM (SELECT max(id) AS m FROM series) s, generate_series(1, 3) k",
        ),
        ("middle", "UPDATE series SET v = v + 1 WHERE id = (SELECT max(id) / 2 FROM series)"),
    ];
    let mut all = vec![];
    for (change, statement) in changes {
        client.batch_execute(statement)?;
        for (name, _) in CALLS {
            // In a session of its own, which has not counted anything yet.
            let mut session = database.connect()?;
            session.batch_execute("BEGIN")?;
            session.execute("SELECT pgtrickle.refresh_stream_table($1)", &[name])?;
            let row = session.query_one(ROWS, &[])?;
            session.batch_execute("COMMIT")?;
            if change == "end" || LOCAL.contains(name) {
                all.push(Work { name, change, read: row.get(0), written: row.get(1) });
            }
        }
    }
    Ok(all)
}
