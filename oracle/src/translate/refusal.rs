//! Constructs that DuckDB lacks or understands differently: a query that uses one is not compared there.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CharacterLength, DataType, Expr, Function, Query, Statement, Visit, Visitor,
};

use super::rewrite::{arguments, function_name, strftime_format, string};

/// Functions without a counterpart that means the same: the clock, randomness, identity, and text functions whose
/// results differ. Names that begin as in [`FAMILIES`] are refused as well.
const FUNCTIONS: [&str; 34] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "random",
    "random_normal",
    "gen_random_uuid",
    "setseed",
    "nextval",
    "currval",
    "lastval",
    "initcap",
    "lpad",
    "rpad",
    "to_hex",
    "quote_literal",
    "quote_ident",
    "format",
    "decode",
    "encode",
    "width_bucket",
    "num_nonnulls",
    "num_nulls",
    "octet_length",
    "regexp_match",
    "to_number",
    "xmlagg",
    "row_to_json",
];

const FAMILIES: [&str; 7] = ["json_", "jsonb_", "to_json", "pg_", "justify_", "has_", "txid_"];

const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The first construct that stands in the way.
pub(super) fn find(statement: &Statement) -> Option<String> {
    match statement.visit(&mut Search) {
        ControlFlow::Break(construct) => Some(construct),
        ControlFlow::Continue(()) => None,
    }
}

struct Search;

impl Visitor for Search {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        match &query.fetch {
            Some(fetch) if fetch.with_ties => ControlFlow::Break("FETCH ... WITH TIES".to_owned()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        let construct = match expression {
            Expr::Function(function) => refused_call(function),
            Expr::Identifier(ident) => system_column(&ident.value),
            Expr::CompoundIdentifier(parts) => parts.last().and_then(|ident| system_column(&ident.value)),
            Expr::SimilarTo { .. } => Some("SIMILAR TO".to_owned()),
            Expr::Cast { data_type, .. } => refused_type(data_type),
            Expr::BinaryOp { op, .. } => refused_operator(op),
            _ => None,
        };
        construct.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

fn refused_call(function: &Function) -> Option<String> {
    let name = function_name(function)?;
    if name == "to_char" {
        let is_known = arguments(function)
            .is_some_and(|all| all.len() == 2 && string(all[1]).and_then(strftime_format).is_some());
        return (!is_known).then(|| "to_char with this format".to_owned());
    }
    let is_refused =
        FUNCTIONS.contains(&name.as_str()) || FAMILIES.iter().any(|prefix| name.starts_with(prefix));
    is_refused.then(|| format!("function {name}"))
}

fn system_column(name: &str) -> Option<String> {
    SYSTEM_COLUMNS.contains(&name).then(|| format!("system column {name}"))
}

/// Character types with a length pad or cut in PostgreSQL and do nothing in DuckDB; json has other operators.
fn refused_type(kind: &DataType) -> Option<String> {
    let is_refused = match kind {
        DataType::Char(_) | DataType::Character(_) | DataType::JSON | DataType::JSONB => true,
        DataType::Varchar(length) | DataType::CharacterVarying(length) => {
            matches!(length, Some(CharacterLength::IntegerLength { .. }))
        }
        _ => false,
    };
    is_refused.then(|| format!("cast to {kind}"))
}

fn refused_operator(operator: &BinaryOperator) -> Option<String> {
    let is_refused = matches!(
        operator,
        BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow
            | BinaryOperator::HashMinus
            | BinaryOperator::AtQuestion
            | BinaryOperator::AtAt
            | BinaryOperator::Question
            | BinaryOperator::QuestionAnd
            | BinaryOperator::QuestionPipe
            | BinaryOperator::PGOverlap
            | BinaryOperator::PGCustomBinaryOperator(_)
    );
    is_refused.then(|| format!("operator {operator}"))
}
