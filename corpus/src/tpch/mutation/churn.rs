//! Changes that the specification lacks and that incremental maintenance gets wrong first.

use super::Draw;
use crate::change::{Statement, Transaction};
use crate::tpch::Table;

/// The churn of one cycle; the order matters where one transaction undoes another.
pub(super) fn transactions(draw: &mut Draw, cycle: u32) -> Vec<Transaction> {
    let mut all = vec![
        Transaction::new("put parked orders back", unpark()),
        Transaction::new("move keys", move_keys(draw)),
        Transaction::new("change measures", measures(draw)),
        Transaction::new("change segments", segments(draw)),
        Transaction::new("delete and reinsert", delete_and_reinsert(draw)),
        Transaction::new("update and revert in one transaction", revert(draw)),
        Transaction::new("park orders", park(draw)),
        Transaction::new("set and fill NULLs", nulls(draw)),
        Transaction::new("roll back to a savepoint", savepoint(draw)),
        Transaction::new("touch suppliers", suppliers(draw)),
    ];
    all.extend(revert_across_transactions(draw));
    all.push(Transaction::new("rename a nation", rename_nation(cycle)));
    all
}

/// Foreign keys move: lineitems to another supplier of the same part, or to one that does not sell the part; orders to
/// customers with and without other orders; customers to another nation.
fn move_keys(draw: &mut Draw) -> Vec<Statement> {
    let some = draw.count(0.5, 4);
    let (sold, unsold, orders) = (draw.order_keys(some), draw.order_keys(2), draw.order_keys(some));
    let customers = draw.scale.rows(150_000);
    let (customer_shift, nation_shift) = (draw.between(1, customers - 1), draw.between(1, 24));
    let supplier_shift = draw.between(1, draw.scale.rows(10_000) - 1);
    let suppliers = draw.scale.rows(10_000);
    let movers = draw.shuffle("c_custkey", "c_custkey");
    vec![
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_suppkey = (SELECT min(ps_suppkey) FROM partsupp \
                 WHERE ps_partkey = l_partkey AND ps_suppkey <> l_suppkey) WHERE l_orderkey = ANY ({sold})"
            ),
        ),
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_suppkey = (l_suppkey + {supplier_shift}) % {suppliers} + 1 \
                 WHERE l_orderkey = ANY ({unsold})"
            ),
        ),
        Statement::on(
            Table::Orders,
            format!(
                "UPDATE orders SET o_custkey = (o_custkey + {customer_shift}) % {customers} + 1 \
                 WHERE o_orderkey = ANY ({orders})"
            ),
        ),
        Statement::on(
            Table::Customer,
            format!(
                "UPDATE customer SET c_nationkey = (c_nationkey + {nation_shift}) % 25 \
                 WHERE c_custkey IN (SELECT c_custkey FROM customer {movers} LIMIT {})",
                draw.count(0.5, 4)
            ),
        ),
    ]
}

fn measures(draw: &mut Draw) -> Vec<Statement> {
    let some = draw.count(1.0, 5);
    let (lines, orders) = (draw.order_keys(some), draw.order_keys(some));
    let (quantity, cents) = (draw.between(1, 9), draw.between(1, 999_999));
    let customers = draw.shuffle("c_custkey", "c_custkey");
    vec![
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_quantity = (l_quantity + {quantity}) % 50 + 1, \
                 l_extendedprice = l_extendedprice + {cents} / 100.0 WHERE l_orderkey = ANY ({lines})"
            ),
        ),
        Statement::on(
            Table::Orders,
            format!(
                "UPDATE orders SET o_totalprice = o_totalprice + {cents} / 100.0 WHERE o_orderkey = ANY ({orders})"
            ),
        ),
        Statement::on(
            Table::Customer,
            format!(
                "UPDATE customer SET c_acctbal = 1000 - c_acctbal \
                 WHERE c_custkey IN (SELECT c_custkey FROM customer {customers} LIMIT {some})"
            ),
        ),
    ]
}

fn segments(draw: &mut Draw) -> Vec<Statement> {
    let (customers, parts) = (draw.shuffle("c_custkey", "c_custkey"), draw.shuffle("p_partkey", "p_partkey"));
    let some = draw.count(0.3, 4);
    let (from, to) = (draw.between(1, 5), draw.between(1, 5));
    vec![
        Statement::on(
            Table::Customer,
            format!(
                "UPDATE customer SET c_mktsegment = CASE c_mktsegment WHEN 'BUILDING' THEN 'MACHINERY' \
                 ELSE 'BUILDING' END WHERE c_custkey IN (SELECT c_custkey FROM customer {customers} LIMIT {some})"
            ),
        ),
        Statement::on(
            Table::Part,
            format!(
                "UPDATE part SET p_brand = 'Brand#{from}{to}', p_size = p_size % 50 + 1 \
                 WHERE p_partkey IN (SELECT p_partkey FROM part {parts} LIMIT 3)"
            ),
        ),
    ]
}

