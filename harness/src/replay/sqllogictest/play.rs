//! One file in one database: its statements in order, the chosen queries as stream tables while they live.

use std::time::Instant;

use anyhow::{Context, Result};
use pg_trickle_corpus::sqllogictest::history::History;
use pg_trickle_corpus::sqllogictest::statement::{Effect, drop_with_views};
use pg_trickle_corpus::sqllogictest::{Life, Query, Record, Sort, Statement, mutation, parse, sample};
use postgres::Client;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::milliseconds;
use super::super::subject::{creation, message, refreshing};
use super::judge::{Judge, Judged, Second};
use super::plan::Job;
use super::result::{
    Class, Failure, FailureKind, FileRun, FileTiming, QueryVerdict, RecordedVerdict, Rejection,
};
use super::stream_table::{actions, class};
use super::{SltOptions, tables};
use crate::agreement;
use crate::cluster::{Cluster, TestDatabase};
use crate::failure::Script;

/// Changes that are made in one transaction at most.
const BATCH_MAX: usize = 40;

/// Longer than any statement takes; one that hangs becomes a failure.
const PATIENCE: &str = "120s";

/// Replays the job. What goes wrong with the machinery is part of the run.
pub(super) fn play(
    cluster: &std::sync::Arc<dyn Cluster>,
    job: &Job,
    options: &SltOptions,
) -> (FileRun, FileTiming) {
    let clock = Instant::now();
    let mut run = FileRun {
        path: job.path.clone(),
        part: job.part,
        queries: job.queries,
        statements: 0,
        rejected: Vec::new(),
        rounds: 0,
        refused_changes: 0,
        broken: None,
        verdicts: Vec::new(),
    };
    let mut timing = FileTiming {
        pg_major: cluster.pg_major(),
        path: job.path.clone(),
        part: job.part,
        ..FileTiming::default()
    };
    if let Err(error) = play_in_database(cluster, job, options, &mut run, &mut timing) {
        run.broken = Some(format!("{error:#}"));
    }
    timing.total_ms = milliseconds(clock);
    (run, timing)
}

fn play_in_database(
    cluster: &std::sync::Arc<dyn Cluster>,
    job: &Job,
    options: &SltOptions,
    run: &mut FileRun,
    timing: &mut FileTiming,
) -> Result<()> {
    let text = std::fs::read_to_string(&job.file).with_context(|| job.file.display().to_string())?;
    let records = parse(&text).map_err(anyhow::Error::msg)?;
    let database = TestDatabase::create(std::sync::Arc::clone(cluster))?;
    let mut client = database.connect()?;
    client.batch_execute(&format!("SET statement_timeout = '{PATIENCE}'"))?;
    let generator =
        |what: &str| sample::generator(options.seed, &format!("{}/{}/{what}", job.path, job.part));
    let history = History::new(&records, &job.chosen, &mut generator("history"));
    let subjects = history.lives.iter().map(|life| Subject::new(life, &records)).collect();
    let mut player = Player {
        title: format!(
            "sqllogictest replay of {} on PostgreSQL {}, seed {}",
            job.path,
            cluster.pg_major(),
            options.seed
        ),
        options,
        client,
        judge: Judge::open()?,
        records: &records,
        history: &history,
        subjects,
        pending: Vec::new(),
        log: Vec::new(),
        differs_from: None,
        rng: generator("batches"),
        run,
        timing,
    };
    let outcome = player.play(&generator);
    let subjects = std::mem::take(&mut player.subjects);
    run.verdicts = subjects.into_iter().map(|subject| subject.verdict).collect();
    outcome
}

/// A chosen query and its stream table.
struct Subject<'a> {
    life: &'a Life,
    query: &'a Query,
    name: String,
    definition: String,
    is_alive: bool,
    verdict: QueryVerdict,
}

impl<'a> Subject<'a> {
    fn new(life: &'a Life, records: &'a [Record]) -> Self {
        let Record::Query(query) = &records[life.query] else { unreachable!("a life is that of a query") };
        Subject {
            life,
            query,
            name: format!("slt_{}", query.line),
            definition: pg_trickle_corpus::sqllogictest::statement::definition(&query.sql, query.kinds.len()),
            is_alive: false,
            verdict: QueryVerdict::new(query.line, &query.sql),
        }
    }
}

