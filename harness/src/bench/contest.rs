//! The ways to one result, refreshed in turns after the same changes.
//!
//! REFRESH MATERIALIZED VIEW replaces a table, of which every session of the database is told; whoever then looks at his
//! plans again pays for it in his next turn, which is not what happens between two refreshes in use. So a cycle changes
//! the tables twice. The turns after the first change are kept as a contestant of their own. What is measured follows the
//! second change: first those that disturb nobody, in turns, then the materialized views.

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::workload::Query;
use pg_trickle_oracle::postgres::judge;
use postgres::Client;
use serde_json::Value;

use super::cost;
use super::ground::{Ground, Place};
use super::result::{
    BY_HAND, CONCURRENTLY, Case, Contestant, Cycle, DISTURBED, NO_DATA, RECOMPUTE, STREAM_TABLE,
};
use super::statistics::Spread;
use crate::replay::{Mode, SCHEDULE, Subject, refreshing};

/// What a skilled person would write for one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Creates a table `by_hand.NAME`, fills it, and creates what keeps track of changes.
    pub setup: String,
    /// The statement that takes pending changes into it.
    pub refresh: String,
    pub table: String,
}

/// What one contestant does in its turn.
struct Way {
    /// Its place in the case.
    contestant: usize,
    /// The place of its turns right after materialized views were refreshed, if they are kept.
    disturbed: Option<usize>,
    /// Statements, each in a transaction of its own.
    statements: Vec<String>,
    /// The stream table whose history describes the last of them.
    history: Option<String>,
    /// A relation and the query that it must be in the end.
    judged: Option<(String, String)>,
}

/// A case that is being measured.
pub struct Contest {
    case: Case,
    /// Those that disturb nobody, and those of which every session is told.
    quiet: Vec<Way>,
    disturbing: Vec<Way>,
}

/// Changes the tables twice, and lets everyone of all contests have a turn. `change` is told which change it is, from 1.
/// Turns to warm up are not kept.
pub fn cycle(
    contests: &mut [Contest],
    client: &mut Client,
    (number, is_kept): (u32, bool),
    mut change: impl FnMut(&mut Client, u32) -> Result<()>,
) -> Result<()> {
    change(client, 2 * number - 1)?;
    for contest in contests.iter_mut() {
        contest.recover(client, is_kept)?;
    }
    change(client, 2 * number)?;
    for contest in contests.iter_mut() {
        contest.turn(client, number, is_kept)?;
    }
    for contest in contests.iter_mut() {
        contest.disturb(client, number, is_kept)?;
    }
    Ok(())
}

impl Contest {
    /// A case without contestants.
    pub fn new(case: Case) -> Contest {
        Contest { case, quiet: Vec::new(), disturbing: Vec::new() }
    }

    /// The usual contestants for one query: stream tables in the modes asked for, a materialized view refreshed as a
    /// whole and one refreshed concurrently if the result has a key, and what is written by hand if there is any.
    pub fn over(
        ground: &Ground,
        place: &mut Place,
        case: Case,
        query: &Query,
        by_hand: Option<ByHand>,
    ) -> Result<Contest> {
        let mut contest = Contest::new(Case { what: query.sql.clone(), ..case });
        let session = &mut place.session;
        let judged = |relation: &str| Some((relation.to_owned(), query.oracle_sql.clone()));
        let name = &query.name;
        let subject = ground.subject();
        let mut run = subject.create(session, query)?;
        match &run.refused {
            Some(reason) => contest.absent(STREAM_TABLE, reason),
            None => contest.stream_tables(STREAM_TABLE, std::slice::from_ref(name), judged(name)),
        }
        for &mode in ground.sizes.modes.iter().skip(1) {
            let title = format!("{STREAM_TABLE} {}", mode.word());
            let variant = Query { name: format!("{name}_{}", mode.word().to_lowercase()), ..query.clone() };
            let made = Subject::StreamTables { mode }.create_alone(session, &variant, SCHEDULE)?;
            match &made.refused {
                Some(reason) => contest.absent(&title, reason),
                None => {
                    contest.stream_tables(&title, std::slice::from_ref(&variant.name), judged(&variant.name))
                }
            }
        }
        let refresh = |words: &str| vec![format!("REFRESH MATERIALIZED VIEW {words}.{name}")];
        contest.materialized_views(RECOMPUTE, refresh("recompute"));
        if run.refused.is_none() {
            subject.explain(&mut session.client, &mut run)?;
        }
        match concurrently(&mut session.client, &run.explanation.and_then(|found| found.key), query)? {
            Some(reason) => contest.absent(CONCURRENTLY, &reason),
            None => contest.materialized_views(CONCURRENTLY, refresh("CONCURRENTLY concurrent")),
        }
        if let Some(by_hand) = by_hand {
            session.client.batch_execute(&by_hand.setup).with_context(|| format!("{name} by hand"))?;
            contest.by_hand(by_hand.refresh, judged(&by_hand.table));
        }
        Ok(contest)
    }

    /// Adds materialized views that are refreshed one after the other.
    pub fn materialized_views(&mut self, name: &str, statements: Vec<String>) {
        let contestant = self.contestant(name);
        self.disturbing.push(Way { contestant, disturbed: None, statements, history: None, judged: None });
    }

    /// Adds what is written by hand.
    fn by_hand(&mut self, statement: String, judged: Option<(String, String)>) {
        let contestant = self.contestant(BY_HAND);
        self.quiet.push(Way {
            contestant,
            disturbed: None,
            statements: vec![statement],
            history: None,
            judged,
        });
    }