/// The same rows leave and come back, in two statements and in one.
fn delete_and_reinsert(draw: &mut Draw) -> Vec<Statement> {
    let keys = draw.order_keys(3);
    let shuffle = draw.shuffle("ps_partkey", "ps_partkey, ps_suppkey");
    vec![
        Statement::other("CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT * FROM lineitem LIMIT 0"),
        Statement::on(
            Table::LineItem,
            format!(
                "WITH taken AS (DELETE FROM lineitem WHERE l_orderkey = ANY ({keys}) RETURNING *) \
                 INSERT INTO gone SELECT * FROM taken"
            ),
        ),
        Statement::on(Table::LineItem, "INSERT INTO lineitem SELECT * FROM gone"),
        Statement::on(
            Table::PartSupp,
            format!(
                "WITH taken AS (DELETE FROM partsupp WHERE (ps_partkey, ps_suppkey) IN \
                 (SELECT ps_partkey, ps_suppkey FROM partsupp {shuffle} LIMIT 3) RETURNING *) \
                 INSERT INTO partsupp SELECT * FROM taken"
            ),
        ),
    ]
}

fn revert(draw: &mut Draw) -> Vec<Statement> {
    let keys = draw.order_keys(4);
    vec![
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_quantity = l_quantity + 40 WHERE l_orderkey = ANY ({keys})"),
        ),
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_quantity = l_quantity - 40 WHERE l_orderkey = ANY ({keys})"),
        ),
    ]
}

fn revert_across_transactions(draw: &mut Draw) -> Vec<Transaction> {
    let keys = draw.order_keys(4);
    let update = |sign: char| {
        let sql = format!(
            "UPDATE orders SET o_orderdate = o_orderdate {sign} 400, o_totalprice = o_totalprice {sign} 5000 \
             WHERE o_orderkey = ANY ({keys})"
        );
        vec![Statement::on(Table::Orders, sql)]
    };
    vec![
        Transaction::new("update, to be reverted", update('+')),
        Transaction::new("revert that update", update('-')),
    ]
}

/// Orders leave in this cycle and come back in the next.
fn park(draw: &mut Draw) -> Vec<Statement> {
    let keys = draw.order_keys(draw.count(0.3, 4));
    vec![
        Statement::on(
            Table::LineItem,
            format!(
                "WITH taken AS (DELETE FROM lineitem WHERE l_orderkey = ANY ({keys}) RETURNING *) \
                 INSERT INTO parked_lineitem SELECT * FROM taken"
            ),
        ),
        Statement::on(
            Table::Orders,
            format!(
                "WITH taken AS (DELETE FROM orders WHERE o_orderkey = ANY ({keys}) RETURNING *) \
                 INSERT INTO parked_orders SELECT * FROM taken"
            ),
        ),
    ]
}

fn unpark() -> Vec<Statement> {
    vec![
        Statement::on(Table::Orders, "INSERT INTO orders SELECT * FROM parked_orders ON CONFLICT DO NOTHING"),
        Statement::on(
            Table::LineItem,
            "INSERT INTO lineitem SELECT * FROM parked_lineitem ON CONFLICT DO NOTHING",
        ),
        Statement::other("DELETE FROM parked_orders"),
        Statement::other("DELETE FROM parked_lineitem"),
    ]
}

