//! The generated TPC-H data is the official data: row counts, pinned bytes, published properties.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pg_trickle_corpus::manifest::hexadecimal;
use pg_trickle_corpus::tpch::refresh_set::{order_key, order_number, orders_per_set, rf1, rf2};
use pg_trickle_corpus::tpch::{Query, Scale, Stream, Table, query};
use sha2::{Digest, Sha256};

fn scale(factor: f64) -> Scale {
    Scale::new(factor).expect("a scale factor")
}

fn rows(table: Table, scale: Scale) -> (u64, String) {
    let mut text = Vec::new();
    let count = table.write_rows(scale, &mut text).expect("writing to memory");
    (count, String::from_utf8(text).expect("ASCII"))
}

#[test]
fn tables_at_scale_one_hundredth_have_the_pinned_rows() {
    let found: Vec<String> = Table::ALL
        .iter()
        .map(|&table| {
            let (count, text) = rows(table, scale(0.01));
            format!("{table} {count} {}", &hexadecimal(&Sha256::digest(text.as_bytes()))[..16])
        })
        .collect();
    assert_eq!(
        found,
        [
            "region 5 5a7c2fe9718db00f",
            "nation 25 7d47bc9397da3310",
            "part 2000 604232ee10e95dca",
            "supplier 100 b199bef335084067",
            "partsupp 8000 906f58419af6ad5d",
            "customer 1500 22156f2770387f5a",
            "orders 15000 a444603dfba6c47e",
            "lineitem 60175 517b566190fbeadc",
        ]
    );
}

#[test]
fn first_rows_are_the_published_ones() {
    let (_, orders) = rows(Table::Orders, scale(0.001));
    assert!(orders.starts_with("1|37|O|131251.81|1996-01-02|5-LOW|Clerk#000000951|0|"), "{}", &orders[..80]);
    let (_, nations) = rows(Table::Nation, scale(0.001));
    assert!(nations.starts_with("0|ALGERIA|0| haggle. carefully final deposits detect slyly agai\n"));
}

#[test]
fn rows_are_copy_text_without_escapes() {
    for table in Table::ALL {
        let (_, text) = rows(table, scale(0.001));
        assert!(!text.contains('\\') && !text.contains('\t'), "{table}");
        let columns: BTreeSet<usize> = text.lines().map(|line| line.split('|').count()).collect();
        assert_eq!(columns.len(), 1, "{table}");
    }
}

#[test]
fn order_keys_use_eight_of_every_thirty_two() {
    let keys: Vec<i64> = (1..=32).map(|number| order_key(number, 0)).collect();
    assert_eq!(&keys[..8], &[1, 2, 3, 4, 5, 6, 7, 32]);
    assert!(keys.iter().all(|key| key % 32 < 8));
    for number in 1..5000 {
        assert_eq!(order_number(order_key(number, 0)), number);
        assert_eq!(order_number(order_key(number, 1)), number);
    }
}

#[test]
fn refresh_sets_insert_new_keys_and_delete_base_keys() {
    let scale = scale(0.01);
    let (_, base) = rows(Table::Orders, scale);
    let base: HashSet<i64> =
        base.lines().map(|line| line.split('|').next().unwrap().parse().unwrap()).collect();
    assert_eq!(orders_per_set(scale), 15);
    let mut seen = HashSet::new();
    for set in [1, 2, 17, 500, 999, 1000] {
        let inserted = rf1(scale, set);
        let keys: Vec<i64> = inserted.orders.iter().map(|order| order.o_orderkey).collect();
        let seq = if set < 1000 { 1 } else { 2 };
        let first = (i64::from(set) - 1) * 15 + 1;
        assert_eq!(keys, (first..first + 15).map(|n| order_key(n, seq)).collect::<Vec<_>>(), "set {set}");
        assert!(keys.iter().all(|key| !base.contains(key) && seen.insert(*key)), "set {set}");
        let of_lines: BTreeSet<i64> = inserted.lineitems.iter().map(|line| line.l_orderkey).collect();
        assert_eq!(
            of_lines,
            keys.iter().copied().collect(),
            "every order of set {set} has lineitems, no other"
        );
        let deleted = rf2(scale, set);
        assert_eq!(deleted.len(), 15);
        assert!(deleted.iter().all(|key| base.contains(key)), "set {set}");
    }
}

#[test]
fn first_refresh_set_has_the_pinned_rows() {
    let set = rf1(scale(0.01), 1);
    assert_eq!(set.orders[0].o_orderkey, 9);
    let text: String = set.orders.iter().map(|order| format!("{order}\n")).collect();
    assert_eq!(&hexadecimal(&Sha256::digest(text.as_bytes()))[..16], "bff5e9c37152cf13");
}

#[test]
fn queries_have_no_placeholder_left_and_keep_official_values_at_scale_one() {
    for query in Query::all(scale(1.0)) {
        assert!(!query.is_adjusted(), "q{}", query.number);
        assert!(!query.sql().contains(':'), "{}", query.sql());
    }
    let adjusted: Vec<u8> = Query::all(scale(0.01))
        .iter()
        .filter(|query| query.is_adjusted())
        .map(|query| query.number)
        .collect();
    assert_eq!(adjusted, [8, 11, 17, 18, 20, 21]);
    assert_eq!(Query::all(scale(0.1)).iter().filter(|query| query.is_adjusted()).count(), 0);
}

#[test]
fn oracle_differs_from_user_text_only_where_there_is_a_limit() {
    for query in Query::all(scale(0.01)) {
        assert_eq!(query.sql() != query.oracle_sql(), query.limit().is_some(), "q{}", query.number);
    }
    let q3 = Query::new(3, scale(0.01));
    assert!(q3.sql().ends_with("order by\n\trevenue desc,\n\to_orderdate\nlimit 10"), "{}", q3.sql());
    assert!(q3.oracle_sql().ends_with("o_orderdate,\n\tl_orderkey,\n\to_shippriority\nlimit 10"));
}

#[test]
fn official_answers_are_readable() {
    let rows: BTreeMap<u8, usize> =
        (1..=query::COUNT).map(|n| (n, Query::official_answer(n).1.len())).collect();
    assert_eq!(rows[&1], 4);
    assert_eq!(rows[&11], 1048);
    assert_eq!(rows[&6], 1);
}

#[test]
fn stream_is_a_function_of_seed_and_cycle() {
    let scale = scale(0.01);
    let stream = |seed| Stream::new(scale, seed, Query::all(scale));
    assert_eq!(stream(7).cycle(3), stream(7).cycle(3));
    assert_ne!(stream(7).cycle(3), stream(7).cycle(4));
    assert_ne!(stream(7).cycle(3), stream(8).cycle(3));
    let cycle = stream(1).cycle(1);
    assert!(cycle.transactions.len() > 30);
    let touched = cycle.tables();
    assert!(touched.contains("lineitem") && touched.contains("nation"));
    assert!(!touched.contains("region"));
}

#[test]
fn stream_continues_past_the_last_refresh_set() {
    let scale = scale(0.001);
    let stream = Stream::new(scale, 3, Vec::new());
    let names: Vec<String> =
        (1..=1001).step_by(1000).map(|n| stream.cycle(n).transactions[0].name.clone()).collect();
    assert_eq!(names[0], names[1]);
}
