//! The clusters themselves: what every other test relies on.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pg_trickle_harness::cluster::{ClusterOptions, Shutdown, private_cluster, test_cluster, test_database};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn database_has_the_extension_and_goes_away_with_its_value() -> Result<()> {
    let database = test_database()?;
    let version: String = database
        .connect()?
        .query_one("SELECT extversion FROM pg_extension WHERE extname = 'pg_trickle'", &[])?
        .get(0);
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let (cluster, name) = (database.cluster().clone(), database.name().to_string());
    drop(database);
    let left: i64 = cluster
        .connect("postgres")?
        .query_one("SELECT count(*) FROM pg_database WHERE datname = $1", &[&name])?
        .get(0);
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn database_with_a_prepared_transaction_is_dropped() -> Result<()> {
    let database = test_database()?;
    database
        .connect()?
        .batch_execute("CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'p';")?;
    let (cluster, name) = (database.cluster().clone(), database.name().to_string());
    drop(database);
    let left: i64 = cluster
        .connect("postgres")?
        .query_one("SELECT count(*) FROM pg_database WHERE datname = $1", &[&name])?
        .get(0);
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn server_has_the_settings_that_tests_rely_on() -> Result<()> {
    let database = test_database()?;
    let mut session = database.connect()?;
    for (name, value) in [
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("max_prepared_transactions", "20"),
        ("shared_preload_libraries", "pg_trickle"),
    ] {
        let actual: String = session.query_one("SELECT current_setting($1)", &[&name])?.get(0);
        assert_eq!(actual, value, "{name}");
    }
    let collation: String = session
        .query_one("SELECT datcollate FROM pg_database WHERE datname = current_database()", &[])?
        .get(0);
    assert_eq!(collation, "C");
    Ok(())
}

#[test]
fn private_cluster_keeps_committed_rows_through_restart_and_crash() -> Result<()> {
    let options = ClusterOptions::default().without_preload().set("work_mem", "5MB");
    let cluster = private_cluster(&options)?;
    cluster.connect("postgres")?.batch_execute("CREATE TABLE t AS SELECT 1 AS a")?;
    cluster.restart(Shutdown::Fast)?;
    cluster.connect("postgres")?.batch_execute("INSERT INTO t VALUES (2)")?;
    cluster.crash()?;
    assert!(cluster.connect("postgres").is_err());
    cluster.start()?;
    let mut session = cluster.connect("postgres")?;
    let rows: i64 = session.query_one("SELECT count(*) FROM t", &[])?.get(0);
    assert_eq!(rows, 2);
    let work_mem: String = session.query_one("SHOW work_mem", &[])?.get(0);
    assert_eq!(work_mem, "5MB");
    let preloaded: String = session.query_one("SHOW shared_preload_libraries", &[])?.get(0);
    assert_eq!(preloaded, "");
    assert!(cluster.log_tail(50).contains("database system was not properly shut down"));
    Ok(())
}

#[test]
fn private_cluster_leaves_nothing_behind() -> Result<()> {
    let cluster = private_cluster(&ClusterOptions::default())?;
    let mut session = cluster.connect("postgres")?;
    // Empty when the server's files are not on this machine (in a container).
    let data: String = session.query_one("SELECT current_setting('data_directory')", &[])?.get(0);
    drop(session);
    drop(cluster);
    assert!(!Path::new(&data).exists(), "{data} is still there");
    Ok(())
}

/// Starts `harness serve`, ends it by a signal, and waits for its server's folder to be gone.
fn server_is_gone_after(signal: Signal) -> Result<()> {
    let major = test_cluster()?.pg_major().to_string();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["serve", "--pg", &major])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(serve.stdout.take().context("no output")?).read_line(&mut line)?;
    let folder = line.split("host=").nth(1).and_then(|rest| rest.split(' ').next()).context("no folder")?;
    assert!(Path::new(folder).is_dir(), "{line}");
    kill_process(Pid::from_child(&serve), signal)?;
    serve.wait()?;
    let killed = Instant::now();
    while Path::new(folder).exists() {
        assert!(killed.elapsed() < Duration::from_secs(60), "{folder} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn server_of_a_killed_process_is_stopped_and_removed() -> Result<()> {
    server_is_gone_after(Signal::KILL)
}

#[test]
fn server_of_an_interrupted_process_is_stopped_and_removed() -> Result<()> {
    server_is_gone_after(Signal::INT)
}
