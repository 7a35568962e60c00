//! Launcher and schedulers: they appear, do their work, survive what goes wrong, and stand in nobody's way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use pg_trickle_harness::cluster::{
    Cluster, ClusterOptions, Shutdown, TestDatabase, private_cluster, test_database,
};
use pg_trickle_harness::session::Session;

/// Sessions of the scheduler of the database that asks.
const SCHEDULERS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE backend_type = 'pg_trickle scheduler' AND datname = current_database()";

/// What a scheduler is told to refresh every second.
const SETUP: &str = "CREATE TABLE s (id int PRIMARY KEY, g int, v int); \
     INSERT INTO s SELECT i, i % 10, i FROM generate_series(1, 100) AS i; \
     SELECT pgtrickle.create_stream_table('a', 'SELECT g, count(*) AS n, sum(v) AS v FROM s GROUP BY g', '1s'); \
     SELECT pgtrickle.create_stream_table('b', 'SELECT sum(n) AS n FROM a', 'calculated')";

fn running(question: &str) -> String {
    format!("SELECT ({SCHEDULERS}) {question}")
}

fn own_cluster() -> Result<Arc<dyn Cluster>> {
    private_cluster(&ClusterOptions::default())
}

#[test]
fn chain_follows_its_source_without_being_asked() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.run("INSERT INTO s VALUES (1000, 3, 5)")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    session.run("DELETE FROM s WHERE id <= 10")?;
    session.wait_until("SELECT n = 91 FROM b")?;
    session.wait_until(
        "SELECT bool_and(status = 'COMPLETED' AND initiated_by IN ('INITIAL', 'SCHEDULER')) \
         FROM pgtrickle.pgt_refresh_history",
    )?;
    // What every consumer has consumed is removed.
    session.wait_until("SELECT pgtrickle.collect_changes() = 0")?;
    Ok(())
}

#[test]
fn scheduler_with_nothing_to_do_assigns_no_transaction_id() -> Result<()> {
    let cluster = own_cluster()?;
    let database = TestDatabase::create(cluster)?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.run("INSERT INTO s VALUES (1000, 3, 5)")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    // Consumed changes are collected after the refresh; then there is nothing left.
    let buffer =
        session.value("SELECT 'pgtrickle_changes.b_' || 's'::regclass::oid || '_1'")?.unwrap_or_default();
    let upstream =
        session.value("SELECT 'pgtrickle_changes.b_' || 'a'::regclass::oid || '_1'")?.unwrap_or_default();
    session.wait_until(&format!(
        "SELECT NOT EXISTS (SELECT FROM {buffer}) AND NOT EXISTS (SELECT FROM {upstream})"
    ))?;
    let next_xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let before = session.value(next_xid)?;
    let tick = session.value("SELECT last_scheduler_tick_unix FROM pgtrickle.worker_pool_status()")?;
    session.wait_until(&format!(
        "SELECT last_scheduler_tick_unix >= {} + 4 FROM pgtrickle.worker_pool_status()",
        tick.unwrap_or_default()
    ))?;
    assert_eq!(session.value(next_xid)?, before);
    Ok(())
}

#[test]
fn killed_scheduler_and_launcher_come_back() -> Result<()> {
    let cluster = own_cluster()?;
    let database = TestDatabase::create(cluster)?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.wait_until(&running("= 1"))?;
    let terminate = |session: &mut Session, kind: &str| -> Result<String> {
        let pid = session
            .value(&format!("SELECT max(pid) FROM pg_stat_activity WHERE backend_type = '{kind}'"))?
            .unwrap_or_default();
        session.run(&format!("SELECT pg_terminate_backend({pid})"))?;
        session.wait_until(&format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = '{kind}' AND pid <> {pid})"
        ))?;
        Ok(pid)
    };
    terminate(&mut session, "pg_trickle scheduler")?;
    session.run("INSERT INTO s VALUES (1000, 3, 5)")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    // A new launcher takes over the scheduler that runs, and notices its end.
    terminate(&mut session, "pg_trickle launcher")?;
    session.wait_until(&running("= 1"))?;
    terminate(&mut session, "pg_trickle scheduler")?;
    session.run("INSERT INTO s VALUES (1001, 3, 5)")?;
    session.wait_until("SELECT n = 102 FROM b")?;
    Ok(())
}

