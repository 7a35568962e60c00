//! Capture of bulk statements: exact, and at what cost beside the bare statement.
//!
//! Each statement runs on two equal tables, one of them the source of stream tables. The times are printed, not
//! asserted: a shared machine makes a timed test a flaky one.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pg_trickle_harness::agreement;
use pg_trickle_harness::cluster::test_database;
use postgres::Client;

/// Rows of a table, unless `PG_TRICKLE_BULK_ROWS` says otherwise.
const ROWS_DEFAULT: i32 = 100_000;

/// Statements, with `{t}` for the table. Those that belong to one transaction are in one entry.
const STATEMENTS: &[(&str, &str)] = &[
    ("INSERT of one row", "INSERT INTO {t} VALUES (-1, 1, 1, 'x')"),
    (
        "INSERT of 10 000 rows",
        "INSERT INTO {t} SELECT i, i % 100, i, 'new' FROM generate_series(200001, 210000) i",
    ),
    ("UPDATE of every row", "UPDATE {t} SET v = v + 1"),
    ("UPDATE of a column that nobody reads", "UPDATE {t} SET unread = 'y'"),
    ("UPDATE that changes nothing", "UPDATE {t} SET v = v"),
    ("UPDATE FROM", "UPDATE {t} x SET v = y.v FROM other y WHERE y.k = x.k"),
    ("UPDATE that moves keys", "UPDATE {t} SET k = k + 1000000 WHERE k % 10 = 0"),
    (
        "INSERT ON CONFLICT",
        "INSERT INTO {t} SELECT i, 7, 7, 'c' FROM generate_series(1, 20000) i ON CONFLICT (k) DO UPDATE SET v = excluded.v + 1",
    ),
    (
        "INSERT ON CONFLICT DO NOTHING",
        "INSERT INTO {t} SELECT i, 7, 7, 'c' FROM generate_series(1, 20000) i ON CONFLICT DO NOTHING",
    ),
    (
        "MERGE",
        "MERGE INTO {t} x USING other y ON y.k = x.k WHEN MATCHED AND y.k % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET g = x.g + 1 WHEN NOT MATCHED THEN INSERT VALUES (y.k, 1, y.v, 'm')",
    ),
    ("DELETE USING", "DELETE FROM {t} x USING other y WHERE y.k = x.k AND y.k % 3 = 0"),
    (
        "DELETE and INSERT in one statement",
        "WITH gone AS (DELETE FROM {t} WHERE g = 3 RETURNING *) INSERT INTO {t} SELECT k + 5000000, g, v, unread FROM gone",
    ),
    (
        "1 000 single-row statements",
        "DO $$ BEGIN FOR i IN 1..1000 LOOP UPDATE {t} SET v = v + 1 WHERE k = i * 11; END LOOP; END $$",
    ),
    (
        "a transaction that is rolled back",
        "BEGIN; DELETE FROM {t} WHERE k % 2 = 1; UPDATE {t} SET v = 0; ROLLBACK",
    ),
    (
        "savepoints rolled back",
        "BEGIN; SAVEPOINT s; DELETE FROM {t} WHERE k % 2 = 1; ROLLBACK TO s; UPDATE {t} SET v = v + 1 WHERE k % 50 = 0; COMMIT",
    ),
    (
        "TRUNCATE, then INSERT in the transaction",
        "BEGIN; TRUNCATE {t}; INSERT INTO {t} SELECT i, i % 100, i, 'after' FROM generate_series(1, 50000) i; COMMIT",
    ),
    (
        "INSERT, TRUNCATE, INSERT in the transaction",
        "BEGIN; INSERT INTO {t} VALUES (-5, 1, 1, 'z'); TRUNCATE {t}; INSERT INTO {t} SELECT i, i % 100, i, 'again' FROM generate_series(1, 1000) i; UPDATE {t} SET v = v + 1; COMMIT",
    ),
    ("TRUNCATE alone", "TRUNCATE {t}"),
    ("INSERT after it", "INSERT INTO {t} SELECT i, i % 100, i, 'end' FROM generate_series(1, 5000) i"),
];

