//! Stream tables of every maintained shape under random transactions, compared with their queries after every refresh.
//!
//! `PG_TRICKLE_SEED` chooses another history, `PG_TRICKLE_BATCHES` its length. A failure is shrunk to few statements
//! over one query and printed as a script.

use anyhow::{Context, Result, bail};
use pg_trickle_harness::agreement::at_time;
use pg_trickle_harness::cluster::{TestDatabase, test_database};
use pg_trickle_oracle::postgres::judge;
use postgres::Client;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// Small domains on purpose: collisions, empty groups, NULL keys, groups that vanish and return.
const SCHEMA: &str = "
    CREATE TABLE r (id int PRIMARY KEY, k int, v numeric, d numeric(10,2) NOT NULL, b text);
    CREATE TABLE s (k int, x int, t text);
    CREATE TABLE u (id int PRIMARY KEY, r_id int, q bigint NOT NULL);
    CREATE INDEX ON r (k);
    CREATE INDEX ON s (k);
    CREATE INDEX ON u (r_id);";

/// Definition, and where ties at a LIMIT or the representative of equal values are PostgreSQL's to choose, the
/// form that chooses as we do.
const QUERIES: &[(&str, Option<&str>)] = &[
    ("SELECT k, x, t FROM s WHERE x > 1 OR t = 'a'", None),
    ("SELECT k + 1 AS k1, coalesce(t, '-') || 'z' AS tz FROM s", None),
    ("SELECT r.id, r.v, s.x, s.t FROM r JOIN s ON r.k = s.k", None),
    ("SELECT r.id, s.x, u.q FROM r, s, u WHERE r.k = s.k AND u.r_id = r.id AND s.x <> u.q", None),
    ("SELECT a.id AS a, b.id AS b FROM r a JOIN r b ON a.k = b.k AND a.id < b.id", None),
    ("SELECT r.id, s.x FROM r LEFT JOIN s ON r.k = s.k", None),
    ("SELECT r.id, r.k, s.x FROM r LEFT JOIN s ON r.k = s.k AND s.x > 1 AND r.id > 3", None),
    ("SELECT r.id, s.x FROM s RIGHT JOIN r ON s.x < r.k", None),
    ("SELECT r.id, r.k, s.k AS sk, s.x FROM r FULL JOIN s ON r.k = s.k", None),
    ("SELECT r.id, u.id AS uid, s.t FROM r LEFT JOIN u ON u.r_id = r.id LEFT JOIN s ON s.x = u.q", None),
    ("SELECT k, count(*) AS n, count(x) AS c, sum(x) AS s, avg(x) AS a FROM s GROUP BY k", None),
    ("SELECT b, sum(v) AS s, avg(v) AS a, sum(d) AS sd, avg(d) AS ad FROM r GROUP BY b", None),
    ("SELECT k, min(x) AS lo, max(x) AS hi, max(t) AS t FROM s GROUP BY k", None),
    ("SELECT count(*) AS n, sum(q) AS s, min(q) AS lo, max(q) AS hi FROM u", None),
    (
        "SELECT k, count(DISTINCT t) AS n, string_agg(t, ',' ORDER BY t, x) AS l, bool_or(x > 1) AS b FROM s GROUP BY k",
        None,
    ),
    ("SELECT count(DISTINCT t) AS n, array_agg(x ORDER BY x) AS a FROM s", None),
    (
        "SELECT r.b, count(*) FILTER (WHERE s.x > 1) AS n, sum(s.x) FILTER (WHERE s.t = 'a') AS sx FROM r JOIN s ON r.k = s.k GROUP BY r.b",
        None,
    ),
    ("SELECT k, stddev(x) AS sd, avg(x::float8) AS f FROM s GROUP BY k HAVING count(*) > 1", None),
    ("SELECT r.k, sum(s.x) AS sx FROM r LEFT JOIN s ON r.k = s.k GROUP BY r.k", None),
    ("SELECT n, count(*) AS groups FROM (SELECT k, count(*) AS n FROM s GROUP BY k) g GROUP BY n", None),
    ("SELECT r.id, g.n FROM r JOIN (SELECT k, count(*) AS n FROM s GROUP BY k) g ON g.k = r.k", None),
    (
        "SELECT b, stddev(v) AS sv, var_pop(v) AS vv, variance(d) AS vd, stddev_pop(d) AS sd FROM r GROUP BY b",
        None,
    ),
    (
        "SELECT k, bool_and(x > 0) AS a, bool_or(x > 2) AS o, bit_and(x) AS ba, bit_or(x) AS bo, bit_xor(x) AS bx, regr_count(x, k) AS n FROM s GROUP BY k",
        None,
    ),
    (
        "SELECT t, count(DISTINCT k) AS nk, sum(DISTINCT x) AS sx, count(DISTINCT x) FILTER (WHERE k > 1) AS fx, count(*) AS n, max(x) AS hi FROM s GROUP BY t",
        None,
    ),
    (
        "SELECT k, any_value(x) AS x, any_value(t) AS t FROM s GROUP BY k",
        Some("SELECT k, min(x) AS x, min(t) AS t FROM s GROUP BY k"),
    ),
    (
        "SELECT k, sum(x * interval '1 day 2 hours') AS si, avg(x * interval '1 month') AS ai FROM s GROUP BY k",
        None,
    ),
    (
        "SELECT r.id % 3 + s.x AS g, min(r.d) AS lo, array_agg(s.t ORDER BY s.t) AS ts, sum(s.x::float8) AS f FROM r LEFT JOIN s ON s.k = r.k GROUP BY 1",
        None,
    ),
    ("SELECT b, k, string_agg(id::text, ',' ORDER BY id) AS ids, max(d) AS hi FROM r GROUP BY b, k", None),
    (
        "SELECT k, t, GROUPING(k, t) AS l, stddev_pop(x) AS sd, count(DISTINCT x) AS dx FROM s GROUP BY CUBE (k, t)",
        None,
    ),
    ("SELECT id, v FROM r WHERE id > extract(epoch FROM now()) % 9", None),
    (
        "SELECT k, count(*) AS n, count(*) FILTER (WHERE x < extract(second FROM now())::int % 4) AS f FROM s GROUP BY k",
        None,
    ),
    (
        "SELECT r.id, s.x, s.x + r.id < extract(epoch FROM now())::bigint % 11 AS is_over FROM r LEFT JOIN s ON s.k = r.k AND s.x <> extract(second FROM now())::int % 3",
        None,
    ),
    (
        "SELECT id FROM r WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = r.k AND s.x > extract(epoch FROM now())::bigint % 5)",
        None,
    ),
    ("SELECT DISTINCT k, t FROM s", None),
    ("SELECT DISTINCT r.b FROM r JOIN u ON u.r_id = r.id", None),
    ("SELECT k FROM r UNION SELECT k FROM s", None),
    ("SELECT k, x FROM s UNION ALL SELECT k, id FROM r", None),
    ("SELECT k, count(*) AS n FROM (SELECT k FROM r UNION ALL SELECT k FROM s) z GROUP BY k", None),
    ("SELECT id, k FROM r WHERE EXISTS (SELECT 1 FROM s WHERE s.k = r.k)", None),
    ("SELECT id, k FROM r WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = r.k AND s.x <> r.id)", None),
    ("SELECT k, t FROM s WHERE k IN (SELECT k FROM r WHERE b = 'a')", None),
    ("SELECT id, k FROM r WHERE k NOT IN (SELECT x FROM s)", None),
    ("SELECT id FROM r WHERE k IN (SELECT k FROM s GROUP BY k HAVING sum(x) > 2)", None),
    ("SELECT id, k IN (SELECT x FROM s) AS m FROM r", None),
    ("SELECT id FROM r WHERE b = 'b' OR EXISTS (SELECT 1 FROM u WHERE u.r_id = r.id)", None),
    ("SELECT id, d FROM r WHERE d > (SELECT avg(d) FROM r)", None),
    (
        "SELECT id, (SELECT sum(q) FROM u WHERE u.r_id = r.id) AS q, (SELECT count(*) FROM u WHERE u.r_id = r.id) AS n FROM r",
        None,
    ),
    ("SELECT u.id FROM u WHERE u.q < (SELECT 0.5 * avg(w.q) FROM u w WHERE w.r_id = u.r_id)", None),
    ("SELECT k, sum(x) AS sx FROM s GROUP BY k HAVING sum(x) > (SELECT avg(x) FROM s)", None),
    (
        "WITH g AS (SELECT k, sum(x) AS sx FROM s GROUP BY k) SELECT k, sx FROM g WHERE sx = (SELECT max(sx) FROM g)",
        None,
    ),
    ("SELECT id, d FROM r ORDER BY d DESC LIMIT 3", Some("SELECT id, d FROM r ORDER BY d DESC, id LIMIT 3")),
    (
        "SELECT k, x, t FROM s ORDER BY x NULLS FIRST, k DESC LIMIT 4 OFFSET 2",
        Some("SELECT k, x, t FROM s ORDER BY x NULLS FIRST, k DESC, t LIMIT 4 OFFSET 2"),
    ),
    (
        "SELECT k, sum(x) AS sx FROM s GROUP BY k ORDER BY sx DESC LIMIT 2",
        Some("SELECT k, sum(x) AS sx FROM s GROUP BY k ORDER BY sx DESC, k LIMIT 2"),
    ),
    (
        "SELECT DISTINCT ON (k) k, x, t FROM s ORDER BY k, x DESC",
        Some("SELECT DISTINCT ON (k) k, x, t FROM s ORDER BY k, x DESC, t"),
    ),
    ("SELECT 1 AS one, count(*) AS n FROM r WHERE false", None),
    (
        "SELECT id, (SELECT count(*) FROM s WHERE s.x > r.k) AS c, (SELECT string_agg(r.v::text || t, ',' ORDER BY t, x) FROM s WHERE s.k = r.k) AS l FROM r",
        None,
    ),
    (
        "SELECT id, ARRAY(SELECT x FROM s WHERE s.k = r.k ORDER BY x DESC) AS a, ARRAY(SELECT x FROM s ORDER BY x LIMIT r.k) AS b FROM r WHERE r.k >= 0 OR r.k IS NULL",
        None,
    ),
    (
        "SELECT r.id, l.x, l.t FROM r LEFT JOIN LATERAL (SELECT x, t FROM s WHERE s.k = r.k ORDER BY x DESC, t LIMIT 2) l ON l.x > 0",
        None,
    ),
    (
        "SELECT r.id, l.n, l.sx FROM r CROSS JOIN LATERAL (SELECT count(*) AS n, sum(x) + r.k AS sx FROM s WHERE s.x <> r.k) l",
        None,
    ),
    (
        "SELECT r.id, l.v FROM r CROSS JOIN LATERAL (SELECT x AS v FROM s WHERE s.k < r.k UNION SELECT q FROM u WHERE u.r_id = r.id UNION ALL SELECT r.k) l",
        None,
    ),
    (
        "SELECT r.id, (SELECT max(u.q) FROM u WHERE u.r_id = r.id AND u.q > (SELECT min(x) FROM s WHERE s.x <= r.k AND s.k <> u.q)) AS m FROM r",
        None,
    ),
    (
        "SELECT r.id, r.k NOT IN (SELECT s.x - r.k FROM s WHERE s.t = r.b) AS m, (r.k, r.id) IN (SELECT k, x + r.id FROM s) AS n FROM r",
        None,
    ),
    (
        "SELECT r.id, s.x FROM r FULL JOIN s ON r.k = s.k AND EXISTS (SELECT FROM u WHERE u.r_id = r.id AND u.q >= s.x)",
        None,
    ),
    (
        "SELECT k, sum((SELECT count(*) FROM u WHERE u.q > r.id)) AS c FROM r GROUP BY k HAVING EXISTS (SELECT FROM s WHERE s.x >= count(r.id))",
        None,
    ),
    ("SELECT k, x, t FROM s ORDER BY x DESC NULLS LAST FETCH FIRST 3 ROWS WITH TIES", None),
    (
        "SELECT k, sum(q) AS sq FROM r JOIN u ON u.r_id = r.id GROUP BY k ORDER BY sq FETCH FIRST 2 ROWS WITH TIES",
        None,
    ),
    ("SELECT k FROM r INTERSECT SELECT k FROM s", None),
    ("SELECT k FROM s INTERSECT ALL SELECT k FROM r", None),
    ("SELECT k FROM r EXCEPT SELECT k FROM s", None),
    ("SELECT k, x FROM s EXCEPT ALL SELECT k, id % 4 FROM r", None),
    (
        "SELECT k FROM r UNION ALL SELECT k FROM s INTERSECT SELECT x FROM s EXCEPT ALL SELECT r_id FROM u",
        None,
    ),
    (
        "SELECT k, count(*) AS n FROM (SELECT k, t FROM s EXCEPT ALL SELECT k, b FROM r) e GROUP BY k HAVING count(*) > 1",
        None,
    ),
    ("SELECT r.id, i FROM r, generate_series(1, r.k) i", None),
    (
        "SELECT s.k, s.t, f.a, f.b, f.o FROM s, ROWS FROM (generate_series(s.x, s.k), string_to_table(s.t || 'a', 'a')) WITH ORDINALITY f(a, b, o)",
        None,
    ),
    ("SELECT r.id, r.k, i FROM r LEFT JOIN LATERAL generate_series(0, r.k) i ON i % 2 = r.id % 2", None),
    (
        "SELECT i, count(s.t) AS n, min(s.x) AS x FROM generate_series(1, 3) i LEFT JOIN s ON s.k = i GROUP BY i",
        None,
    ),
    (
        "SELECT u.id, e, s.t FROM u JOIN LATERAL unnest(ARRAY[u.q, u.r_id, NULL]) e ON true LEFT JOIN s ON s.x = e",
        None,
    ),
    ("SELECT id, generate_series(1, k) AS a, generate_series(1, 2) AS b FROM r", None),
    ("SELECT generate_series(1, k) AS g, count(*) AS n, sum(d) AS sd FROM r GROUP BY 1", None),
    ("SELECT DISTINCT unnest(ARRAY[k, x]) AS e FROM s", None),
    (
        "SELECT r.id, (SELECT sum(i) FROM generate_series(1, r.k) i) AS n, v.w FROM r, LATERAL (VALUES (r.b), (r.k::text)) v(w) WHERE v.w IS NOT NULL",
        None,
    ),
    (
        "SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY id) AS n, lag(d) OVER (PARTITION BY k ORDER BY id) AS l FROM r",
        None,
    ),
    (
        "SELECT id, b, rank() OVER w AS r, dense_rank() OVER w AS d, percent_rank() OVER w AS p, cume_dist() OVER w AS c, sum(d) OVER w AS s \
         FROM r WINDOW w AS (PARTITION BY b ORDER BY k NULLS FIRST)",
        None,
    ),
    (
        "SELECT k, x, t, ntile(3) OVER w AS n, lead(t) OVER w AS l, first_value(t) OVER w AS f FROM s WINDOW w AS (PARTITION BY k ORDER BY x)",
        Some(
            "SELECT k, x, t, ntile(3) OVER w AS n, lead(t) OVER w AS l, first_value(t) OVER w AS f FROM s WINDOW w AS (PARTITION BY k ORDER BY x, t)",
        ),
    ),
    (
        "SELECT k, x, count(*) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE GROUP) AS a, \
         sum(k) OVER (ORDER BY x GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS b FROM s WHERE k = 1",
        None,
    ),
    (
        "SELECT id, sum(d) OVER (PARTITION BY b, k ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) AS s, \
         count(*) OVER (PARTITION BY v) AS n, array_agg(id) OVER (ORDER BY id) AS a FROM r",
        None,
    ),
    (
        "SELECT k, sum(x) AS sx, rank() OVER (ORDER BY sum(x) DESC) AS r, sum(count(*)) OVER () AS total FROM s GROUP BY k",
        None,
    ),
    (
        "SELECT u.id, w.n, w.b FROM u JOIN (SELECT id, b, row_number() OVER (PARTITION BY b ORDER BY d, id) AS n FROM r) w ON w.id = u.r_id",
        None,
    ),
    (
        "SELECT k, id, n FROM (SELECT k, id, row_number() OVER (PARTITION BY k ORDER BY d DESC, id) AS n FROM r) w WHERE n <= 2",
        None,
    ),
    (
        "SELECT k, x, t FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY x, t) AS n FROM s) w WHERE n = 1",
        None,
    ),
    (
        "SELECT n, max(q) AS m, count(*) AS c FROM (SELECT q, ntile(2) OVER (PARTITION BY r_id ORDER BY id) AS n FROM u) w GROUP BY n",
        None,
    ),
    ("SELECT DISTINCT k, count(*) OVER (PARTITION BY k) AS n, max(x) OVER () AS m FROM s", None),
];

