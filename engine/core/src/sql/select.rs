//! A flat SELECT as a structure, and its text.

use super::{WEIGHT, column_name, list};

/// As many relations as the server finds the best order for without effort.
const LIST_MAX: usize = 8;

/// One SELECT without grouping: `from` in order, all conditions ANDed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub from: Vec<FromItem>,
    pub conditions: Vec<String>,
    /// The SQL of each output column, over the aliases in `from`.
    pub columns: Vec<String>,
    /// Factors of the weight; none is weight 1.
    pub weight: Vec<String>,
    /// `from` starts with a change and goes on as it meets one relation after the other.
    pub follows_change: bool,
}

/// One entry of FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromItem {
    /// `relation AS alias`; `relation` is a name or a parenthesised query, with `LATERAL` in front if needed.
    Plain { relation: String, alias: String },
    /// An outer join of two items, already rendered, e.g. `a AS t1 LEFT JOIN b AS t2 ON (..)`.
    Joined(String),
}

impl FromItem {
    fn text(&self) -> String {
        match self {
            FromItem::Plain { relation, alias } => format!("{relation} AS {alias}"),
            FromItem::Joined(text) => text.clone(),
        }
    }
}

impl Block {
    /// True if every row has weight 1.
    pub fn is_plain(&self) -> bool {
        self.weight.is_empty()
    }

    /// `FROM .. WHERE ..`, empty if there is neither.
    pub fn from_where(&self) -> String {
        let mut text = String::new();
        if !self.from.is_empty() {
            text += " FROM ";
            // A list is the server's to order as a whole, a chain of joins by neighbours.
            let is_chain = self.follows_change && self.from.len() > LIST_MAX;
            let separator = if is_chain { " CROSS JOIN " } else { ", " };
            text += &self.from.iter().map(FromItem::text).collect::<Vec<_>>().join(separator);
        }
        if !self.conditions.is_empty() {
            text += " WHERE ";
            text += &self.conditions.join(" AND ");
        }
        text
    }

    /// The weight as an `int8` expression.
    pub fn weight_sql(&self) -> String {
        if self.weight.is_empty() { "1::pg_catalog.int8".to_owned() } else { self.weight.join(" * ") }
    }

    /// A query with columns `c1..cn`, and `w` if asked for.
    pub fn select(&self, with_weight: bool) -> String {
        let columns =
            self.columns.iter().enumerate().map(|(index, sql)| format!("{sql} AS {}", column_name(index)));
        let weight = with_weight.then(|| format!("{} AS {WEIGHT}", self.weight_sql()));
        format!("SELECT {}{}", list(columns.chain(weight)), self.from_where())
    }
}

/// `UNION ALL` of blocks, with columns `c1..cn` and `w` if asked for.
pub fn union_all(blocks: &[Block], with_weight: bool) -> String {
    blocks.iter().map(|block| block.select(with_weight)).collect::<Vec<_>>().join("\nUNION ALL\n")
}
