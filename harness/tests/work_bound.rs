//! Work follows the change: the same change at two sizes of a corpus makes a refresh read about as many rows.
//!
//! Every query of a corpus is a stream table at two sizes eight times apart. The same rows are changed, and what the
//! refresh reads is counted by the server: rows of sequential scans and entries of index scans, and pages, over sources,
//! states and the stream table itself. A query of which `explain_stream_table` says that its work follows the change must
//! not read much more at the larger size; what the others read is printed, with the reason they give.

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::change::{Cycle, Statement, Transaction};
use pg_trickle_corpus::job::Job;
use pg_trickle_corpus::nexmark::{Nexmark, Shape};
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::Workload;
use pg_trickle_harness::cluster::{TestDatabase, test_database};
use pg_trickle_harness::replay;
use std::fmt::Write;

/// Of the streams of changes, and of rows that are made up.
const SEED: u64 = 1;

/// How much more may be read at the larger size: rows that the same change happens to meet, and deeper indexes.
const FACTOR: i64 = 2;
/// In rows, and in pages.
const SLACK: i64 = 400;

/// Rows read so far in this transaction by sequential scans, and entries by index scans; pages that were read for them.
/// Catalogs are left out.
const READ: &str = "
    SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int8,
           coalesce(sum(pg_stat_get_xact_blocks_fetched(c.oid)), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i', 'm') AND n.nspname IN ('public', 'pgtrickle_state')";

#[test]
fn work_follows_the_change_in_tpch() -> Result<()> {
    let at = |factor: f64| Scale::new(factor).map(|scale| Tpch::new(scale, SEED)).map_err(anyhow::Error::msg);
    compare(&at(0.01)?, &at(0.08)?, 1, || {
        changes(&[
            "UPDATE lineitem SET l_quantity = l_quantity + 1, l_extendedprice = l_extendedprice + 1 WHERE l_orderkey <= 32",
            "UPDATE lineitem SET l_shipdate = l_shipdate + 1, l_discount = 0.06 WHERE l_orderkey BETWEEN 33 AND 66",
            "UPDATE lineitem SET l_partkey = l_partkey + 1 WHERE l_orderkey = 67",
            "DELETE FROM lineitem WHERE l_orderkey BETWEEN 68 AND 71",
            "DELETE FROM orders WHERE o_orderkey BETWEEN 68 AND 71",
            "UPDATE orders SET o_orderdate = o_orderdate + 1, o_totalprice = o_totalprice + 1 WHERE o_orderkey <= 7",
            "UPDATE customer SET c_acctbal = c_acctbal + 1, c_mktsegment = 'BUILDING' WHERE c_custkey <= 5",
            "UPDATE part SET p_size = p_size + 1, p_retailprice = p_retailprice + 1 WHERE p_partkey <= 5",
            "UPDATE partsupp SET ps_supplycost = ps_supplycost + 1, ps_availqty = ps_availqty + 1 WHERE ps_partkey <= 5",
            "UPDATE supplier SET s_acctbal = s_acctbal + 1, s_comment = s_comment || '.' WHERE s_suppkey <= 2",
        ])
    })
}

#[test]
fn work_follows_the_change_in_nexmark() -> Result<()> {
    let at = |events: u32| Nexmark::new(Shape { events, batch_rows: 1, cycles: 0, is_keyless: false }, SEED);
    // The first events: later ones do not come near their auctions, persons and times.
    compare(&at(6_000), &at(48_000), 1, || {
        changes(&[
            "UPDATE bid SET price = price + 1 WHERE bid_id IN (SELECT bid_id FROM bid ORDER BY bid_id LIMIT 20)",
            "UPDATE bid SET bidder = bidder + 1, channel = 'Google' WHERE bid_id IN (SELECT bid_id FROM bid ORDER BY bid_id OFFSET 20 LIMIT 3)",
            "DELETE FROM bid WHERE bid_id IN (SELECT bid_id FROM bid ORDER BY bid_id OFFSET 23 LIMIT 5)",
            "UPDATE auction SET reserve = reserve + 1, category = 10 WHERE id IN (SELECT id FROM auction ORDER BY id LIMIT 3)",
            "UPDATE person SET name = name || '.', state = 'OR' WHERE id IN (SELECT id FROM person ORDER BY id LIMIT 2)",
            "UPDATE side_input SET value = value || '.' WHERE key IN (1, 2, 3)",
        ])
    })
}

/// The changes are those aimed at the queries' own matches, which are the same rows at every size.
#[test]
fn work_follows_the_change_in_job() -> Result<()> {
    let at = |titles: u32| Job::new(titles, SEED);
    // All 339 take long; the command for that is in docs/testing.md.
    let step = std::env::var("PG_TRICKLE_JOB_STEP").ok().map(|step| step.parse()).transpose()?.unwrap_or(17);
    compare(&at(250), &at(2000), step, || {
        let mut cycle = at(250).cycle(1);
        cycle.transactions.retain(|transaction| transaction.name.starts_with("aimed at"));
        cycle
    })
}

fn changes(statements: &[&str]) -> Cycle {
    let statements = statements.iter().map(|sql| Statement::other(*sql)).collect();
    Cycle { number: 1, transactions: vec![Transaction::new("the change", statements)] }
}

/// What one query did at one size.
struct Measured {
    name: String,
    /// The worst work class over the sources, and why.
    class: String,
    reasons: Vec<String>,
    rows: i64,
    pages: i64,
}

/// Refreshes every `step`-th query of a corpus at two sizes after the same change.
fn compare(
    small: &dyn Workload,
    large: &dyn Workload,
    step: usize,
    change: impl Fn() -> Cycle,
) -> Result<()> {
    let title = small.title();
    if step > 1 {
        println!("{title}: every query whose number divides by {step}, of {}", small.queries().len());
    }
    let mut failures = String::new();
    let small = measure(small, step, &change())?;
    let large = measure(large, step, &change())?;
    ensure!(small.len() == large.len(), "{title}: not the same queries at both sizes");
    ensure!(!small.is_empty(), "{title}: no query is maintained by its changes");
    ensure!(
        small.iter().filter(|query| query.rows > 0).count() * 2 > small.len(),
        "{title}: the change is none to most queries"
    );
    for (small, large) in small.iter().zip(&large) {
        let grows = large.rows > FACTOR * small.rows + SLACK || large.pages > FACTOR * small.pages + SLACK;
        let line = format!(
            "{title} {}: {} rows and {} pages, then {} and {} ({}{})",
            small.name,
            small.rows,
            small.pages,
            large.rows,
            large.pages,
            large.class,
            large.reasons.iter().map(|reason| format!("; {reason}")).collect::<String>()
        );
        println!("{line}");
        if grows && large.class != "scan" {
            writeln!(failures, "{line}")?;
        }
    }
    ensure!(failures.is_empty(), "more is read where more is stored:\n{failures}");
    Ok(())
}

fn measure(workload: &dyn Workload, step: usize, change: &Cycle) -> Result<Vec<Measured>> {
    let database = test_database()?;
    let mut client = database.connect()?;
    replay::load(&mut client, workload)?;
    let mut names = vec![];
    for query in workload.queries().iter().step_by(step) {
        let call = "SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')";
        if let Err(error) = client.execute(call, &[&query.name, &query.sql]) {
            println!("{} is not maintained by its changes: {}", query.name, reason(&error));
            continue;
        }
        names.push(query.name.clone());
    }
    // Plans are made for states as they are, as after some time of use.
    client.batch_execute("VACUUM ANALYZE")?;
    replay::apply(&mut client, change)?;
    names.into_iter().map(|name| refresh(&database, name)).collect()
}

fn reason(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Refreshes in a session of its own, which has not counted anything yet.
fn refresh(database: &TestDatabase, name: String) -> Result<Measured> {
    let mut client = database.connect()?;
    // What workers of a parallel query read is not counted with the session that asked for it. Where a table is so small
    // that reading it costs less than looking up the rows of a change, the server rightly reads it; the question here is
    // whether there is a way to look them up, without which it reads the table all the same.
    client.batch_execute("SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; BEGIN")?;
    let before = client.query_one(READ, &[])?;
    client.execute("SELECT pgtrickle.refresh_stream_table($1)", &[&name])?;
    let after = client.query_one(READ, &[])?;
    client.batch_execute("COMMIT")?;
    let explained: String =
        client.query_one("SELECT pgtrickle.explain_stream_table($1, 'json')", &[&name])?.get(0);
    let explained: serde_json::Value = serde_json::from_str(&explained)?;
    let sources = explained["sources"].as_array().context("sources are explained")?;
    let rank =
        |class: &str| ["follows the change", "affected partitions", "scan"].iter().position(|c| *c == class);
    let mut class = "follows the change".to_owned();
    let mut reasons: Vec<String> = vec![];
    for source in sources {
        let found =
            source["work"]["class"].as_str().with_context(|| format!("{name}: a source without class"))?;
        if rank(found) > rank(&class) {
            class = found.to_owned();
        }
        for reason in source["work"]["reasons"].as_array().into_iter().flatten() {
            let reason = reason.as_str().unwrap_or_default().to_owned();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    let read = |column: usize| after.get::<_, i64>(column) - before.get::<_, i64>(column);
    Ok(Measured { name, class, reasons, rows: read(0), pages: read(1) })
}
