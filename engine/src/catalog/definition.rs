//! What a stream table is: its definition, settings and sources.

use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::relation::{self, QualifiedName};
use crate::pg::security;
use crate::pg::value::{Param, Row};
use pg_trickle_core::maintain::Names;

/// How a stream table is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Full,
    Differential,
    Auto,
}

impl Mode {
    pub const VALID: &'static [&'static str] = &["AUTO", "DIFFERENTIAL", "FULL"];

    /// Case-insensitive.
    pub fn parse(text: &str) -> Option<Mode> {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Some(Mode::Full),
            "DIFFERENTIAL" => Some(Mode::Differential),
            "AUTO" => Some(Mode::Auto),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Full => "FULL",
            Mode::Differential => "DIFFERENTIAL",
            Mode::Auto => "AUTO",
        }
    }
}

/// A stream table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTable {
    pub pgt_id: i64,
    pub relid: u32,
    /// The view that holds the defining query.
    pub query_view: u32,
    pub schema: String,
    pub name: String,
    pub owner: u32,
    pub original_query: String,
    pub schedule: String,
    pub mode: Mode,
    /// The query can be maintained differentially.
    pub is_differential: bool,
    /// Why not.
    pub downgrade_reason: Option<String>,
    pub suspended: bool,
    /// Settings in force in every refresh.
    pub settings: Vec<(String, String)>,
    pub generation: i64,
    /// Positions (from 0) of the key's columns; None for a bag.
    pub key: Option<Vec<usize>>,
    pub state_tables: Vec<String>,
    /// Only captured changes change the result.
    pub is_captured: bool,
    /// Of what the definition meant when the contents were made.
    pub fingerprint: Option<String>,
}

impl StreamTable {
    fn from_row(row: &Row) -> StreamTable {
        let settings: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&row.text(12)).expect("settings are an object of strings");
        StreamTable {
            pgt_id: row.int(0),
            relid: row.oid(1),
            query_view: row.oid(2),
            schema: row.text(3),
            name: row.text(4),
            owner: row.oid(5),
            original_query: row.text(6),
            schedule: row.text(7),
            mode: Mode::parse(&row.text(8)).expect("the catalog checks the mode"),
            is_differential: row.text(9) == "DIFFERENTIAL",
            downgrade_reason: row.optional_text(10),
            suspended: row.flag(11),
            settings: settings.into_iter().collect(),
            generation: row.int(13),
            key: row.flag(17).then(|| {
                numbers(&row.optional_text(14).unwrap_or_default())
                    .into_iter()
                    .map(|attnum| attnum as usize - 1)
                    .collect()
            }),
            state_tables: serde_json::from_str(&row.text(15)).expect("state tables are an array of strings"),
            is_captured: row.flag(16),
            fingerprint: row.optional_text(18),
        }
    }

    /// `schema.name` for messages.
    pub fn display_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Names for core's programs.
    pub fn names(&self) -> Names {
        names(&self.schema, &self.name, self.pgt_id)
    }

    /// Whether refreshes use delta programs.
    pub fn runs_differentially(&self) -> bool {
        self.is_differential && self.mode != Mode::Full
    }
}

/// Names for core's programs.
pub fn names(schema: &str, name: &str, pgt_id: i64) -> Names {
    Names {
        stream_table: format!("{}.{}", relation::quote_identifier(schema), relation::quote_identifier(name)),
        state_prefix: format!("pgtrickle_state.s_{pgt_id}_"),
    }
}

/// A relation a stream table reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub relid: u32,
    pub source_type: String,
    pub columns: Vec<i16>,
    pub is_captured: bool,
    /// If the source is a stream table.
    pub pgt_id: Option<i64>,
}

/// A key of positions (from 0) as `key_columns` stores it, of attribute numbers.
pub fn key_param(key: Option<&[usize]>) -> Param {
    key.map_or(Param::NullText, |key| Param::list(key.iter().map(|position| position + 1)))
}

/// Parses `1,2,3`.
pub fn numbers(text: &str) -> Vec<i16> {
    text.split(',').filter(|part| !part.is_empty()).filter_map(|part| part.parse().ok()).collect()
}

/// The stream table of an id.
pub fn load(executor: &Executor, pgt_id: i64) -> Option<StreamTable> {
    let sql = concat!(
        include_str!("../../../sql/queries/stream_table.sql"),
        "WHERE d.pgt_id OPERATOR(pg_catalog.=) $1"
    );
    executor.fixed_row(sql, &[Param::Int(pgt_id)]).map(|row| StreamTable::from_row(&row))
}

/// What a stream table reads, by ascending OID.
pub fn dependencies(executor: &Executor, pgt_id: i64) -> Vec<Dependency> {
    executor
        .fixed_rows(include_str!("../../../sql/queries/dependencies.sql"), &[Param::Int(pgt_id)])
        .iter()
        .map(|row| Dependency {
            relid: row.oid(0),
            source_type: row.text(1),
            columns: numbers(&row.optional_text(2).unwrap_or_default()),
            is_captured: row.flag(3),
            pgt_id: row.optional_int(4),
        })
        .collect()
}

/// The stream table a user names.
pub fn resolve(executor: &Executor, argument: &'static str, name: Option<&str>) -> Result<StreamTable> {
    let relid = named_relation(argument, name)?;
    by_relid(executor, relid)
        .ok_or_else(|| Error::NotAStreamTable { name: name.unwrap_or_default().to_owned() })
}

/// The relation that a user names as a stream table.
pub fn named_relation(argument: &'static str, name: Option<&str>) -> Result<u32> {
    let name = name.ok_or(Error::NullArgument { argument })?;
    QualifiedName::parse(name).lookup().ok_or_else(|| Error::NoSuchStreamTable { name: name.to_owned() })
}

/// The stream table that is this relation.
pub fn by_relid(executor: &Executor, relid: u32) -> Option<StreamTable> {
    let sql = concat!(
        include_str!("../../../sql/queries/stream_table.sql"),
        "WHERE d.pgt_relid OPERATOR(pg_catalog.=) $1"
    );
    executor.fixed_row(sql, &[Param::Oid(relid)]).map(|row| StreamTable::from_row(&row))
}

/// The stream tables whose owner the current user may act for.
pub fn visible(executor: &Executor) -> Vec<StreamTable> {
    let ids = executor.fixed_rows(include_str!("../../../sql/queries/visible_stream_tables.sql"), &[]);
    ids.iter().filter_map(|row| load(executor, row.int(0))).collect()
}

/// Refuses unless the current user may act for the stream table's owner.
pub fn check_owner(stream_table: &StreamTable) -> Result<()> {
    if security::has_privileges_of(security::current_user(), stream_table.owner) {
        Ok(())
    } else {
        Err(Error::NotOwner { name: stream_table.display_name() })
    }
}
