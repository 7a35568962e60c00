//! What happens to the tables after the file's own statements: rounds of changes made up from their columns.
//!
//! Rows are chosen by a salted hash of their text, never by their order, so that the same seed makes the same changes on
//! every server. Before the first round the tables are copied ([`save`]); the last round puts everything back.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What arithmetic a column's values have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Number,
    Text,
    Other,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub family: Family,
    pub is_nullable: bool,
    /// Whether the primary key or a unique index has it.
    pub is_unique: bool,
}

/// A table that may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
}

/// Changes between two refreshes. A statement may break a unique index and then changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub name: &'static str,
    pub statements: Vec<String>,
}

/// The statements that copy the tables.
pub fn save(tables: &[Table]) -> Vec<String> {
    let copy = |table: &Table| format!("CREATE TABLE slt_saved.{0} AS SELECT * FROM {0}", table.name);
    let schema = ["DROP SCHEMA IF EXISTS slt_saved CASCADE", "CREATE SCHEMA slt_saved"].map(str::to_owned);
    schema.into_iter().chain(tables.iter().map(copy)).collect()
}

/// The rounds, in order. After the last the tables have the rows that were saved.
pub fn rounds(tables: &[Table], rng: &mut ChaCha8Rng) -> Vec<Round> {
    let mut draw = Draw { salt: format!("{:08x}", rng.random::<u32>()), rng };
    let mut round = |name, statements: &mut dyn FnMut(&Table, &mut Draw) -> Vec<String>| Round {
        name,
        statements: tables.iter().flat_map(|table| statements(table, &mut draw)).collect(),
    };
    vec![
        round("half of the rows go", &mut |table, draw| vec![draw.delete_half(table)]),
        round("values change, some to NULL", &mut |table, draw| draw.measures(table)),
        round("rows come back", &mut |table, draw| vec![draw.bring_back(table)]),
        round("keys move", &mut |table, draw| draw.keys(table)),
        round("more rows like those there were", &mut |table, draw| vec![draw.copies(table)]),
        round("nothing is left", &mut |table, draw| vec![draw.empty(table)]),
        round("as before", &mut |table, _| {
            vec![
                format!("DELETE FROM {0}", table.name),
                format!("INSERT INTO {0} SELECT * FROM slt_saved.{0}", table.name),
            ]
        }),
    ]
}

struct Draw<'a> {
    /// Of the rows that go and come back.
    salt: String,
    rng: &'a mut ChaCha8Rng,
}

/// A condition on `slt_row` that holds for so many sixteenths of all rows.
fn some(sixteenths: u32, salt: &str) -> String {
    format!("pg_catalog.md5(slt_row::pg_catalog.text || '{salt}') < '{sixteenths:x}'")
}

