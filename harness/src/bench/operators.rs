//! Operators one by one: a query of each over the same tables, at several sizes, after changes of several sizes.

use anyhow::Result;
use pg_trickle_corpus::workload::Query;
use postgres::Client;

use super::contest::{ByHand, Contest, cycle};
use super::ground::{Ground, settle};
use super::result::Case;

/// Rows of a dimension for each row of the fact table, the least number aside.
const DIMENSION_SHARE: u64 = 100;

/// Joined tables of the widest join, besides the fact table.
const DIMENSIONS: usize = 7;

/// An operator and the query that shows it.
struct Operator {
    name: &'static str,
    query: &'static str,
    by_hand: Option<&'static str>,
}

const fn operator(name: &'static str, query: &'static str) -> Operator {
    Operator { name, query, by_hand: None }
}

const OPERATORS: &[Operator] = &[
    Operator {
        name: "filter",
        query: "SELECT k, v FROM fact WHERE v % 10 < 5",
        by_hand: Some(include_str!("by_hand/filter.sql")),
    },
    operator("projection", "SELECT k, v + 1 AS v, upper(s) AS s FROM fact"),
    operator("group_by_10", "SELECT g10, count(*) AS n, sum(v) AS s FROM fact GROUP BY g10"),
    Operator {
        name: "group_by_1000",
        query: "SELECT g1000, count(*) AS n, sum(v) AS s FROM fact GROUP BY g1000",
        by_hand: Some(include_str!("by_hand/group_by_1000.sql")),
    },
    operator("group_by_1000000", "SELECT g1000000, count(*) AS n, sum(v) AS s FROM fact GROUP BY g1000000"),
    operator("minimum", "SELECT g1000, min(v) AS low, max(v) AS high FROM fact GROUP BY g1000"),
    operator("distinct_", "SELECT DISTINCT g1000, v % 10 AS v FROM fact"),
    operator("join_2", "SELECT f.k, f.v, d1.name FROM fact f JOIN dim_1 d1 ON d1.k = f.d1"),
    Operator {
        name: "join_2_aggregate",
        query: "SELECT d.g, count(*) AS n, sum(f.v) AS s FROM fact f JOIN dim_1 d ON d.k = f.d1 GROUP BY d.g",
        by_hand: Some(include_str!("by_hand/join_2_aggregate.sql")),
    },
    operator(
        "join_4",
        "SELECT f.k, f.v, d1.name AS n1, d2.name AS n2, d3.name AS n3 FROM fact f JOIN dim_1 d1 ON d1.k = f.d1 \
         JOIN dim_2 d2 ON d2.k = f.d2 JOIN dim_3 d3 ON d3.k = f.d3",
    ),
    operator(
        "join_8",
        "SELECT f.k, f.v, d1.name AS n1, d2.name AS n2, d3.name AS n3, d4.name AS n4, d5.name AS n5, d6.name AS n6, \
         d7.name AS n7 FROM fact f JOIN dim_1 d1 ON d1.k = f.d1 JOIN dim_2 d2 ON d2.k = f.d2 \
         JOIN dim_3 d3 ON d3.k = f.d3 JOIN dim_4 d4 ON d4.k = f.d4 JOIN dim_5 d5 ON d5.k = f.d5 \
         JOIN dim_6 d6 ON d6.k = f.d6 JOIN dim_7 d7 ON d7.k = f.d7",
    ),
    operator("left_join", "SELECT f.k, f.v, o.k AS ok, o.v AS ov FROM fact f LEFT JOIN other o ON o.f = f.k"),
    operator("semi_join", "SELECT f.k, f.v FROM fact f WHERE EXISTS (SELECT FROM other o WHERE o.f = f.k)"),
    operator(
        "anti_join",
        "SELECT f.k, f.v FROM fact f WHERE NOT EXISTS (SELECT FROM other o WHERE o.f = f.k)",
    ),
    operator("window_", "SELECT k, p, row_number() OVER (PARTITION BY p ORDER BY v, k) AS n FROM fact"),
    operator("top_k", "SELECT k, v FROM fact ORDER BY v DESC, k LIMIT 10"),
    operator("union_", "SELECT g1000 AS g, v % 100 AS v FROM fact UNION SELECT f % 1000, v % 100 FROM other"),
    operator(
        "except_",
        "SELECT g1000 AS g, v % 100 AS v FROM fact EXCEPT SELECT f % 1000, v % 100 FROM other",
    ),
    operator(
        "recursive_",
        "WITH RECURSIVE below (k, depth) AS (SELECT k, 0 FROM tree WHERE parent IS NULL \
         UNION ALL SELECT t.k, b.depth + 1 FROM below b JOIN tree t ON t.parent = b.k) SELECT k, depth FROM below",
    ),
    operator(
        "lateral_",
        "SELECT f.k, o.v FROM fact f, LATERAL (SELECT o.k, o.v FROM other o WHERE o.f = f.k \
         ORDER BY o.v DESC, o.k LIMIT 2) o",
    ),
    operator(
        "correlated",
        "SELECT f.k, f.v FROM fact f WHERE f.v > (SELECT avg(o.v) FROM other o WHERE o.f = f.k)",
    ),
];