    /// Adds stream tables that are refreshed one after the other. `judged` is a relation and the query that it must be
    /// in the end.
    pub fn stream_tables(&mut self, name: &str, stream_tables: &[String], judged: Option<(String, String)>) {
        let contestant = self.contestant(name);
        let disturbed = Some(self.contestant(&format!("{name}{DISTURBED}")));
        let statements = stream_tables.iter().map(|name| refreshing(name)).collect();
        let history = stream_tables.last().cloned();
        self.quiet.push(Way { contestant, disturbed, statements, history, judged });
    }

    fn contestant(&mut self, name: &str) -> usize {
        self.case.contestants.push(Contestant::named(name));
        self.case.contestants.len() - 1
    }

    /// Notes a contestant that cannot take part.
    pub fn absent(&mut self, name: &str, reason: &str) {
        self.case.contestants.push(Contestant::absent(name, reason));
    }

    /// The turn right after materialized views were refreshed, after which they disturb nobody any more.
    fn recover(&mut self, client: &mut Client, is_kept: bool) -> Result<()> {
        for way in &self.quiet {
            let cycle = way.turn(client).with_context(|| self.case.name.clone())?;
            if let Some(disturbed) = way.disturbed.filter(|_| is_kept) {
                self.case.contestants[disturbed].cycles.push(cycle);
            }
        }
        Ok(())
    }

    /// The turn of those that disturb nobody, each time beginning with another one.
    fn turn(&mut self, client: &mut Client, number: u32, is_kept: bool) -> Result<()> {
        turns(&self.quiet, &mut self.case, client, number, is_kept)
    }

    /// The turn of the others.
    fn disturb(&mut self, client: &mut Client, number: u32, is_kept: bool) -> Result<()> {
        turns(&self.disturbing, &mut self.case, client, number, is_kept)
    }

    /// The case, after every result was found to be that of its query.
    pub fn finish(self, client: &mut Client) -> Result<Case> {
        let mut snapshot = client.build_transaction().read_only(true).start()?;
        for (relation, query) in self.quiet.iter().filter_map(|way| way.judged.as_ref()) {
            let verdict = judge(&mut snapshot, relation, query)?;
            ensure!(verdict.is_equal(), "{}: {relation} is not its query: {verdict}", self.case.name);
        }
        snapshot.commit()?;
        println!("{}", line(&self.case));
        Ok(self.case)
    }
}

fn turns(ways: &[Way], case: &mut Case, client: &mut Client, number: u32, is_kept: bool) -> Result<()> {
    for place in 0..ways.len() {
        let way = &ways[(place + number as usize) % ways.len()];
        let cycle = way.turn(client).with_context(|| case.name.clone())?;
        if is_kept {
            case.contestants[way.contestant].cycles.push(cycle);
        }
    }
    Ok(())
}

impl Way {
    fn turn(&self, client: &mut Client) -> Result<Cycle> {
        let before = self.last_refresh(client)?;
        let mut sum: Option<Cycle> = None;
        for statement in &self.statements {
            let cycle = cost::of_transaction(client, |open| Ok(open.batch_execute(statement)?))
                .with_context(|| statement.clone())?;
            match &mut sum {
                None => sum = Some(cycle),
                Some(sum) => *sum += cycle,
            }
        }
        let mut cycle = sum.unwrap_or_default();
        if let Some(last) = self.last_refresh(client)? {
            // A refresh that finds nothing to do leaves no history: what is there is of an earlier one.
            let is_of_this_turn = before.is_some_and(|before| before["refresh_id"] != last["refresh_id"]);
            let action = if is_of_this_turn { last["action"].as_str() } else { Some(NO_DATA) };
            cycle.action = action.map(str::to_owned);
            cycle.delta_rows = if is_of_this_turn { last["delta_row_count"].as_i64() } else { Some(0) };
        }
        Ok(cycle)
    }

    /// The latest row of the history, of contestants that have one.
    fn last_refresh(&self, client: &mut Client) -> Result<Option<Value>> {
        let subject = Subject::StreamTables { mode: Mode::Auto };
        self.history.as_ref().map(|name| subject.last_refresh(client, name)).transpose()
    }
}

/// Creates the materialized view that is refreshed concurrently, or says why there can be none.
fn concurrently(client: &mut Client, key: &Option<Vec<String>>, query: &Query) -> Result<Option<String>> {
    let Some(key) = key else { return Ok(Some("the result has no known key".to_owned())) };
    let name = &query.name;
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW concurrent.{name} AS {}", query.sql))?;
    // Of a result of one row any column will do.
    let columns = match key.as_slice() {
        [] => client.prepare(&format!("SELECT * FROM concurrent.{name}"))?.columns()[..1]
            .iter()
            .map(|column| column.name().to_owned())
            .collect(),
        key => key.to_vec(),
    };
    let quoted: Vec<String> =
        columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    client.batch_execute(&format!("CREATE UNIQUE INDEX ON concurrent.{name} ({})", quoted.join(", ")))?;
    Ok(None)
}

/// A case in a line.
pub fn line(case: &Case) -> String {
    let words: Vec<String> = case
        .contestants
        .iter()
        .filter_map(|one| Some(format!("{} {:.3} ms", one.name, Spread::of(&one.times())?.median)))
        .collect();
    let idle = if case.is_idle() { " (nothing to do)" } else { "" };
    format!("{}{idle}: {}", case.name, words.join(", "))
}