#[test]
fn cancelling_an_idle_worker_changes_nothing() -> Result<()> {
    let cluster = own_cluster()?;
    let database = TestDatabase::create(cluster)?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.wait_until(&running("= 1"))?;
    let pids = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity \
         WHERE backend_type LIKE 'pg_trickle %'";
    let before = session.value(pids)?;
    session
        .run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'pg_trickle %'")?;
    session.run("INSERT INTO s VALUES (1000, 3, 5)")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    assert_eq!(session.value(pids)?, before);
    Ok(())
}

#[test]
fn database_with_a_scheduler_can_be_copied_and_dropped() -> Result<()> {
    let cluster = own_cluster()?;
    let keeper = TestDatabase::create_empty(cluster.clone())?;
    let mut session = Session::open(&keeper, "a")?;
    let original = TestDatabase::create(cluster)?;
    Session::open(&original, "b")?.run(SETUP)?;
    let name = original.name();
    let has_scheduler = |name: &str| {
        format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity \
             WHERE backend_type = 'pg_trickle scheduler' AND datname = '{name}')"
        )
    };
    session.wait_until(&has_scheduler(name))?;
    session.run(&format!("CREATE DATABASE copy_of_it TEMPLATE {name}"))?;
    session.wait_until(&has_scheduler(name))?;
    session.wait_until(&has_scheduler("copy_of_it"))?;
    session.run("DROP DATABASE copy_of_it")?;
    Ok(())
}

#[test]
fn scheduler_goes_with_the_extension_and_comes_with_it() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    session.wait_until(&running("= 1"))?;
    session.run("DROP EXTENSION pg_trickle CASCADE")?;
    session.wait_until(&running("= 0"))?;
    session.run("CREATE EXTENSION pg_trickle")?;
    session.wait_until(&running("= 1"))?;
    Ok(())
}

#[test]
fn failing_stream_table_is_suspended_and_stops_only_its_consumers() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.run(
        "SELECT pgtrickle.create_stream_table('bad', 'SELECT id, 100 / v AS q FROM s', '1s'); \
         SELECT pgtrickle.create_stream_table('behind', 'SELECT count(*) AS n FROM bad', '1s')",
    )?;
    session.run("INSERT INTO s VALUES (1000, 3, 0)")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    session.wait_until("SELECT status = 'SUSPENDED' FROM pgtrickle.pgt_status() WHERE name LIKE '%.bad'")?;
    assert_eq!(
        session.value(
            "SELECT count(*) FROM pgtrickle.get_refresh_history('bad') \
             WHERE status = 'FAILED' AND error_message = 'division by zero'"
        )?,
        Some("3".to_owned())
    );
    session.wait_until(
        "SELECT EXISTS (SELECT FROM pgtrickle.get_refresh_history('behind') WHERE action = 'SKIP')",
    )?;
    assert_eq!(session.value("SELECT n FROM behind")?, Some("100".to_owned()));
    session.run("DELETE FROM s WHERE v = 0; INSERT INTO s VALUES (1001, 3, 50), (1002, 3, 50)")?;
    session.wait_until("SELECT n = 102 FROM b")?;
    session.run("SELECT pgtrickle.resume_stream_table('bad')")?;
    session.wait_until("SELECT n = 102 FROM behind")?;
    Ok(())
}

#[test]
fn error_that_cannot_go_away_by_itself_is_not_tried_again() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    let role = format!("lowly_{}", database.name());
    session.run(&format!(
        "CREATE ROLE {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role}; CREATE TABLE r (a int); \
         GRANT SELECT, TRIGGER ON r TO {role}; SET ROLE {role}; \
         SELECT pgtrickle.create_stream_table('p', 'SELECT a FROM r', '1s'); RESET ROLE; \
         REVOKE SELECT ON r FROM {role}"
    ))?;
    session.run("INSERT INTO r VALUES (1)")?;
    session.wait_until("SELECT status = 'ERROR' FROM pgtrickle.pgt_status() WHERE name LIKE '%.p'")?;
    assert_eq!(
        session.value("SELECT consecutive_errors FROM pgtrickle.pgt_status() WHERE name LIKE '%.p'")?,
        Some("1".to_owned())
    );
    session.run(&format!("GRANT SELECT ON r TO {role}; SELECT pgtrickle.resume_stream_table('p')"))?;
    session.wait_until("SELECT count(*) = 1 FROM p")?;
    session.run(&format!(
        "SELECT pgtrickle.drop_stream_table('p'); DROP TABLE r; DROP OWNED BY {role}; DROP ROLE {role}"
    ))?;
    Ok(())
}

