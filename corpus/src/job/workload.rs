//! The benchmark as a workload.

use std::io::{self, Write};

use super::noise::{Noise, rows_of};
use super::plant::{self, Planted};
use super::spec::{Spec, specs};
use super::table::TABLES;
use super::{dimension, query, stream};
use crate::change::Cycle;
use crate::workload::{Query, Workload};

/// The benchmark with a number of titles, and rows and changes of one seed.
pub struct Job {
    pub(super) titles: u32,
    pub(super) seed: u64,
    pub(super) specs: Vec<Spec>,
    pub(super) planted: Vec<Planted>,
}

impl Job {
    /// The benchmark with `titles` titles (at least one) around those that are planted.
    pub fn new(titles: u32, seed: u64) -> Self {
        let specs = specs();
        let planted = specs.iter().enumerate().map(|(query, spec)| plant::plant(spec, query, seed)).collect();
        Self { titles: titles.max(1), seed, specs, planted }
    }

    /// What is planted for each query, in the benchmark's order.
    pub fn planted(&self) -> impl Iterator<Item = (&Spec, &Planted)> {
        self.specs.iter().zip(&self.planted)
    }
}

impl Workload for Job {
    fn name(&self) -> &'static str {
        "job"
    }

    fn title(&self) -> &'static str {
        "JOB"
    }

    fn size(&self) -> String {
        format!("{} titles", self.titles)
    }

    fn arguments(&self) -> String {
        format!("--titles {}", self.titles)
    }

    fn schema(&self) -> &str {
        include_str!("../../job/schema.sql")
    }

    fn indexes(&self) -> &str {
        include_str!("../../job/indexes.sql")
    }

    fn tables(&self) -> Vec<&'static str> {
        TABLES.iter().map(|table| table.name).collect()
    }

    fn write_rows(&self, table: &str, out: &mut dyn Write) -> io::Result<u64> {
        let table = super::table::table(table).name;
        let mut count = 0;
        let mut write = |row: &crate::row::Row| {
            count += 1;
            row.write_copy(out)
        };
        dimension::rows(table).iter().try_for_each(&mut write)?;
        let mut noise = Noise::new(table, self.titles, self.seed);
        (1..=rows_of(table, self.titles)).try_for_each(|id| write(&noise.row(id)))?;
        let matches = self.planted.iter().flat_map(|planted| planted.matches.iter().map(|found| &found.rows));
        let misses =
            self.planted.iter().flat_map(|planted| planted.near_misses.iter().map(|miss| &miss.rows));
        let planted = matches.chain(misses).flat_map(|rows| plant::own(rows));
        planted.filter(|row| row.table.name == table).try_for_each(&mut write)?;
        Ok(count)
    }

    fn queries(&self) -> Vec<Query> {
        query::all()
    }

    fn cycle(&self, number: u32) -> Cycle {
        stream::cycle(self, number)
    }
}
