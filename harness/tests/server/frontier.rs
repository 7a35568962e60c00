//! The randomised check of frontiers: sessions of both isolation levels write, refresh inside their own transactions,
//! roll savepoints back, prepare transactions that others finish, while captured changes are collected.
//!
//! After each refresh the stream table is compared twice. First with its query over the *history*: a log of every
//! change with the transaction that made it, kept by triggers of the test, read as of the frontier that the refresh
//! stored. That is the definition of a right refresh, whatever others have committed since. Second, at REPEATABLE READ,
//! with its query over the tables themselves, which the session sees as the refresh saw them.
//!
//! `PG_TRICKLE_SEED` repeats a run, `PG_TRICKLE_FRONTIER_REFRESHES` sets how long it goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pg_trickle_harness::agreement::{self, Expectations, RefreshOrder};
use pg_trickle_harness::cluster::{TestDatabase, test_database};
use pg_trickle_harness::isolation::{IsolationSession, describe};
use postgres::Client;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SETUP: &str = "
CREATE TABLE r (owner int, k int, v int);
CREATE TABLE s (owner int, k int, w int);
CREATE TABLE unrelated (a int);
CREATE TABLE r_log (xid xid8 NOT NULL, owner int, k int, v int, weight int);
CREATE TABLE s_log (xid xid8 NOT NULL, owner int, k int, w int, weight int);

CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    EXECUTE format('INSERT INTO %I_log SELECT pg_current_xact_id(), ($1).*, -1', TG_TABLE_NAME) USING OLD;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    EXECUTE format('INSERT INTO %I_log SELECT pg_current_xact_id(), ($1).*, 1', TG_TABLE_NAME) USING NEW;
  END IF;
  RETURN NULL;
END $f$;
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON r FOR EACH ROW EXECUTE FUNCTION log_change();
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON s FOR EACH ROW EXECUTE FUNCTION log_change();

INSERT INTO r SELECT g % 4, g % 7, g FROM generate_series(1, 20) g;
INSERT INTO s SELECT g % 4, g % 7, g FROM generate_series(1, 12) g;
";

/// Stream tables with their queries. The queries name `r` and `s` without a schema, so that common table expressions of
/// these names can stand for the history.
const STREAM_TABLES: [(&str, &str); 4] = [
    ("bag", "SELECT k, v FROM r"),
    ("sums", "SELECT k, sum(v) AS total, count(*) AS n FROM r GROUP BY k"),
    ("joined", "SELECT r.v, s.w FROM r JOIN s ON r.k = s.k"),
    ("unmatched", "SELECT r.k, r.v, s.w FROM r LEFT JOIN s ON r.k = s.k AND r.owner = s.owner"),
];

/// A stream table over another; its history is that of its source.
const OVER: (&str, &str, &str) = (
    "over",
    "SELECT n, count(*) AS keys FROM sums GROUP BY n",
    "SELECT n, count(*) AS keys FROM (SELECT count(*) AS n FROM r GROUP BY k) x GROUP BY n",
);

/// Sessions that act. One of them is at each isolation level by default; transactions choose their own.
const SESSIONS: usize = 4;

/// How often a step that has not ended is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// A step that neither ends nor waits in this time hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Refreshes between two convergence checks, at which the history is also folded into one transaction: it would
/// otherwise make the checks slower and slower.
const ROUND: u64 = 120;

/// Refreshes within which a wrong frontier must have been found out.
const REFRESHES_TO_NOTICE: u64 = 1000;

#[test]
fn every_refresh_equals_its_query_at_its_frontier() -> Result<()> {
    let number = |name: &str, default: u64| -> Result<u64> {
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{name}={text}")),
            _ => Ok(default),
        }
    };
    let clock_seed = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    let seed = number("PG_TRICKLE_SEED", clock_seed)?;
    let refreshes = number("PG_TRICKLE_FRONTIER_REFRESHES", 400)?;
    println!("PG_TRICKLE_SEED={seed}");
    let database = test_database()?;
    let mut play = Play::open(&database, seed)?;
    let outcome = play.run(refreshes);
    println!(
        "{} refreshes checked, {} after own writes, {} at REPEATABLE READ, {} refused as too old, {} steps, {} deadlocks",
        play.count.refreshes,
        play.count.after_own_writes,
        play.count.repeatable_read,
        play.count.too_old,
        play.count.steps,
        play.count.deadlocks,
    );
    outcome.with_context(|| {
        let steps: Vec<&str> = play.steps.iter().map(String::as_str).collect();
        format!("PG_TRICKLE_SEED={seed}; the last steps:\n{}", steps.join("\n"))
    })?;
    Ok(())
}

