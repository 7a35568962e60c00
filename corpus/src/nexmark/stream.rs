//! The changes of a cycle: a batch of new events in several transactions, and changes to what is there.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::event::{self, DELAY_MS, Events};
use super::time::timestamp;
use super::workload::{Nexmark, side_input};
use crate::change::{Cycle, Statement, Transaction};
use crate::row::Row;

/// Transactions in which a batch arrives.
const PIECES: i64 = 5;

/// How many of the latest events are changed again; older ones rarely.
const LATEST: i64 = 4000;

/// The transactions of cycle `number`.
pub(super) fn cycle(nexmark: &Nexmark, number: u32) -> Cycle {
    let batch = nexmark.batch(number);
    let mut rng = ChaCha8Rng::seed_from_u64(nexmark.events.seed);
    // Events have the streams from 0.
    rng.set_stream(u64::MAX - u64::from(number));
    let mut draw = Draw { events: &nexmark.events, end: batch.end, rng };
    let mut transactions = unpark();
    let piece = (nexmark.events.batch_rows + PIECES - 1) / PIECES;
    let mut first = batch.start;
    while first < batch.end {
        let last = (first + piece).min(batch.end);
        transactions.push(Transaction::new("events arrive", draw.arrivals(first, last)));
        first = last;
    }
    transactions.push(Transaction::new("correct prices", draw.prices()));
    transactions.push(Transaction::new("cancel bids", draw.cancellations()));
    transactions.push(Transaction::new("move bids", draw.moves()));
    transactions.push(Transaction::new("aim at rare results", draw.aimed()));
    transactions.push(Transaction::new("change auctions", draw.auctions()));
    transactions.push(Transaction::new("change persons", draw.persons()));
    transactions.push(Transaction::new("change the side input", draw.side_inputs(number)));
    transactions.push(Transaction::new("set and fill NULLs", draw.nulls()));
    transactions.push(Transaction::new("park partners and bids", draw.park()));
    transactions.push(Transaction::new("update and revert", draw.revert()));
    transactions.push(Transaction::new("roll back to a savepoint", draw.savepoint()));
    if nexmark.events.is_keyless {
        transactions.push(Transaction::new("copies come and go", draw.copies()));
    }
    Cycle { number, transactions }
}

/// Rows that the cycle before took out come back, late.
fn unpark() -> Vec<Transaction> {
    let back = |table: &str| {
        vec![
            Statement::on(table, format!("INSERT INTO {table} SELECT * FROM parked_{table}")),
            Statement::other(format!("DELETE FROM parked_{table}")),
        ]
    };
    let statements = ["bid", "auction", "person"].into_iter().flat_map(back).collect();
    vec![Transaction::new("put parked rows back", statements)]
}

/// Random choices of one cycle.
struct Draw<'a> {
    events: &'a Events,
    /// The first event that has not happened when the cycle is over.
    end: i64,
    rng: ChaCha8Rng,
}

