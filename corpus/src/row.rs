//! Rows of generated corpora, and their two texts: for `COPY`, and for SQL statements.

use std::fmt;
use std::io::{self, Write};

/// A table that a corpus generates.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// In the order of the schema.
    pub columns: &'static [&'static str],
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
}

/// One row: as many values as its table has columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub table: &'static Table,
    pub values: Vec<Value>,
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A whole number that fits.
    pub fn integer(number: impl Into<i64>) -> Self {
        Self::Integer(number.into())
    }

    /// The number, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// As SQL writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl Table {
    /// The position of a column; panics if there is none of that name.
    pub fn position(&self, column: &str) -> usize {
        let found = self.columns.iter().position(|known| *known == column);
        found.unwrap_or_else(|| panic!("{} has no column {column}", self.name))
    }
}

impl Row {
    /// A row of NULLs.
    pub fn empty(table: &'static Table) -> Self {
        Self { table, values: vec![Value::Null; table.columns.len()] }
    }

    /// The value of a column; panics if there is none of that name.
    pub fn get(&self, column: &str) -> &Value {
        &self.values[self.table.position(column)]
    }

    /// Changes the value of a column; panics if there is none of that name.
    pub fn set(&mut self, column: &str, value: Value) {
        let position = self.table.position(column);
        self.values[position] = value;
    }

    /// `(1, 'a', NULL)`, as in a VALUES list.
    pub fn tuple(&self) -> String {
        let values: Vec<String> = self.values.iter().map(Value::to_string).collect();
        format!("({})", values.join(", "))
    }

    /// Writes the row as a line of `COPY` in text format.
    pub fn write_copy(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                out.write_all(b"\t")?;
            }
            match value {
                Value::Null => out.write_all(b"\\N")?,
                Value::Integer(number) => write!(out, "{number}")?,
                Value::Text(text) => out.write_all(escaped(text).as_bytes())?,
            }
        }
        out.write_all(b"\n")
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIR: Table = Table { name: "pair", columns: &["a", "b"] };

    #[test]
    fn row_is_written_for_copy_and_for_sql() {
        let mut row = Row::empty(&PAIR);
        row.set("b", Value::text("it's a\ttab \\"));
        let mut copy = Vec::new();
        row.write_copy(&mut copy).expect("writing to memory");
        assert_eq!(copy, b"\\N\tit's a\\ttab \\\\\n");
        row.set("a", Value::Integer(-7));
        assert_eq!(row.tuple(), "(-7, 'it''s a\ttab \\')");
    }
}