impl Draw<'_> {
    fn other_salt(&mut self) -> String {
        format!("{:08x}", self.rng.random::<u32>())
    }

    /// A column for which `is_good` holds.
    fn column<'t>(&mut self, table: &'t Table, is_good: impl Fn(&Column) -> bool) -> Option<&'t Column> {
        let good: Vec<&Column> = table.columns.iter().filter(|column| is_good(column)).collect();
        match good.len() {
            0 => None,
            count => Some(good[self.rng.random_range(0..count)]),
        }
    }

    fn update(&mut self, table: &Table, column: &Column, value: &str, sixteenths: u32) -> String {
        let rows = some(sixteenths, &self.other_salt());
        format!("UPDATE {} AS slt_row SET {} = {value} WHERE {rows}", table.name, column.name)
    }

    fn delete_half(&mut self, table: &Table) -> String {
        format!("DELETE FROM {} AS slt_row WHERE {}", table.name, some(8, &self.salt))
    }

    /// More than half of those that went.
    fn bring_back(&mut self, table: &Table) -> String {
        format!(
            "INSERT INTO {0} SELECT slt_row.* FROM slt_saved.{0} AS slt_row WHERE {1} ON CONFLICT DO NOTHING",
            table.name,
            some(5, &self.salt)
        )
    }

    fn measures(&mut self, table: &Table) -> Vec<String> {
        let mut statements = Vec::new();
        if let Some(column) =
            self.column(table, |column| column.family == Family::Number && !column.is_unique)
        {
            let value = format!("{} + {}", column.name, self.rng.random_range(1..=5));
            statements.push(self.update(table, column, &value, 6));
        }
        if let Some(column) = self.column(table, |column| column.family == Family::Text) {
            let value = format!("pg_catalog.reverse({})", column.name);
            statements.push(self.update(table, column, &value, 6));
        }
        if let Some(column) = self.column(table, |column| column.is_nullable) {
            statements.push(self.update(table, column, "NULL", 4));
        }
        statements
    }

    /// Rows get another identity, and join or group with others than before.
    fn keys(&mut self, table: &Table) -> Vec<String> {
        let mut statements = Vec::new();
        if let Some(column) = self.column(table, |column| column.family == Family::Number && column.is_unique)
        {
            let value = format!("{} + 100000", column.name);
            statements.push(self.update(table, column, &value, 4));
        }
        if let Some(column) = self.column(table, |column| !column.is_unique) {
            let salt = self.other_salt();
            let value = format!(
                "(SELECT slt_row.{0} FROM slt_saved.{1} AS slt_row ORDER BY pg_catalog.md5(slt_row::pg_catalog.text || '{salt}') LIMIT 1)",
                column.name, table.name
            );
            statements.push(self.update(table, column, &value, 5));
        }
        statements
    }

    /// Copies with keys of their own; plain copies where there is no key.
    fn copies(&mut self, table: &Table) -> String {
        let nulled = self.column(table, |column| column.is_nullable).filter(|_| self.rng.random_bool(0.5));
        let values: Vec<String> = table
            .columns
            .iter()
            .map(|column| match column.family {
                _ if nulled.is_some_and(|nulled| nulled.name == column.name) => "NULL".to_owned(),
                Family::Number if column.is_unique => format!("slt_row.{} + 200000", column.name),
                _ => format!("slt_row.{}", column.name),
            })
            .collect();
        let salt = self.other_salt();
        format!(
            "INSERT INTO {0} SELECT {1} FROM slt_saved.{0} AS slt_row WHERE {2} \
             ORDER BY pg_catalog.md5(slt_row::pg_catalog.text) ON CONFLICT DO NOTHING",
            table.name,
            values.join(", "),
            some(6, &salt)
        )
    }

    fn empty(&mut self, table: &Table) -> String {
        let words = if self.rng.random_bool(0.25) { "TRUNCATE" } else { "DELETE FROM" };
        format!("{words} {}", table.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::generator;
    use super::*;

    fn table() -> Table {
        let column = |name: &str, family, is_nullable, is_unique| Column {
            name: name.to_owned(),
            family,
            is_nullable,
            is_unique,
        };
        Table {
            name: "tab0".to_owned(),
            columns: vec![
                column("pk", Family::Number, false, true),
                column("col0", Family::Number, true, false),
                column("col2", Family::Text, true, false),
            ],
        }
    }

    #[test]
    fn every_round_changes_every_table_and_the_last_puts_all_back() {
        let made = rounds(&[table()], &mut generator(1, "x"));
        assert!(made.iter().all(|round| round.statements.iter().any(|sql| sql.contains(" tab0"))));
        let last = made.last().expect("rounds");
        assert_eq!(last.statements, ["DELETE FROM tab0", "INSERT INTO tab0 SELECT * FROM slt_saved.tab0"]);
        assert_eq!(made, rounds(&[table()], &mut generator(1, "x")));
        assert_ne!(made, rounds(&[table()], &mut generator(2, "x")));
    }

    #[test]
    fn rows_that_come_back_are_among_those_that_went() {
        let made = rounds(&[table()], &mut generator(3, "x"));
        let salt = |sql: &str| sql.split("|| '").nth(1).map(|rest| rest[..8].to_owned());
        assert_eq!(salt(&made[0].statements[0]), salt(&made[2].statements[0]));
        assert!(made[2].statements[0].contains("ON CONFLICT DO NOTHING"));
    }
}
