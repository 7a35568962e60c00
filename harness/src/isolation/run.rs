//! Running one permutation.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;

use super::session::{Answer, IsolationSession, describe};
use super::spec::{Move, Permutation, Spec, Step, Waits};
use crate::agreement::{self, Expectations, RefreshOrder};
use crate::cluster::TestDatabase;

/// How often a step that has not ended is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A step that neither ends nor waits for a lock in this time hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whom a process waits for: holders of locks; and, while it waits for a worker it has started, that worker's holders.
/// A worker that gives up its lock request after some milliseconds and tries again is waited for all the same.
const BLOCKED: &str = "\
SELECT pg_catalog.cardinality(pg_catalog.pg_blocking_pids($1)) > 0 OR EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity
    WHERE pid = $1 AND wait_event IN ('BgWorkerShutdown', 'BgworkerShutdown', 'PgTrickleCapture'))";

/// Whether a process waits for a lock that a session of the test holds while that session waits for its client.
const STUCK: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
    WHERE pid = ANY (pg_catalog.pg_blocking_pids($1)) AND pid = ANY ($2) AND state LIKE 'idle in transaction%')";

/// Isolation level that the sessions of a run start transactions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
}

impl Level {
    pub const ALL: [Level; 2] = [Level::ReadCommitted, Level::RepeatableRead];

    fn word(self) -> &'static str {
        match self {
            Level::ReadCommitted => "rc",
            Level::RepeatableRead => "rr",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::ReadCommitted => "read committed",
            Level::RepeatableRead => "repeatable read",
        })
    }
}

impl Permutation {
    /// Whether the permutation is meant for a level.
    pub fn applies(&self, level: Level) -> bool {
        self.only.as_ref().is_none_or(|only| only == level.word())
    }
}

/// Runs one permutation in a database that nothing else uses, and checks what it came to.
pub fn run_permutation(
    database: &TestDatabase,
    spec: &Spec,
    permutation: &Permutation,
    level: Level,
) -> Result<()> {
    let mut control = database.connect()?;
    let substitute = |sql: &str| sql.replace("$db", database.name());
    for setup in &spec.setups {
        control.batch_execute(&substitute(setup)).with_context(|| format!("in setup: {setup}"))?;
    }
    let mut players = Vec::new();
    for session in &spec.sessions {
        let player = IsolationSession::open(&session.name, &database.conninfo())?;
        player.run(&format!("SET default_transaction_isolation = '{level}'"), PATIENCE)?;
        for setup in &session.setups {
            player.run(&substitute(setup), PATIENCE)?;
        }
        players.push(Player { session: player, pending: None });
    }
    let pids = players.iter().map(|player| player.session.pid).collect();
    let mut stage = Stage { control, players, pids };
    for one in &permutation.moves {
        match one {
            Move::Run { step, waits, state } => {
                let (index, step) = spec.step(step).context("unknown step")?;
                let step = Step { sql: substitute(&step.sql), ..step.clone() };
                stage.run(index, step, *waits, state.clone())?;
            }
            Move::Ends { step } => {
                let (index, _) = spec.step(step).context("unknown step")?;
                let pending = stage.players[index].pending.as_ref();
                // One that may wait may have ended.
                ensure!(
                    pending.is_none_or(|pending| pending.step.name == *step),
                    "step {step} is not the one that session {} is at",
                    spec.sessions[index].name
                );
                stage.finish(index)?;
            }
        }
    }
    for index in 0..stage.players.len() {
        stage.finish(index)?;
    }
    stage.check_nothing_open()?;
    let Stage { mut control, players, .. } = stage;
    drop(players);
    agreement::settle(&mut control, RefreshOrder::SourcesFirst, &Expectations::default())
        .context("after the last step")
}

struct Player {
    session: IsolationSession,
    pending: Option<Pending>,
}

/// A step that has been started and has not ended.
struct Pending {
    step: Step,
    state: Option<String>,
}

struct Stage {
    control: Client,
    players: Vec<Player>,
    pids: Vec<i32>,
}

impl Stage {
    fn run(&mut self, index: usize, step: Step, waits: Waits, state: Option<String>) -> Result<()> {
        self.finish(index)?;
        let player = &mut self.players[index];
        if let Some(tables) = step.sql.strip_prefix("\\compare") {
            for table in tables.split_whitespace() {
                compare(&player.session, table).with_context(|| format!("step {}", step.name))?;
            }
            return Ok(());
        }
        player.session.start(&step.sql)?;
        player.pending = Some(Pending { step, state });
        match waits {
            Waits::No => self.finish(index),
            Waits::Yes | Waits::Maybe => self.see_it_wait(index, waits),
        }
    }