#[test]
fn fast_shutdown_does_not_wait_for_a_refresh() -> Result<()> {
    let cluster = own_cluster()?;
    let database = TestDatabase::create(cluster.clone())?;
    let mut session = Session::open(&database, "a")?;
    session.run(
        "CREATE TABLE s (a int); \
         CREATE FUNCTION slow(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql \
             AS $$ BEGIN PERFORM pg_sleep(600); RETURN x; END $$; \
         SELECT pgtrickle.create_stream_table('st', 'SELECT slow(a) AS a FROM s', '1s'); \
         INSERT INTO s VALUES (1)",
    )?;
    session.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity \
         WHERE backend_type = 'pg_trickle scheduler' AND wait_event = 'PgSleep')",
    )?;
    let started = Instant::now();
    cluster.restart(Shutdown::Fast)?;
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    Ok(())
}

#[test]
fn switched_off_it_waits_and_switched_on_it_goes_on() -> Result<()> {
    let cluster = own_cluster()?;
    let database = TestDatabase::create(cluster)?;
    let mut session = Session::open(&database, "a")?;
    session.run(SETUP)?;
    session.run("ALTER SYSTEM SET pg_trickle.enabled = off")?;
    session.run("SELECT pg_reload_conf()")?;
    let ticks_after = |session: &mut Session, seconds: u32| -> Result<()> {
        let tick = session.value("SELECT last_scheduler_tick_unix FROM pgtrickle.worker_pool_status()")?;
        session.wait_until(&format!(
            "SELECT last_scheduler_tick_unix >= {} + {seconds} FROM pgtrickle.worker_pool_status()",
            tick.unwrap_or_default()
        ))
    };
    ticks_after(&mut session, 3)?;
    session.run("INSERT INTO s VALUES (1000, 3, 5)")?;
    ticks_after(&mut session, 3)?;
    assert_eq!(session.value("SELECT n FROM b")?, Some("100".to_owned()));
    session.run("ALTER SYSTEM RESET pg_trickle.enabled")?;
    session.run("SELECT pg_reload_conf()")?;
    session.wait_until("SELECT n = 101 FROM b")?;
    Ok(())
}

#[test]
fn without_preload_the_extension_says_so_and_works_by_hand() -> Result<()> {
    let cluster = private_cluster(&ClusterOptions::default().without_preload())?;
    let database = TestDatabase::create_empty(cluster)?;
    let mut session = Session::open(&database, "a")?;
    session.run("CREATE EXTENSION pg_trickle")?;
    let notices = session.take_notices();
    assert!(notices.iter().any(|notice| notice.message.contains("shared_preload_libraries")), "{notices:?}");
    session.run(SETUP)?;
    session.run("INSERT INTO s VALUES (1000, 3, 5); SELECT pgtrickle.refresh_stream_table('b')")?;
    assert_eq!(session.value("SELECT n FROM b")?, Some("101".to_owned()));
    assert_eq!(session.value("SELECT last_scheduler_tick_unix FROM pgtrickle.worker_pool_status()")?, None);
    Ok(())
}

#[test]
fn want_of_worker_slots_is_said_and_survived() -> Result<()> {
    // The server's own launcher of logical replication takes one, ours another.
    let options = ClusterOptions::default().set("max_worker_processes", 3);
    let cluster = private_cluster(&options)?;
    let databases: Vec<TestDatabase> =
        (0..3).map(|_| TestDatabase::create(cluster.clone())).collect::<Result<_>>()?;
    let mut session = Session::open(&databases[0], "a")?;
    session.wait_until(
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_trickle scheduler'",
    )?;
    let started = Instant::now();
    while !cluster.log_tail(200).contains("all background worker slots are in use") {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", cluster.log_tail(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    session.run("SELECT 1")?;
    Ok(())
}

#[test]
fn inert_setting_is_accepted_with_a_notice_and_wrong_values_are_refused() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    session.run("SET pg_trickle.merge_work_mem_mb = 128")?;
    let notices = session.take_notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].message.contains("pg_trickle.merge_work_mem_mb"));
    session.run("SET pg_trickle.max_consecutive_errors = 5")?;
    assert!(session.take_notices().is_empty());
    for wrong in ["max_consecutive_errors = 0", "cdc_mode = 'sometimes'", "enabled = 'perhaps'"] {
        assert_eq!(session.error(&format!("SET pg_trickle.{wrong}"))?.sqlstate, "22023");
    }
    assert_eq!(session.error("SET pg_trickle.no_such_setting = 1")?.sqlstate, "42602");
    Ok(())
}
