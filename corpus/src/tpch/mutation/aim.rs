//! For each query, changes to rows that its predicates select, or that they select only after the change.
//!
//! At scale 0.01 a random change to a table misses most of the 22 results. These statements use the query's own
//! parameters, so that a result changes in nearly every cycle: rows enter it, leave it, and change within it.

use super::{Draw, literal};
use crate::change::Statement;
use crate::tpch::{Query, Table};

/// The statements aimed at one query.
pub(super) fn statements(query: &Query, draw: &mut Draw) -> Vec<Statement> {
    let p: Vec<&str> = query.parameters.iter().map(String::as_str).collect();
    match query.number {
        1 => vec![price(draw, 2, "", &format!("l_shipdate <= date '1998-12-01' - {}", p[0]))],
        2 => q2(draw, &p),
        3 => q3(draw, &p),
        4 => q4(draw, &p),
        5 => q5(draw, &p),
        6 => q6(draw, &p),
        7 => q7(draw, &p),
        8 => q8(draw, &p),
        9 => q9(draw, &p),
        10 => q10(draw, &p),
        11 => q11(draw, &p),
        12 => q12(draw, &p),
        13 => q13(draw, &p),
        14 => q14(draw, &p),
        15 => q15(draw, &p),
        16 => q16(draw, &p),
        17 => q17(draw, &p),
        18 => q18(draw, &p),
        19 => q19(draw, &p),
        20 => q20(draw, &p),
        21 => q21(draw, &p),
        22 => q22(draw, &p),
        other => unreachable!("there is no q{other}"),
    }
}

/// Updates up to `count` rows of `table` (whose key columns are `keys`) that `from_where` finds.
fn update(draw: &mut Draw, table: Table, keys: &str, set: &str, from_where: &str, count: i64) -> Statement {
    let first = keys.split(',').next().unwrap_or(keys);
    let shuffle = draw.shuffle(first, keys);
    Statement::on(
        table,
        format!(
            "UPDATE {table} SET {set} WHERE ({keys}) IN (SELECT {keys} FROM {from_where} {shuffle} LIMIT {count})"
        ),
    )
}

/// Updates lineitems found within a window of about a fifth of the orders (at most 6000 orders).
fn lines(draw: &mut Draw, set: &str, joins: &str, condition: &str, count: i64) -> Statement {
    let orders = (draw.scale.orders() / 5).min(6000);
    let window = draw.window("l_orderkey", orders);
    let from_where = format!("lineitem {joins} WHERE {window} AND {condition}");
    update(draw, Table::LineItem, "l_orderkey, l_linenumber", set, &from_where, count)
}

/// Changes the price of some lineitems by an odd number of cents, up or down.
fn price(draw: &mut Draw, count: i64, joins: &str, condition: &str) -> Statement {
    let cents = draw.between(-99_999, 199_999);
    lines(draw, &format!("l_extendedprice = l_extendedprice + {cents} / 100.0"), joins, condition, count)
}

const ORDER: &str = "JOIN orders ON o_orderkey = l_orderkey";
const CUSTOMER_NATION: &str = "JOIN orders ON o_orderkey = l_orderkey JOIN customer ON c_custkey = o_custkey \
     JOIN nation ON n_nationkey = c_nationkey";
const SUPPLIER_NATION: &str =
    "JOIN supplier ON s_suppkey = l_suppkey JOIN nation ON n_nationkey = s_nationkey";

fn q2(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let candidates = format!(
        "partsupp JOIN part ON p_partkey = ps_partkey JOIN supplier ON s_suppkey = ps_suppkey \
         JOIN nation ON n_nationkey = s_nationkey JOIN region ON r_regionkey = n_regionkey \
         WHERE p_size = {} AND p_type LIKE '%{}' AND r_name = '{}'",
        p[0], p[1], p[2]
    );
    let cost = draw.between(100, 90_000);
    let key = "ps_partkey, ps_suppkey";
    vec![
        update(draw, Table::PartSupp, key, &format!("ps_supplycost = {cost} / 100.0"), &candidates, 2),
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_size = {}", p[0]),
            &format!("part WHERE p_type LIKE '%{}' AND p_size <> {}", p[1], p[0]),
            2,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            "p_size = p_size + 1",
            &format!("part WHERE p_type LIKE '%{}' AND p_size = {}", p[1], p[0]),
            1,
        ),
        update(
            draw,
            Table::Supplier,
            "s_suppkey",
            "s_acctbal = s_acctbal - 100.01",
            &format!(
                "supplier JOIN nation ON n_nationkey = s_nationkey JOIN region ON r_regionkey = n_regionkey \
                 WHERE r_name = '{}'",
                p[2]
            ),
            2,
        ),
    ]
}