/// What the previous cycle left NULL gets a value, other rows get NULLs: in join keys, grouping columns and arguments.
fn nulls(draw: &mut Draw) -> Vec<Statement> {
    let suppliers = draw.scale.rows(10_000);
    let (discounts, keys, orders) = (draw.order_keys(2), draw.order_keys(2), draw.order_keys(2));
    let (customer, part) =
        (draw.between(1, draw.scale.rows(150_000)), draw.between(1, draw.scale.rows(200_000)));
    let supplier = draw.between(1, suppliers);
    vec![
        Statement::on(
            Table::LineItem,
            "UPDATE lineitem SET l_discount = 0.06, l_suppkey = coalesce(l_suppkey, l_orderkey % 10 + 1), \
             l_returnflag = coalesce(l_returnflag, 'R') WHERE l_discount IS NULL OR l_suppkey IS NULL",
        ),
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_discount = NULL, l_returnflag = NULL WHERE l_orderkey = ANY ({discounts})"
            ),
        ),
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_suppkey = NULL WHERE l_orderkey = ANY ({keys})"),
        ),
        Statement::on(
            Table::Orders,
            "UPDATE orders SET o_custkey = o_orderkey % 100 + 1, o_comment = 'found again' WHERE o_custkey IS NULL",
        ),
        Statement::on(
            Table::Orders,
            format!("UPDATE orders SET o_custkey = NULL, o_comment = NULL WHERE o_orderkey = ANY ({orders})"),
        ),
        Statement::on(Table::Customer, "UPDATE customer SET c_acctbal = 7777.77 WHERE c_acctbal IS NULL"),
        Statement::on(
            Table::Customer,
            format!("UPDATE customer SET c_acctbal = NULL, c_mktsegment = NULL WHERE c_custkey = {customer}"),
        ),
        Statement::on(
            Table::Part,
            "UPDATE part SET p_type = 'PROMO BURNISHED BRASS', p_brand = 'Brand#12' WHERE p_type IS NULL",
        ),
        Statement::on(
            Table::Part,
            format!("UPDATE part SET p_type = NULL, p_brand = NULL WHERE p_partkey = {part}"),
        ),
        Statement::on(
            Table::Supplier,
            "UPDATE supplier SET s_comment = 'nothing to say' WHERE s_comment IS NULL",
        ),
        Statement::on(
            Table::Supplier,
            format!("UPDATE supplier SET s_comment = NULL WHERE s_suppkey = {supplier}"),
        ),
    ]
}

/// Half of the transaction is undone before it commits.
fn savepoint(draw: &mut Draw) -> Vec<Statement> {
    let (kept, undone) = (draw.order_keys(2), draw.order_keys(5));
    vec![
        Statement::on(
            Table::LineItem,
            format!("UPDATE lineitem SET l_tax = 0.07 WHERE l_orderkey = ANY ({kept})"),
        ),
        Statement::other("SAVEPOINT half"),
        Statement::on(Table::LineItem, format!("DELETE FROM lineitem WHERE l_orderkey = ANY ({undone})")),
        Statement::on(
            Table::Orders,
            format!("UPDATE orders SET o_custkey = 1 WHERE o_orderkey = ANY ({undone})"),
        ),
        Statement::other("ROLLBACK TO SAVEPOINT half"),
        Statement::on(
            Table::Orders,
            format!("UPDATE orders SET o_shippriority = 1 - o_shippriority WHERE o_orderkey = ANY ({kept})"),
        ),
    ]
}

/// One supplier moves to another nation, one gets or loses complaints, costs change.
fn suppliers(draw: &mut Draw) -> Vec<Statement> {
    let all = draw.scale.rows(10_000);
    let (mover, complained) = (draw.between(1, all), draw.between(1, all));
    let shift = draw.between(1, 24);
    let costs = draw.shuffle("ps_partkey", "ps_partkey, ps_suppkey");
    vec![
        Statement::on(
            Table::Supplier,
            format!(
                "UPDATE supplier SET s_nationkey = (s_nationkey + {shift}) % 25 WHERE s_suppkey = {mover}"
            ),
        ),
        Statement::on(
            Table::Supplier,
            format!(
                "UPDATE supplier SET s_comment = CASE WHEN s_comment LIKE '%Customer%Complaints%' \
                 THEN 'all is well' ELSE 'many Customer letters, all Complaints' END WHERE s_suppkey = {complained}"
            ),
        ),
        Statement::on(
            Table::PartSupp,
            format!(
                "UPDATE partsupp SET ps_supplycost = ps_supplycost + 1.25, ps_availqty = ps_availqty % 9000 + 7 \
                 WHERE (ps_partkey, ps_suppkey) IN (SELECT ps_partkey, ps_suppkey FROM partsupp {costs} LIMIT {})",
                draw.count(0.5, 4)
            ),
        ),
    ]
}

/// Every third cycle two nations swap names: one changed row that reaches thousands of others. Otherwise only a column
/// changes that no query reads.
fn rename_nation(cycle: u32) -> Vec<Statement> {
    let sql = if cycle % 3 == 2 {
        "UPDATE nation SET n_name = CASE n_name WHEN 'CHINA' THEN 'VIETNAM' ELSE 'CHINA' END \
         WHERE n_name IN ('CHINA', 'VIETNAM')"
            .to_owned()
    } else {
        format!("UPDATE nation SET n_comment = 'cycle {cycle}' WHERE n_nationkey = {}", cycle % 25)
    };
    vec![Statement::on(Table::Nation, sql)]
}
