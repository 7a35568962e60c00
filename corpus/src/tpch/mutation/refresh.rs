//! RF1 and RF2 as SQL, in the specification's wording: an order and its lineitems in one transaction.

use tpchgen::generators::{LineItem, Order};

use super::literal;
use crate::change::{Statement, Transaction};
use crate::tpch::refresh_set::{self, Inserted, SETS_MAX};
use crate::tpch::{Scale, Table};

/// RF1 and RF2 of one set.
pub(super) fn pair(scale: Scale, set: u32) -> Vec<Transaction> {
    let keys = refresh_set::rf2(scale, set);
    vec![
        Transaction::new(format!("RF1({set})"), insert(&refresh_set::rf1(scale, set))),
        Transaction::new(format!("RF2({set})"), delete(&keys)),
    ]
}

/// RF1 and RF2 of a set, of which only the first `orders`.
pub(super) fn part(scale: Scale, set: u32, orders: usize) -> Vec<Transaction> {
    let Inserted { orders: mut new, mut lineitems } = refresh_set::rf1(scale, set);
    new.truncate(orders);
    let last = new.last().map_or(0, |order| order.o_orderkey);
    lineitems.retain(|line| line.l_orderkey <= last);
    let keys = refresh_set::rf2(scale, set);
    vec![
        Transaction::new(format!("RF1({set})"), insert(&Inserted { orders: new, lineitems })),
        Transaction::new(format!("RF2({set})"), delete(&keys[..orders.min(keys.len())])),
    ]
}

/// RF1 of a set half a population away from `set`, then the deletion of the same rows: nothing remains of it.
pub(super) fn cancelling(scale: Scale, set: u32) -> Vec<Transaction> {
    let opposite = 1 + (set - 1 + SETS_MAX / 2) % SETS_MAX;
    let inserted = refresh_set::rf1(scale, opposite);
    let keys: Vec<i64> = inserted.orders.iter().map(|order| order.o_orderkey).collect();
    vec![
        Transaction::new(format!("RF1({opposite}), to be cancelled"), insert(&inserted)),
        Transaction::new(format!("cancel RF1({opposite})"), delete(&keys)),
    ]
}

/// Inserts that do nothing where a row is there already: after a whole round of sets the same keys come again.
fn insert(rows: &Inserted) -> Vec<Statement> {
    let orders: Vec<String> = rows.orders.iter().map(order_values).collect();
    let lineitems: Vec<String> = rows.lineitems.iter().map(lineitem_values).collect();
    let statement = |table: Table, values: Vec<String>| {
        let sql = format!("INSERT INTO {table} VALUES\n{}\nON CONFLICT DO NOTHING", values.join(",\n"));
        Statement::on(table, sql)
    };
    vec![statement(Table::Orders, orders), statement(Table::LineItem, lineitems)]
}

fn delete(keys: &[i64]) -> Vec<Statement> {
    let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
    let keys = format!("'{{{}}}'::bigint[]", keys.join(","));
    vec![
        Statement::on(Table::LineItem, format!("DELETE FROM lineitem WHERE l_orderkey = ANY ({keys})")),
        Statement::on(Table::Orders, format!("DELETE FROM orders WHERE o_orderkey = ANY ({keys})")),
    ]
}

fn order_values(row: &Order<'_>) -> String {
    format!(
        "({}, {}, '{}', {}, '{}', '{}', '{}', {}, {})",
        row.o_orderkey,
        row.o_custkey,
        row.o_orderstatus,
        row.o_totalprice,
        row.o_orderdate,
        row.o_orderpriority,
        row.o_clerk,
        row.o_shippriority,
        literal(row.o_comment)
    )
}

fn lineitem_values(row: &LineItem<'_>) -> String {
    format!(
        "({}, {}, {}, {}, {}, {}, {}, {}, '{}', '{}', '{}', '{}', '{}', '{}', '{}', {})",
        row.l_orderkey,
        row.l_partkey,
        row.l_suppkey,
        row.l_linenumber,
        row.l_quantity,
        row.l_extendedprice,
        row.l_discount,
        row.l_tax,
        row.l_returnflag,
        row.l_linestatus,
        row.l_shipdate,
        row.l_commitdate,
        row.l_receiptdate,
        row.l_shipinstruct,
        row.l_shipmode,
        literal(row.l_comment)
    )
}
