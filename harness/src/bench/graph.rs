//! Stream tables that have nothing to do, that stand on each other, and that stand beside each other.

use anyhow::Result;

use super::contest::{Contest, cycle};
use super::ground::{Ground, Place, settle};
use super::result::{Case, RECOMPUTE, STREAM_TABLE};
use crate::replay::creation;

/// Stream tables one above the other.
const CHAIN: usize = 10;

/// Stream tables side by side.
const FAN_OUT: usize = 60;

/// Rows that have one group.
const GROUP_ROWS: u64 = 10;

/// One of several relations that are maintained together, in the order of their sources.
struct Node {
    name: String,
    /// With `{}` before the name of each relation that is no base table: the schema.
    query: String,
}

/// The cases.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let rows = ground.sizes.graph_rows;
    let shared = |k: u32| vec![format!("UPDATE source SET v = v + 1 WHERE k = {k}")];
    let own = |k: u32| {
        (0..FAN_OUT).map(|number| format!("UPDATE source_{number} SET v = v + 1 WHERE k = {k}")).collect()
    };
    Ok(vec![
        case(ground, "no change", &[table("source", rows)], vec![summary("summary", "source")], |_| vec![])?,
        case(ground, "chain of 10, one row", &[table("source", rows)], chain(), shared)?,
        case(ground, "diamond, one row", &[table("source", rows)], diamond(), shared)?,
        case(ground, "fan-out of 60, one row", &[table("source", rows)], fan_out("source"), shared)?,
        case(ground, "60 independent, one row each", &tables(rows), independent(), own)?,
    ])
}

fn table(name: &str, rows: u64) -> String {
    format!(
        "CREATE TABLE {name} (k int PRIMARY KEY, g int NOT NULL, v int NOT NULL); \
         INSERT INTO {name} SELECT i, i % {}, i FROM generate_series(1, {rows}) i",
        (rows / GROUP_ROWS).max(1)
    )
}

fn tables(rows: u64) -> Vec<String> {
    (0..FAN_OUT).map(|number| table(&format!("source_{number}"), rows)).collect()
}

fn node(name: impl Into<String>, query: impl Into<String>) -> Node {
    Node { name: name.into(), query: query.into() }
}

fn summary(name: &str, source: &str) -> Node {
    node(name, format!("SELECT g, count(*) AS n, sum(v) AS s FROM {source} GROUP BY g"))
}

/// Rows pass nine steps, of which the change passes each; the tenth sums them up.
fn chain() -> Vec<Node> {
    let step = |number: usize| {
        let below = if number == 1 { "source".to_owned() } else { format!("{{}}step_{}", number - 1) };
        node(format!("step_{number}"), format!("SELECT k, g, v + 1 AS v FROM {below} WHERE v > 0"))
    };
    let mut all: Vec<Node> = (1..CHAIN).map(step).collect();
    all.push(summary("top", &format!("{{}}step_{}", CHAIN - 1)));
    all
}

fn diamond() -> Vec<Node> {
    vec![
        summary("sums", "source"),
        node("large", "SELECT k, g, v FROM source WHERE v % 2 = 0"),
        node("joined", "SELECT l.k, l.v, s.s FROM {}large l JOIN {}sums s ON s.g = l.g"),
    ]
}

fn fan_out(source: &str) -> Vec<Node> {
    (0..FAN_OUT).map(|number| summary(&format!("summary_{number}"), source)).collect()
}

fn independent() -> Vec<Node> {
    (0..FAN_OUT).map(|number| summary(&format!("summary_{number}"), &format!("source_{number}"))).collect()
}

/// Creates all nodes as stream tables and as materialized views, and refreshes all of them after each change.
fn case(
    ground: &Ground,
    name: &str,
    tables: &[String],
    nodes: Vec<Node>,
    change: impl Fn(u32) -> Vec<String>,
) -> Result<Case> {
    let mut place: Place = ground.place()?;
    let client = &mut place.session.client;
    for table in tables {
        client.batch_execute(table)?;
    }
    let mode = ground.mode().word();
    for node in &nodes {
        let view = node.query.replace("{}", "recompute.");
        client.batch_execute(&format!("CREATE MATERIALIZED VIEW recompute.{} AS {view}", node.name))?;
        client.batch_execute(&creation(&node.name, &node.query.replace("{}", ""), mode))?;
    }
    settle(client)?;
    let what = nodes.last().map_or(String::new(), |last| last.query.replace("{}", ""));
    let mut contest = Contest::new(Case {
        name: format!("{name}, {} rows", ground.sizes.graph_rows),
        series: name.to_owned(),
        what,
        source_rows: Some(ground.sizes.graph_rows),
        change_rows: Some(change(1).len() as u64),
        ..Case::default()
    });
    let judged = nodes.last().map(|last| (last.name.clone(), last.query.replace("{}", "")));
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    contest.stream_tables(STREAM_TABLE, &names, judged);
    let recompute = |name: &String| format!("REFRESH MATERIALIZED VIEW recompute.{name}");
    contest.materialized_views(RECOMPUTE, names.iter().map(recompute).collect());
    let contests = std::slice::from_mut(&mut contest);
    for number in ground.cycles() {
        cycle(contests, client, number, |client, number| {
            change(number).iter().try_for_each(|statement| Ok(client.batch_execute(statement)?))
        })?;
    }
    contest.finish(client)
}
