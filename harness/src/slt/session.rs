//! A named connection of a script.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postgres::{Client, NoTls, SimpleQueryMessage};
use sqllogictest::{DB, DBOutput, DefaultColumnType};

use super::command::Command;
use super::judge::Judge;

/// One session with the server.
pub struct Session {
    client: Client,
    database: String,
    judge: Arc<Mutex<Judge>>,
    notices: Arc<Mutex<Vec<String>>>,
    /// The server process.
    pid: i32,
}

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// The server refused it.
    Server(postgres::Error),
    /// The runner found something wrong.
    Runner(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Failure::Runner(text) => return f.write_str(text),
            Failure::Server(error) => error,
        };
        let Some(server) = error.as_db_error() else { return write!(f, "{error}") };
        f.write_str(server.message())?;
        for (word, part) in [("DETAIL", server.detail()), ("HINT", server.hint())] {
            if let Some(part) = part {
                write!(f, "\n{word}: {part}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Self {
        Failure::Server(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Runner(format!("{error:#}"))
    }
}

impl Session {
    pub fn open(conninfo: &str, database: &str, judge: Arc<Mutex<Judge>>) -> Result<Session, Failure> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&notices);
        let mut config: postgres::Config = conninfo.parse()?;
        config.notice_callback(move |notice| {
            let line = format!("{}: {}", notice.severity(), notice.message());
            keep.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        });
        let mut client = config.connect(NoTls)?;
        let pid = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[])?.get(0);
        Ok(Session { client, database: database.to_owned(), pid, judge, notices })
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn obey(&mut self, command: Command) -> Result<DBOutput<DefaultColumnType>, Failure> {
        match command {
            Command::Comparing(on) => self.judge().set_comparing(on),
            Command::Compare => self.judge().compare()?,
            Command::Check => self.judge().check()?,
            Command::Verify => self.judge().settle()?,
            Command::Oracle { name, query } => self.judge().set_query(&name, &query)?,
            Command::ByValue { name } => self.judge().set_by_value(&name)?,
            Command::Inventory => self.judge().keep_inventory()?,
            Command::Unchanged => self.judge().check_inventory()?,
            Command::EveryMode { name, query } => {
                for mode in ["DIFFERENTIAL", "AUTO", "FULL"] {
                    let name = format!("{name}_{}", mode.to_lowercase());
                    let call = "SELECT pgtrickle.create_stream_table($1, $2, '12h', $3)";
                    self.client.execute(call, &[&name, &query, &mode])?;
                }
                self.judge().after_change(self.pid)?;
            }
            Command::Notices => {
                // Notices come with the answers of the server; one more answer fetches those not yet read.
                self.client.batch_execute("")?;
                let rows = self.take_notices().into_iter().map(|line| vec![line]).collect();
                return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows });
            }
        }
        Ok(DBOutput::StatementComplete(0))
    }

    fn execute(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let (mut rows, mut width, mut affected) = (Vec::new(), None, 0);
        for message in self.client.simple_query(sql)? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => width = Some(columns.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|column| show(row.get(column))).collect());
                }
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Ok(match width {
            Some(width) => DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows },
            None => DBOutput::StatementComplete(affected),
        })
    }
}

/// A value as scripts write it.
fn show(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// Whether a statement may have changed what stream tables should show, or the stream tables.
fn may_change(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match first.as_str() {
        "SELECT" => sql.contains("pgtrickle."),
        "BEGIN" | "START" | "SHOW" | "EXPLAIN" | "TABLE" | "SET" | "RESET" | "VALUES" => false,
        _ => true,
    }
}

impl DB for Session {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if let Some(command) = Command::parse(sql) {
            return self.obey(command.map_err(Failure::Runner)?);
        }
        let sql = &sql.replace("$db", &self.database);
        let output = self.execute(sql)?;
        if may_change(sql) {
            self.judge().after_change(self.pid)?;
        }
        Ok(output)
    }

    fn engine_name(&self) -> &str {
        "pg_trickle"
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        match error {
            Failure::Server(error) => error.code().map(|state| state.code().to_owned()),
            Failure::Runner(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_change;

    #[test]
    fn reading_is_not_followed_by_a_comparison() {
        assert!(!may_change("SELECT * FROM st"));
        assert!(may_change("SELECT pgtrickle.drop_stream_table('st')"));
        assert!(may_change("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"));
    }
}