/// Transactions between two refreshes.
type Batch = Vec<Vec<String>>;

#[test]
fn random_histories_leave_every_stream_table_equal_to_its_query() -> Result<()> {
    let seed = number("PG_TRICKLE_SEED", 20261121)?;
    let batches = number("PG_TRICKLE_BATCHES", 25)?;
    println!("PG_TRICKLE_SEED={seed} PG_TRICKLE_BATCHES={batches}");
    let database = test_database()?;
    let mut client = database.connect()?;
    let mut refused = vec![];
    let supported: Vec<usize> = (0..QUERIES.len()).collect();
    client.batch_execute(SCHEMA)?;
    for &index in &supported {
        if let Err(error) = create(&mut client, index) {
            refused.push(format!("{}: {}", QUERIES[index].0, describe(&error)));
        }
    }
    if !refused.is_empty() {
        bail!("not maintained by their changes:\n{}", refused.join("\n"));
    }
    let history = history(seed, batches);
    let Some(failure) = replay(&mut client, &history, &supported)? else {
        let compared = history.len() * supported.len();
        println!("{} queries maintained, {compared} refreshes, {compared} comparisons", supported.len());
        return Ok(());
    };
    let script = shrink(&database, history, failure.query)?;
    bail!("seed {seed}: {}\n{script}", failure.verdict);
}

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable} is not a number")),
        Err(_) => Ok(default),
    }
}

