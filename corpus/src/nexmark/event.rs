//! Events: number `n` of a seed is always the same person, auction or bid, whatever was asked for before.
//!
//! Of every fifty events the first is a person, the next three are auctions, the others bids. Ids count from 1000. Three
//! sellers and bidders of four and every second auction bid for are *hot*: one id that changes every hundred. The others are
//! drawn from the latest ones and ten that do not exist yet, so partners arrive late without further help.

use std::sync::OnceLock;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::time::timestamp;
use crate::row::{Row, Table, Value};

/// Milliseconds between two events.
pub(super) const DELAY_MS: i64 = 10;

const FIRST_ID: i64 = 1000;
const GROUP: i64 = 50;
const AUCTIONS: i64 = 3;
const BIDS: i64 = 46;

/// Every hundredth id is a hot one.
const HOT: i64 = 100;
/// Ids that are referred to before they exist.
const LEAD: i64 = 10;
/// How far back a person and an auction are referred to.
const ACTIVE_PERSONS: i64 = 1000;
const ACTIVE_AUCTIONS: i64 = 100;

const CATEGORIES: i64 = 5;

pub(super) static PERSON: Table = Table {
    name: "person",
    columns: &["id", "name", "email_address", "credit_card", "city", "state", "date_time", "extra"],
};
pub(super) static AUCTION: Table = Table {
    name: "auction",
    columns: &[
        "id",
        "item_name",
        "description",
        "initial_bid",
        "reserve",
        "date_time",
        "expires",
        "seller",
        "category",
        "extra",
    ],
};
pub(super) static BID: Table = Table {
    name: "bid",
    columns: &["bid_id", "auction", "bidder", "price", "channel", "url", "date_time", "extra", "p_time"],
};
/// Bids as upstream has them.
pub(super) static KEYLESS_BID: Table = Table {
    name: "bid",
    columns: &["auction", "bidder", "price", "channel", "url", "date_time", "extra", "p_time"],
};

pub(super) static SIDE_INPUT: Table = Table { name: "side_input", columns: &["key", "value"] };

/// The table that event number `event` goes to.
pub(super) fn table_of(event: i64) -> &'static str {
    match event % GROUP {
        0 => "person",
        1..=AUCTIONS => "auction",
        _ => "bid",
    }
}

/// The events of one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events {
    pub(super) seed: u64,
    /// Events that are loaded together, which decides `p_time`.
    pub(super) batch_rows: i64,
    pub(super) is_keyless: bool,
}

/// The number of the event that is bid number `bid`, both from 0.
pub(super) fn event_of_bid(bid: i64) -> i64 {
    bid / BIDS * GROUP + 1 + AUCTIONS + bid % BIDS
}

/// How many bids there are among the events before number `event`.
pub(super) fn bids_before(event: i64) -> i64 {
    event / GROUP * BIDS + (event % GROUP - 1 - AUCTIONS).max(0)
}

/// How many persons there are among the events before number `event`.
pub(super) fn persons_before(event: i64) -> i64 {
    (event + GROUP - 1) / GROUP
}

/// How many auctions there are among the events before number `event`.
pub(super) fn auctions_before(event: i64) -> i64 {
    event / GROUP * AUCTIONS + (event % GROUP - 1).clamp(0, AUCTIONS)
}

/// The id of person or auction number `number`, from 0.
pub(super) fn id(number: i64) -> i64 {
    FIRST_ID + number
}

impl Events {
    /// Event number `event`, from 0.
    pub(super) fn row(&self, event: i64) -> Row {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(event as u64);
        match event % GROUP {
            0 => self.person(event, &mut rng),
            1..=AUCTIONS => self.auction(event, &mut rng),
            _ => self.bid(event, &mut rng),
        }
    }

    /// When an event happens. Two bids in a hundred report it late, see [`Events::bid`].
    pub(super) fn time(event: i64) -> String {
        timestamp(event * DELAY_MS)
    }

    fn person(&self, event: i64, rng: &mut ChaCha8Rng) -> Row {
        let mut row = Row::empty(&PERSON);
        let (first, last) = (pick(rng, &FIRST_NAMES), pick(rng, &LAST_NAMES));
        row.set("id", Value::Integer(id(event / GROUP)));
        row.set("name", Value::Text(format!("{first} {last}")));
        row.set("email_address", Value::Text(format!("{}@{}.com", first.to_lowercase(), letters(rng, 6))));
        row.set(
            "credit_card",
            Value::Text(format!("{:04} {:04}", rng.random_range(0..10_000), rng.random_range(0..10_000))),
        );
        row.set(
            "city",
            Value::text(pick(rng, &["Phoenix", "Palo Alto", "Boise", "Portland", "Seattle", "Cheyenne"])),
        );
        row.set("state", Value::text(pick(rng, &["AZ", "CA", "ID", "OR", "WA", "WY"])));
        row.set("date_time", Value::Text(Self::time(event)));
        row.set("extra", Value::Text(letters(rng, 20)));
        row
    }