/// Prices high enough to enter the first ten, and inflated prices that come down again.
fn q3(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let raise = draw.between(80_000, 300_000);
    let joins = "JOIN orders ON o_orderkey = l_orderkey JOIN customer ON c_custkey = o_custkey";
    let inside =
        format!("c_mktsegment = '{0}' AND o_orderdate < date '{1}' AND l_shipdate > date '{1}'", p[0], p[1]);
    vec![
        lines(draw, &format!("l_extendedprice = l_extendedprice + {raise}"), joins, &inside, 1),
        lines(draw, "l_extendedprice = round(l_extendedprice / 16, 2)", "", "l_extendedprice > 120000", 2),
        update(
            draw,
            Table::Customer,
            "c_custkey",
            &format!("c_mktsegment = '{}'", p[0]),
            &format!("customer WHERE c_mktsegment <> '{}'", p[0]),
            2,
        ),
    ]
}

fn q4(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let inside = format!("o_orderdate >= date '{0}' AND o_orderdate < date '{0}' + interval '3' month", p[0]);
    vec![
        lines(
            draw,
            "l_receiptdate = l_commitdate + 5",
            ORDER,
            &format!("{inside} AND l_commitdate >= l_receiptdate"),
            3,
        ),
        lines(
            draw,
            "l_commitdate = l_receiptdate",
            ORDER,
            &format!("{inside} AND l_commitdate < l_receiptdate"),
            2,
        ),
        update(
            draw,
            Table::Orders,
            "o_orderkey",
            "o_orderpriority = CASE o_orderpriority WHEN '1-URGENT' THEN '5-LOW' ELSE '1-URGENT' END",
            &format!("orders WHERE {inside}"),
            2,
        ),
    ]
}

fn q5(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let joins = format!(
        "{CUSTOMER_NATION} JOIN supplier ON s_suppkey = l_suppkey JOIN region ON r_regionkey = n_regionkey"
    );
    let dates = format!("o_orderdate >= date '{0}' AND o_orderdate < date '{0}' + interval '1' year", p[1]);
    let inside = format!("{dates} AND r_name = '{}'", p[0]);
    // A lineitem enters the result when its supplier becomes one of the customer's nation.
    let move_in = "l_suppkey = (SELECT min(s_suppkey) FROM supplier JOIN customer ON c_nationkey = s_nationkey \
         JOIN orders ON o_custkey = c_custkey WHERE o_orderkey = l_orderkey)";
    vec![
        price(draw, 3, &joins, &format!("{inside} AND c_nationkey = s_nationkey")),
        lines(draw, move_in, &joins, &format!("{inside} AND c_nationkey <> s_nationkey"), 2),
    ]
}

fn q6(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = format!("l_shipdate >= date '{0}' AND l_shipdate < date '{0}' + interval '1' year", p[0]);
    let inside =
        format!("{dates} AND l_discount BETWEEN {0} - 0.01 AND {0} + 0.01 AND l_quantity < {1}", p[1], p[2]);
    vec![
        price(draw, 2, "", &inside),
        lines(draw, "l_quantity = 49", "", &inside, 1),
        lines(draw, &format!("l_discount = {}, l_quantity = 3", p[1]), "", &dates, 2),
    ]
}

fn q7(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = "l_shipdate BETWEEN date '1995-01-01' AND date '1996-12-31'";
    let nation = |n: usize| format!("(SELECT n_nationkey FROM nation WHERE n_name = '{}')", p[n]);
    let to_second = format!("c_nationkey = {}", nation(1));
    vec![
        price(draw, 4, SUPPLIER_NATION, &format!("{dates} AND n_name IN ('{}', '{}')", p[0], p[1])),
        update(
            draw,
            Table::Customer,
            "c_custkey",
            &to_second,
            &format!(
                "customer JOIN orders ON o_custkey = c_custkey JOIN lineitem ON l_orderkey = o_orderkey \
                 JOIN supplier ON s_suppkey = l_suppkey \
                 WHERE s_nationkey = {} AND c_nationkey <> {} AND {dates}",
                nation(0),
                nation(1)
            ),
            2,
        ),
    ]
}

