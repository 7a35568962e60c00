//! What a statement costs on a source of a stream table, beside the same statement on a table that nobody captures, and
//! beside capture by a trigger in PL/pgSQL as one would write it by hand.

use std::ops::Range;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use postgres::Client;

use super::contest::line;
use super::cost;
use super::ground::{Ground, settle};
use super::result::{BARE, BY_HAND, CAPTURED, Case, Contestant};
use crate::cluster::TestDatabase;
use crate::replay::{creation, milliseconds, refreshing};

/// Statements of one row that each client makes in one turn.
const SINGLE_STATEMENTS: u64 = 100;

/// A shape of rows. All columns are captured.
struct Width {
    name: &'static str,
    /// Columns besides the key `k` and the measure `v`.
    columns: &'static str,
    /// Their values for the row `i`.
    values: &'static str,
}

const WIDTHS: [Width; 3] = [
    Width { name: "narrow", columns: "", values: "" },
    Width {
        name: "medium",
        columns: ", a int, b bigint, c numeric(15,2), d date, e text, f text",
        values: ", i % 100, i * 7, i / 100.0, date '2020-01-01' + (i % 1000)::int, 'name ' || i, 'a comment of some length'",
    },
    Width {
        name: "wide",
        columns: ", a1 int, a2 int, a3 int, a4 int, a5 int, a6 int, a7 int, a8 int, b1 bigint, b2 bigint, b3 bigint, \
                  b4 bigint, c1 numeric(15,2), c2 numeric(15,2), c3 numeric(15,2), c4 numeric(15,2), d1 date, d2 date, \
                  d3 timestamptz, d4 timestamptz, e1 text, e2 text, e3 text, e4 text, e5 text, e6 text, e7 text, \
                  e8 text",
        values: ", i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7, i, i, i, i, i / 3.0, i / 5.0, i / 7.0, \
                 i / 100.0, date '2020-01-01' + (i % 1000)::int, date '2021-01-01' + (i % 1000)::int, timestamptz 'epoch', \
                 timestamptz 'epoch', 'name ' || i, 'city ' || i % 100, 'street', 'a comment of some length', \
                 'another comment of some length', 'x', 'y', repeat('z', 60)",
    },
];

/// Who captures.
const KINDS: [&str; 3] = [BARE, CAPTURED, BY_HAND];

/// In this order a turn leaves the table as it was.
const OPERATIONS: [&str; 3] = ["insert", "update", "delete"];

/// The cases.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for width in WIDTHS.iter().filter(|width| ground.sizes.wants_width(width.name)) {
        for &rows in &ground.sizes.capture_rows {
            for &clients in &ground.sizes.clients {
                cases.extend(of(ground, width, rows, clients)?);
            }
        }
    }
    Ok(cases)
}

fn table(kind: &str) -> &'static str {
    match kind {
        BARE => "bare",
        CAPTURED => "captured",
        _ => "by_hand.source",
    }
}

/// Insert, update and delete of the same rows by the same clients.
fn of(ground: &Ground, width: &Width, rows: u64, clients: usize) -> Result<Vec<Case>> {
    let mut place = ground.place()?;
    let client = &mut place.session.client;
    let base = ground.sizes.capture_base_rows;
    for kind in KINDS {
        client.batch_execute(&format!(
            "CREATE TABLE {0} (k bigint PRIMARY KEY, v int{1}); \
             INSERT INTO {0} SELECT i, i % 1000{2} FROM generate_series(1, {base}) i",
            table(kind),
            width.columns,
            width.values
        ))?;
    }
    let query = "SELECT * FROM captured";
    client
        .batch_execute(&creation("copy", query, ground.mode().word()))
        .context("the stream table that makes its source captured")?;
    client.batch_execute(TRIGGER_BY_HAND)?;
    settle(client)?;
    let shape =
        format!("{}, {rows} rows, {clients} {}", width.name, if clients == 1 { "client" } else { "clients" });
    let mut cases: Vec<Case> = OPERATIONS
        .iter()
        .map(|operation| Case {
            name: format!("{operation}, {shape}"),
            what: statement(operation, "TABLE", width, &(0..rows)),
            series: format!("{operation}, {}, {clients}", width.name),
            source_rows: Some(base),
            change_rows: Some(rows),
            subject: CAPTURED.to_owned(),
            rival: Some(BARE.to_owned()),
            contestants: KINDS.map(Contestant::named).to_vec(),
        })
        .collect();
    for (number, is_kept) in ground.cycles() {
        for turn in 0..KINDS.len() {
            let kind = (turn + number as usize) % KINDS.len();
            for (case, operation) in cases.iter_mut().zip(OPERATIONS) {
                let work = || {
                    run(
                        &place.database,
                        clients,
                        rows,
                        |keys| statement(operation, table(KINDS[kind]), width, keys),
                        if operation == "insert" { 0..1 } else { 1..2 },
                        base,
                    )
                };
                let cycle = cost::elsewhere(client, work).with_context(|| case.name.clone())?;
                if is_kept {
                    case.contestants[kind].cycles.push(cycle);
                }
            }
        }
        client.batch_execute(&refreshing("copy"))?;
        client.batch_execute("TRUNCATE by_hand.log")?;
    }
    let is_copy = pg_trickle_oracle::postgres::judge(client, "copy", query)?;
    anyhow::ensure!(
        is_copy.is_equal(),
        "{shape}: the stream table over the source is not its query: {is_copy}"
    );
    cases.iter().for_each(|case| println!("{}", line(case)));
    Ok(cases)
}