struct Player<'a> {
    title: String,
    options: &'a SltOptions,
    client: Client,
    judge: Judge,
    records: &'a [Record],
    history: &'a History,
    subjects: Vec<Subject<'a>>,
    /// Changes that are due but not made.
    pending: Vec<&'a Statement>,
    /// What ran: for all, or for one subject.
    log: Vec<(Option<usize>, String)>,
    /// The line of the first statement that PostgreSQL does not run, so that the tables are not those recorded.
    differs_from: Option<usize>,
    rng: ChaCha8Rng,
    run: &'a mut FileRun,
    timing: &'a mut FileTiming,
}

impl<'a> Player<'a> {
    fn play(&mut self, generator: &dyn Fn(&str) -> ChaCha8Rng) -> Result<()> {
        for place in 0..=self.records.len() {
            let due = |wanted: &dyn Fn(&Life) -> bool, subjects: &[Subject]| -> Vec<usize> {
                (0..subjects.len()).filter(|&index| wanted(subjects[index].life)).collect()
            };
            for index in due(&|life| life.refreshes.contains(&place), &self.subjects) {
                self.refresh_and_compare(index)?;
            }
            let ending = due(&|life| life.death == place, &self.subjects);
            if !ending.is_empty() {
                self.end(&ending, &mut generator(&format!("changes {place}")))?;
            }
            for index in due(&|life| life.birth == place, &self.subjects) {
                self.create(index)?;
            }
            match self.records.get(place) {
                Some(record @ Record::Statement(statement)) if self.history.plays(record) => {
                    self.run_statement(statement)?
                }
                Some(Record::Query(_)) => {
                    for index in due(&|life| life.query == place, &self.subjects) {
                        self.judge_recorded(index)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Changes wait for others to be made with; everything else runs at once.
    fn run_statement(&mut self, statement: &'a Statement) -> Result<()> {
        match Effect::of(&statement.sql) {
            Effect::Change => {
                self.pending.push(statement);
                Ok(())
            }
            effect => {
                self.make_changes()?;
                let sql = drop_with_views(&effect).unwrap_or_else(|| statement.sql.clone());
                let makes_relation = matches!(effect, Effect::CreateTable(_) | Effect::CreateView { .. });
                self.run_one(statement.line, &sql, makes_relation)
            }
        }
    }

    /// Makes the changes that are due, in transactions of several.
    fn make_changes(&mut self) -> Result<()> {
        let clock = Instant::now();
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let count = self.rng.random_range(1..=BATCH_MAX).min(rest.len());
            let (batch, after) = rest.split_at(count);
            rest = after;
            let all: Vec<&str> = batch.iter().map(|statement| statement.sql.as_str()).collect();
            let text = format!("BEGIN;\n{};\nCOMMIT", all.join(";\n"));
            // One that is rejected takes the others with it, so they are made one by one.
            match self.client.batch_execute(&text) {
                Ok(()) => {
                    self.run.statements += batch.len();
                    self.log.push((None, text));
                }
                Err(error) if error.as_db_error().is_some() => {
                    self.client.batch_execute("ROLLBACK")?;
                    for statement in batch {
                        self.run_one(statement.line, &statement.sql, true)?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.timing.statements_ms += milliseconds(clock);
        Ok(())
    }

    fn run_one(&mut self, line: usize, sql: &str, matters: bool) -> Result<()> {
        match self.client.batch_execute(sql) {
            Ok(()) => {
                self.run.statements += 1;
                self.log.push((None, sql.to_owned()));
            }
            Err(error) if error.as_db_error().is_some() => {
                self.run.rejected.push(Rejection { line, message: message(&error) });
                if matters {
                    self.differs_from.get_or_insert(line);
                }
            }
            Err(error) => return Err(error).with_context(|| format!("line {line}: {sql}")),
        }
        Ok(())
    }

    /// Makes the query a stream table, unless it cannot be one.
    fn create(&mut self, index: usize) -> Result<()> {
        self.make_changes()?;
        let subject = &mut self.subjects[index];
        if let Err(error) = self.client.prepare(&subject.definition) {
            server_error(&error)?;
            (subject.verdict.class, subject.verdict.reason) = (Class::Rejected, Some(message(&error)));
            return Ok(());
        }
        let sql = creation(&subject.name, &subject.definition, self.options.mode.word());
        let clock = Instant::now();
        let outcome = self.client.batch_execute(&sql);
        self.timing.create_ms += milliseconds(clock);
        self.log.push((Some(index), sql));
        match outcome {
            Ok(()) => {}
            Err(error) if error.code().is_some_and(|code| code.code() == "0A000") => {
                (subject.verdict.class, subject.verdict.reason) = (Class::Refused, Some(message(&error)));
                return Ok(());
            }
            Err(error) => return self.failed(index, FailureKind::Creation, &error),
        }
        subject.is_alive = true;
        (subject.verdict.class, subject.verdict.reason) = class(&mut self.client, &subject.name)?;
        self.compare(index).map(drop)
    }

    fn refresh_and_compare(&mut self, index: usize) -> Result<()> {
        self.refresh(index)?;
        self.compare(index).map(drop)
    }

    fn refresh(&mut self, index: usize) -> Result<()> {
        self.make_changes()?;
        if !self.subjects[index].is_alive {
            return Ok(());
        }
        let sql = refreshing(&self.subjects[index].name);
        let clock = Instant::now();
        let outcome = self.client.batch_execute(&sql);
        self.timing.refresh_ms += milliseconds(clock);
        self.log.push((Some(index), sql));
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.failed(index, FailureKind::Refresh, &error),
        }
    }

    /// A call failed: the query's own error if PostgreSQL raises it too, else a fault.
    fn failed(&mut self, index: usize, what: FailureKind, error: &postgres::Error) -> Result<()> {
        server_error(error)?;
        let text = message(error);
        let own = self.client.simple_query(&self.subjects[index].definition).err();
        let is_own = own.as_ref().is_some_and(|own| own.code().is_some() && own.code() == error.code());
        let verdict = &mut self.subjects[index].verdict;
        if is_own {
            (verdict.class, verdict.reason) = (Class::Raises, Some(text));
            return self.discard(index);
        }
        let asked = own.map_or("PostgreSQL answers the query".to_owned(), |own| {
            format!("PostgreSQL says {}", message(&own))
        });
        self.give_up(index, what, format!("{text}; {asked}"))
    }

    /// Compares, and returns the contents if they are right.
    fn compare(&mut self, index: usize) -> Result<Option<Vec<Vec<Option<String>>>>> {
        let subject = &mut self.subjects[index];
        if !subject.is_alive {
            return Ok(None);
        }
        let verdict = &mut subject.verdict;
        let turn = verdict.postgres_comparisons + index as u64;
        let asks_duckdb = self.options.duckdb_every > 0 && turn.is_multiple_of(self.options.duckdb_every);
        let clock = Instant::now();
        let (judged, second) = self.judge.compare(
            &mut self.client,
            &subject.name,
            &subject.definition,
            subject.life,
            asks_duckdb,
        )?;
        *(if asks_duckdb { &mut self.timing.duckdb_ms } else { &mut self.timing.postgres_ms }) +=
            milliseconds(clock);
        match second {
            Second::NotAsked => {}
            Second::Agrees => verdict.duckdb_comparisons += 1,
            Second::Differs(how) => {
                verdict.duckdb_comparisons += 1;
                verdict.disagreement.get_or_insert(how);
            }
            Second::NotComparable(why) => {
                verdict.not_comparable.get_or_insert(why);
            }
        }
        match judged {
            Judged::Equal { found, is_value_only } => {
                verdict.postgres_comparisons += 1;
                verdict.value_only += u64::from(is_value_only);
                Ok(Some(found.relation.rows))
            }
            Judged::Wrong(difference) => {
                verdict.postgres_comparisons += 1;
                self.give_up(index, FailureKind::Wrong, difference)?;
                Ok(None)
            }
            Judged::Raises(error) => {
                (verdict.class, verdict.reason) = (Class::Raises, Some(error));
                self.discard(index)?;
                Ok(None)
            }
        }
    }

    /// At the query's place in the file: the stream table beside the recorded result.
    fn judge_recorded(&mut self, index: usize) -> Result<()> {
        self.refresh(index)?;
        let Some(found) = self.compare(index)? else { return Ok(()) };
        let query = self.subjects[index].query;
        let is_met = |rows: &[Vec<Option<String>>]| query.recorded.is_met(rows, &query.kinds, query.sort);
        // A stream table has no order; where the recorded result has one, PostgreSQL's answer, whose rows are the stream
        // table's, stands for it.
        let verdict = if query.sort != Sort::None && is_met(&found) {
            RecordedVerdict::Met
        } else {
            let is_met_by_answer = is_met(&answer(&mut self.client, &query.sql)?);
            match (is_met_by_answer, self.differs_from) {
                (true, _) if query.sort == Sort::None => RecordedVerdict::Met,
                (true, _) => {
                    let detail =
                        "PostgreSQL's answer is the recorded result, and the stream table is not".to_owned();
                    return self.give_up(index, FailureKind::Wrong, detail);
                }
                (false, Some(line)) if line < query.line => RecordedVerdict::OtherTables,
                (false, _) => RecordedVerdict::OtherAnswer,
            }
        };
        self.subjects[index].verdict.recorded = verdict;
        Ok(())
    }

    /// The end of some stream tables: rounds of further changes to what they read, then they are verified and dropped.
    fn end(&mut self, ending: &[usize], rng: &mut ChaCha8Rng) -> Result<()> {
        self.make_changes()?;
        let ending: Vec<usize> =
            ending.iter().copied().filter(|&index| self.subjects[index].is_alive).collect();
        let mut names: Vec<&String> =
            ending.iter().flat_map(|&index| &self.subjects[index].life.tables).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            let tables = tables::describe(&mut self.client, &names)?;
            for sql in mutation::save(&tables) {
                self.client.batch_execute(&sql).with_context(|| sql.clone())?;
                self.log.push((None, sql));
            }
            let rounds = mutation::rounds(&tables, rng);
            for (number, round) in rounds.iter().enumerate() {
                self.play_round(round, number + 1 == rounds.len())?;
                for &index in &ending {
                    self.refresh_and_compare(index)?;
                }
            }
        }
        for &index in &ending {
            self.verify_and_drop(index)?;
        }
        Ok(())
    }

    /// Makes the changes of a round. In the last, which puts everything back, all of them have to succeed.
    fn play_round(&mut self, round: &mutation::Round, is_last: bool) -> Result<()> {
        let clock = Instant::now();
        self.run.rounds += 1;
        for sql in &round.statements {
            match self.client.batch_execute(sql) {
                Ok(()) => self.log.push((None, sql.clone())),
                Err(error) if error.as_db_error().is_some() && !is_last => self.run.refused_changes += 1,
                Err(error) => return Err(error).with_context(|| sql.clone()),
            }
        }
        self.timing.statements_ms += milliseconds(clock);
        Ok(())
    }

    fn verify_and_drop(&mut self, index: usize) -> Result<()> {
        if !self.subjects[index].is_alive {
            return Ok(());
        }
        let name = &self.subjects[index].name;
        let clock = Instant::now();
        let wrong = agreement::verify(&mut self.client, name)?;
        self.timing.postgres_ms += milliseconds(clock);
        self.subjects[index].verdict.actions = actions(&mut self.client, &self.subjects[index].name)?;
        match wrong.is_empty() {
            true => self.discard(index),
            false => self.give_up(index, FailureKind::State, wrong.join("\n")),
        }
    }

    /// Records what is wrong, with a script, and goes on without the stream table.
    fn give_up(&mut self, index: usize, what: FailureKind, detail: String) -> Result<()> {
        let subject = &self.subjects[index];
        let is_of_subject = |owner: &Option<usize>| owner.is_none_or(|owner| owner == index);
        let statements =
            self.log.iter().filter(|(owner, _)| is_of_subject(owner)).map(|(_, sql)| sql.clone());
        let script = Script {
            title: format!("{}\nline {}: {}", self.title, subject.query.line, what.words()),
            finding: detail.clone(),
            statements: statements.collect(),
            stream_table: subject.name.clone(),
            query: subject.definition.clone(),
        };
        let name =
            format!("sqllogictest_{}_{}_pg{}", self.run.path, subject.query.line, self.timing.pg_major);
        let path = script.write(&name)?.display().to_string();
        self.subjects[index].verdict.failure = Some(Failure { what, detail, script: Some(path) });
        self.discard(index)
    }

    fn discard(&mut self, index: usize) -> Result<()> {
        let subject = &mut self.subjects[index];
        if std::mem::replace(&mut subject.is_alive, false) {
            let sql = format!("SELECT pgtrickle.drop_stream_table('{}')", subject.name);
            self.client.batch_execute(&sql).with_context(|| sql)?;
        }
        Ok(())
    }
}

/// An error that is not the server's ends the file.
fn server_error(error: &postgres::Error) -> Result<()> {
    anyhow::ensure!(error.as_db_error().is_some(), "{error}");
    Ok(())
}

/// The rows of a query in its own order.
fn answer(client: &mut Client, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let messages = client.simple_query(sql).with_context(|| sql.to_owned())?;
    let rows = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}
