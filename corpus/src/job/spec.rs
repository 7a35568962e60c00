//! The queries taken apart: which tables they join on which columns, and which rows they keep.
//!
//! Read from `corpus/job/queryspec.json`; a test compares it with the texts.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::query::QUERIES;
use super::table::table;
use crate::row::{Row, Table, Value};

/// One query taken apart.
#[derive(Debug, Clone)]
pub struct Spec {
    /// `17e`.
    pub key: &'static str,
    /// Alias and table, one per relation of the join.
    pub relations: Vec<(String, &'static Table)>,
    /// Columns that have the same value in every row of the join.
    pub classes: Vec<Vec<Place>>,
    /// What else has to hold, all of it.
    pub conditions: Vec<Condition>,
}

/// A column of a relation of the join, both by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub relation: usize,
    pub column: usize,
}

/// A condition over the columns of one or more relations.
#[derive(Debug, Clone)]
pub enum Condition {
    Test(Place, Test),
    Any(Vec<Condition>),
    All(Vec<Condition>),
}

/// A condition on one value. None of them but [`Test::IsNull`] holds for NULL.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Equal(Value),
    NotEqual(Value),
    In(Vec<Value>),
    Like(String),
    NotLike(String),
    Between(Value, Value),
    Above(Value),
    AtLeast(Value),
    Below(Value),
    IsNull,
    IsNotNull,
}

impl Test {
    /// Whether it holds for `value`.
    pub fn holds(&self, value: &Value) -> bool {
        if *value == Value::Null {
            return *self == Test::IsNull;
        }
        match self {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::In(wanted) => wanted.contains(value),
            Test::Like(pattern) => is_like(value, pattern),
            Test::NotLike(pattern) => !is_like(value, pattern),
            Test::Between(low, high) => low <= value && value <= high,
            Test::Above(bound) => value > bound,
            Test::AtLeast(bound) => value >= bound,
            Test::Below(bound) => value < bound,
            Test::IsNull => false,
            Test::IsNotNull => true,
        }
    }
}

impl Condition {
    /// Whether it holds for a row per relation.
    pub fn holds(&self, rows: &[Row]) -> bool {
        match self {
            Condition::Test(place, test) => test.holds(&rows[place.relation].values[place.column]),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(rows)),
            Condition::All(parts) => parts.iter().all(|part| part.holds(rows)),
        }
    }

    /// The columns it reads.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Condition::Test(place, _) => vec![*place],
            Condition::Any(parts) | Condition::All(parts) => {
                let mut places: Vec<Place> = parts.iter().flat_map(Condition::places).collect();
                places.sort_unstable();
                places.dedup();
                places
            }
        }
    }
}

impl Spec {
    /// Whether the columns of each class are equal in a row per relation, and not NULL.
    pub fn joins(&self, rows: &[Row]) -> bool {
        self.classes.iter().all(|class| {
            let value = |place: &Place| &rows[place.relation].values[place.column];
            let first = value(&class[0]);
            *first != Value::Null && class.iter().all(|place| value(place) == first)
        })
    }
}

/// All 113, in the benchmark's order.
pub fn specs() -> Vec<Spec> {
    let mut all: BTreeMap<String, Written> = serde_json::from_str(include_str!("../../job/queryspec.json"))
        .expect("corpus/job/queryspec.json is read by a test");
    let read =
        |(key, _): (&'static str, &str)| all.remove(key).expect("every query is taken apart").read(key);
    QUERIES.into_iter().map(read).collect()
}

/// A query as the file has it.
#[derive(Deserialize)]
struct Written {
    from: BTreeMap<String, String>,
    eq: Vec<Vec<String>>,
    #[serde(rename = "where")]
    conditions: Vec<Json>,
}

impl Written {
    fn read(&self, key: &'static str) -> Spec {
        let relations: Vec<(String, &'static Table)> =
            self.from.iter().map(|(alias, name)| (alias.clone(), table(name))).collect();
        let place = |path: &str| -> Place {
            let (alias, column) = path.split_once('.').expect("alias.column");
            let relation = relations.iter().position(|(known, _)| known == alias).expect("an alias of FROM");
            Place { relation, column: relations[relation].1.position(column) }
        };
        let classes = self.eq.iter().map(|class| class.iter().map(|path| place(path)).collect()).collect();
        let conditions = self.conditions.iter().map(|written| condition(written, &place)).collect();
        Spec { key, classes, conditions, relations: relations.clone() }
    }
}

fn condition(written: &Json, place: &dyn Fn(&str) -> Place) -> Condition {
    let parts = |list: &Json| -> Vec<Condition> {
        list.as_array().expect("a list").iter().map(|part| condition(part, place)).collect()
    };
    match written {
        Json::Object(group) if group.contains_key("or") => Condition::Any(parts(&group["or"])),
        Json::Object(group) => Condition::All(parts(&group["and"])),
        other => {
            let (path, operator) =
                (other[0].as_str().expect("a path"), other[1].as_str().expect("an operator"));
            Condition::Test(place(path), test(operator, &other[2]))
        }
    }
}

fn test(operator: &str, operand: &Json) -> Test {
    let values = || -> Vec<Value> { operand.as_array().expect("a list").iter().map(value).collect() };
    let pattern = || operand.as_str().expect("a pattern").to_owned();
    match operator {
        "=" => Test::Equal(value(operand)),
        "!=" => Test::NotEqual(value(operand)),
        "in" => Test::In(values()),
        "like" => Test::Like(pattern()),
        "not like" => Test::NotLike(pattern()),
        "between" => Test::Between(value(&operand[0]), value(&operand[1])),
        ">" => Test::Above(value(operand)),
        ">=" => Test::AtLeast(value(operand)),
        "<" => Test::Below(value(operand)),
        "is null" => Test::IsNull,
        "is not null" => Test::IsNotNull,
        other => panic!("no query has the operator {other}"),
    }
}

fn value(written: &Json) -> Value {
    match written {
        Json::Number(number) => Value::Integer(number.as_i64().expect("a whole number")),
        other => Value::text(other.as_str().expect("a text or a number")),
    }
}

fn is_like(value: &Value, pattern: &str) -> bool {
    match value {
        Value::Text(text) => matches_pattern(text.as_bytes(), pattern.as_bytes()),
        _ => false,
    }
}

/// LIKE for patterns whose only special character is `%`, as all of this benchmark are: its underscores stand for
/// themselves or for any character, and no text here depends on which.
fn matches_pattern(text: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'%', rest)) => (0..=text.len()).any(|skipped| matches_pattern(&text[skipped..], rest)),
        Some((wanted, rest)) => {
            text.split_first().is_some_and(|(found, after)| found == wanted && matches_pattern(after, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        for (text, pattern, expected) in [
            ("USA:12 May 2003", "USA:% 200%", true),
            ("USA:2003", "USA:% 200%", false),
            ("abc", "abc", true),
            ("abcd", "abc", false),
            ("", "%", true),
            ("x(voice)", "%(voice)%", true),
            ("(Voice)", "%(voice)%", false),
        ] {
            assert_eq!(
                matches_pattern(text.as_bytes(), pattern.as_bytes()),
                expected,
                "{text} LIKE {pattern}"
            );
        }
    }

    #[test]
    fn null_meets_no_condition_but_is_null() {
        assert!(Test::IsNull.holds(&Value::Null));
        for test in [Test::NotEqual(Value::text("a")), Test::NotLike("a".to_owned()), Test::IsNotNull] {
            assert!(!test.holds(&Value::Null), "{test:?}");
        }
    }
}
