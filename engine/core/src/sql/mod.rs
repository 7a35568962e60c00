//! SQL from structure: plans become blocks (`lower`), blocks become text (`select`). Names are invented here only.

pub mod identity;
pub mod likeness;
pub mod lower;
mod order;
pub mod probe;
pub mod select;

/// The name of column `position` in every relation the engine makes.
pub fn column_name(position: usize) -> String {
    format!("c{}", position + 1)
}

/// The name of the weight column.
pub const WEIGHT: &str = "w";

/// Joins pieces with `, `.
pub fn list(pieces: impl IntoIterator<Item = String>) -> String {
    pieces.into_iter().collect::<Vec<_>>().join(", ")
}

/// A double-quoted identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