/// The cases: every operator at every size after changes of every size.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    at(ground, &ground.sizes.rows, &ground.sizes.changes)
}

/// The cases at these sizes. A change is at most half of the table.
pub(super) fn at(ground: &Ground, rows: &[u64], changes: &[u64]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &rows in rows {
        for &changes in changes.iter().filter(|&&changes| 2 * changes <= rows) {
            cases.extend(of(ground, rows, changes)?);
        }
    }
    Ok(cases)
}

/// All operators in a database of their own.
fn of(ground: &Ground, rows: u64, changes: u64) -> Result<Vec<Case>> {
    let mut place = ground.place()?;
    load(&mut place.session.client, rows)?;
    let wanted = &ground.sizes.operators;
    let mut contests = Vec::new();
    for operator in
        OPERATORS.iter().filter(|one| wanted.is_empty() || wanted.iter().any(|name| name == one.name))
    {
        let label = operator.name.trim_end_matches('_').replace('_', " ");
        let query = Query {
            key: operator.name.to_owned(),
            label: label.clone(),
            name: operator.name.to_owned(),
            sql: operator.query.to_owned(),
            oracle_sql: operator.query.to_owned(),
            note: None,
        };
        let case = Case {
            name: format!("{label}, {rows} rows, {changes} changes"),
            series: format!("{label}, {changes} changes"),
            source_rows: Some(rows),
            change_rows: Some(changes),
            ..Case::default()
        };
        let by_hand = operator.by_hand.map(|setup| ByHand {
            setup: setup.to_owned(),
            refresh: format!("SELECT by_hand.{}_refresh()", operator.name),
            table: format!("by_hand.{}", operator.name),
        });
        contests.push(Contest::over(ground, &mut place, case, &query, by_hand)?);
    }
    let client = &mut place.session.client;
    settle(client)?;
    for number in ground.cycles() {
        cycle(&mut contests, client, number, |client, number| change(client, rows, changes, number))?;
    }
    contests.into_iter().map(|contest| contest.finish(client)).collect()
}

