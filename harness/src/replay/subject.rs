//! What is maintained: stream tables of the extension, or materialized views when the harness tests itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use pg_trickle_corpus::workload::Query;
use postgres::{Client, NoTls};
use serde_json::Value;

use super::milliseconds;
use crate::cluster::Cluster;
use crate::report::{QueryRun, Translation};

/// Far longer than a run, so that every refresh is one that the replay asked for.
pub const SCHEDULE: &str = "12h";

/// The statement that creates a stream table.
pub fn creation(name: &str, sql: &str, mode: &str) -> String {
    format!(
        "SELECT pgtrickle.create_stream_table('{name}', $definition${sql}$definition$, \
         schedule => '{SCHEDULE}', refresh_mode => '{mode}')"
    )
}

/// The statement that refreshes it.
pub fn refreshing(name: &str) -> String {
    format!("SELECT pgtrickle.refresh_stream_table('{name}')")
}

/// A refresh mode that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Auto,
    Differential,
    Full,
}

impl Mode {
    /// As the extension writes it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Auto => "AUTO",
            Mode::Differential => "DIFFERENTIAL",
            Mode::Full => "FULL",
        }
    }
}

/// What a replay maintains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    StreamTables { mode: Mode },
    MaterializedViews,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::StreamTables { .. } => "stream tables",
            Subject::MaterializedViews => "materialized views",
        })
    }
}

/// A session that keeps the notices it receives.
pub struct Session {
    pub client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Session {
    /// Connects as superuser.
    pub fn open(cluster: &dyn Cluster, database: &str) -> Result<Self> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&notices);
        let mut config: postgres::Config = cluster.conninfo(database).parse()?;
        config.notice_callback(move |notice| {
            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(notice.message().to_owned());
        });
        let client = config.connect(NoTls).with_context(|| format!("cannot connect to {database}"))?;
        Ok(Self { client, notices })
    }

    /// The notices since the last call.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subject {
    /// Creates what has to be there before the first relation.
    pub fn prepare(&self, client: &mut Client) -> Result<()> {
        client.batch_execute("CREATE SCHEMA recompute")?;
        match self {
            Subject::StreamTables { .. } => {
                client.batch_execute("CREATE EXTENSION pg_trickle").context("CREATE EXTENSION pg_trickle")
            }
            Subject::MaterializedViews => Ok(()),
        }
    }

    /// Creates the relation for a query, and the materialized view that shows what recomputing it costs. That the
    /// extension refuses a query is a result, not an error.
    pub fn create(&self, session: &mut Session, query: &Query) -> Result<QueryRun> {
        self.create_with_schedule(session, query, SCHEDULE)
    }

    /// [`Subject::create`] with a schedule of the caller's.
    pub fn create_with_schedule(
        &self,
        session: &mut Session,
        query: &Query,
        schedule: &str,
    ) -> Result<QueryRun> {
        let (name, sql) = (&query.name, &query.sql);
        session.client.batch_execute(&format!("CREATE MATERIALIZED VIEW recompute.{name} AS {sql}"))?;
        self.create_alone(session, query, schedule)
    }

    /// [`Subject::create_with_schedule`] without the materialized view.
    pub fn create_alone(&self, session: &mut Session, query: &Query, schedule: &str) -> Result<QueryRun> {
        let (name, sql) = (query.name.clone(), query.sql.clone());
        session.take_notices();
        let clock = Instant::now();
        let outcome = match self {
            Subject::StreamTables { mode } => session.client.execute(
                "SELECT pgtrickle.create_stream_table($1, $2, schedule => $3, refresh_mode => $4)",
                &[&name, &sql, &schedule, &mode.word()],
            ),
            Subject::MaterializedViews => {
                session.client.execute(&format!("CREATE MATERIALIZED VIEW {name} AS {sql}"), &[])
            }
        };
        let create_ms = milliseconds(clock);
        let notices = session.take_notices();
        let mut run = QueryRun {
            label: query.label.clone(),
            name,
            sql,
            note: query.note.clone(),
            refused: outcome.err().map(|error| message(&error)),
            create_ms,
            effective_mode: None,
            reason: None,
            explanation: None,
            translation: Translation::of(&query.oracle_sql),
            notices,
            populated: None,
            cycles: Vec::new(),
            no_change: None,
            scheduled: None,
        };
        if run.refused.is_none() {
            self.describe(&mut session.client, &mut run)?;
        }
        Ok(run)
    }

    /// Refreshes one relation.
    pub fn refresh(
        &self,
        client: &mut impl postgres::GenericClient,
        name: &str,
    ) -> Result<(), postgres::Error> {
        match self {
            Subject::StreamTables { .. } => {
                client.execute("SELECT pgtrickle.refresh_stream_table($1)", &[&name]).map(drop)
            }
            Subject::MaterializedViews => client.batch_execute(&format!("REFRESH MATERIALIZED VIEW {name}")),
        }
    }

    /// What the history says about the latest refresh: the row as JSON, null if there is none.
    pub fn last_refresh(&self, client: &mut Client, name: &str) -> Result<Value> {
        match self {
            Subject::StreamTables { .. } => json(
                client,
                "SELECT pg_catalog.to_jsonb(h)::text FROM pgtrickle.pgt_refresh_history h \
                 JOIN pgtrickle.pgt_stream_tables s USING (pgt_id) WHERE s.pgt_name = $1 \
                 ORDER BY h.refresh_id DESC LIMIT 1",
                name,
            ),
            Subject::MaterializedViews => Ok(serde_json::json!({ "action": "FULL" })),
        }
    }

    /// Asks which mode is in effect, and why it is not the one asked for.
    pub fn describe(&self, client: &mut Client, run: &mut QueryRun) -> Result<()> {
        if *self == Subject::MaterializedViews {
            run.effective_mode = Some("FULL".to_owned());
            return Ok(());
        }
        let found = json(
            client,
            "SELECT pg_catalog.to_jsonb(m)::text FROM pgtrickle.explain_refresh_mode($1) m",
            &run.name,
        )?;
        run.effective_mode = found["effective_mode"].as_str().map(str::to_owned);
        run.reason = found["downgrade_reason"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Asks once more, and how the relation is maintained.
    pub fn explain(&self, client: &mut Client, run: &mut QueryRun) -> Result<()> {
        self.describe(client, run)?;
        if *self != Subject::MaterializedViews {
            let explained = json(client, "SELECT pgtrickle.explain_stream_table($1, 'json')", &run.name)?;
            run.explanation = serde_json::from_value(explained).context("the extension's explanation")?;
        }
        Ok(())
    }
}

fn json(client: &mut Client, sql: &str, name: &str) -> Result<Value> {
    let row = client.query_opt(sql, &[&name]).with_context(|| sql.to_owned())?;
    Ok(match row.map(|row| row.get::<_, String>(0)) {
        Some(text) => serde_json::from_str(&text)?,
        None => Value::Null,
    })
}

/// An error of the server with its SQLSTATE, detail and hint.
pub fn message(error: &postgres::Error) -> String {
    let Some(server) = error.as_db_error() else { return error.to_string() };
    let mut text = format!("{} ({})", server.message(), server.code().code());
    for part in [server.detail(), server.hint()].into_iter().flatten() {
        text += &format!("; {part}");
    }
    text
}