/// Runs the check with a frontier that is stored wrong, and expects it to be found out.
fn is_noticed(change: &str) -> Result<()> {
    let database = test_database()?;
    let mut play = Play::open(&database, 1)?;
    play.control.batch_execute(&format!(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {change} RETURN NEW; END $f$;
         CREATE TRIGGER spoil BEFORE UPDATE ON pgtrickle.pgt_progress FOR EACH ROW EXECUTE FUNCTION spoil()"
    ))?;
    match play.run(REFRESHES_TO_NOTICE) {
        Ok(()) => bail!("{} refreshes went by unnoticed", play.count.refreshes),
        Err(error) => {
            let text = format!("{error:#}");
            println!("after {} refreshes: {text}", play.count.refreshes);
            ensure!(text.contains("is not its query"), "{text}");
            Ok(())
        }
    }
}

#[test]
fn frontier_that_forgets_own_changes_is_noticed() -> Result<()> {
    is_noticed("NEW.consumed := '{}';")
}

/// PostgreSQL's own snapshot leaves the own transaction out, so that it counts itself as committed.
#[test]
fn frontier_that_counts_itself_as_committed_is_noticed() -> Result<()> {
    is_noticed("NEW.snapshot := pg_catalog.pg_current_snapshot();")
}

/// One acting session.
struct Actor {
    session: IsolationSession,
    /// In a transaction block, and which isolation level it has.
    block: Option<Block>,
    /// A statement that waits for another session.
    pending: Option<Action>,
}

#[derive(Clone, Copy, Default)]
struct Block {
    repeatable_read: bool,
    savepoints: u32,
    has_written: bool,
    failed: bool,
}

/// What a statement was, as far as its outcome matters.
#[derive(Clone, Debug)]
enum Action {
    Begin { repeatable_read: bool },
    Write,
    Refresh { name: &'static str },
    Savepoint,
    Back,
    Release,
    End,
    Prepare { gid: String },
    Finish,
}

#[derive(Default)]
struct Count {
    steps: u64,
    refreshes: u64,
    after_own_writes: u64,
    repeatable_read: u64,
    too_old: u64,
    deadlocks: u64,
}

struct Play {
    random: StdRng,
    control: Client,
    database: String,
    actors: Vec<Actor>,
    /// Names of transactions that are prepared and not finished.
    prepared: Vec<String>,
    steps: VecDeque<String>,
    count: Count,
}

impl Play {
    fn open(database: &TestDatabase, seed: u64) -> Result<Play> {
        let mut control = database.connect()?;
        control.batch_execute(SETUP)?;
        let over = (OVER.0, OVER.1);
        for (name, query) in STREAM_TABLES.into_iter().chain([over]) {
            control.execute(
                "SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')",
                &[&name, &query],
            )?;
        }
        let mut actors = Vec::new();
        for index in 0..SESSIONS {
            let session = IsolationSession::open(&format!("actor{index}"), &database.conninfo())?;
            // Deadlocks between rows are part of the play; they should not take a second each.
            session.run("SET deadlock_timeout = '20ms'", PATIENCE)?;
            actors.push(Actor { session, block: None, pending: None });
        }
        Ok(Play {
            random: StdRng::seed_from_u64(seed),
            control,
            database: database.name().to_owned(),
            actors,
            prepared: Vec::new(),
            steps: VecDeque::new(),
            count: Count::default(),
        })
    }

    /// Goes on until so many refreshes have been checked. Not for a time: a busy machine would check next to nothing.
    fn run(&mut self, refreshes: u64) -> Result<()> {
        let mut converged_at = 0;
        while self.count.refreshes < refreshes {
            self.step()?;
            if self.count.refreshes >= converged_at + ROUND {
                converged_at = self.count.refreshes;
                self.converge()?;
            }
        }
        self.converge()
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.random.random_range(0..100) < chance
    }

