//! Nexmark's generator: proportions, hot keys, late partners; rows and changes are pinned.

use std::collections::{HashMap, HashSet};

use pg_trickle_corpus::manifest::hexadecimal;
use pg_trickle_corpus::nexmark::{Nexmark, Shape};
use pg_trickle_corpus::workload::Workload;
use sha2::{Digest, Sha256};

fn shape() -> Shape {
    Shape { events: 20_000, batch_rows: 500, cycles: 4, is_keyless: false }
}

fn rows(nexmark: &Nexmark, table: &str) -> Vec<Vec<String>> {
    let mut text = Vec::new();
    let count = nexmark.write_rows(table, &mut text).expect("writing to memory");
    let text = String::from_utf8(text).expect("text");
    let rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    assert_eq!(rows.len() as u64, count);
    rows
}

#[test]
fn what_the_cycles_do_not_add_is_loaded_in_the_published_proportions() {
    let nexmark = Nexmark::new(shape(), 1);
    let counts = ["person", "auction", "bid"].map(|table| rows(&nexmark, table).len());
    assert_eq!(counts, [360, 1080, 16_560]);
    let bids: HashSet<String> = rows(&nexmark, "bid").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(bids.len(), 16_560);
}

#[test]
fn half_of_the_bids_are_for_hot_auctions_and_some_bidders_come_later() {
    let nexmark = Nexmark::new(shape(), 1);
    let mut of_auction: HashMap<String, usize> = HashMap::new();
    let bids = rows(&nexmark, "bid");
    for bid in &bids {
        *of_auction.entry(bid[1].clone()).or_default() += 1;
    }
    let hot: usize = of_auction.iter().filter(|(id, _)| id.ends_with("00")).map(|(_, count)| count).sum();
    assert!((45..60).contains(&(hot * 100 / bids.len())), "{hot} of {}", bids.len());
    let persons: HashSet<String> = rows(&nexmark, "person").into_iter().map(|row| row[0].clone()).collect();
    let unknown = bids.iter().filter(|bid| !persons.contains(&bid[2])).count();
    assert!(unknown > 0 && unknown * 100 < bids.len() * 5, "{unknown}");
}

#[test]
fn rows_and_changes_are_pinned() {
    let nexmark = Nexmark::new(shape(), 1);
    let mut found = Vec::new();
    for table in nexmark.tables() {
        let mut text = Vec::new();
        nexmark.write_rows(table, &mut text).expect("writing to memory");
        found.push(format!("{table} {}", &hexadecimal(&Sha256::digest(&text))[..16]));
    }
    let changes = format!("{:?}", nexmark.cycle(2));
    found.push(format!("changes {}", &hexadecimal(&Sha256::digest(changes.as_bytes()))[..16]));
    assert_eq!(
        found,
        [
            "person c0456bc6b3faca27",
            "auction 95a6ff8b671eaf15",
            "bid 718e98e22219d26a",
            "side_input 7dffe951aa28afe6",
            "changes 0f4be928605b56b4",
        ]
    );
    assert_ne!(changes, format!("{:?}", Nexmark::new(shape(), 2).cycle(2)));
}

#[test]
fn keyless_bids_have_copies_and_only_queries_that_need_no_key() {
    let nexmark = Nexmark::new(Shape { is_keyless: true, ..shape() }, 1);
    let bids = rows(&nexmark, "bid");
    let distinct: HashSet<&Vec<String>> = bids.iter().collect();
    assert!(distinct.len() < bids.len() && bids[0].len() == 8);
    assert!(!nexmark.schema().contains("bid_id"));
    let queries = nexmark.queries();
    assert_eq!(queries.len(), 24);
    assert!(queries.iter().all(|query| !query.sql.contains("bid_id")));
}

#[test]
fn query_with_a_limit_has_an_order_through_every_column() {
    let queries = Nexmark::new(shape(), 1).queries();
    assert_eq!(queries.len(), 29);
    for query in queries {
        assert_eq!(query.sql != query.oracle_sql, query.sql.contains("LIMIT"), "{}", query.label);
    }
}
