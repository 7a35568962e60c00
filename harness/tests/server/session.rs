//! Named sessions: what tests of interleavings rely on.

use anyhow::Result;
use pg_trickle_harness::cluster::test_database;
use pg_trickle_harness::session::Session;

#[test]
fn error_carries_state_detail_and_hint_and_session_goes_on() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    let error = session
        .error("DO $$ BEGIN RAISE 'no' USING ERRCODE = '0A000', DETAIL = 'why', HINT = 'what'; END $$")?;
    assert_eq!(error.sqlstate, "0A000");
    assert_eq!(error.to_string(), "0A000: no\ndetail: why\nhint: what");
    assert_eq!(session.value("SELECT NULL::int")?, None);
    assert!(session.error("SELECT 1").is_err());
    Ok(())
}

#[test]
fn notices_are_kept_until_taken() -> Result<()> {
    let database = test_database()?;
    let mut session = Session::open(&database, "a")?;
    session.run("DROP TABLE IF EXISTS missing")?;
    let notices = session.take_notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].message.contains("missing"));
    assert!(session.take_notices().is_empty());
    Ok(())
}

#[test]
fn blocked_session_is_seen_and_finishes_when_the_lock_goes() -> Result<()> {
    let database = test_database()?;
    let mut writer = Session::open(&database, "writer")?;
    let other = Session::open(&database, "other")?;
    let mut observer = Session::open(&database, "observer")?;
    writer.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")?;
    writer.run("BEGIN; UPDATE t SET a = 2")?;
    let running = other.start("UPDATE t SET a = a + 10 RETURNING a");
    running.wait_until_blocked(&mut observer)?;
    assert!(!running.is_finished());
    writer.run("COMMIT")?;
    let (_, rows) = running.finish()?;
    assert_eq!(rows, vec![vec![Some("12".to_string())]]);
    observer.wait_until("SELECT a = 12 FROM t")?;
    Ok(())
}
