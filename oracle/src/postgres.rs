//! The first oracle: PostgreSQL evaluates the defining query anew, at the snapshot at which the stream table is read.
//!
//! Values are compared by their text, which tells `1.5` from `1.50` and `0` from `-0`; floating point, whose last digits
//! depend on the order of the input, within [`FLOAT8_TOLERANCE`]. The columns' names and types have to agree too.
//!
//! The caller provides the snapshot: a REPEATABLE READ transaction in which nothing else runs. A query with a limit has
//! to come in the form that orders by every column, since that is what a stream table holds.

use postgres::types::Type;
use postgres::{GenericClient, SimpleQueryMessage};

use crate::compare::{Equality, Relation, compare};
use crate::{Error, Verdict};

/// The fraction by which two double precision results may differ.
pub const FLOAT8_TOLERANCE: f64 = 1e-9;

/// The fraction by which two single precision results may differ.
pub const FLOAT4_TOLERANCE: f64 = 1e-5;

/// A result with its columns' types.
#[derive(Debug, Clone)]
pub struct Typed {
    pub relation: Relation,
    pub types: Vec<Type>,
}

impl Typed {
    /// Name and type of each column, as in a definition.
    pub fn columns(&self) -> Vec<String> {
        self.relation.columns.iter().zip(&self.types).map(|(name, kind)| format!("{name} {kind}")).collect()
    }
}

/// Runs a query and returns its rows in text form.
pub fn fetch(client: &mut impl GenericClient, sql: &str) -> Result<Typed, Error> {
    // Preparing tells the types; the simple protocol sends every value in the server's own text form.
    let statement = client.prepare(sql).map_err(Error::postgres(sql))?;
    let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let types: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
    let messages = client.simple_query(sql).map_err(Error::postgres(sql))?;
    let rows = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..types.len()).map(|index| row.get(index).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect();
    Ok(Typed { relation: Relation { columns, rows }, types })
}

/// Compares the contents of `stream_table` (a name as SQL writes it) with the result of `query`.
pub fn judge(client: &mut impl GenericClient, stream_table: &str, query: &str) -> Result<Verdict, Error> {
    let expected = fetch(client, query)?;
    let found = fetch(client, &format!("SELECT * FROM {stream_table}"))?;
    Ok(judge_results(&expected, &found))
}

/// Compares two results that are already here.
pub fn judge_results(expected: &Typed, found: &Typed) -> Verdict {
    if expected.columns() != found.columns() {
        return Verdict::Columns { expected: expected.columns(), found: found.columns() };
    }
    let equalities: Vec<Equality> = expected.types.iter().map(equality).collect();
    match compare(&expected.relation, &found.relation, &equalities) {
        Some(difference) => Verdict::Rows(Box::new(difference)),
        None => Verdict::Equal { rows: found.relation.rows.len() },
    }
}

fn equality(kind: &Type) -> Equality {
    match *kind {
        Type::FLOAT8 => Equality::Tolerance(FLOAT8_TOLERANCE),
        Type::FLOAT4 => Equality::Tolerance(FLOAT4_TOLERANCE),
        _ => Equality::Text,
    }
}