fn load(client: &mut Client, rows: u64) -> Result<()> {
    let dimension = (rows / DIMENSION_SHARE).max(10);
    let partitions = (rows / 100).max(1);
    for number in 1..=DIMENSIONS {
        client.batch_execute(&format!(
            "CREATE TABLE dim_{number} (k int PRIMARY KEY, g int NOT NULL, name text NOT NULL); \
             INSERT INTO dim_{number} SELECT i, i % 20, 'name ' || i FROM generate_series(0, {dimension} - 1) i"
        ))?;
    }
    client.batch_execute(&format!(
        "CREATE TABLE fact (k int PRIMARY KEY, g10 int NOT NULL, g1000 int NOT NULL, g1000000 int NOT NULL, \
             p int NOT NULL, d1 int, d2 int, d3 int, d4 int, d5 int, d6 int, d7 int, v int NOT NULL, s text); \
         INSERT INTO fact {}; \
         CREATE INDEX ON fact (v); CREATE INDEX ON fact (p); CREATE INDEX ON fact (d1); \
         CREATE INDEX ON fact (g1000); \
         CREATE TABLE other (k int PRIMARY KEY, f int NOT NULL, v int NOT NULL); \
         INSERT INTO other {}; \
         CREATE INDEX ON other (f); \
         CREATE TABLE tree (k int PRIMARY KEY, parent int); \
         INSERT INTO tree SELECT i, nullif(i / 10, 0) FROM generate_series(1, {rows}) i; \
         CREATE INDEX ON tree (parent);",
        facts(dimension, partitions, &format!("generate_series(1, {rows})")),
        others(rows, &format!("generate_series(1, {rows} / 2)"))
    ))?;
    settle(client)
}

/// Rows of the fact table for the numbers `i` of a series.
fn facts(dimension: u64, partitions: u64, series: &str) -> String {
    let keys: String =
        (1..=DIMENSIONS).map(|number| format!(", (i::bigint * {}) % {dimension}", 2 * number + 1)).collect();
    format!(
        "SELECT i, i % 10, i % 1000, i % 1000000, i % {partitions}{keys}, (i::bigint * 7919) % 1000003, 's' || i % 100 \
         FROM {series} i"
    )
}

fn others(rows: u64, series: &str) -> String {
    format!("SELECT i, (i::bigint * 31) % {rows} + 1, (i::bigint * 104729) % 1000003 FROM {series} i")
}

/// Half of the changes are updates that move rows to other groups, the others insert rows and delete those that were
/// inserted before. A change of one row is an update.
fn change(client: &mut Client, rows: u64, changes: u64, number: u32) -> Result<()> {
    let (updates, quarter) = (changes.div_ceil(2), changes / 4);
    let salt = u64::from(number) * 104_729;
    // Distinct while the number of rows has no factor in common with the prime.
    let chosen = |count: u64, of: u64| {
        format!("IN (SELECT (i::bigint * 7919 + {salt}) % {of} + 1 FROM generate_series(1, {count}) i)")
    };
    let new = |base: u64, number: u64| {
        let first = base + number * quarter + 1;
        format!("generate_series({first}, {})", first + quarter - 1)
    };
    let dimension = (rows / DIMENSION_SHARE).max(10);
    let partitions = (rows / 100).max(1);
    let number = u64::from(number);
    let mut statements = vec![
        format!(
            "UPDATE fact SET v = (v + 7) % 1000003, g10 = (g10 + 1) % 10, g1000 = (g1000 + 1) % 1000, \
             g1000000 = (g1000000 + 1) % 1000000, p = (p + 1) % {partitions}, d1 = (d1 + 1) % {dimension} WHERE k {}",
            chosen(updates, rows)
        ),
        format!(
            "UPDATE other SET v = (v + 11) % 1000003, f = f % {rows} + 1 WHERE k {}",
            chosen(updates, rows / 2)
        ),
        // Leaves only, below nodes that are none.
        format!(
            "UPDATE tree SET parent = (k::bigint * 7919 + {salt}) % ({rows} / 10) + 1 WHERE k {} AND k > {rows} / 2",
            chosen(updates, rows)
        ),
    ];
    if quarter > 0 {
        statements.push(format!("INSERT INTO fact {}", facts(dimension, partitions, &new(rows, number))));
        statements.push(format!("INSERT INTO other {}", others(rows, &new(rows, number))));
        if number > 1 {
            let old = new(rows, number - 1);
            statements.push(format!("DELETE FROM fact WHERE k IN (SELECT i FROM {old} i)"));
            statements.push(format!("DELETE FROM other WHERE k IN (SELECT i FROM {old} i)"));
        }
    }
    statements.iter().try_for_each(|statement| Ok(client.batch_execute(statement)?))
}