fn q8(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let inside = format!(
        "JOIN region ON r_regionkey = n_regionkey \
         WHERE r_name = '{}' AND o_orderdate BETWEEN date '1995-01-01' AND date '1996-12-31'",
        p[1]
    );
    let key = "l_orderkey, l_linenumber";
    let typed = format!("l_partkey IN (SELECT p_partkey FROM part WHERE p_type = '{}')", p[2]);
    let seller = format!(
        "l_suppkey = (SELECT min(s_suppkey) FROM supplier JOIN nation ON n_nationkey = s_nationkey \
         WHERE n_name = '{}')",
        p[0]
    );
    let cents = draw.between(1_000, 500_000);
    let candidates = format!("lineitem {CUSTOMER_NATION} {inside} AND {typed}");
    vec![
        update(draw, Table::LineItem, key, &seller, &candidates, 1),
        update(
            draw,
            Table::LineItem,
            key,
            &format!("l_extendedprice = l_extendedprice + {cents} / 100.0"),
            &candidates,
            2,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_type = '{}'", p[2]),
            &format!("part WHERE p_type <> '{}'", p[2]),
            1,
        ),
    ]
}

fn q9(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    vec![
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_name = '{} ' || p_name", p[0]),
            &format!("part WHERE p_name NOT LIKE '%{}%'", p[0]),
            1,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_name = replace(p_name, '{}', 'colourless')", p[0]),
            &format!("part WHERE p_name LIKE '%{}%'", p[0]),
            1,
        ),
        update(
            draw,
            Table::PartSupp,
            "ps_partkey, ps_suppkey",
            "ps_supplycost = ps_supplycost + 0.77",
            &format!("partsupp JOIN part ON p_partkey = ps_partkey WHERE p_name LIKE '%{}%'", p[0]),
            2,
        ),
    ]
}

/// Large returns that enter the first twenty, and returns that are taken back.
fn q10(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let inside = format!("o_orderdate >= date '{0}' AND o_orderdate < date '{0}' + interval '3' month", p[0]);
    let raise = draw.between(50_000, 300_000);
    let returned = format!("{inside} AND l_returnflag = 'R'");
    vec![
        lines(draw, &format!("l_extendedprice = l_extendedprice + {raise}"), ORDER, &returned, 1),
        lines(draw, "l_returnflag = 'R'", ORDER, &format!("{inside} AND l_returnflag <> 'R'"), 2),
        lines(draw, "l_returnflag = 'A'", ORDER, &returned, 1),
        update(
            draw,
            Table::Customer,
            "c_custkey",
            "c_acctbal = c_acctbal + 3.33",
            &format!(
                "(SELECT c.* FROM customer c JOIN orders ON o_custkey = c_custkey JOIN lineitem ON l_orderkey = o_orderkey \
                 WHERE {returned} AND l_extendedprice > 80000) AS customer"
            ),
            3,
        ),
    ]
}

fn q11(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let stock = format!(
        "partsupp JOIN supplier ON s_suppkey = ps_suppkey JOIN nation ON n_nationkey = s_nationkey \
         WHERE n_name = '{}'",
        p[0]
    );
    let available = draw.between(1, 200_000);
    let key = "ps_partkey, ps_suppkey";
    vec![
        update(draw, Table::PartSupp, key, &format!("ps_availqty = {available}"), &stock, 2),
        update(draw, Table::PartSupp, key, "ps_supplycost = round(ps_supplycost * 1.5, 2)", &stock, 2),
    ]
}

fn q12(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = format!(
        "l_commitdate < l_receiptdate AND l_shipdate < l_commitdate \
         AND l_receiptdate >= date '{0}' AND l_receiptdate < date '{0}' + interval '1' year",
        p[2]
    );
    vec![
        lines(
            draw,
            &format!("l_shipmode = '{}'", p[0]),
            "",
            &format!("{dates} AND l_shipmode <> '{}'", p[0]),
            3,
        ),
        lines(draw, "l_shipmode = 'RAIL'", "", &format!("{dates} AND l_shipmode = '{}'", p[1]), 1),
    ]
}

fn q13(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let matching = format!("o_comment LIKE '%{}%{}%'", p[0], p[1]);
    let customers = draw.scale.rows(150_000);
    // The generator leaves every third customer without orders; one of them gets its first.
    let customer = draw.between(1, customers / 3) * 3;
    vec![
        update(
            draw,
            Table::Orders,
            "o_orderkey",
            &format!("o_comment = 'some {} and many {}'", p[0], p[1]),
            &format!("orders WHERE NOT {matching}"),
            3,
        ),
        update(
            draw,
            Table::Orders,
            "o_orderkey",
            "o_comment = 'quite ordinary'",
            &format!("orders WHERE {matching}"),
            2,
        ),
        update(draw, Table::Orders, "o_orderkey", &format!("o_custkey = {customer}"), "orders", 2),
    ]
}