    /// Lets one session do one thing.
    fn step(&mut self) -> Result<()> {
        self.count.steps += 1;
        let free: Vec<usize> = (0..SESSIONS).filter(|&index| self.actors[index].pending.is_none()).collect();
        if free.is_empty() || self.percent(2) {
            return self.interfere();
        }
        let index = free[self.random.random_range(0..free.len())];
        let (action, sql) = self.choose(index);
        self.note(format!("actor{index}: {sql}"));
        // Only the end of a transaction, or of a part of it, lets others go on.
        let releases = matches!(action, Action::End | Action::Back | Action::Finish);
        self.actors[index].session.start(&sql)?;
        self.actors[index].pending = Some(action);
        self.attend(index)?;
        for other in (0..SESSIONS).filter(|&other| releases && other != index) {
            if self.actors[other].pending.is_some() {
                self.attend(other)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, line: String) {
        if self.steps.len() == 60 {
            self.steps.pop_front();
        }
        self.steps.push_back(line);
    }

    /// What happens outside the sessions: prepared transactions are finished, captured changes collected, and unrelated
    /// transactions complete.
    fn interfere(&mut self) -> Result<()> {
        let any_waits = self.actors.iter().any(|actor| actor.pending.is_some());
        if !self.prepared.is_empty() && (any_waits || self.percent(50)) {
            let gid = self.prepared.swap_remove(self.random.random_range(0..self.prepared.len()));
            let word = if self.percent(70) { "COMMIT" } else { "ROLLBACK" };
            let sql = format!("{word} PREPARED '{gid}'");
            self.note(format!("control: {sql}"));
            self.control.batch_execute(&sql)?;
        } else if self.percent(50) {
            self.note("control: collect".to_owned());
            self.control.execute("SELECT pgtrickle.collect_changes()", &[])?;
        } else {
            self.note("control: unrelated".to_owned());
            self.control.batch_execute("INSERT INTO unrelated VALUES (1)")?;
        }
        for index in 0..SESSIONS {
            if self.actors[index].pending.is_some() {
                self.attend(index)?;
            }
        }
        Ok(())
    }

    fn choose(&mut self, index: usize) -> (Action, String) {
        let Some(block) = self.actors[index].block else {
            return match self.random.random_range(0..100) {
                0..65 => {
                    let repeatable_read = self.percent(50);
                    let level = if repeatable_read { "REPEATABLE READ" } else { "READ COMMITTED" };
                    (Action::Begin { repeatable_read }, format!("BEGIN ISOLATION LEVEL {level}"))
                }
                65..90 => (Action::Write, self.change(index)),
                90..95 if !self.prepared.is_empty() => {
                    let gid = self.prepared.swap_remove(self.random.random_range(0..self.prepared.len()));
                    (Action::Finish, format!("COMMIT PREPARED '{gid}'"))
                }
                _ => (Action::Write, "INSERT INTO unrelated VALUES (2)".to_owned()),
            };
        };
        if block.failed {
            return match block.savepoints {
                1.. if self.percent(50) => (Action::Back, "ROLLBACK TO s".to_owned()),
                _ => (Action::End, "ROLLBACK".to_owned()),
            };
        }
        match self.random.random_range(0..100) {
            0..34 => (Action::Write, self.change(index)),
            34..62 => {
                let which = self.random.random_range(0..=STREAM_TABLES.len());
                let name = STREAM_TABLES.get(which).map_or(OVER.0, |table| table.0);
                (Action::Refresh { name }, format!("SELECT pgtrickle.refresh_stream_table('{name}')"))
            }
            62..72 => (Action::Savepoint, "SAVEPOINT s".to_owned()),
            72..77 if block.savepoints > 0 => (Action::Back, "ROLLBACK TO s".to_owned()),
            77..82 if block.savepoints > 0 => (Action::Release, "RELEASE s".to_owned()),
            82..86 => (Action::End, "ROLLBACK".to_owned()),
            86..90 if self.prepared.len() < 2 => {
                let gid = format!("{}_{}", self.database, self.count.steps);
                let sql = format!("PREPARE TRANSACTION '{gid}'");
                (Action::Prepare { gid }, sql)
            }
            _ => (Action::End, "COMMIT".to_owned()),
        }
    }

    /// A change of `r` or `s`: mostly of rows that are the session's own, so that sessions seldom wait for rows.
    fn change(&mut self, index: usize) -> String {
        let (table, column) = if self.percent(60) { ("r", "v") } else { ("s", "w") };
        let owner = if self.percent(95) { index } else { self.random.random_range(0..SESSIONS) };
        let (key, value) = (self.random.random_range(0..7), self.random.random_range(0..5));
        match self.random.random_range(0..10) {
            0..4 => {
                format!("INSERT INTO {table} VALUES ({owner}, {key}, {value}), ({owner}, {value}, {key})")
            }
            4..6 => format!("UPDATE {table} SET {column} = {value} WHERE owner = {owner} AND k = {key}"),
            6..7 => format!("UPDATE {table} SET k = {value} WHERE owner = {owner} AND k = {key}"),
            _ => format!("DELETE FROM {table} WHERE owner = {owner} AND k = {key}"),
        }
    }

    /// Waits until the statement of a session has ended or waits for another session.
    fn attend(&mut self, index: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(answer) = self.actors[index].session.answer(GLANCE)? {
                let Some(action) = self.actors[index].pending.take() else { return Ok(()) };
                return match answer {
                    Ok(_) => self.succeeded(index, action),
                    Err(error) => self.failed(index, &action, &error),
                };
            }
            let pid = self.actors[index].session.pid;
            let sql = "SELECT pg_catalog.cardinality(pg_catalog.pg_blocking_pids($1)) > 0";
            if self.control.query_one(sql, &[&pid])?.get(0) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "actor{index} neither ends nor waits");
        }
    }