    /// Waits until the step of a session waits for another. That it ends instead is an error if it has to wait.
    fn see_it_wait(&mut self, index: usize, waits: Waits) -> Result<()> {
        let started = Instant::now();
        let player = &self.players[index];
        let Some(pending) = &player.pending else { return Ok(()) };
        loop {
            if let Some(answer) = player.session.answer(GLANCE)? {
                if waits == Waits::Maybe {
                    let (step, state) = (pending.step.clone(), pending.state.clone());
                    self.players[index].pending = None;
                    return check(&step, state.as_deref(), &answer);
                }
                bail!("step {} should wait, but ended: {}", pending.step.name, outcome(&answer));
            }
            let blocked: bool = self.control.query_one(BLOCKED, &[&player.session.pid])?.get(0);
            if blocked {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "step {} neither ends nor waits", pending.step.name);
        }
    }

    /// Waits for the step of a session, if one is pending, and checks what it came to.
    fn finish(&mut self, index: usize) -> Result<()> {
        let player = &mut self.players[index];
        let Some(Pending { step, state }) = player.pending.take() else { return Ok(()) };
        let started = Instant::now();
        let answer = loop {
            if let Some(answer) = player.session.answer(GLANCE)? {
                break answer;
            }
            let stuck: bool = self.control.query_one(STUCK, &[&player.session.pid, &self.pids])?.get(0);
            if stuck || started.elapsed() > PATIENCE {
                // Whatever it waits for would not come; without this its thread would never end.
                self.control.execute("SELECT pg_catalog.pg_terminate_backend($1)", &[&player.session.pid])?;
                bail!("step {} waits for a session that waits for its next step", step.name);
            }
        };
        check(&step, state.as_deref(), &answer)
    }

    /// A transaction left open would make the final comparison meaningless.
    fn check_nothing_open(&mut self) -> Result<()> {
        let open = self.control.query(
            "SELECT application_name::text FROM pg_catalog.pg_stat_activity \
             WHERE pid = ANY ($1) AND state LIKE 'idle in transaction%'",
            &[&self.pids],
        )?;
        let open: Vec<String> = open.iter().map(|row| row.get(0)).collect();
        ensure!(open.is_empty(), "sessions with an open transaction at the end: {}", open.join(", "));
        let prepared: i64 = self
            .control
            .query_one(
                "SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts \
                 WHERE database = pg_catalog.current_database()",
                &[],
            )?
            .get(0);
        ensure!(prepared == 0, "{prepared} prepared transactions are left at the end");
        Ok(())
    }
}

fn check(step: &Step, state: Option<&str>, answer: &Answer) -> Result<()> {
    let found = answer.as_ref().err().and_then(|error| error.code()).map(|code| code.code());
    let as_expected = match answer {
        Ok(_) => state.is_none(),
        Err(_) => state.is_some() && state == found,
    };
    if !as_expected {
        let wanted = state.map_or_else(|| "success".to_owned(), |state| format!("SQLSTATE {state}"));
        bail!("step {}: expected {wanted}, got {}\nin: {}", step.name, outcome(answer), step.sql);
    }
    if let (Some(expected), Ok(rows)) = (&step.expected, answer) {
        ensure!(
            expected == rows,
            "step {}: expected rows\n  {}\ngot\n  {}",
            step.name,
            expected.join("\n  "),
            rows.join("\n  ")
        );
    }
    Ok(())
}

fn outcome(answer: &Answer) -> String {
    match answer {
        Ok(rows) => format!("success, {} rows", rows.len()),
        Err(error) => describe(error),
    }
}

/// Compares a stream table with its query in one statement of the session, so that both see one snapshot whatever the
/// isolation level.
fn compare(session: &IsolationSession, table: &str) -> Result<()> {
    let query = session.run(
        &format!(
            "SELECT pg_catalog.rtrim(s.defining_query, E'; \\n') FROM pgtrickle.pgt_stream_tables s \
             WHERE s.pgt_relid = '{table}'::pg_catalog.regclass"
        ),
        PATIENCE,
    )?;
    let query = query.first().with_context(|| format!("{table} is not a stream table"))?;
    let difference = session.run(
        &format!(
            "SELECT 'missing', x::text FROM (({query}) EXCEPT ALL SELECT * FROM {table}) x \
             UNION ALL SELECT 'surplus', x::text FROM (SELECT * FROM {table} EXCEPT ALL ({query})) x"
        ),
        PATIENCE,
    )?;
    ensure!(difference.is_empty(), "{table} is not its query:\n  {}", difference.join("\n  "));
    Ok(())
}
