//! The refresh functions RF1 and RF2, as the official generator makes them.
//!
//! Of every 32 order keys the base population uses 8. Order number `i` (from 1) becomes key
//! `((i >> 3) << 2 | seq) << 3 | (i & 7)`, where `seq` is 0 for the base and `1 + s / 1000` for refresh set `s`.
//! Set `s` covers the order numbers `(s-1)*n + 1 ..= s*n` with `n` a thousandth of the orders. RF1(s) inserts new
//! orders under the keys of those numbers; their other columns continue the random streams past the end of the base
//! table. RF2(s) deletes the base orders with those numbers. (The official program makes `n` by a division that cuts:
//! 10 rather than 15 orders at scale 0.01; the first ten of ours are the same rows.)

use tpchgen::generators::{LineItem, LineItemGenerator, Order, OrderGenerator};

use super::Scale;

/// Sets per base population: after this many, RF2 has deleted every base order.
pub const SETS_MAX: u32 = 1000;

/// The rows RF1 inserts: the orders, and the lineitems of the same orders.
pub struct Inserted {
    pub orders: Vec<Order<'static>>,
    pub lineitems: Vec<LineItem<'static>>,
}

/// Orders in one set.
pub fn orders_per_set(scale: Scale) -> i64 {
    scale.orders() / i64::from(SETS_MAX)
}

/// The key of order number `number` (from 1) under sequence `seq`.
pub fn order_key(number: i64, seq: i64) -> i64 {
    (((number >> 3) << 2) | seq) << 3 | (number & 7)
}

/// The order number of a key, whatever its sequence.
pub fn order_number(key: i64) -> i64 {
    (key >> 5) << 3 | (key & 7)
}

/// What RF1 of `set` (from 1 to [`SETS_MAX`]) inserts.
pub fn rf1(scale: Scale, set: u32) -> Inserted {
    let seq = 1 + i64::from(set / 1000);
    let part = i32::try_from(SETS_MAX + set).expect("set numbers are small");
    let parts = SETS_MAX as i32;
    // A part number past the part count starts exactly where the base table ended, plus the sets before this one.
    let beyond_base = orders_per_set(scale) * i64::from(SETS_MAX);
    let key = |key: i64| order_key(order_number(key) - beyond_base, seq);
    let orders = OrderGenerator::new(scale.factor(), part, parts)
        .iter()
        .map(|order| Order { o_orderkey: key(order.o_orderkey), ..order })
        .collect();
    let lineitems = LineItemGenerator::new(scale.factor(), part, parts)
        .iter()
        .map(|line| LineItem { l_orderkey: key(line.l_orderkey), ..line })
        .collect();
    Inserted { orders, lineitems }
}

/// The order keys RF2 of `set` (from 1 to [`SETS_MAX`]) deletes, with their lineitems.
pub fn rf2(scale: Scale, set: u32) -> Vec<i64> {
    let n = orders_per_set(scale);
    let first = (i64::from(set) - 1) * n + 1;
    (first..first + n).map(|number| order_key(number, 0)).collect()
}
