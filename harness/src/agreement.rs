//! Whether the stream tables of a database agree with their queries: all of them, refreshed, at one snapshot.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use pg_trickle_oracle::Verdict;
use pg_trickle_oracle::compare::{Equality, compare};
use pg_trickle_oracle::postgres::{Typed, fetch, judge_results};
use postgres::{Client, GenericClient, IsolationLevel};

/// Every stream table with its query, those that others read first.
const STREAM_TABLES: &str = "\
WITH RECURSIVE depth (relid, n) AS (
    SELECT s.pgt_relid, 0 FROM pgtrickle.pgt_stream_tables s
    UNION
    SELECT s.pgt_relid, d.n + 1
    FROM depth d
    JOIN pgtrickle.pgt_dependencies p ON p.source_relid = d.relid
    JOIN pgtrickle.pgt_stream_tables s ON s.pgt_id = p.pgt_id
    WHERE d.n < 100
)
SELECT pg_catalog.format('%I.%I', s.pgt_schema, s.pgt_name), s.defining_query,
    s.frontier->>'time'
FROM pgtrickle.pgt_stream_tables s
ORDER BY (SELECT pg_catalog.max(n) FROM depth WHERE relid = s.pgt_relid), s.pgt_id";

/// One stream table.
#[derive(Debug, Clone)]
pub struct StreamTable {
    /// Schema and name, quoted where needed.
    pub name: String,
    /// The defining query, without a semicolon, at the time that the last refresh saw.
    pub query: String,
}

/// A query with everything that reads the time replaced by `time`, so that it can be evaluated later. What views beneath
/// it read stays as it is.
pub fn at_time(query: &str, time: &str) -> String {
    let moment = format!("('{time}'::pg_catalog.timestamptz)");
    let readings = [
        ("now()", moment.clone()),
        ("transaction_timestamp()", moment.clone()),
        ("CURRENT_TIMESTAMP", moment.clone()),
        ("CURRENT_DATE", format!("({moment}::pg_catalog.date)")),
        ("LOCALTIMESTAMP", format!("({moment}::pg_catalog.timestamp)")),
        ("CURRENT_TIME", format!("({moment}::pg_catalog.timetz)")),
        ("LOCALTIME", format!("({moment}::pg_catalog.time)")),
    ];
    readings.iter().fold(query.to_owned(), |query, (reading, value)| query.replace(reading, value))
}

/// The stream tables of a database, in an order in which each comes after those that it reads.
pub fn stream_tables(client: &mut impl GenericClient) -> Result<Vec<StreamTable>> {
    let rows = client.query(STREAM_TABLES, &[]).context("cannot list the stream tables")?;
    Ok(rows
        .iter()
        .map(|row| StreamTable {
            name: row.get(0),
            query: {
                let query: String = row.get(1);
                let query = query.trim_end().trim_end_matches(';');
                row.get::<_, Option<String>>(2).map_or(query.to_owned(), |time| at_time(query, &time))
            },
        })
        .collect())
}

/// In which order stream tables are refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOrder {
    /// Each stream table after those that it reads, so that a refresh finds its sources up to date.
    SourcesFirst,
    /// Each before those that it reads, so that a refresh has to bring its sources up to date itself.
    ConsumersFirst,
}

/// Refreshes every stream table, and returns their number.
pub fn refresh_all(client: &mut Client, order: RefreshOrder) -> Result<usize> {
    let mut tables = stream_tables(client)?;
    if order == RefreshOrder::ConsumersFirst {
        tables.reverse();
    }
    for table in &tables {
        client
            .execute("SELECT pgtrickle.refresh_stream_table($1)", &[&table.name])
            .with_context(|| format!("refresh of {}", table.name))?;
    }
    Ok(tables.len())
}

/// What a comparison has to know beyond the catalog. Names are as in [`StreamTable::name`].
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The query to compare with where it is not the defining query: the one in which ties are broken.
    pub queries: BTreeMap<String, String>,
    /// Stream tables with columns that show one representative of a class of equal values; they compare as numbers.
    pub by_value: Vec<String>,
}

/// Compares every stream table with its query at one snapshot, and returns their names. An error lists the rows that
/// differ.
pub fn check_all(client: &mut Client, expectations: &Expectations) -> Result<Vec<String>> {
    let mut snapshot =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start()?;
    let (mut wrong, mut compared) = (Vec::new(), Vec::new());
    for table in stream_tables(&mut snapshot)? {
        let query = expectations.queries.get(&table.name).unwrap_or(&table.query);
        let expected = fetch(&mut snapshot, query)?;
        let found = fetch(&mut snapshot, &format!("SELECT * FROM {}", table.name))?;
        let verdict = judge_results(&expected, &found);
        let verdict = match verdict {
            Verdict::Rows(_) if expectations.by_value.contains(&table.name) => by_value(&expected, &found),
            verdict => verdict,
        };
        if !verdict.is_equal() {
            wrong.push(format!("{} is not its query:\n{verdict}", table.name));
        }
        compared.push(table.name);
    }
    snapshot.commit()?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(compared)
}

/// Compares two results with numbers by value in place of text.
pub fn by_value(expected: &Typed, found: &Typed) -> Verdict {
    let equalities: Vec<Equality> = expected
        .types
        .iter()
        .map(|kind| if *kind == postgres::types::Type::NUMERIC { Equality::Number } else { Equality::Text })
        .collect();
    match compare(&expected.relation, &found.relation, &equalities) {
        Some(difference) => Verdict::Rows(Box::new(difference)),
        None => Verdict::Equal { rows: found.relation.rows.len() },
    }
}

/// Lets the extension compare contents and hidden state of every stream table with a recomputation.
pub fn verify_all(client: &mut Client) -> Result<()> {
    let mut wrong = Vec::new();
    for table in stream_tables(client)? {
        let found = verify(client, &table.name)?;
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", table.name)));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Lets the extension verify one stream table, and returns what it finds wrong.
pub fn verify(client: &mut Client, name: &str) -> Result<Vec<String>, postgres::Error> {
    let rows = client.query(
        "SELECT check_name, ok, missing_rows, surplus_rows, detail FROM pgtrickle.verify_stream_table($1)",
        &[&name],
    )?;
    let wrong = rows.iter().filter(|row| row.get::<_, Option<bool>>(1) != Some(true));
    let describe = |row: &postgres::Row| {
        let (missing, surplus): (Option<i64>, Option<i64>) = (row.get(2), row.get(3));
        format!(
            "check {} failed: {} missing, {} surplus, {}",
            row.get::<_, String>(0),
            missing.unwrap_or(0),
            surplus.unwrap_or(0),
            row.get::<_, Option<String>>(4).unwrap_or_default()
        )
    };
    Ok(wrong.map(describe).collect())
}

/// Refreshes everything and checks everything, hidden state included: what holds whenever nobody writes.
pub fn settle(client: &mut Client, order: RefreshOrder, expectations: &Expectations) -> Result<()> {
    refresh_all(client, order)?;
    check_all(client, expectations)?;
    verify_all(client)
}
