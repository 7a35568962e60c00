//! Records of a sqllogictest file, as PostgreSQL is to run them.
//!
//! Conditions are evaluated here. `skipif postgresql` is ignored: it dates from versions that wanted AS before a column's
//! name, and nearly all of these queries run today; one that does not is rejected by the server and counted so. A `halt`
//! ends the file only if its own condition holds. What follows `#` in a condition is a comment.

use super::recorded::{Kind, Recorded};

/// The engine whose records are wanted, as conditions name it.
const ENGINE: &str = "postgresql";

/// A statement or a query, with the line (from 1) on which its SQL begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Statement(Statement),
    Query(Query),
}

/// A statement that is run for its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub line: usize,
    pub sql: String,
    /// Whether it is recorded to succeed.
    pub succeeds: bool,
}

/// A query with its recorded result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub line: usize,
    pub sql: String,
    /// How each column is shown.
    pub kinds: Vec<Kind>,
    pub sort: Sort,
    /// Queries with the same label have the same result.
    pub label: Option<String>,
    pub recorded: Recorded,
}

/// What is sorted before a result is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Nothing: the order is the query's own.
    None,
    /// Rows, by their values from left to right.
    Rows,
    /// Values, without regard to rows.
    Values,
}

/// Reads a file. An error names the line that is not understood.
pub fn parse(text: &str) -> Result<Vec<Record>, String> {
    let mut reader = Reader { lines: text.lines().enumerate().peekable() };
    let mut records = Vec::new();
    let mut applies = true;
    while let Some((number, line)) = reader.next_line() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [word, ..] if word.starts_with('#') => {}
            ["skipif", ..] => {}
            ["onlyif", engine, ..] => applies &= *engine == ENGINE,
            ["hash-threshold", ..] => {}
            ["halt", ..] => match std::mem::replace(&mut applies, true) {
                true => break,
                false => continue,
            },
            ["statement", outcome, ..] => {
                let statement = Statement { line: number + 1, sql: reader.sql(), succeeds: *outcome == "ok" };
                if std::mem::replace(&mut applies, true) {
                    records.push(Record::Statement(statement));
                }
            }
            ["query", rest @ ..] => {
                let query = reader.query(number, rest).map_err(|what| format!("line {number}: {what}"))?;
                if std::mem::replace(&mut applies, true) {
                    records.push(Record::Query(query));
                }
            }
            [word, ..] => return Err(format!("line {number}: {word} begins no record")),
        }
    }
    Ok(records)
}

struct Reader<'a, I: Iterator<Item = (usize, &'a str)>> {
    lines: std::iter::Peekable<I>,
}