fn describe(error: &postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| format!("{} ({:?})", error.message(), error.detail()))
}

fn create(client: &mut Client, index: usize) -> Result<(), postgres::Error> {
    let call =
        "SELECT pgtrickle.create_stream_table($1, $2, schedule => '1h', refresh_mode => 'DIFFERENTIAL')";
    client.execute(call, &[&format!("st{index}"), &QUERIES[index].0]).map(|_| ())
}

struct Failure {
    query: usize,
    verdict: String,
}

/// Plays the history and compares after every batch; the first difference, if any.
fn replay(client: &mut Client, history: &[Batch], queries: &[usize]) -> Result<Option<Failure>> {
    for (number, batch) in history.iter().enumerate() {
        for transaction in batch {
            for statement in transaction {
                client.batch_execute(statement).with_context(|| statement.clone())?;
            }
        }
        for &query in queries {
            let name = format!("st{query}");
            if let Err(error) = client.execute("SELECT pgtrickle.refresh_stream_table($1)", &[&name]) {
                let verdict =
                    format!("batch {number}: refresh of {}: {}", QUERIES[query].0, describe(&error));
                return Ok(Some(Failure { query, verdict }));
            }
            let (definition, tie_broken) = QUERIES[query];
            let time: String = client
                .query_one(
                    "SELECT frontier->>'time' FROM pgtrickle.pgt_stream_tables WHERE pgt_name = $1",
                    &[&name],
                )?
                .get(0);
            let verdict = judge(client, &name, &at_time(tie_broken.unwrap_or(definition), &time))?;
            if !verdict.is_equal() {
                return Ok(Some(Failure {
                    query,
                    verdict: format!("batch {number}: {definition}\n{verdict}"),
                }));
            }
        }
    }
    Ok(None)
}