    fn auction(&self, event: i64, rng: &mut ChaCha8Rng) -> Row {
        let mut row = Row::empty(&AUCTION);
        let number = event / GROUP * AUCTIONS + event % GROUP - 1;
        let initial = price(rng);
        // Twice the time in which a hundred more auctions begin.
        let longest = 2 * HOT / AUCTIONS * GROUP * DELAY_MS;
        let expires = event * DELAY_MS + rng.random_range(1..=longest);
        row.set("id", Value::Integer(id(number)));
        row.set("item_name", Value::Text(letters(rng, 10)));
        row.set("description", Value::Text(letters(rng, 24)));
        row.set("initial_bid", Value::Integer(initial));
        row.set("reserve", Value::Integer(initial + price(rng)));
        row.set("date_time", Value::Text(Self::time(event)));
        row.set("expires", Value::Text(timestamp(expires)));
        row.set("seller", Value::Integer(person_referred(rng, event, 0)));
        row.set("category", Value::Integer(10 + rng.random_range(0..CATEGORIES)));
        row.set("extra", Value::Text(letters(rng, 30)));
        row
    }

    fn bid(&self, event: i64, rng: &mut ChaCha8Rng) -> Row {
        let mut row = Row::empty(if self.is_keyless { &KEYLESS_BID } else { &BID });
        let number = event / GROUP * BIDS + event % GROUP - 1 - AUCTIONS;
        let latest = (auctions_before(event) - 1).max(0);
        let auction = match rng.random_range(0..2) {
            0 => latest / HOT * HOT,
            _ => rng.random_range((latest - ACTIVE_AUCTIONS + 1).max(0)..=latest + LEAD),
        };
        let is_late = rng.random_range(0..50) == 0;
        let lateness = if is_late { rng.random_range(0..3000) * DELAY_MS - DELAY_MS / 2 } else { 0 };
        let (channel, url) = channel(rng);
        let loaded = (event / self.batch_rows + 1) * self.batch_rows * DELAY_MS;
        if !self.is_keyless {
            row.set("bid_id", Value::Integer(number));
        }
        row.set("auction", Value::Integer(id(auction)));
        row.set("bidder", Value::Integer(person_referred(rng, event, 1)));
        row.set("price", Value::Integer(price(rng)));
        row.set("channel", Value::Text(channel));
        row.set("url", Value::Text(url));
        row.set("date_time", Value::Text(timestamp(event * DELAY_MS - lateness)));
        row.set("extra", Value::Text(letters(rng, 16)));
        row.set("p_time", Value::Text(timestamp(loaded)));
        row
    }
}

/// A seller (`beside` 0) or a bidder (`beside` 1): two different hot ones.
fn person_referred(rng: &mut ChaCha8Rng, event: i64, beside: i64) -> i64 {
    let latest = (persons_before(event) - 1).max(0);
    id(match rng.random_range(0..4) {
        0 => rng.random_range((latest - ACTIVE_PERSONS + 1).max(0)..=latest + LEAD),
        _ => latest / HOT * HOT + beside,
    })
}

/// A hundred times a power of ten with an exponent drawn evenly from 0 to 6, in steps of a thousandth. The powers are made
/// by multiplication, which every machine does alike, unlike the function.
fn price(rng: &mut ChaCha8Rng) -> i64 {
    const STEP: f64 = 1.002_305_238_077_899_6;
    static PRICES: OnceLock<Vec<i64>> = OnceLock::new();
    let prices = PRICES.get_or_init(|| {
        let steps = std::iter::successors(Some(100.0_f64), |price| Some(price * STEP));
        steps.take(6001).map(|price| price.round() as i64).collect()
    });
    prices[rng.random_range(0..prices.len())]
}

/// Half of the bids come through four channels; most of the others carry the channel's number in the address.
fn channel(rng: &mut ChaCha8Rng) -> (String, String) {
    let base = format!(
        "https://www.nexmark.com/{}/{}/{}/item.htm?query=1",
        letters(rng, 3),
        letters(rng, 4),
        letters(rng, 3)
    );
    if rng.random_range(0..2) == 0 {
        return (pick(rng, &["Google", "Facebook", "Baidu", "Apple"]).to_owned(), base);
    }
    let number = rng.random_range(0..10_000);
    let address =
        if number % 10 == 0 { base } else { format!("{base}&channel_id={}", number * 7919 % 1_048_573) };
    (format!("channel-{number}"), address)
}

fn letters(rng: &mut ChaCha8Rng, about: usize) -> String {
    let count = about * rng.random_range(80..=120) / 100;
    (0..count).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

fn pick(rng: &mut ChaCha8Rng, from: &[&'static str]) -> &'static str {
    from.choose(rng).expect("a choice")
}

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_the_events() {
        let events = Events { seed: 1, batch_rows: 100, is_keyless: false };
        let (mut persons, mut auctions, mut bids) = (0, 0, 0);
        for event in 0..250 {
            assert_eq!(persons_before(event), persons, "event {event}");
            assert_eq!(auctions_before(event), auctions, "event {event}");
            assert_eq!(bids_before(event), bids, "event {event}");
            let row = events.row(event);
            match row.table.name {
                "person" => persons += 1,
                "auction" => auctions += 1,
                _ => {
                    assert_eq!(event_of_bid(bids), event);
                    assert_eq!(row.get("bid_id"), &Value::Integer(bids));
                    bids += 1;
                }
            }
        }
        assert_eq!((persons, auctions, bids), (5, 15, 230));
    }
}
