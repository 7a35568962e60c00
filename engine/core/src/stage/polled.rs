//! The polled source: a relation whose changes nobody records, such as a materialized view or a foreign table.
//!
//! State: a copy of the columns that the query reads, an arrangement with the number of each row's copies.
//!
//! ```text
//! poll:    d = source - copy,  consolidated by identity
//! follow:  copy = copy + d
//! ```
//!
//! Every refresh reads the whole source and its copy, whatever has changed: the class is a scan. From then on the source
//! is its copy: all fragments read `New` from there, so that one refresh sees one state of it even if the source, as a
//! foreign table may, shows another one at each look.
//! Reads: the source, its copy.  Needs: nothing.
//! Golden: `corpus/rules/polled.test`.  Page: `docs/operators/polled.md`.

use super::Lookup;
use super::arrangement::{Arrangement, Of};
use crate::apply::{MAX_ARGUMENTS, change_columns};
use crate::program::{Action, Identity, Step, source_delta_name};
use crate::query::{SourceInfo, SourceKind};
use crate::sql::identity::consolidate;
use crate::sql::lower::StoredRelation;
use crate::sql::{WEIGHT, column_name, list, quote};
use crate::types::{Column, SourceId};
use std::collections::BTreeSet;

/// Everything a polled source's SQL depends on.
pub struct Polled<'a> {
    pub source: SourceId,
    pub info: &'a SourceInfo,
    /// Qualified name of the copy.
    pub table: String,
    /// The first columns, as many as a hash takes.
    keys: Vec<usize>,
}

/// True if changes of the source are found by looking.
pub fn is_polled(info: &SourceInfo) -> bool {
    matches!(info.kind, SourceKind::MaterializedView | SourceKind::ForeignTable)
}

impl<'a> Polled<'a> {
    pub fn new(source: SourceId, info: &'a SourceInfo, table: String) -> Polled<'a> {
        let keys = (0..info.columns.len().min(MAX_ARGUMENTS)).collect();
        Polled { source, info, table, keys }
    }

    /// Statements that create the copy.
    pub fn ddl(&self) -> Vec<String> {
        self.copy().ddl()
    }

    /// The step that finds out what has changed since the copy was made.
    pub fn poll(&self) -> Step {
        let old = (0..self.info.columns.len()).map(|index| format!("p.{}", column_name(index)));
        let old = list(old.chain([format!("-p.{WEIGHT}")]));
        let body = format!("{} UNION ALL SELECT {old} FROM {} p", self.contents(true), self.table);
        let columns = self.columns();
        Step {
            label: format!("source {}: poll", self.source.0),
            identity: Identity::Owner,
            when: None,
            action: Action::Select {
                into: source_delta_name(self.source),
                columns: change_columns(&columns),
                sql: consolidate(&columns, &body),
            },
        }
    }

    /// The steps that bring the copy to what the poll has found.
    pub fn follow(&self) -> Vec<Step> {
        self.copy().steps(&source_delta_name(self.source))
    }

    /// The steps that fill the empty copy.
    pub fn fill(&self) -> Vec<Step> {
        self.copy().populate(&self.contents(false))
    }

    /// How fragments read the source.
    pub fn stored(&self, alias: &str) -> StoredRelation {
        StoredRelation {
            relation: self.table.clone(),
            columns: (0..self.info.columns.len())
                .map(|index| format!("{alias}.{}", column_name(index)))
                .collect(),
            multiplicity: Some(format!("{alias}.{WEIGHT}")),
        }
    }

    /// How rows are found of which one of these columns is given.
    pub fn lookup(&self, given: &BTreeSet<usize>) -> Lookup {
        let ty = |column: &&usize| &self.info.columns[**column].column.ty;
        let index = |using: &str, column: &usize| {
            Lookup::CreateIndex(format!("CREATE INDEX ON {}{using} ({})", self.table, column_name(*column)))
        };
        let compact = given.iter().find(|column| ty(column).ordered && ty(column).is_compact());
        let hashed = || given.iter().find(|column| ty(column).hashable);
        match compact {
            Some(column) => index("", column),
            None => hashed().map_or(Lookup::Scan, |column| index(" USING hash", column)),
        }
    }

    /// The source as a query with columns `c1..cn`, and `w` if asked for.
    fn contents(&self, with_weight: bool) -> String {
        let columns = self.info.columns.iter().enumerate();
        let columns = columns
            .map(|(index, known)| format!("s.{} AS {}", quote(&known.column.name), column_name(index)));
        let weight = with_weight.then(|| format!("1::pg_catalog.int8 AS {WEIGHT}"));
        format!("SELECT {} FROM {} s", list(columns.chain(weight)), self.info.name)
    }

    fn copy(&self) -> Arrangement<'_> {
        Arrangement {
            of: Of::Source(self.source),
            table: self.table.clone(),
            columns: self.columns(),
            keys: &self.keys,
            is_set: false,
        }
    }

    fn columns(&self) -> Vec<Column> {
        self.info.columns.iter().map(|known| known.column.clone()).collect()
    }
}
