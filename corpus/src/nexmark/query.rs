//! The queries: q0 to q22, and six more numbered from 101.

use crate::workload::Query;

/// All queries, or those that do without a key of the bids.
pub(super) fn all(is_keyless: bool) -> Vec<Query> {
    // Without a key there is nothing to break ties by.
    TEXTS
        .iter()
        .filter(|(_, text)| !is_keyless || !text.contains("bid_id"))
        .map(|&(key, text)| query(key, text))
        .collect()
}

fn query(key: &str, text: &str) -> Query {
    let sql = text.trim().trim_end_matches(';').to_owned();
    // The only query with a limit: a stream table goes on ordering by the output columns.
    let oracle_sql = match key {
        "105" => sql.replace("ORDER BY bid_count DESC", "ORDER BY bid_count DESC, a.id, a.item_name"),
        _ => sql.clone(),
    };
    let (label, name) = (format!("q{key}"), format!("nexmark_q{key}"));
    Query { key: key.to_owned(), label, name, sql, oracle_sql, note: None }
}

macro_rules! texts {
    ($($key:literal)*) => {
        [$(($key, include_str!(concat!("../../nexmark/queries/q", $key, ".sql")))),*]
    };
}

#[rustfmt::skip]
const TEXTS: [(&str, &str); 29] = texts![
    "0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11" "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22"
    "101" "102" "103" "104" "105" "106"
];
