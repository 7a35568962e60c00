//! What reads the time of the refresh, and comparisons with it.
//!
//! The core maintains an expression that changes with time if the time stands only inside comparisons
//! ([`pg_trickle_core::expr::Time`]). It asks that neither side of a comparison is NULL at one time and not at the other:
//! so all that stands between the time and the comparison is strict and built in, and reviewed not to give NULL for
//! what is not NULL.

use crate::pg::facts;
use crate::pg::node::{self, Tree};
use pgrx::pg_sys::{self, NodeTag, Oid};

/// Built-in functions that may stand between the time and a comparison.
const REVIEWED_FUNCTIONS: &[&str] = &[
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "timezone",
    "date_trunc",
    "date_bin",
    "date_part",
    "extract",
    "date_add",
    "date_subtract",
    "age",
    "to_char",
    "to_timestamp",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "floor",
    "ceil",
    "ceiling",
    "round",
    "trunc",
    "abs",
    "mod",
    "justify_days",
    "justify_hours",
    "justify_interval",
];

/// Built-in operators that may.
const REVIEWED_OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "||"];

/// A call that gives the time of the transaction: `now()` and what `CURRENT_DATE` and its relatives stand for.
pub enum Reading<'t> {
    Transaction,
    Standard(&'t pg_sys::SQLValueFunction),
}

/// The node as a reading of the time.
pub fn reading<'t>(found: Tree) -> Option<Reading<'t>> {
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(found) {
        return is_now(call.funcid).then_some(Reading::Transaction);
    }
    use pg_sys::SQLValueFunctionOp::{SVFOP_CURRENT_DATE, SVFOP_LOCALTIMESTAMP_N};
    let value = node::cast::<pg_sys::SQLValueFunction>(found)?;
    (SVFOP_CURRENT_DATE..=SVFOP_LOCALTIMESTAMP_N).contains(&value.op).then_some(Reading::Standard(value))
}

fn is_now(function: Oid) -> bool {
    facts::builtin_name(function).is_some_and(|name| matches!(name.as_str(), "now" | "transaction_timestamp"))
}

/// A comparison with the time.
pub struct Comparison {
    pub sides: [Tree; 2],
    pub operator: String,
    pub negator: Option<String>,
}

/// The node as such a comparison. `is_column` says what is a column already: what it stands for is not looked at.
pub fn comparison(found: Tree, is_column: &dyn Fn(Tree) -> bool) -> Option<Comparison> {
    let call = node::cast::<pg_sys::OpExpr>(found)?;
    let sides = <[Tree; 2]>::try_from(node::nodes(call.args)).ok()?;
    let with_time = sides.iter().filter(|side| reads_time(**side, is_column));
    let with_time: Vec<Tree> = with_time.copied().collect();
    let is_maintained = call.opresulttype == pg_sys::BOOLOID
        && facts::builtin_operator(call.opno).is_some()
        && facts::is_strict(facts::operator_function(call.opno))
        && !with_time.is_empty()
        && with_time.into_iter().all(|side| is_never_null_by_time(side, is_column));
    let negator = facts::negator(call.opno).filter(|negator| facts::builtin_operator(*negator).is_some());
    is_maintained.then(|| Comparison {
        sides,
        operator: facts::operator_text(call.opno),
        negator: negator.map(facts::operator_text),
    })
}

fn reads_time(expression: Tree, is_column: &dyn Fn(Tree) -> bool) -> bool {
    let mut found = false;
    node::walk(expression, &mut |part, _| {
        let is_apart = matches!(
            node::tag(part),
            NodeTag::T_SubLink | NodeTag::T_Query | NodeTag::T_Aggref | NodeTag::T_WindowFunc
        );
        if is_apart || is_column(part) {
            return node::Walk::Skip;
        }
        found |= reading(part).is_some();
        node::Walk::Into
    });
    found
}

/// False if the expression may be NULL at one time and not at another, for the same row.
fn is_never_null_by_time(expression: Tree, is_column: &dyn Fn(Tree) -> bool) -> bool {
    if reading(expression).is_some() || !reads_time(expression, is_column) {
        return true;
    }
    let all = |list: *mut pg_sys::List| {
        node::nodes(list).into_iter().all(|arg| is_never_null_by_time(arg, is_column))
    };
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(expression) {
        let is_reviewed =
            facts::builtin_name(call.funcid).is_some_and(|name| REVIEWED_FUNCTIONS.contains(&&*name));
        return is_reviewed && facts::is_strict(call.funcid) && all(call.args);
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(expression) {
        let is_reviewed =
            facts::builtin_operator(call.opno).is_some_and(|name| REVIEWED_OPERATORS.contains(&&*name));
        return is_reviewed && facts::is_strict(facts::operator_function(call.opno)) && all(call.args);
    }
    if let Some(cast) = node::cast::<pg_sys::RelabelType>(expression) {
        return is_never_null_by_time(cast.arg.cast(), is_column);
    }
    if let Some(collate) = node::cast::<pg_sys::CollateExpr>(expression) {
        return is_never_null_by_time(collate.arg.cast(), is_column);
    }
    if let Some(cast) = node::cast::<pg_sys::CoerceViaIO>(expression) {
        return is_never_null_by_time(cast.arg.cast(), is_column);
    }
    false
}
