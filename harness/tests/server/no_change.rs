//! A refresh that finds nothing to do assigns no transaction id and writes nothing at all; one whose changes come to
//! nothing writes no row of the stream table and of its state.

use std::time::Instant;

use anyhow::{Result, ensure};
use pg_trickle_harness::agreement::{self, Expectations, RefreshOrder};
use pg_trickle_harness::cluster::{ClusterOptions, TestDatabase, private_cluster};
use postgres::Client;

const SETUP: &str = "
CREATE TABLE t (k int PRIMARY KEY, g int, v int, s text);
CREATE TABLE d (g int, name text);
INSERT INTO t SELECT i, i % 50, i, 's' || i % 10 FROM generate_series(1, 5000) i;
INSERT INTO d SELECT i, 'd' || i FROM generate_series(0, 60) i;
";

/// One stream table of every kind, with a chain.
const STREAM_TABLES: &[(&str, &str)] = &[
    ("keyed", "SELECT k, v FROM t WHERE v > 100"),
    ("bag", "SELECT g, s FROM t"),
    ("sums", "SELECT g, count(*) AS n, sum(v) AS s, avg(v) AS a FROM t GROUP BY g"),
    (
        "extremes",
        "SELECT s, min(v) AS lo, max(v) AS hi, string_agg(g::text, ',' ORDER BY k) AS gs FROM t GROUP BY s",
    ),
    ("total", "SELECT count(*) AS n FROM t"),
    ("joined", "SELECT t.k, d.name FROM t LEFT JOIN d ON d.g = t.g"),
    ("unmatched", "SELECT g FROM d WHERE NOT EXISTS (SELECT FROM t WHERE t.g = d.g)"),
    ("distinct_", "SELECT DISTINCT s FROM t"),
    ("first_", "SELECT k, v FROM t ORDER BY v DESC, k LIMIT 10"),
    ("over", "SELECT n, count(*) AS c FROM sums GROUP BY n"),
];

/// Tables of the extension, of its state, and of the test.
const TABLES: &str = "\
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.oid::int8
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'pgtrickle', 'pgtrickle_changes', 'pgtrickle_state') AND c.relkind = 'r'
ORDER BY 1";

/// A server that nothing else uses and that writes no WAL of its own accord.
fn quiet_database() -> Result<TestDatabase> {
    let options = ClusterOptions::default()
        .set("wal_level", "minimal")
        .set("max_wal_senders", 0)
        .set("autovacuum", "off")
        .set("checkpoint_timeout", "1d")
        .set("pg_trickle.enabled", "off");
    let database = TestDatabase::create(private_cluster(&options)?)?;
    let mut session = database.connect()?;
    session.batch_execute(SETUP)?;
    for (name, query) in STREAM_TABLES {
        session
            .execute("SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')", &[name, query])?;
    }
    Ok(database)
}

/// Place, writer and size of every row version of every table.
fn row_versions(session: &mut Client, only: &str) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for row in session.query(TABLES, &[])? {
        let (table, _): (String, i64) = (row.get(0), row.get(1));
        if !table.starts_with(only) {
            continue;
        }
        let sql = format!(
            "SELECT '{table} ' || count(*) || ' ' || pg_catalog.pg_relation_size('{table}'::regclass) || ' ' || \
             coalesce(pg_catalog.md5(pg_catalog.string_agg(x.ctid || ' ' || x.xmin || ' ' || x.xmax, ',' \
             ORDER BY x.ctid)), '-') FROM {table} x"
        );
        versions.push(session.query_one(&sql, &[])?.get(0));
    }
    Ok(versions)
}

/// Rows that the session has written, over all tables.
fn rows_written(session: &mut Client) -> Result<i64> {
    let sql = "SELECT coalesce(pg_catalog.sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 \
               FROM pg_catalog.pg_stat_xact_all_tables";
    Ok(session.query_one(sql, &[])?.get(0))
}

#[test]
fn refresh_without_changes_writes_nothing() -> Result<()> {
    let database = quiet_database()?;
    let mut session = database.connect()?;
    session.batch_execute("UPDATE t SET v = v + 1 WHERE k % 7 = 0; DELETE FROM t WHERE k > 4990")?;
    agreement::settle(&mut session, RefreshOrder::SourcesFirst, &Expectations::default())?;
    session.execute("SELECT pgtrickle.collect_changes()", &[])?;
    // Reading tidies pages that were written before; that is not this refresh's doing, so it is done now.
    session.batch_execute("VACUUM FREEZE")?;
    session.batch_execute("CHECKPOINT")?;
    agreement::refresh_all(&mut session, RefreshOrder::SourcesFirst)?;
    let before = row_versions(&mut session, "")?;
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        for (name, _) in STREAM_TABLES {
            let position = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text";
            let from: String = session.query_one(position, &[])?.get(0);
            session.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}"))?;
            // The server adds the numbers of earlier transactions of the session that it has not yet handed on.
            let written_before = rows_written(&mut session)?;
            let clock = Instant::now();
            session.execute("SELECT pgtrickle.refresh_stream_table($1)", &[name])?;
            let took = clock.elapsed();
            let idle: bool =
                session.query_one("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL", &[])?.get(0);
            let written = rows_written(&mut session)? - written_before;
            session.batch_execute("COMMIT")?;
            let to: String = session.query_one(position, &[])?.get(0);
            println!("{name} at {level}: {:.3} ms", took.as_secs_f64() * 1000.0);
            ensure!(idle, "{name} at {level}: a transaction id was assigned");
            ensure!(written == 0, "{name} at {level}: {written} rows were written");
            ensure!(from == to, "{name} at {level}: WAL was written, from {from} to {to}");
        }
    }
    assert_eq!(row_versions(&mut session, "")?, before);
    Ok(())
}

#[test]
fn changes_that_come_to_nothing_write_no_row_of_the_result() -> Result<()> {
    let database = quiet_database()?;
    let mut session = database.connect()?;
    agreement::settle(&mut session, RefreshOrder::SourcesFirst, &Expectations::default())?;
    let results = |session: &mut Client| -> Result<Vec<String>> {
        let mut all = row_versions(session, "pgtrickle_state.")?;
        for (name, _) in STREAM_TABLES {
            all.extend(row_versions(session, &format!("public.{name}"))?);
        }
        Ok(all)
    };
    let before = results(&mut session)?;
    session.batch_execute(
        "UPDATE t SET v = v + 1, g = g + 1; UPDATE t SET v = v - 1, g = g - 1; \
         INSERT INTO t VALUES (9999, 1, 1, 'x'); DELETE FROM t WHERE k = 9999",
    )?;
    agreement::refresh_all(&mut session, RefreshOrder::SourcesFirst)?;
    assert_eq!(results(&mut session)?, before);
    // What was captured has been consumed: nothing is left for the next refresh, which so writes nothing.
    session.batch_execute("BEGIN")?;
    for (name, _) in STREAM_TABLES {
        session.execute("SELECT pgtrickle.refresh_stream_table($1)", &[name])?;
    }
    let idle: bool =
        session.query_one("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL", &[])?.get(0);
    session.batch_execute("COMMIT")?;
    ensure!(idle, "changes that were consumed are read again");
    Ok(())
}