fn q14(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = format!("l_shipdate >= date '{0}' AND l_shipdate < date '{0}' + interval '1' month", p[0]);
    let shipped = format!("part JOIN lineitem ON l_partkey = p_partkey WHERE {dates}");
    vec![
        price(draw, 2, "JOIN part ON p_partkey = l_partkey", &format!("{dates} AND p_type LIKE 'PROMO%'")),
        update(
            draw,
            Table::Part,
            "p_partkey",
            "p_type = 'PROMO PLATED TIN'",
            &format!("{shipped} AND p_type NOT LIKE 'PROMO%'"),
            1,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            "p_type = 'ECONOMY PLATED TIN'",
            &format!("{shipped} AND p_type LIKE 'PROMO%'"),
            1,
        ),
    ]
}

/// The maximum moves: one lineitem becomes so dear that its supplier leads, and a leader's dear lineitem is deleted.
fn q15(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = format!("l_shipdate >= date '{0}' AND l_shipdate < date '{0}' + interval '3' month", p[0]);
    let dear = draw.between(2_000_000, 9_000_000);
    vec![
        Statement::on(
            Table::LineItem,
            format!(
                "DELETE FROM lineitem WHERE {dates} AND l_extendedprice >= 2000000 AND l_orderkey % 2 = 0"
            ),
        ),
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_extendedprice = 1000.25 \
                 WHERE {dates} AND l_extendedprice >= 2000000 AND l_orderkey % 2 = 1"
            ),
        ),
        lines(draw, &format!("l_extendedprice = {dear}.50"), "", &dates, 1),
    ]
}

fn q16(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let sizes = p[2..].join(", ");
    let inside = format!("p_brand <> '{}' AND p_type NOT LIKE '{}%' AND p_size IN ({sizes})", p[0], p[1]);
    vec![
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_brand = '{}'", p[0]),
            &format!("part WHERE {inside}"),
            1,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_brand = 'Brand#11', p_type = 'SMALL BRUSHED COPPER', p_size = {}", p[2]),
            &format!("part WHERE p_brand = '{}' OR p_size = 50", p[0]),
            2,
        ),
        update(
            draw,
            Table::Supplier,
            "s_suppkey",
            "s_comment = 'a Customer had Complaints'",
            "supplier WHERE s_comment NOT LIKE '%Customer%Complaints%'",
            1,
        ),
    ]
}

fn q17(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let parts = format!(
        "l_partkey IN (SELECT p_partkey FROM part WHERE p_brand = '{}' AND p_container = '{}')",
        p[0], p[1]
    );
    let key = "l_orderkey, l_linenumber";
    let candidates = format!("lineitem WHERE {parts}");
    vec![
        update(draw, Table::LineItem, key, "l_quantity = 1", &candidates, 1),
        update(draw, Table::LineItem, key, "l_quantity = l_quantity + 30", &candidates, 1),
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_container = '{}'", p[1]),
            &format!("part WHERE p_brand = '{}' AND p_container <> '{}'", p[0], p[1]),
            1,
        ),
    ]
}

/// An order of many lineitems becomes large, and one that is large becomes small.
fn q18(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let orders = (draw.scale.orders() / 5).min(6000);
    let (window, other) = (draw.window("l_orderkey", orders), draw.window("l_orderkey", orders));
    let (up, down) = (draw.shuffle("l_orderkey", "l_orderkey"), draw.shuffle("l_orderkey", "l_orderkey"));
    let grouped = |window: &str, having: &str, order: &str| {
        format!(
            "(SELECT l_orderkey FROM lineitem WHERE {window} GROUP BY l_orderkey HAVING {having} {order} LIMIT 1)"
        )
    };
    let large = grouped(&window, "count(*) = 7", &up);
    let small = grouped(&other, &format!("sum(l_quantity) > {}", p[0]), &down);
    vec![
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_quantity = 50 WHERE l_orderkey IN {large}"),
        ),
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_quantity = 20 WHERE l_orderkey IN {small}"),
        ),
    ]
}