/// Drops transactions, then statements, as long as the query still fails.
fn shrink(database: &TestDatabase, mut history: Vec<Batch>, query: usize) -> Result<String> {
    let mut attempts = 120;
    let fails = |history: &[Batch], attempts: &mut u32| -> Result<bool> {
        *attempts = attempts.saturating_sub(1);
        let fresh = TestDatabase::create(database.cluster().clone())?;
        let mut client = fresh.connect()?;
        client.batch_execute(SCHEMA)?;
        create(&mut client, query)?;
        Ok(matches!(replay(&mut client, history, &[query]), Ok(Some(_))))
    };
    if !fails(&history, &mut attempts)? {
        return Ok("the query alone does not fail: it takes the other stream tables beside it".to_owned());
    }
    let mut size = history.len();
    while size > 0 {
        let mut start = 0;
        while start < history.len() && attempts > 0 {
            let mut shorter = history.clone();
            shorter.drain(start..(start + size).min(history.len()));
            if fails(&shorter, &mut attempts)? { history = shorter } else { start += size }
        }
        size /= 2;
    }
    for batch in (0..history.len()).rev() {
        for transaction in (0..history[batch].len()).rev() {
            if attempts > 0 {
                let mut shorter = history.clone();
                shorter[batch].remove(transaction);
                if fails(&shorter, &mut attempts)? {
                    history = shorter;
                }
            }
        }
    }
    let mut script =
        format!("{SCHEMA}\nSELECT pgtrickle.create_stream_table('st', $$ {} $$);\n", QUERIES[query].0);
    for batch in &history {
        script += &batch.iter().flatten().map(|statement| format!("{statement};\n")).collect::<String>();
        script += "SELECT pgtrickle.refresh_stream_table('st');\n";
    }
    Ok(script)
}

