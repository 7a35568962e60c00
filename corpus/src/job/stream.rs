//! The changes: for each query, rows enter its result and leave it in every cycle; besides, changes to the noise.
//!
//! A cycle is a function of size, seed and number. The first planted match of each query is never touched, so no result
//! is ever empty; a minimum moves with every match that arrives or leaves.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::noise::rows_of;
use super::plant::{self, Match, Planted};
use super::workload::Job;
use crate::change::{Cycle, Statement, Transaction};
use crate::row::{Row, Value};

/// Added to the id of a noise row that comes back as another row. Rows from here on are not changed again.
const REPLACED: i64 = 500_000_000;

/// Added to the id of a title for one cycle.
const LENT: i64 = 900_000_000;

/// The transactions of cycle `number`.
pub(super) fn cycle(job: &Job, number: u32) -> Cycle {
    let mut rng = ChaCha8Rng::seed_from_u64(job.seed);
    rng.set_stream(u64::from(number));
    let mut transactions = noise(job, number, &mut rng);
    for (query, (spec, planted)) in job.planted().enumerate() {
        let mut statements = come_and_go(job, query, number);
        statements.extend(mend_and_break(planted, number));
        statements.extend(detach_and_attach(planted, number));
        transactions.push(Transaction::new(format!("aimed at {}", spec.key), statements));
    }
    Cycle { number, transactions }
}

/// In turn: a match arrives whose texts come before all others; one of its rows goes, and with it the minimum; the row
/// comes back while another match arrives and goes within the transaction.
fn come_and_go(job: &Job, query: usize, number: u32) -> Vec<Statement> {
    let arrival = |cycle| plant::arriving(&job.specs[query], query, job.seed, cycle);
    // Queries take turns, so that every cycle has all of it.
    let phase = (u64::from(number) + query as u64) % 3;
    let taken_from = |arrived: &Match| -> Row {
        let own: Vec<&Row> = plant::own(&arrived.rows).collect();
        own[(query + number as usize / 3) % own.len()].clone()
    };
    match phase {
        0 => insert(&arrival(number).rows),
        // Before the first cycle nothing arrived.
        1 if number > 1 => vec![delete(&taken_from(&arrival(number - 1)))],
        2 if number > 2 => {
            // The row that phase 1 took in the cycle before, so its choice has to be repeated.
            let arrived = arrival(number - 2);
            let own: Vec<&Row> = plant::own(&arrived.rows).collect();
            let back = own[(query + (number as usize - 1) / 3) % own.len()];
            let passing = arrival(number).rows;
            let mut statements = insert(std::slice::from_ref(back));
            statements.extend(insert(&passing));
            statements.extend(plant::own(&passing).map(delete));
            statements
        }
        _ => insert(&arrival(number).rows),
    }
}

/// A near miss becomes a match by one update, and that of the cycle before a near miss again.
fn mend_and_break(planted: &Planted, number: u32) -> Vec<Statement> {
    let misses = &planted.near_misses;
    if misses.is_empty() {
        return Vec::new();
    }
    let at = |cycle: u32| &misses[cycle as usize % misses.len()];
    let (mended, broken) = (at(number), at(number - 1));
    let mut statements = Vec::new();
    if number > 1 && misses.len() > 1 {
        statements.push(update(&broken.rows[broken.relation]));
    }
    // With a single near miss the cycles mend it and break it in turn.
    let is_broken_again = misses.len() == 1 && number.is_multiple_of(2);
    statements.push(update(if is_broken_again { &mended.rows[mended.relation] } else { &mended.mended }));
    statements
}

