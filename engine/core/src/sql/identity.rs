//! Identity of rows in SQL: byte equality of every column (`design-review.md` 12.1).
//!
//! A column of a type whose equality implies byte equality stands for itself; others go through `pgtrickle.image`.

use super::{WEIGHT, column_name, list};
use crate::types::Column;

/// The text that stands for the identity of `operand`, a value of `column`'s type.
pub fn image(operand: &str, column: &Column) -> String {
    if column.ty.equal_image { operand.to_owned() } else { format!("pgtrickle.image({operand})") }
}

/// What stands for the identity of rows with columns `c1..cn` under a prefix, column by column.
pub fn images(columns: &[Column], prefix: &str) -> impl Iterator<Item = String> {
    columns
        .iter()
        .enumerate()
        .map(move |(index, column)| image(&format!("{prefix}{}", column_name(index)), column))
}

/// A condition: two values of `column`'s type are identical.
pub fn identical(left: &str, right: &str, column: &Column) -> String {
    let operator = if column.nullable { "IS NOT DISTINCT FROM" } else { "=" };
    format!("{} {operator} {}", image(left, column), image(right, column))
}

/// A condition: two values are equal in the sense of grouping, NULLs equal.
pub fn grouping_equal(left: &str, right: &str, column: &Column) -> String {
    let operator = if column.nullable { "IS NOT DISTINCT FROM" } else { "=" };
    format!("{left} {operator} {right}")
}

/// The columns `c1..cn` of `u` in a query whose rows are grouped by identity, and what they are grouped by. All values
/// with one image are the same.
pub fn grouped(columns: &[Column]) -> (Vec<String>, String) {
    let outputs = columns.iter().enumerate().map(|(index, column)| {
        let name = column_name(index);
        match column.ty.equal_image {
            true => format!("u.{name}"),
            false => format!("pg_catalog.any_value(u.{name}) AS {name}"),
        }
    });
    let groups = if columns.is_empty() { "()".to_owned() } else { list(images(columns, "u.")) };
    (outputs.collect(), groups)
}

/// Consolidates a derived table `body` with columns `c1..cn, w`: weights of identical rows added, zeros dropped.
pub fn consolidate(columns: &[Column], body: &str) -> String {
    let (mut outputs, groups) = grouped(columns);
    outputs.push(format!("pg_catalog.sum(u.{WEIGHT})::pg_catalog.int8 AS {WEIGHT}"));
    format!(
        "SELECT {} FROM ({body}) u GROUP BY {groups} HAVING pg_catalog.sum(u.{WEIGHT}) OPERATOR(pg_catalog.<>) 0",
        list(outputs)
    )
}
