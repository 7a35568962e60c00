//! Properties of a bound expression: whether it can be NULL, what NULLs do to it, the scale of its numbers.
//!
//! Columns are slots here, numbered from 1 in `Var.varattno`. Every answer errs on the safe side.

use super::scalar::Slot;
use crate::pg::facts;
use crate::pg::node::{self, Tree};
use pgrx::pg_sys::{self, BoolExprType, NodeTag, Oid};

/// Built-in operators that, being strict, give NULL only for NULL.
const NON_NULL_OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~",
    "~*", "!~*",
];

/// Types on which they do. Geometric operators are left out: `path + path` is NULL for closed paths.
const NON_NULL_OPERANDS: &[Oid] = &[
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::FLOAT4OID,
    pg_sys::FLOAT8OID,
    pg_sys::NUMERICOID,
    pg_sys::TEXTOID,
    pg_sys::VARCHAROID,
    pg_sys::BPCHAROID,
    pg_sys::NAMEOID,
    pg_sys::BYTEAOID,
    pg_sys::BOOLOID,
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALOID,
    pg_sys::UUIDOID,
    pg_sys::OIDOID,
];

/// Built-in functions that, being strict, give NULL only for NULL.
const NON_NULL_FUNCTIONS: &[&str] = &[
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "bpchar",
    "varchar",
    "date",
    "timestamp",
    "timestamptz",
    "bool",
    "lower",
    "upper",
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "abs",
    "round",
    "floor",
    "ceil",
    "ceiling",
    "trunc",
    "sign",
    "btrim",
    "ltrim",
    "rtrim",
    "replace",
    "left",
    "right",
    "lpad",
    "rpad",
    "md5",
    "reverse",
    "repeat",
    "mod",
    "sqrt",
    "power",
    "initcap",
    "substr",
    "ascii",
    "chr",
    "strpos",
];