/// A row of the second match loses a key to NULL or to the row of another film or person; that of the cycle before gets
/// its own back.
fn detach_and_attach(planted: &Planted, number: u32) -> Vec<Statement> {
    let own: Vec<&Row> = plant::own(&planted.matches[1].rows).collect();
    let others: Vec<&Row> = plant::own(&planted.matches[2].rows).collect();
    let at = |cycle: u32| cycle as usize % own.len();
    let mut statements = Vec::new();
    if number > 1 {
        statements.push(update(own[at(number - 1)]));
    }
    let mut detached = own[at(number)].clone();
    let key =
        detached.table.columns.iter().find(|column| column.ends_with("movie_id") || **column == "person_id");
    match key {
        Some(key) if number.is_multiple_of(2) => {
            let moved_to = others[at(number)].get(key).clone();
            detached.set(key, moved_to);
        }
        Some(key) => detached.set(key, Value::Null),
        // Tables without such a key are what others refer to; their texts are what conditions read.
        None => {
            let text = detached.table.columns[1];
            detached.set(text, Value::Null);
        }
    }
    statements.push(update(&detached));
    statements
}

/// Changes to rows that belong to no match.
fn noise(job: &Job, number: u32, rng: &mut ChaCha8Rng) -> Vec<Transaction> {
    let (titles, casts) = (rows_of("title", job.titles), rows_of("cast_info", job.titles));
    let mut pick = |most: i64| rng.random_range(1..=most);
    let some = |column: &str, salt: i64, of: i64| {
        format!("{column} < {REPLACED} AND ({column}::bigint * 7919 + {salt}) % {of} = 0")
    };
    let (movers, salt) = (some("id", pick(997), 211), pick(997));
    let (title, other, person) = (pick(titles), pick(titles), pick(rows_of("name", job.titles)));
    let (company, keyword) = (pick(rows_of("company_name", job.titles)), pick(30));
    let parked = some("id", salt, 307);
    let statement = Statement::on;
    vec![
        Transaction::new(
            "put parked rows back",
            vec![
                statement("cast_info", "INSERT INTO cast_info SELECT * FROM parked_cast_info".to_owned()),
                Statement::other("DELETE FROM parked_cast_info"),
                statement(
                    "movie_keyword",
                    "INSERT INTO movie_keyword SELECT * FROM parked_movie_keyword".to_owned(),
                ),
                Statement::other("DELETE FROM parked_movie_keyword"),
            ],
        ),
        Transaction::new(
            "move roles to another film and another person",
            vec![
                statement(
                    "cast_info",
                    format!("UPDATE cast_info SET movie_id = movie_id % {titles} + 1 WHERE {movers}"),
                ),
                statement(
                    "cast_info",
                    format!("UPDATE cast_info SET person_id = {person} WHERE id = {}", pick(casts)),
                ),
            ],
        ),
        Transaction::new(
            "park rows",
            vec![
                statement(
                    "cast_info",
                    format!(
                        "WITH taken AS (DELETE FROM cast_info WHERE {parked} RETURNING *) \
                     INSERT INTO parked_cast_info SELECT * FROM taken"
                    ),
                ),
                statement(
                    "movie_keyword",
                    format!(
                        "WITH taken AS (DELETE FROM movie_keyword WHERE {parked} RETURNING *) \
                     INSERT INTO parked_movie_keyword SELECT * FROM taken"
                    ),
                ),
            ],
        ),
        Transaction::new(
            "change years, titles and notes",
            vec![
                statement(
                    "title",
                    format!(
                        "UPDATE title SET production_year = coalesce(production_year, 1990) + 1, kind_id = kind_id % 7 + 1 \
                     WHERE {}",
                        some("id", salt, 97)
                    ),
                ),
                statement(
                    "movie_companies",
                    format!(
                        "UPDATE movie_companies SET note = NULLIF(note, '(presents)') WHERE {}",
                        some("id", salt, 41)
                    ),
                ),
                statement(
                    "movie_info_idx",
                    format!(
                        "UPDATE movie_info_idx SET info = '8.{}' WHERE {} AND info_type_id = 101",
                        salt % 10,
                        some("id", salt, 13)
                    ),
                ),
                statement(
                    "company_name",
                    format!(
                        "UPDATE company_name SET country_code = CASE country_code WHEN '[us]' THEN '[de]' ELSE '[us]' END \
                     WHERE id = {company}"
                    ),
                ),
            ],
        ),
        Transaction::new(
            "a frequent keyword changes hands",
            vec![statement(
                "movie_keyword",
                format!("UPDATE movie_keyword SET keyword_id = {keyword} WHERE {}", some("id", salt, 53)),
            )],
        ),
        Transaction::new(
            "a title changes its key, and back",
            vec![
                statement("title", format!("UPDATE title SET id = id + {REPLACED} WHERE id = {title}")),
                statement(
                    "title",
                    format!("UPDATE title SET id = id - {REPLACED} WHERE id = {}", title + REPLACED),
                ),
            ],
        ),
        Transaction::new(
            "a title changes its key for a cycle",
            vec![statement("title", lasting_key(number, titles))],
        ),
        Transaction::new(
            "a person leaves with all roles",
            vec![
                statement("cast_info", format!("DELETE FROM cast_info WHERE person_id = {person}")),
                statement("name", format!("DELETE FROM name WHERE id = {person}")),
            ],
        ),
        Transaction::new(
            "delete and reinsert",
            vec![statement(
                "movie_info",
                format!(
                    "WITH taken AS (DELETE FROM movie_info WHERE {} RETURNING *) INSERT INTO movie_info \
                 SELECT id + {REPLACED} + {number}, movie_id, info_type_id, info, note FROM taken ON CONFLICT DO NOTHING",
                    some("id", salt, 401)
                ),
            )],
        ),
        Transaction::new(
            "two kinds swap their names",
            vec![statement(
            "kind_type",
            "UPDATE kind_type SET kind = CASE kind WHEN 'tv movie' THEN 'video movie' ELSE 'tv movie' END \
             WHERE kind IN ('tv movie', 'video movie')"
                .to_owned(),
        )],
        ),
        Transaction::new(
            "roll back to a savepoint",
            vec![
                Statement::other("SAVEPOINT half"),
                statement("title", format!("DELETE FROM title WHERE id IN ({title}, {other})")),
                statement("cast_info", format!("UPDATE cast_info SET note = NULL WHERE movie_id = {other}")),
                Statement::other("ROLLBACK TO SAVEPOINT half"),
                statement(
                    "cast_info",
                    format!("UPDATE cast_info SET note = '(voice)' WHERE movie_id = {title}"),
                ),
            ],
        ),
    ]
}