/// What a change log written by hand needs: a copy of the row with a sign. The least one can do.
const TRIGGER_BY_HAND: &str = "
    CREATE TABLE by_hand.log AS SELECT 1 AS sign, s.* FROM by_hand.source s LIMIT 0;
    CREATE FUNCTION by_hand.log_insert() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO by_hand.log SELECT 1, * FROM new_rows; RETURN NULL; END $$;
    CREATE FUNCTION by_hand.log_delete() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO by_hand.log SELECT -1, * FROM old_rows; RETURN NULL; END $$;
    CREATE FUNCTION by_hand.log_update() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO by_hand.log SELECT -1, * FROM old_rows;
            INSERT INTO by_hand.log SELECT 1, * FROM new_rows;
            RETURN NULL;
        END $$;
    CREATE TRIGGER log_insert AFTER INSERT ON by_hand.source REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION by_hand.log_insert();
    CREATE TRIGGER log_update AFTER UPDATE ON by_hand.source REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION by_hand.log_update();
    CREATE TRIGGER log_delete AFTER DELETE ON by_hand.source REFERENCING OLD TABLE AS old_rows
        FOR EACH STATEMENT EXECUTE FUNCTION by_hand.log_delete();";

fn statement(operation: &str, table: &str, width: &Width, keys: &Range<u64>) -> String {
    let (first, last) = (keys.start, keys.end.saturating_sub(1));
    match operation {
        "insert" => format!(
            "INSERT INTO {table} SELECT i, i % 1000{} FROM generate_series({first}::bigint, {last}) i",
            width.values
        ),
        "update" => format!("UPDATE {table} SET v = v + 1 WHERE k BETWEEN {first} AND {last}"),
        _ => format!("DELETE FROM {table} WHERE k BETWEEN {first} AND {last}"),
    }
}

/// Every client makes its statements on keys of its own, all at the same time, and before that one of the same kind on
/// the keys `before`, which it takes back. Milliseconds per statement.
fn run(
    database: &TestDatabase,
    clients: usize,
    rows: u64,
    statement: impl Fn(&Range<u64>) -> String + Sync,
    before: Range<u64>,
    base: u64,
) -> Result<f64> {
    let statements = if rows == 1 { SINGLE_STATEMENTS } else { 1 };
    let keys = |client: usize, number: u64| {
        let first = base + 1 + (client as u64 * statements + number) * rows;
        first..first + rows
    };
    let mut sessions: Vec<Client> = (0..clients).map(|_| database.connect()).collect::<Result<_>>()?;
    // The first change of a table looks up its triggers, their functions and where they write; that is once per session,
    // not per statement. A statement that changes no row does not get that far.
    for session in &mut sessions {
        session.batch_execute(&format!("BEGIN; {}; ROLLBACK", statement(&before)))?;
    }
    let clock = Instant::now();
    thread::scope(|scope| {
        let run = |(number, session): (usize, &mut Client)| -> Result<()> {
            (0..statements).try_for_each(|one| Ok(session.batch_execute(&statement(&keys(number, one)))?))
        };
        let running: Vec<_> =
            sessions.iter_mut().enumerate().map(|session| scope.spawn(move || run(session))).collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(milliseconds(clock) / statements as f64)
}