fn history(seed: u64, batches: u64) -> Vec<Batch> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut last = 0;
    let first = (0..12).map(|_| vec![insert(&mut random, &mut last)]).collect();
    let rest = (0..batches).map(|_| {
        let transactions = random.random_range(1..=4);
        (0..transactions).map(|_| transaction(&mut random, &mut last)).collect()
    });
    let mut history: Vec<Batch> = vec![first];
    history.extend(rest);
    history
}

fn transaction(random: &mut ChaCha8Rng, last: &mut i32) -> Vec<String> {
    let mut statements = vec!["BEGIN".to_owned()];
    for _ in 0..random.random_range(1..=4) {
        statements.push(statement(random, last));
    }
    if random.random_bool(0.15) {
        statements.push("SAVEPOINT a".to_owned());
        statements.push(statement(random, last));
        statements.push("ROLLBACK TO a".to_owned());
    }
    statements.push(if random.random_bool(0.1) { "ROLLBACK" } else { "COMMIT" }.to_owned());
    statements
}

fn one_of<'a>(random: &mut ChaCha8Rng, values: &[&'a str]) -> &'a str {
    values.choose(random).copied().unwrap_or("NULL")
}

fn insert(random: &mut ChaCha8Rng, last: &mut i32) -> String {
    let k = one_of(random, &["1", "2", "3", "4", "NULL"]);
    *last += 1;
    match random.random_range(0..3) {
        0 => format!(
            "INSERT INTO r VALUES ({last}, {k}, {}, {}, {})",
            one_of(random, &["1.5", "1.50", "2", "3.125", "NULL", "-1"]),
            one_of(random, &["1.5", "2", "3.25", "7"]),
            one_of(random, &["'a'", "'b'", "NULL"])
        ),
        1 => format!(
            "INSERT INTO s SELECT {k}, {}, {} FROM generate_series(1, {})",
            one_of(random, &["0", "1", "2", "3", "NULL"]),
            one_of(random, &["'a'", "'b'", "'c'", "NULL"]),
            random.random_range(1..=3)
        ),
        _ => format!(
            "INSERT INTO u VALUES ({last}, {}, {})",
            random.random_range(1..=*last),
            random.random_range(0..5)
        ),
    }
}