/// Cycles with odd numbers give a title another key, the following ones give it back.
fn lasting_key(number: u32, titles: i64) -> String {
    let title = i64::from(number.div_ceil(2)) * 37 % titles + 1;
    let (from, to) = match number.is_multiple_of(2) {
        true => (title + LENT, title),
        false => (title, title + LENT),
    };
    format!("UPDATE title SET id = {to} WHERE id = {from}")
}

/// Inserts the rows of a match that are its own, one statement per table.
fn insert(rows: &[Row]) -> Vec<Statement> {
    let mut tuples: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in plant::own(rows) {
        tuples.entry(row.table.name).or_default().push(row.tuple());
    }
    tuples
        .into_iter()
        .map(|(table, tuples)| {
            Statement::on(table, format!("INSERT INTO {table} VALUES {}", tuples.join(", ")))
        })
        .collect()
}

/// Gives every column the row's value.
fn update(row: &Row) -> Statement {
    let table = row.table.name;
    let columns = row.table.columns.iter().zip(&row.values).skip(1);
    let settings: Vec<String> = columns.map(|(column, value)| format!("{column} = {value}")).collect();
    Statement::on(table, format!("UPDATE {table} SET {} WHERE id = {}", settings.join(", "), row.values[0]))
}

fn delete(row: &Row) -> Statement {
    let table = row.table.name;
    Statement::on(table, format!("DELETE FROM {table} WHERE id = {}", row.values[0]))
}