impl<'a, I: Iterator<Item = (usize, &'a str)>> Reader<'a, I> {
    /// The next line without trailing space, and its number from 1.
    fn next_line(&mut self) -> Option<(usize, &'a str)> {
        self.lines.next().map(|(index, line)| (index + 1, line.trim_end()))
    }

    /// Lines up to an empty one, or to one that `ends` the block; whether it was the latter.
    fn block(&mut self, ends: impl Fn(&str) -> bool) -> (Vec<&'a str>, bool) {
        let mut block = Vec::new();
        while let Some((_, line)) = self.next_line() {
            if line.is_empty() {
                break;
            }
            if ends(line) {
                return (block, true);
            }
            block.push(line);
        }
        (block, false)
    }

    fn sql(&mut self) -> String {
        self.block(|_| false).0.join("\n").trim_end_matches(';').to_owned()
    }

    fn query(&mut self, number: usize, header: &[&str]) -> Result<Query, String> {
        let (types, sort, label) = match header {
            [] => return Err("a query without types".to_owned()),
            [types] => (types, "nosort", None),
            [types, sort] => (types, *sort, None),
            [types, sort, label, ..] => (types, *sort, Some((*label).to_owned())),
        };
        let kinds = types
            .chars()
            .map(|letter| Kind::of_letter(letter).ok_or_else(|| format!("{letter} is no type")))
            .collect::<Result<Vec<_>, _>>()?;
        let sort = match sort {
            "nosort" => Sort::None,
            "rowsort" => Sort::Rows,
            "valuesort" => Sort::Values,
            other => return Err(format!("{other} is no way to sort")),
        };
        let (sql, has_result) = self.block(|line| line == "----");
        let result = if has_result { self.block(|_| false).0 } else { Vec::new() };
        let sql = sql.join("\n").trim_end_matches(';').to_owned();
        Ok(Query { line: number + 1, sql, kinds, sort, label, recorded: Recorded::read(&result) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(text: &str) -> Vec<Query> {
        let records = parse(text).expect("a file");
        records
            .into_iter()
            .filter_map(|record| match record {
                Record::Query(query) => Some(query),
                Record::Statement(_) => None,
            })
            .collect()
    }

    #[test]
    fn records_have_lines_types_sort_label_and_result() {
        let text = "hash-threshold 8\n\n# a comment\nstatement ok\nCREATE TABLE t(a INTEGER,\n  b TEXT);\n\n\
                    statement error\nINSERT INTO u VALUES(1)\n\nquery IT rowsort label-1\nSELECT a, b\n  FROM t\n----\n1\nx\n\n\
                    query R\nSELECT 1.0\n";
        let records = parse(text).expect("a file");
        assert_eq!(records.len(), 4);
        assert_eq!(
            records[0],
            Record::Statement(Statement {
                line: 5,
                sql: "CREATE TABLE t(a INTEGER,\n  b TEXT)".to_owned(),
                succeeds: true
            })
        );
        assert!(matches!(&records[1], Record::Statement(statement) if !statement.succeeds));
        let queries = queries(text);
        assert_eq!(queries[0].line, 12);
        assert_eq!(queries[0].sql, "SELECT a, b\n  FROM t");
        assert_eq!(queries[0].kinds, [Kind::Integer, Kind::Text]);
        assert_eq!(queries[0].sort, Sort::Rows);
        assert_eq!(queries[0].label.as_deref(), Some("label-1"));
        assert_eq!(queries[0].recorded, Recorded::Values(vec!["1".to_owned(), "x".to_owned()]));
        assert_eq!(queries[1].sort, Sort::None);
        assert_eq!(queries[1].recorded, Recorded::Values(vec![]));
    }

    #[test]
    fn conditions_are_those_of_postgresql_and_hold_for_one_record() {
        let text = "onlyif mysql # DIV for integer division: \nquery I rowsort label-0\nSELECT 1 DIV 2\n----\n0\n\n\
                    skipif mysql # not compatible\nquery I rowsort label-0\nSELECT 1 / 2\n----\n0\n\n\
                    skipif postgresql # PostgreSQL requires AS when renaming output columns\nquery I rowsort\nSELECT 1 x\n----\n1\n\n\
                    onlyif postgresql\nquery I rowsort\nSELECT 3\n----\n3\n\n\
                    skipif mssql\nonlyif sqlite\nquery I rowsort\nSELECT 4\n----\n4\n";
        let found: Vec<String> = queries(text).into_iter().map(|query| query.sql).collect();
        assert_eq!(found, ["SELECT 1 / 2", "SELECT 1 x", "SELECT 3"]);
    }

    #[test]
    fn halt_ends_the_file_only_if_its_condition_holds() {
        let query = |n: u32| format!("query I rowsort\nSELECT {n}\n----\n{n}\n\n");
        let text = format!("onlyif mssql\nhalt\n\n{}skipif sqlite\nhalt\n\n{}", query(1), query(2));
        let found: Vec<String> = queries(&text).into_iter().map(|query| query.sql).collect();
        assert_eq!(found, ["SELECT 1"]);
    }

    #[test]
    fn hash_stands_for_its_values() {
        let text =
            "query I nosort\nSELECT a FROM t\n----\n30 values hashing to 3c13dee48d9356ae19af2515e05e6b54\n";
        let md5 = "3c13dee48d9356ae19af2515e05e6b54".to_owned();
        assert_eq!(queries(text)[0].recorded, Recorded::Hash { values: 30, md5 });
    }

    #[test]
    fn line_that_begins_no_record_is_an_error_with_its_number() {
        assert_eq!(parse("\nselect 1\n"), Err("line 2: select begins no record".to_owned()));
    }
}