fn statement(random: &mut ChaCha8Rng, last: &mut i32) -> String {
    let id = random.random_range(1..=*last);
    let k = one_of(random, &["1", "2", "3", "4", "NULL"]);
    let x = random.random_range(0..4);
    match random.random_range(0..20) {
        0..=6 => insert(random, last),
        7 => format!("DELETE FROM r WHERE id % 7 = {}", id % 7),
        8 => format!("DELETE FROM s WHERE ctid = (SELECT min(ctid) FROM s WHERE x = {x})"),
        9 => format!("DELETE FROM s WHERE k = {k}"),
        10 => format!("DELETE FROM u WHERE id = {id}"),
        11 => format!("UPDATE r SET k = {k} WHERE id = {id}"),
        12 => format!(
            "UPDATE r SET v = v + 0.25, d = CASE WHEN d > 100 THEN 1.5 ELSE d * 2 END WHERE id % 5 = {}",
            id % 5
        ),
        13 => format!("UPDATE r SET v = 1.50 WHERE v = 1.5 AND id % 2 = {}", id % 2),
        14 => format!("UPDATE s SET k = {k}, x = {x} WHERE x = {}", random.random_range(0..4)),
        15 => format!("UPDATE s SET t = t WHERE k = {k}"),
        16 => format!("UPDATE u SET r_id = {id}, q = q + 1 WHERE id % 3 = {}", id % 3),
        17 => format!(
            "UPDATE r SET id = id + 10000 WHERE id = {id} AND NOT EXISTS (SELECT 1 FROM r o WHERE o.id = {id} + 10000)"
        ),
        18 => format!(
            "WITH gone AS (DELETE FROM s WHERE x = {x} RETURNING *) INSERT INTO s SELECT k, x + 1, t FROM gone"
        ),
        _ if random.random_bool(0.2) => {
            one_of(random, &["TRUNCATE s", "TRUNCATE u", "DELETE FROM r"]).to_owned()
        }
        _ => format!(
            "INSERT INTO u VALUES ({id}, 1, 1) ON CONFLICT (id) DO UPDATE SET q = u.q + 1, r_id = NULL"
        ),
    }
}
