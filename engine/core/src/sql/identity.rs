//! Identity of rows in SQL: byte equality of every column (`design-review.md` 12.1).
//!
//! A column of a type whose equality implies byte equality stands for itself; others go through `pgtrickle.image`.

use super::{WEIGHT, column_name, list};
use crate::types::Column;

/// The text that stands for the identity of `operand`, a value of `column`'s type.
pub fn image(operand: &str, column: &Column) -> String {
    if column.ty.equal_image { operand.to_owned() } else { format!("pgtrickle.image({operand})") }
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

/// Consolidates a derived table `body` with columns `c1..cn, w`: weights of identical rows added, zeros dropped.
pub fn consolidate(columns: &[Column], body: &str) -> String {
    let names: Vec<String> = (0..columns.len()).map(column_name).collect();
    let outputs = names.iter().zip(columns).map(|(name, column)| {
        if column.ty.equal_image {
            format!("u.{name}")
        } else {
            format!("pg_catalog.any_value(u.{name}) AS {name}")
        }
    });
    let groups = list(names.iter().zip(columns).map(|(name, column)| image(&format!("u.{name}"), column)));
    let group_by = if columns.is_empty() { "GROUP BY ()".to_owned() } else { format!("GROUP BY {groups}") };
    let outputs = list(outputs.chain([format!("pg_catalog.sum(u.{WEIGHT})::pg_catalog.int8 AS {WEIGHT}")]));
    format!("SELECT {outputs} FROM ({body}) u {group_by} HAVING pg_catalog.sum(u.{WEIGHT}) <> 0")
}