#[test]
fn bulk_statements_are_captured_exactly() -> Result<()> {
    let database = test_database()?;
    let mut session = database.connect()?;
    let rows = std::env::var("PG_TRICKLE_BULK_ROWS").map_or(Ok(ROWS_DEFAULT), |text| text.parse())?;
    for table in ["bare", "captured"] {
        session.batch_execute(&format!(
            "CREATE TABLE {table} (k int PRIMARY KEY, g int, v int, unread text);
             INSERT INTO {table} SELECT i, i % 100, i, 'u' FROM generate_series(1, {rows}) i;"
        ))?;
    }
    session.batch_execute(
        "CREATE TABLE other AS SELECT i * 3 AS k, -i AS v FROM generate_series(1, 20000) i;
         SELECT pgtrickle.create_stream_table('copy', 'SELECT k, g, v FROM captured', '12h', 'DIFFERENTIAL');
         SELECT pgtrickle.create_stream_table('sums', 'SELECT g, sum(v) AS s, count(*) AS n FROM captured GROUP BY g', '12h', 'DIFFERENTIAL');
         ANALYZE",
    )?;
    println!("{:<44} {:>10} {:>10} {:>7} {:>12}", "statement", "bare ms", "captured", "factor", "refresh ms");
    for (title, statement) in STATEMENTS {
        let bare = timed(&mut session, &statement.replace("{t}", "bare"))?;
        let captured = timed(&mut session, &statement.replace("{t}", "captured"))?;
        judge(&mut session, title, bare, captured)?;
    }
    let bare = copy_in(&mut session, "bare")?;
    let captured = copy_in(&mut session, "captured")?;
    judge(&mut session, "COPY of 10 000 rows", bare, captured)?;
    agreement::verify_all(&mut session)
}

#[test]
fn update_of_what_nobody_reads_is_not_captured() -> Result<()> {
    let database = test_database()?;
    let mut session = database.connect()?;
    session.batch_execute(
        "CREATE TABLE t (k int PRIMARY KEY, v int, unread text);
         INSERT INTO t SELECT i, i, 'u' FROM generate_series(1, 100) i;
         SELECT pgtrickle.create_stream_table('st', 'SELECT k, v FROM t', '12h', 'DIFFERENTIAL')",
    )?;
    for statement in ["UPDATE t SET unread = 'x' WHERE k = 1", "UPDATE t SET v = v WHERE k = 2"] {
        session.batch_execute(statement)?;
        session.batch_execute("BEGIN; SELECT pgtrickle.refresh_stream_table('st')")?;
        let idle: bool =
            session.query_one("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL", &[])?.get(0);
        session.batch_execute("COMMIT")?;
        ensure!(idle, "{statement} was captured");
    }
    Ok(())
}

fn timed(session: &mut Client, sql: &str) -> Result<Duration> {
    let clock = Instant::now();
    session.batch_execute(sql)?;
    Ok(clock.elapsed())
}

fn copy_in(session: &mut Client, table: &str) -> Result<Duration> {
    let clock = Instant::now();
    let mut writer = session.copy_in(&format!("COPY {table} FROM STDIN"))?;
    for key in 700_000..710_000 {
        writeln!(writer, "{key}\t{}\t{key}\tcopied", key % 100)?;
    }
    writer.finish()?;
    Ok(clock.elapsed())
}

/// Refreshes both stream tables and compares them, and the two tables, in the server.
fn judge(session: &mut Client, title: &str, bare: Duration, captured: Duration) -> Result<()> {
    let clock = Instant::now();
    session.batch_execute(
        "SELECT pgtrickle.refresh_stream_table('copy'), pgtrickle.refresh_stream_table('sums')",
    )?;
    let refresh = clock.elapsed();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{title:<44} {:>10.2} {:>10.2} {:>6.2}x {:>12.2}",
        milliseconds(bare),
        milliseconds(captured),
        captured.as_secs_f64() / bare.as_secs_f64(),
        milliseconds(refresh)
    );
    for (found, expected) in [
        ("copy", "SELECT k, g, v FROM captured"),
        ("sums", "SELECT g, sum(v) AS s, count(*) AS n FROM captured GROUP BY g"),
        ("captured", "SELECT * FROM bare"),
    ] {
        let rows = session.query(
            &format!(
                "(SELECT 'missing', x::text FROM (({expected}) EXCEPT ALL SELECT * FROM {found}) x LIMIT 5) \
                 UNION ALL \
                 (SELECT 'surplus', x::text FROM (SELECT * FROM {found} EXCEPT ALL ({expected})) x LIMIT 5)"
            ),
            &[],
        )?;
        let rows: Vec<String> =
            rows.iter().map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect();
        ensure!(rows.is_empty(), "{found} is wrong after {title}:\n{}", rows.join("\n"));
    }
    Ok(())
}
