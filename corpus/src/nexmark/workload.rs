//! Nexmark as a workload.

use std::io::{self, Write};

use super::event::{self, Events};
use super::{query, stream};
use crate::change::Cycle;
use crate::row::{Row, Value};
use crate::workload::{Query, Workload};

const SCHEMA: &str = include_str!("../../nexmark/schema.sql");

/// How many events there are, and how they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Events in all.
    pub events: u32,
    /// Events that a cycle adds.
    pub batch_rows: u32,
    /// How many cycles there are to be. What they do not add is loaded before.
    pub cycles: u32,
    /// Whether bids are without a key, as upstream.
    pub is_keyless: bool,
}

/// Nexmark of one shape, with the events and changes of one seed.
pub struct Nexmark {
    shape: Shape,
    schema: String,
    pub(super) events: Events,
    /// Events that are loaded before the first cycle.
    pub(super) loaded: i64,
}

/// Keys of `side_input`; every seventh is missing.
const SIDE_INPUTS: i64 = 10_000;

impl Nexmark {
    /// The workload; a batch has at least one event.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let batch_rows = i64::from(shape.batch_rows.max(1));
        let events = Events { seed, batch_rows, is_keyless: shape.is_keyless };
        let loaded = (i64::from(shape.events) - batch_rows * i64::from(shape.cycles)).max(0);
        let schema = match shape.is_keyless {
            true => SCHEMA.replace("    bid_id    bigint PRIMARY KEY,\n", ""),
            false => SCHEMA.to_owned(),
        };
        Self { shape, schema, events, loaded }
    }

    /// The events that cycle `number` adds.
    pub(super) fn batch(&self, number: u32) -> std::ops::Range<i64> {
        let first = self.loaded + i64::from(number - 1) * self.events.batch_rows;
        first..first + self.events.batch_rows
    }
}

/// A row of the table that q13 joins.
pub(super) fn side_input(key: i64) -> Option<String> {
    (key % 7 != 0).then(|| format!("side {}", key * 31 % 97))
}

impl Workload for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn page(&self) -> &'static str {
        if self.shape.is_keyless { "nexmark-keyless" } else { "nexmark" }
    }

    fn title(&self) -> &'static str {
        if self.shape.is_keyless { "Nexmark without keys" } else { "Nexmark" }
    }

    fn size(&self) -> String {
        let keyless = if self.shape.is_keyless { ", bids without a key" } else { "" };
        format!("{} events, {} of them per cycle{keyless}", self.shape.events, self.events.batch_rows)
    }

    fn arguments(&self) -> String {
        let keyless = if self.shape.is_keyless { " --keyless" } else { "" };
        format!("--events {} --batch-rows {}{keyless}", self.shape.events, self.shape.batch_rows)
    }

    fn schema(&self) -> &str {
        &self.schema
    }

    fn indexes(&self) -> &str {
        include_str!("../../nexmark/indexes.sql")
    }

    fn tables(&self) -> Vec<&'static str> {
        vec!["person", "auction", "bid", "side_input"]
    }

    fn write_rows(&self, table: &str, out: &mut dyn Write) -> io::Result<u64> {
        let mut count = 0;
        if table == "side_input" {
            for key in 0..SIDE_INPUTS {
                if let Some(value) = side_input(key) {
                    let row = Row {
                        table: &event::SIDE_INPUT,
                        values: vec![Value::Integer(key), Value::Text(value)],
                    };
                    row.write_copy(out)?;
                    count += 1;
                }
            }
            return Ok(count);
        }
        for number in (0..self.loaded).filter(|&number| event::table_of(number) == table) {
            let row = self.events.row(number);
            // A keyless bid in sixteen is there twice.
            let copies = if self.shape.is_keyless && table == "bid" && number % 16 == 0 { 2 } else { 1 };
            for _ in 0..copies {
                row.write_copy(out)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn queries(&self) -> Vec<Query> {
        query::all(self.shape.is_keyless)
    }

    fn cycle(&self, number: u32) -> Cycle {
        stream::cycle(self, number)
    }
}
