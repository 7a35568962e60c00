//! Named sessions: what tests of interleavings are written in.
//!
//! A session keeps its notices, reports errors with SQLSTATE, detail and hint, and can run a statement in the
//! background while other sessions go on. Waiting is always for a condition that the server can be asked about.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::error::DbError;
use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cluster::TestDatabase;

/// How long a condition may take to come true. Generous, because it only ends tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A row as text, NULL as `None`.
pub type TextRow = Vec<Option<String>>;

/// What statements come to.
type Outcome = Result<Vec<TextRow>, ServerError>;

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// Five characters.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.sqlstate, self.message)?;
        for (label, text) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(text) = text {
                write!(out, "\n{label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        ServerError {
            sqlstate: error.code().code().to_string(),
            message: error.message().to_string(),
            detail: error.detail().map(str::to_string),
            hint: error.hint().map(str::to_string),
        }
    }
}

/// A connection with a name that appears in failures.
pub struct Session {
    name: String,
    client: Client,
    pid: i32,
    notices: Arc<Mutex<Vec<ServerError>>>,
}

impl Session {
    /// Opens a session as superuser.
    pub fn open(database: &TestDatabase, name: &str) -> Result<Session> {
        Session::open_with(database, name, |_| ())
    }

    /// Opens a session with changed connection parameters (user, options).
    pub fn open_with(
        database: &TestDatabase,
        name: &str,
        change: impl FnOnce(&mut postgres::Config),
    ) -> Result<Session> {
        let mut config: postgres::Config = database.conninfo().parse()?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&notices);
        config.application_name(name).notice_callback(move |notice| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(ServerError::from(&notice));
        });
        change(&mut config);
        let mut client = config.connect(NoTls).with_context(|| format!("session {name} cannot connect"))?;
        let pid = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[])?.get(0);
        Ok(Session { name: name.to_string(), client, pid, notices })
    }

    /// Process id of the session's backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The connection itself, for statements with parameters, COPY and the like.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Runs statements; their rows are ignored.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.rows(sql).map(drop)
    }

    /// Runs statements and returns all rows as text.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        match self.attempt(sql)? {
            Ok(rows) => Ok(rows),
            Err(error) => Err(error).with_context(|| format!("session {}: {sql}", self.name)),
        }
    }

    /// Runs statements that return one value, and returns it as text.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let mut rows = self.rows(sql)?;
        match (rows.pop(), rows.is_empty()) {
            (Some(mut row), true) if row.len() == 1 => Ok(row.remove(0)),
            _ => bail!("session {}: not exactly one value: {sql}", self.name),
        }
    }

    /// Runs statements that must fail, and returns the error of the server.
    pub fn error(&mut self, sql: &str) -> Result<ServerError> {
        match self.attempt(sql)? {
            Ok(_) => bail!("session {}: no error from: {sql}", self.name),
            Err(error) => Ok(error),
        }
    }

    /// The outer error is of the connection, the inner one of the statements.
    fn attempt(&mut self, sql: &str) -> Result<Outcome> {
        match self.client.simple_query(sql) {
            Ok(messages) => Ok(Ok(messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).map(str::to_string)).collect())
                    }
                    _ => None,
                })
                .collect())),
            Err(error) => match error.as_db_error() {
                Some(db) => Ok(Err(ServerError::from(db))),
                None => Err(error).with_context(|| format!("session {}: {sql}", self.name)),
            },
        }
    }

    /// The notices and warnings since the last call.
    pub fn take_notices(&self) -> Vec<ServerError> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs statements in the background; the session comes back when they end.
    pub fn start(mut self, sql: &str) -> Running {
        let (name, pid, text) = (self.name.clone(), self.pid, sql.to_string());
        let thread = std::thread::spawn(move || {
            let outcome = self.attempt(&text);
            (self, outcome)
        });
        Running { name, pid, sql: sql.to_string(), thread }
    }

    /// Asks this session a question until the answer is `true`. The question must return one boolean.
    pub fn wait_until(&mut self, question: &str) -> Result<()> {
        let started = Instant::now();
        while self.value(question)?.as_deref() != Some("t") {
            if started.elapsed() > PATIENCE {
                bail!("session {}: not true after {} s: {question}", self.name, PATIENCE.as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// Statements that run in the background.
pub struct Running {
    name: String,
    pid: i32,
    sql: String,
    thread: JoinHandle<(Session, Result<Outcome>)>,
}

impl Running {
    /// Waits until the statements wait for a lock that another session holds. `observer` must be a third session.
    pub fn wait_until_blocked(&self, observer: &mut Session) -> Result<()> {
        let started = Instant::now();
        let question =
            format!("SELECT pg_catalog.cardinality(pg_catalog.pg_blocking_pids({})) > 0", self.pid);
        while observer.value(&question)?.as_deref() != Some("t") {
            if self.thread.is_finished() {
                bail!("session {}: was to block, but ended: {}", self.name, self.sql);
            }
            if started.elapsed() > PATIENCE {
                bail!("session {}: was to block, but still runs: {}", self.name, self.sql);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Whether the statements have ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end and returns the session and the rows.
    pub fn finish(self) -> Result<(Session, Vec<TextRow>)> {
        let (name, sql) = (self.name.clone(), self.sql.clone());
        let (session, outcome) = self.join()?;
        Ok((session, outcome.with_context(|| format!("session {name}: {sql}"))?))
    }

    /// Waits for the end, which must be an error of the server.
    pub fn finish_with_error(self) -> Result<(Session, ServerError)> {
        let (name, sql) = (self.name.clone(), self.sql.clone());
        match self.join()? {
            (session, Err(error)) => Ok((session, error)),
            (_, Ok(_)) => bail!("session {name}: no error from: {sql}"),
        }
    }

    fn join(self) -> Result<(Session, Outcome)> {
        match self.thread.join() {
            Ok((session, outcome)) => Ok((session, outcome?)),
            Err(_) => bail!("session {}: the thread panicked", self.name),
        }
    }
}