fn q19(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let mail = "l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON'";
    let branch = |brand: &str, container: &str| {
        format!("p_brand = {}, p_container = '{container}', p_size = 4", literal(brand))
    };
    let (first, second) = (branch(p[0], "SM CASE"), branch(p[1], "MED BAG"));
    let sold = format!("part JOIN lineitem ON l_partkey = p_partkey WHERE {mail} AND l_quantity BETWEEN");
    let first_quantity = format!("{sold} {0} AND {0} + 10", p[3]);
    let second_quantity = format!("{sold} {0} AND {0} + 10", p[4]);
    let parts = format!(
        "l_partkey IN (SELECT p_partkey FROM part WHERE p_brand = '{}' AND p_size <= 5 AND p_container LIKE 'SM%')",
        p[0]
    );
    vec![
        update(draw, Table::Part, "p_partkey", &first, &first_quantity, 1),
        update(draw, Table::Part, "p_partkey", &second, &second_quantity, 1),
        update(
            draw,
            Table::LineItem,
            "l_orderkey, l_linenumber",
            &format!("l_shipmode = 'AIR', l_shipinstruct = 'DELIVER IN PERSON', l_quantity = {} + 1", p[3]),
            &format!("lineitem WHERE {parts}"),
            1,
        ),
    ]
}

fn q20(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let dates = format!("l_shipdate >= date '{0}' AND l_shipdate < date '{0}' + interval '1' year", p[1]);
    let stock = format!(
        "partsupp JOIN supplier ON s_suppkey = ps_suppkey JOIN nation ON n_nationkey = s_nationkey \
         JOIN lineitem ON l_partkey = ps_partkey AND l_suppkey = ps_suppkey WHERE n_name = '{}' AND {dates}",
        p[2]
    );
    let key = "ps_partkey, ps_suppkey";
    let move_in = format!("s_nationkey = (SELECT n_nationkey FROM nation WHERE n_name = '{}')", p[2]);
    vec![
        update(
            draw,
            Table::Part,
            "p_partkey",
            &format!("p_name = '{} ' || p_name", p[0]),
            &format!(
                "part JOIN partsupp ON ps_partkey = p_partkey JOIN supplier ON s_suppkey = ps_suppkey \
                 JOIN nation ON n_nationkey = s_nationkey WHERE n_name = '{}' AND p_name NOT LIKE '{}%'",
                p[2], p[0]
            ),
            2,
        ),
        update(
            draw,
            Table::Part,
            "p_partkey",
            "p_name = 'plain ' || p_name",
            &format!("part WHERE p_name LIKE '{}%'", p[0]),
            3,
        ),
        update(draw, Table::PartSupp, key, "ps_availqty = 1", &stock, 1),
        update(draw, Table::Supplier, "s_suppkey", &move_in, "supplier", 1),
    ]
}

fn q21(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let key = "l_orderkey, l_linenumber";
    let sold =
        format!("lineitem {ORDER} {SUPPLIER_NATION} WHERE n_name = '{}' AND o_orderstatus = 'F'", p[0]);
    vec![
        update(
            draw,
            Table::LineItem,
            key,
            "l_receiptdate = l_commitdate + 9",
            &format!("{sold} AND l_receiptdate <= l_commitdate"),
            4,
        ),
        update(
            draw,
            Table::LineItem,
            key,
            "l_receiptdate = l_commitdate",
            &format!("{sold} AND l_receiptdate > l_commitdate"),
            4,
        ),
        update(
            draw,
            Table::Orders,
            "o_orderkey",
            "o_orderstatus = 'O'",
            &format!("(SELECT o_orderkey FROM {sold}) AS sold"),
            2,
        ),
    ]
}

fn q22(draw: &mut Draw, p: &[&str]) -> Vec<Statement> {
    let codes = p.iter().map(|code| literal(code)).collect::<Vec<_>>().join(", ");
    let idle = "NOT EXISTS (SELECT FROM orders WHERE o_custkey = c_custkey)";
    let balance = draw.between(-50_000, 999_999);
    vec![
        update(
            draw,
            Table::Customer,
            "c_custkey",
            &format!("c_acctbal = {balance} / 100.0"),
            &format!("customer WHERE {idle} AND substring(c_phone FROM 1 FOR 2) IN ({codes})"),
            2,
        ),
        update(
            draw,
            Table::Customer,
            "c_custkey",
            &format!("c_phone = '{}' || substring(c_phone FROM 3)", p[0]),
            &format!("customer WHERE {idle}"),
            1,
        ),
    ]
}