    fn succeeded(&mut self, index: usize, action: Action) -> Result<()> {
        let block = &mut self.actors[index].block;
        match action {
            Action::Begin { repeatable_read } => *block = Some(Block { repeatable_read, ..Block::default() }),
            Action::Write => {
                if let Some(block) = block {
                    block.has_written = true;
                }
            }
            Action::Savepoint => {
                if let Some(block) = block {
                    block.savepoints += 1;
                }
            }
            Action::Back => {
                if let Some(block) = block {
                    block.failed = false;
                }
            }
            Action::Release => {
                if let Some(block) = block {
                    block.savepoints -= 1;
                }
            }
            Action::End => *block = None,
            Action::Prepare { gid } => {
                *block = None;
                self.prepared.push(gid);
            }
            Action::Finish => {}
            Action::Refresh { name } => return self.check(index, name),
        }
        Ok(())
    }

    fn failed(&mut self, index: usize, action: &Action, error: &postgres::Error) -> Result<()> {
        let state = error.code().map_or("", |code| code.code());
        self.note(format!("actor{index}: {}", describe(error)));
        match state {
            "40001" => self.count.too_old += u64::from(matches!(action, Action::Refresh { .. })),
            "40P01" => self.count.deadlocks += 1,
            _ => bail!("actor{index}: {action:?} failed: {}", describe(error)),
        }
        let block = &mut self.actors[index].block;
        match action {
            // A failed COMMIT or PREPARE ends the block.
            Action::End | Action::Prepare { .. } => *block = None,
            _ => {
                if let Some(block) = block {
                    block.failed = true;
                }
            }
        }
        Ok(())
    }

    /// Compares a stream table that the session has just refreshed.
    fn check(&mut self, index: usize, name: &'static str) -> Result<()> {
        let actor = &self.actors[index];
        let block = actor.block.unwrap_or_default();
        let (over_history, direct) = match STREAM_TABLES.iter().find(|table| table.0 == name) {
            Some(table) => (table.1, table.1),
            None => (OVER.2, OVER.2),
        };
        let history = actor.session.run(&history_check(name, over_history), PATIENCE)?;
        ensure!(
            history.is_empty(),
            "{name}, refreshed by actor{index}, is not its query at its frontier:\n{}",
            history.join("\n")
        );
        if block.repeatable_read {
            let difference = actor.session.run(&difference(name, direct), PATIENCE)?;
            ensure!(
                difference.is_empty(),
                "{name}, refreshed by actor{index}, is not its query at the session's snapshot:\n{}",
                difference.join("\n")
            );
            self.count.repeatable_read += 1;
        }
        self.count.refreshes += 1;
        self.count.after_own_writes += u64::from(block.has_written);
        Ok(())
    }