/// False only if the expression is never NULL.
pub fn is_nullable(expression: Tree, slots: &[Slot]) -> bool {
    let any = |list: *mut pg_sys::List| node::nodes(list).into_iter().any(|arg| is_nullable(arg, slots));
    let all = |list: *mut pg_sys::List| node::nodes(list).into_iter().all(|arg| is_nullable(arg, slots));
    if let Some(slot) = slot(expression, slots) {
        return slot.column.nullable;
    }
    if let Some(constant) = node::cast::<pg_sys::Const>(expression) {
        return constant.constisnull;
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(expression) {
        return !(is_reviewed_operator(call.opno, call.args)
            && facts::is_strict(call.opfuncid)
            && !any(call.args));
    }
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(expression) {
        let reviewed =
            facts::builtin_name(call.funcid).is_some_and(|name| NON_NULL_FUNCTIONS.contains(&&*name));
        return !(reviewed && facts::is_strict(call.funcid) && !any(call.args));
    }
    if let Some(logic) = node::cast::<pg_sys::BoolExpr>(expression) {
        return any(logic.args);
    }
    if let Some(cast) = node::cast::<pg_sys::RelabelType>(expression) {
        return is_nullable(cast.arg.cast(), slots);
    }
    if let Some(collate) = node::cast::<pg_sys::CollateExpr>(expression) {
        return is_nullable(collate.arg.cast(), slots);
    }
    if let Some(coalesce) = node::cast::<pg_sys::CoalesceExpr>(expression) {
        return all(coalesce.args);
    }
    if let Some(extreme) = node::cast::<pg_sys::MinMaxExpr>(expression) {
        return all(extreme.args);
    }
    if let Some(case) = node::cast::<pg_sys::CaseExpr>(expression) {
        let arms = node::list::<pg_sys::CaseWhen>(case.args);
        return case.defresult.is_null()
            || is_nullable(case.defresult.cast(), slots)
            || arms.iter().any(|arm| is_nullable(arm.result.cast(), slots));
    }
    if let Some(member) = node::cast::<pg_sys::ScalarArrayOpExpr>(expression) {
        let args = node::nodes(member.args);
        let left = node::make_list(&args[..args.len().min(1)]);
        return !(is_reviewed_operator(member.opno, left)
            && args.first().is_some_and(|left| !is_nullable(*left, slots))
            && args.get(1).is_some_and(|array| is_array_without_nulls(*array, slots)));
    }
    !matches!(
        node::tag(expression),
        NodeTag::T_NullTest
            | NodeTag::T_BooleanTest
            | NodeTag::T_DistinctExpr
            | NodeTag::T_RowExpr
            | NodeTag::T_ArrayExpr
    )
}

fn is_reviewed_operator(operator: Oid, args: *mut pg_sys::List) -> bool {
    facts::builtin_operator(operator).is_some_and(|name| NON_NULL_OPERATORS.contains(&&*name))
        && node::nodes(args)
            .into_iter()
            .all(|arg| NON_NULL_OPERANDS.contains(&facts::base_type(node::type_of(arg).0)))
}

/// A list of elements, none of which is NULL. Constant arrays are not opened: an element may be NULL.
fn is_array_without_nulls(array: Tree, slots: &[Slot]) -> bool {
    node::cast::<pg_sys::ArrayExpr>(array).is_some_and(|array| {
        !array.multidims
            && node::nodes(array.elements).into_iter().all(|element| !is_nullable(element, slots))
    })
}

fn slot(expression: Tree, slots: &[Slot]) -> Option<&Slot> {
    let var = node::cast::<pg_sys::Var>(expression)?;
    slots.get(usize::try_from(var.varattno).ok()?.checked_sub(1)?)
}

/// True only if the expression is NULL or false whenever any column it uses is NULL.
pub fn is_strict_condition(expression: Tree) -> bool {
    if is_strict_value(expression) {
        return true;
    }
    if let Some(logic) = node::cast::<pg_sys::BoolExpr>(expression) {
        return logic.boolop == BoolExprType::AND_EXPR
            && node::nodes(logic.args).into_iter().all(is_strict_condition);
    }
    if let Some(test) = node::cast::<pg_sys::NullTest>(expression) {
        return test.nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
            && !test.argisrow
            && is_strict_value(test.arg.cast());
    }
    if let Some(test) = node::cast::<pg_sys::BooleanTest>(expression) {
        use pg_sys::BoolTestType::{IS_FALSE, IS_NOT_UNKNOWN, IS_TRUE};
        return matches!(test.booltesttype, IS_TRUE | IS_FALSE | IS_NOT_UNKNOWN)
            && is_strict_value(test.arg.cast());
    }
    if let Some(member) = node::cast::<pg_sys::ScalarArrayOpExpr>(expression) {
        // x = ANY(array): for a NULL x either NULL, or false for an empty array. The array must hold no column,
        // because an element that is NULL need not matter.
        let args = node::nodes(member.args);
        return member.useOr
            && facts::is_strict(facts::operator_function(member.opno))
            && args.first().is_some_and(|left| is_strict_value(*left))
            && args.get(1).is_some_and(|array| !has_columns(*array));
    }
    false
}

/// True only if the expression is NULL whenever any column it uses is NULL.
fn is_strict_value(expression: Tree) -> bool {
    let all = |list: *mut pg_sys::List| node::nodes(list).into_iter().all(is_strict_value);
    match node::tag(expression) {
        NodeTag::T_Var | NodeTag::T_Const => return true,
        _ if !has_columns(expression) => return true,
        _ => {}
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(expression) {
        return facts::is_strict(call.opfuncid) && all(call.args);
    }
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(expression) {
        return facts::is_strict(call.funcid) && all(call.args);
    }
    if let Some(cast) = node::cast::<pg_sys::RelabelType>(expression) {
        return is_strict_value(cast.arg.cast());
    }
    if let Some(cast) = node::cast::<pg_sys::CoerceViaIO>(expression) {
        return is_strict_value(cast.arg.cast());
    }
    if let Some(collate) = node::cast::<pg_sys::CollateExpr>(expression) {
        return is_strict_value(collate.arg.cast());
    }
    if let Some(logic) = node::cast::<pg_sys::BoolExpr>(expression) {
        return logic.boolop == BoolExprType::NOT_EXPR && all(logic.args);
    }
    false
}

fn has_columns(expression: Tree) -> bool {
    let mut found = false;
    node::walk(expression, &mut |part, _| {
        found |= node::tag(part) == NodeTag::T_Var;
        node::Walk::Into
    });
    found
}

/// True if the expression is `a = b` by default btree equality, each side a bare column.
pub fn is_equality(expression: Tree) -> bool {
    let Some(call) = node::cast::<pg_sys::OpExpr>(expression) else { return false };
    let args = node::nodes(call.args);
    let [left, right] = args.as_slice() else { return false };
    let is_column = |side: &Tree| node::tag(unrelabeled(*side)) == NodeTag::T_Var;
    is_column(left)
        && is_column(right)
        && facts::is_default_equality(call.opno, node::type_of(*left).0, node::type_of(*right).0)
}

/// The expression under casts that leave the value as it is.
fn unrelabeled(expression: Tree) -> Tree {
    match node::cast::<pg_sys::RelabelType>(expression) {
        Some(cast) => unrelabeled(cast.arg.cast()),
        None => expression,
    }
}

/// The number of fractional digits that every value of a numeric expression provably shows.
pub fn fixed_scale(expression: Tree, slots: &[Slot]) -> Option<u16> {
    let (oid, typmod, _) = node::type_of(expression);
    if facts::base_type(oid) != pg_sys::NUMERICOID {
        return None;
    }
    if let Some(slot) = slot(expression, slots) {
        return slot.column.fixed_scale;
    }
    if let Some(constant) = node::cast::<pg_sys::Const>(expression) {
        return constant_scale(&facts::constant_text(constant)?);
    }
    if let Some(scale) = typmod_scale(oid, typmod) {
        return Some(scale);
    }
    if let Some(cast) = node::cast::<pg_sys::RelabelType>(expression) {
        return fixed_scale(cast.arg.cast(), slots);
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(expression) {
        return operator_scale(call.opno, &node::nodes(call.args), slots);
    }
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(expression) {
        return function_scale(call.funcid, &node::nodes(call.args), slots);
    }
    if let Some(case) = node::cast::<pg_sys::CaseExpr>(expression) {
        let arms = node::list::<pg_sys::CaseWhen>(case.args).into_iter().map(|arm| arm.result.cast());
        let default = (!case.defresult.is_null()).then_some(case.defresult.cast());
        return same_scale(arms.chain(default), slots);
    }
    if let Some(coalesce) = node::cast::<pg_sys::CoalesceExpr>(expression) {
        return same_scale(node::nodes(coalesce.args).into_iter(), slots);
    }
    None
}

/// The scale declared by a numeric type's modifier; a negative one shows no fractional digits.
pub fn typmod_scale(oid: Oid, typmod: i32) -> Option<u16> {
    if facts::base_type(oid) != pg_sys::NUMERICOID {
        return None;
    }
    // The modifier is ((precision << 16) | (scale & 0x7ff)) + 4, the scale in 11 bits two's complement.
    let modifier = facts::base_typmod(oid, typmod).checked_sub(4).filter(|modifier| *modifier >= 0)?;
    let scale = ((modifier & 0x7ff) ^ 1024) - 1024;
    u16::try_from(scale.max(0)).ok()
}

fn constant_scale(text: &str) -> Option<u16> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    u16::try_from(fraction).ok().filter(|_| is_number)
}

/// The common scale of alternatives; NULL constants fit any.
fn same_scale(alternatives: impl Iterator<Item = Tree>, slots: &[Slot]) -> Option<u16> {
    let mut common = None;
    for alternative in alternatives {
        if node::cast::<pg_sys::Const>(alternative).is_some_and(|constant| constant.constisnull) {
            continue;
        }
        let scale = fixed_scale(alternative, slots)?;
        if *common.get_or_insert(scale) != scale {
            return None;
        }
    }
    common
}

fn operator_scale(operator: Oid, args: &[Tree], slots: &[Slot]) -> Option<u16> {
    let name = facts::builtin_operator(operator)?;
    match (name.as_str(), args) {
        ("+" | "-", [arg]) => fixed_scale(*arg, slots),
        ("+" | "-", [left, right]) => Some(fixed_scale(*left, slots)?.max(fixed_scale(*right, slots)?)),
        ("*", [left, right]) => fixed_scale(*left, slots)?.checked_add(fixed_scale(*right, slots)?),
        _ => None,
    }
}

fn function_scale(function: Oid, args: &[Tree], slots: &[Slot]) -> Option<u16> {
    let name = facts::builtin_name(function)?;
    match (name.as_str(), args) {
        ("numeric", [arg]) => {
            let from = facts::base_type(node::type_of(*arg).0);
            matches!(from, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID).then_some(0)
        }
        ("abs", [arg]) => fixed_scale(*arg, slots),
        ("round" | "trunc" | "floor" | "ceil" | "ceiling", [_]) => Some(0),
        ("round" | "trunc", [_, digits]) => {
            let digits = facts::constant_text(node::cast::<pg_sys::Const>(*digits)?)?.parse::<i32>().ok()?;
            u16::try_from(digits.max(0)).ok()
        }
        _ => None,
    }
}

/// True for expressions that the server prints so that they can stand as an operand.
pub fn is_self_delimiting(expression: Tree) -> bool {
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(expression) {
        return call.funcformat == pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
    }
    matches!(
        node::tag(expression),
        NodeTag::T_Const
            | NodeTag::T_OpExpr
            | NodeTag::T_BoolExpr
            | NodeTag::T_NullTest
            | NodeTag::T_BooleanTest
            | NodeTag::T_DistinctExpr
            | NodeTag::T_ScalarArrayOpExpr
            | NodeTag::T_CoalesceExpr
            | NodeTag::T_NullIfExpr
            | NodeTag::T_MinMaxExpr
    )
}