impl Draw<'_> {
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.rng.random_range(low..=high.max(low))
    }

    /// A percentage of a batch, but at least `least`.
    fn count(&self, percent: i64, least: i64) -> i64 {
        (self.events.batch_rows * percent / 100).max(least)
    }

    /// The event of some bid: mostly a recent one.
    fn bid_event(&mut self) -> i64 {
        let bids = event::bids_before(self.end).max(1);
        let first = if self.between(1, 4) == 1 { 0 } else { event::bids_before((self.end - LATEST).max(0)) };
        event::event_of_bid(self.between(first, bids - 1))
    }

    /// A condition that finds the bid of an event: by key, or without one by its time, which is its own unless it came
    /// late.
    fn bid_of(&self, event: i64) -> String {
        let row = self.events.row(event);
        match self.events.is_keyless {
            true => format!("date_time = {}", row.get("date_time")),
            false => format!("bid_id = {}", row.get("bid_id")),
        }
    }

    fn bids(&mut self, count: i64) -> String {
        let events: Vec<i64> = (0..count).map(|_| self.bid_event()).collect();
        events.into_iter().map(|event| self.bid_of(event)).collect::<Vec<_>>().join(" OR ")
    }

    /// The dearest bid of some stretch of recent events.
    fn leader(&mut self) -> i64 {
        let first = self.bid_event();
        let last = (first + 200).min(self.end - 1);
        let bids = (first..=last).filter(|&event| event::table_of(event) == "bid");
        bids.max_by_key(|&event| self.events.row(event).get("price").as_integer()).unwrap_or(first)
    }

    fn auction(&mut self) -> i64 {
        let auctions = event::auctions_before(self.end).max(1);
        let first = if self.between(1, 4) == 1 { 0 } else { (auctions - 200).max(0) };
        event::id(self.between(first, auctions - 1))
    }

    fn person(&mut self) -> i64 {
        event::id(self.between(0, event::persons_before(self.end).max(1) - 1))
    }

    /// New events, in one statement per table; without a key some bids come twice.
    fn arrivals(&mut self, first: i64, last: i64) -> Vec<Statement> {
        let mut tuples: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for number in first..last {
            let row: Row = self.events.row(number);
            let copies =
                if self.events.is_keyless && row.table.name == "bid" && number % 16 == 0 { 2 } else { 1 };
            for _ in 0..copies {
                tuples.entry(row.table.name).or_default().push(row.tuple());
            }
        }
        tuples
            .into_iter()
            .map(|(table, tuples)| {
                Statement::on(table, format!("INSERT INTO {table} VALUES\n{}", tuples.join(",\n")))
            })
            .collect()
    }

    /// Prices rise above the leader's, fall, and change by nothing.
    fn prices(&mut self) -> Vec<Statement> {
        let (raised, lowered, same) =
            (self.bids(self.count(1, 2)), self.bids(self.count(1, 2)), self.bids(2));
        let leader = self.leader();
        let leader = self.bid_of(leader);
        let cents = self.between(1, 5_000_000);
        let update =
            |set: String, found: &str| Statement::on("bid", format!("UPDATE bid SET {set} WHERE {found}"));
        vec![
            update(format!("price = price + {cents}"), &raised),
            update("price = price / 3".to_owned(), &lowered),
            update("price = price / 100".to_owned(), &leader),
            update("price = price".to_owned(), &same),
        ]
    }

    /// Bids are withdrawn, leaders among them.
    fn cancellations(&mut self) -> Vec<Statement> {
        let some = self.bids(self.count(2, 3));
        let mut statements = vec![Statement::on("bid", format!("DELETE FROM bid WHERE {some}"))];
        for _ in 0..3 {
            let leader = self.leader();
            statements.push(Statement::on("bid", format!("DELETE FROM bid WHERE {}", self.bid_of(leader))));
        }
        statements
    }

    /// Bids move to another auction, another bidder, another window, another day, another channel.
    fn moves(&mut self) -> Vec<Statement> {
        let (auction, person) = (self.auction(), self.person());
        let found: Vec<String> = (0..6).map(|_| self.bids(3)).collect();
        let update =
            |set: String, found: &str| Statement::on("bid", format!("UPDATE bid SET {set} WHERE {found}"));
        vec![
            update(format!("auction = {auction}"), &found[0]),
            update(format!("bidder = {person}"), &found[1]),
            update("date_time = date_time - INTERVAL '12 seconds'".to_owned(), &found[2]),
            update("date_time = date_time + INTERVAL '1 day'".to_owned(), &found[3]),
            update("channel = 'apple', url = replace(url, 'nexmark', 'auction')".to_owned(), &found[4]),
            update("p_time = p_time + INTERVAL '10 seconds'".to_owned(), &found[5]),
        ]
    }

    /// Results that chance rarely meets: of the auctions with many bids (q103) the one with fewest loses all to another,
    /// and the lowest of the highest bids (q106) rises.
    fn aimed(&mut self) -> Vec<Statement> {
        let (auction, rise) = (self.auction(), self.between(100, 5000));
        let many = "SELECT auction FROM bid WHERE auction IN (SELECT id FROM auction) GROUP BY auction \
                    HAVING count(*) >= 20 ORDER BY count(*), auction LIMIT 1";
        let lowest = "SELECT a.id FROM auction a JOIN bid b ON a.id = b.auction \
                      WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id ORDER BY max(b.price), a.id LIMIT 1";
        vec![
            Statement::on("bid", format!("UPDATE bid SET auction = {auction} WHERE auction = ({many})")),
            Statement::on("bid", format!("UPDATE bid SET price = price + {rise} WHERE auction = ({lowest})")),
        ]
    }

    /// Auctions end later or sooner, change category and seller.
    fn auctions(&mut self) -> Vec<Statement> {
        let ids: Vec<i64> = (0..8).map(|_| self.auction()).collect();
        let seller = self.person();
        let list = |ids: &[i64]| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let update = |set: String, ids: &[i64]| {
            Statement::on("auction", format!("UPDATE auction SET {set} WHERE id IN ({})", list(ids)))
        };
        vec![
            update("expires = expires + INTERVAL '20 seconds'".to_owned(), &ids[0..2]),
            update("expires = date_time + (expires - date_time) / 2".to_owned(), &ids[2..4]),
            update("category = 10 + (category - 9) % 5".to_owned(), &ids[3..6]),
            update(format!("seller = {seller}"), &ids[6..8]),
        ]
    }

    /// Persons move between states and change their names; one changes the key itself.
    fn persons(&mut self) -> Vec<Statement> {
        let (mover, renamed, key) = (self.person(), self.person(), self.person());
        let sellers = "(SELECT seller FROM auction WHERE category = 10)";
        let salt = self.between(1, 9973);
        vec![
            Statement::on(
                "person",
                format!(
                    "UPDATE person SET state = CASE state WHEN 'OR' THEN 'WA' ELSE 'OR' END WHERE id = {mover} OR id = \
                     (SELECT id FROM person WHERE id IN {sellers} ORDER BY (id * 7919 + {salt}) % 10007, id LIMIT 1)"
                ),
            ),
            Statement::on("person", format!("UPDATE person SET name = name || ' Jr' WHERE id = {renamed}")),
            Statement::on("person", format!("UPDATE person SET id = -id WHERE id IN ({key}, {})", -key)),
        ]
    }

    /// The side input of upstream never changes; here rows change, go, and come back.
    fn side_inputs(&mut self, number: u32) -> Vec<Statement> {
        let auctions = event::auctions_before(self.end).max(2);
        let (changed, gone) =
            (event::id(self.between(0, auctions - 1)), event::id(auctions / 100 * 100 - self.between(0, 1)));
        let back = event::id(self.between(0, auctions - 1)) % 10_000;
        let value = side_input(back).unwrap_or_else(|| "no longer missing".to_owned());
        vec![
            Statement::on(
                "side_input",
                format!("UPDATE side_input SET value = 'changed {number}' WHERE key = {}", changed % 10_000),
            ),
            Statement::on("side_input", format!("DELETE FROM side_input WHERE key = {}", gone % 10_000)),
            Statement::on(
                "side_input",
                format!(
                    "INSERT INTO side_input VALUES ({back}, '{value}') ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value || '!'"
                ),
            ),
        ]
    }

    /// What the cycle before left NULL gets a value; other rows get NULLs.
    fn nulls(&mut self) -> Vec<Statement> {
        let found: Vec<String> = (0..4).map(|_| self.bids(2)).collect();
        let seller = self.auction();
        let update =
            |set: &str, found: &str| Statement::on("bid", format!("UPDATE bid SET {set} WHERE {found}"));
        vec![
            update(
                "price = coalesce(price, 4242), bidder = coalesce(bidder, 1001), channel = coalesce(channel, 'Google'), \
                 url = coalesce(url, 'https://www.nexmark.com/a/b/c'), extra = coalesce(extra, 'found')",
                "price IS NULL OR bidder IS NULL OR channel IS NULL",
            ),
            update("price = NULL", &found[0]),
            update("bidder = NULL, extra = NULL", &found[1]),
            update("channel = NULL, url = NULL", &found[2]),
            update("url = NULL", &found[3]),
            Statement::on(
                "auction",
                "UPDATE auction SET seller = id, category = 10 WHERE seller IS NULL".to_owned(),
            ),
            Statement::on(
                "auction",
                format!("UPDATE auction SET seller = NULL, category = NULL WHERE id = {seller}"),
            ),
        ]
    }

    /// Bids, an auction and a person go, and come back in the next cycle.
    fn park(&mut self) -> Vec<Statement> {
        let (bids, auction, person) = (self.bids(self.count(1, 3)), self.auction(), self.person());
        let park = |table: &str, found: &str| {
            let sql = format!(
                "WITH taken AS (DELETE FROM {table} WHERE {found} RETURNING *) \
                 INSERT INTO parked_{table} SELECT * FROM taken"
            );
            Statement::on(table, sql)
        };
        vec![
            park("bid", &bids),
            park("auction", &format!("id = {auction}")),
            park("person", &format!("id = {person}")),
        ]
    }

    fn revert(&mut self) -> Vec<Statement> {
        let found = self.bids(5);
        let update = |sign: char| {
            let set = format!("price = price {sign} 7, date_time = date_time {sign} INTERVAL '10 seconds'");
            // Without a key the time is how the rows are found again.
            let shift = if sign == '-' && self.events.is_keyless {
                "date_time - INTERVAL '10 seconds'"
            } else {
                "date_time"
            };
            Statement::on("bid", format!("UPDATE bid SET {set} WHERE {}", found.replace("date_time", shift)))
        };
        vec![update('+'), update('-')]
    }

    /// Half of the transaction is undone before it commits.
    fn savepoint(&mut self) -> Vec<Statement> {
        let (kept, undone, auction) = (self.bids(2), self.bids(9), self.auction());
        vec![
            Statement::on("bid", format!("UPDATE bid SET extra = extra || 'c' WHERE {kept}")),
            Statement::other("SAVEPOINT half"),
            Statement::on("bid", format!("DELETE FROM bid WHERE {undone}")),
            Statement::on("auction", format!("DELETE FROM auction WHERE id = {auction}")),
            Statement::other("ROLLBACK TO SAVEPOINT half"),
            Statement::on("bid", format!("UPDATE bid SET price = price + 1 WHERE {kept}")),
        ]
    }

    /// One of several equal bids goes, another gets a copy more.
    fn copies(&mut self) -> Vec<Statement> {
        let (gone, doubled) = (self.bid_event() / 16 * 16, self.bid_event());
        let time = timestamp(gone * DELAY_MS);
        vec![
            Statement::on(
                "bid",
                format!(
                    "DELETE FROM bid WHERE ctid = (SELECT ctid FROM bid WHERE date_time = '{time}' \
                     ORDER BY bid::text LIMIT 1)"
                ),
            ),
            Statement::on("bid", format!("INSERT INTO bid SELECT * FROM bid WHERE {}", self.bid_of(doubled))),
        ]
    }
}
