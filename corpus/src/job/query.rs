//! The 113 query texts, and the three forms in which each is maintained.

use crate::workload::Query;

/// A form of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As it is: one row of minima.
    Minima,
    /// Without `MIN`: the bag of join rows. A minimum hides most mistakes in a join; a bag hides none.
    Bag,
    /// `count(*)`: a multiplicity that is wrong once stays wrong.
    Count,
}

impl Variant {
    pub const ALL: [Variant; 3] = [Variant::Minima, Variant::Bag, Variant::Count];

    fn suffix(self) -> &'static str {
        match self {
            Variant::Minima => "",
            Variant::Bag => "bag",
            Variant::Count => "count",
        }
    }

    /// The text of a query in this form.
    fn apply(self, text: &str) -> String {
        let text = text.trim().trim_end_matches(';');
        let (select, rest) =
            text.split_once("\nFROM ").expect("every query has a FROM clause on a line of its own");
        let outputs = select.strip_prefix("SELECT ").expect("every query begins with SELECT");
        match self {
            Variant::Minima => text.to_owned(),
            Variant::Bag => {
                format!("SELECT {}\nFROM {rest}", outputs.replace("MIN(", "").replace(") AS ", " AS "))
            }
            Variant::Count => format!("SELECT count(*) AS matches\nFROM {rest}"),
        }
    }
}

/// All queries in all forms, in the benchmark's order.
pub(super) fn all() -> Vec<Query> {
    QUERIES.iter().flat_map(|(key, text)| Variant::ALL.map(|variant| query(key, text, variant))).collect()
}

fn query(key: &str, text: &str, variant: Variant) -> Query {
    let sql = variant.apply(text);
    let (label, name) = match variant {
        Variant::Minima => (key.to_owned(), format!("job_{key}")),
        _ => (format!("{key} {}", variant.suffix()), format!("job_{key}_{}", variant.suffix())),
    };
    Query { key: key.to_owned(), label, name, oracle_sql: sql.clone(), sql, note: None }
}

macro_rules! texts {
    ($($key:literal)*) => {
        [$(($key, include_str!(concat!("../../job/queries/", $key, ".sql")))),*]
    };
}

/// Every query's name and text.
#[rustfmt::skip]
pub const QUERIES: [(&str, &str); 113] = texts![
    "1a" "1b" "1c" "1d" "2a" "2b" "2c" "2d" "3a" "3b" "3c" "4a" "4b" "4c" "5a" "5b" "5c" "6a" "6b" "6c" "6d"
    "6e" "6f" "7a" "7b" "7c" "8a" "8b" "8c" "8d" "9a" "9b" "9c" "9d" "10a" "10b" "10c" "11a" "11b" "11c" "11d"
    "12a" "12b" "12c" "13a" "13b" "13c" "13d" "14a" "14b" "14c" "15a" "15b" "15c" "15d" "16a" "16b" "16c"
    "16d" "17a" "17b" "17c" "17d" "17e" "17f" "18a" "18b" "18c" "19a" "19b" "19c" "19d" "20a" "20b" "20c"
    "21a" "21b" "21c" "22a" "22b" "22c" "22d" "23a" "23b" "23c" "24a" "24b" "25a" "25b" "25c" "26a" "26b"
    "26c" "27a" "27b" "27c" "28a" "28b" "28c" "29a" "29b" "29c" "30a" "30b" "30c" "31a" "31b" "31c" "32a"
    "32b" "33a" "33b" "33c"
];
