//! A definition is analysed again after a change of what it leads to, and only then. What each change does to the
//! results is in `corpus/sql/lifecycle`.

use anyhow::{Result, ensure};
use pg_trickle_harness::cluster::{ClusterOptions, TestDatabase, private_cluster};
use pg_trickle_harness::session::Session;

const SETUP: &str = "
CREATE TYPE mood AS ENUM ('low', 'high'); CREATE TYPE other_mood AS ENUM ('low');
CREATE TABLE t (id int PRIMARY KEY, v int, m mood); CREATE TABLE other (id int, m other_mood);
CREATE VIEW v AS SELECT id, v FROM t WHERE m = 'low'; CREATE VIEW other_v AS SELECT id FROM other;
INSERT INTO t SELECT i, i, 'low' FROM generate_series(1, 100) i;
INSERT INTO other SELECT i FROM generate_series(1, 100) i;
CREATE MATERIALIZED VIEW stored AS SELECT * FROM other;
SELECT pgtrickle.create_stream_table('s', 'SELECT v % 3 AS g, sum(id) AS n FROM v GROUP BY 1', '12h', 'DIFFERENTIAL');
SELECT pgtrickle.create_stream_table('other_s', 'SELECT id FROM other_v', '12h', 'DIFFERENTIAL')";

/// What a change does to what is derived from the definition of `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Kept,
    Analysed,
}

#[test]
fn definition_is_analysed_again_after_a_change_of_what_it_leads_to_and_only_then() -> Result<()> {
    // A server of its own: a session that misses too much of what others change takes everything for changed, and
    // autovacuum collects statistics when it likes.
    let options = ClusterOptions::default().set("autovacuum", "off").set("pg_trickle.enabled", "off");
    let database = TestDatabase::create(private_cluster(&options)?)?;
    let mut session = Session::open(&database, "refreshing")?;
    let mut other = Session::open(&database, "changing")?;
    session.run(SETUP)?;
    session.run("SET client_min_messages = debug1")?;
    refresh(&mut session)?;
    for (change, effect) in [
        ("INSERT INTO t VALUES (101, 1, 'low')", Effect::Kept),
        ("ANALYZE other", Effect::Kept),
        ("CREATE TABLE new (id int PRIMARY KEY, t text); DROP TABLE new", Effect::Kept),
        ("CREATE TEMPORARY TABLE new (id int); DROP TABLE new", Effect::Kept),
        ("REFRESH MATERIALIZED VIEW stored", Effect::Kept),
        ("ALTER TABLE other ADD COLUMN x int", Effect::Kept),
        ("ALTER TYPE other_mood RENAME TO yet_another", Effect::Kept),
        ("CREATE OR REPLACE VIEW other_v AS SELECT id + 1 AS id FROM other", Effect::Kept),
        ("SELECT pgtrickle.refresh_stream_table('other_s')", Effect::Kept),
        ("VACUUM ANALYZE other_s", Effect::Kept),
        ("ALTER TABLE t ADD COLUMN x int", Effect::Analysed),
        ("CREATE UNIQUE INDEX ON t (v)", Effect::Analysed),
        ("ALTER TYPE mood RENAME TO temper", Effect::Analysed),
        ("CREATE OR REPLACE VIEW v AS SELECT id, v FROM t WHERE m = 'high'", Effect::Analysed),
        ("ALTER VIEW v RENAME COLUMN v TO w", Effect::Analysed),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", Effect::Analysed),
    ] {
        other.run(change)?;
        let found = refresh(&mut session)?;
        ensure!(found == effect, "{change}: {found:?}, not {effect:?}");
        // A refresh that fits the stream table to another meaning changes what the next one reads.
        refresh(&mut session)?;
        let found = refresh(&mut session)?;
        ensure!(found == Effect::Kept, "{change}: analysed again and again");
    }
    Ok(())
}

/// Changes a source and refreshes.
fn refresh(session: &mut Session) -> Result<Effect> {
    session.run("UPDATE t SET v = v + 1000 WHERE id = 1")?;
    session.take_notices();
    session.run("SELECT pgtrickle.refresh_stream_table('s')")?;
    let is_analysis = |message: &str| message.starts_with("pg_trickle analysed public.s ");
    let is_analysed = session.take_notices().iter().any(|notice| is_analysis(&notice.message));
    Ok(if is_analysed { Effect::Analysed } else { Effect::Kept })
}