    /// Ends everything, and checks that nothing is missing or doubled once nobody writes.
    fn converge(&mut self) -> Result<()> {
        self.note("converge".to_owned());
        let started = Instant::now();
        // A session that waits goes on when the others have ended, so this takes a few turns.
        while self.actors.iter().any(|actor| actor.block.is_some() || actor.pending.is_some()) {
            while let Some(gid) = self.prepared.pop() {
                self.control.batch_execute(&format!("COMMIT PREPARED '{gid}'"))?;
            }
            for index in 0..SESSIONS {
                if self.actors[index].pending.is_none() && self.actors[index].block.is_some() {
                    let word = if self.percent(80) { "COMMIT" } else { "ROLLBACK" };
                    self.actors[index].session.start(word)?;
                    self.actors[index].pending = Some(Action::End);
                }
                if self.actors[index].pending.is_some() {
                    self.attend(index)?;
                }
            }
            ensure!(started.elapsed() < PATIENCE, "the sessions do not come to an end");
        }
        while let Some(gid) = self.prepared.pop() {
            self.control.batch_execute(&format!("COMMIT PREPARED '{gid}'"))?;
        }
        let order = if self.percent(50) { RefreshOrder::SourcesFirst } else { RefreshOrder::ConsumersFirst };
        agreement::refresh_all(&mut self.control, order)?;
        agreement::check_all(&mut self.control, &Expectations::default())
            .context("after all sessions have ended")?;
        self.fold_history()
    }

    /// Replaces the log by the contents, as the work of one transaction. It also changes every source, so that the next
    /// frontiers are taken when that transaction is visible.
    fn fold_history(&mut self) -> Result<()> {
        self.control.batch_execute(
            "BEGIN;
             TRUNCATE r_log, s_log;
             INSERT INTO r_log SELECT pg_current_xact_id(), r.*, 1 FROM r;
             INSERT INTO s_log SELECT pg_current_xact_id(), s.*, 1 FROM s;
             INSERT INTO r VALUES (0, 0, 0);
             INSERT INTO s VALUES (0, 0, 0);
             COMMIT",
        )?;
        // Rows are dropped now and then, or joins would grow without bound.
        self.control.batch_execute(
            "DELETE FROM r WHERE ctid IN (SELECT ctid FROM r ORDER BY random() OFFSET 30);
             DELETE FROM s WHERE ctid IN (SELECT ctid FROM s ORDER BY random() OFFSET 20)",
        )?;
        agreement::refresh_all(&mut self.control, RefreshOrder::SourcesFirst)?;
        agreement::verify_all(&mut self.control)
    }
}

/// Rows by which a stream table and a query differ, in one statement.
fn difference(name: &str, query: &str) -> String {
    format!(
        "SELECT 'missing', x::text FROM (({query}) EXCEPT ALL SELECT * FROM {name}) x \
         UNION ALL SELECT 'surplus', x::text FROM (SELECT * FROM {name} EXCEPT ALL ({query})) x"
    )
}

/// Rows by which a stream table and its query over the history, as of its frontier, differ.
///
/// The stored snapshot counts the refreshing transaction as in progress. All of that transaction's changes so far belong
/// to the state, because the comparison follows the refresh in the same transaction.
fn history_check(name: &str, query: &str) -> String {
    let past = |table: &str, columns: &str| {
        format!(
            "{table} AS (SELECT {columns} FROM (SELECT {columns}, sum(weight) AS n FROM {table}_log, frontier f \
             WHERE pg_visible_in_snapshot(xid, f.snapshot) OR xid = f.own_xid GROUP BY {columns}) x, \
             generate_series(1, x.n))"
        )
    };
    format!(
        "WITH frontier AS (SELECT p.snapshot, p.own_xid FROM pgtrickle.pgt_progress p \
         JOIN pgtrickle.pgt_stream_tables d USING (pgt_id) WHERE d.pgt_relid = '{name}'::regclass), \
         {}, {} {}",
        past("r", "owner, k, v"),
        past("s", "owner, k, w"),
        difference(name, query)
    )
}
