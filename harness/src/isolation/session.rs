//! A session on a thread of its own, so that one that waits does not hold up the others.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use postgres::{CancelToken, Client, NoTls, SimpleQueryMessage};

/// Rows in text form, columns separated by `|`, or the server's refusal.
pub type Answer = Result<Vec<String>, postgres::Error>;

/// A session; its statements run on its thread, one at a time.
pub struct IsolationSession {
    pub name: String,
    /// The server process of the session.
    pub pid: i32,
    cancel: CancelToken,
    requests: Option<Sender<String>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl IsolationSession {
    pub fn open(name: &str, conninfo: &str) -> Result<IsolationSession> {
        let mut config: postgres::Config = conninfo.parse()?;
        config.application_name(name);
        let mut client = config.connect(NoTls)?;
        let pid = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[])?.get(0);
        let cancel = client.cancel_token();
        let (requests, inbox) = channel::<String>();
        let (outbox, answers) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for sql in inbox {
                if outbox.send(execute(&mut client, &sql)).is_err() {
                    return;
                }
            }
        })?;
        Ok(IsolationSession {
            name: name.to_owned(),
            pid,
            cancel,
            requests: Some(requests),
            answers,
            thread: Some(thread),
        })
    }

    /// Starts statements.
    pub fn start(&self, sql: &str) -> Result<()> {
        let requests = self.requests.as_ref().context("the session is closed")?;
        requests.send(sql.to_owned()).map_err(|_| anyhow!("the session {} has ended", self.name))
    }

    /// The answer, if it comes within the time.
    pub fn answer(&self, patience: Duration) -> Result<Option<Answer>> {
        match self.answers.recv_timeout(patience) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the session {} has ended", self.name)),
        }
    }

    /// Runs statements that nothing can hold up.
    pub fn run(&self, sql: &str, patience: Duration) -> Result<Vec<String>> {
        self.start(sql)?;
        let answer = self.answer(patience)?.with_context(|| format!("no answer to: {sql}"))?;
        answer.map_err(|error| anyhow!("{}\nin: {sql}", describe(&error)))
    }
}

impl Drop for IsolationSession {
    fn drop(&mut self) {
        drop(self.requests.take());
        // After a failure it may wait for a lock that nobody will release. One that does not ignores the request.
        if let Err(error) = self.cancel.cancel_query(NoTls) {
            eprintln!("harness: the statement of session {} cannot be cancelled: {error}", self.name);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("harness: the thread of session {} has panicked", self.name);
        }
    }
}

fn execute(client: &mut Client, sql: &str) -> Answer {
    let mut rows = Vec::new();
    for message in client.simple_query(sql)? {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
            rows.push(cells.join("|"));
        }
    }
    Ok(rows)
}

/// A refusal with its SQLSTATE and detail.
pub fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!(
            "{} ({}){}",
            server.message(),
            server.code().code(),
            server.detail().map(|detail| format!("; {detail}")).unwrap_or_default()
        ),
        None => error.to_string(),
    }
}
