//! The rewrites. Each walks the whole statement and changes the places that its rule names.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart,
    Query, SelectItem, SetExpr, Statement, Subscript, UnaryOperator, Value, visit_expressions_mut,
    visit_relations_mut,
};
use sqlparser::ast::{VisitMut, VisitorMut};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Applies `change` to every expression; whether it changed one.
fn expressions(statement: &mut Statement, mut change: impl FnMut(&mut Expr) -> bool) -> bool {
    let mut changed = false;
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
        changed |= change(expression);
        ControlFlow::Continue(())
    });
    changed
}

/// The name of an unqualified function, in lower case.
pub(super) fn function_name(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.to_lowercase()),
        _ => None,
    }
}

/// The plain positional arguments of a call; `None` if it has others.
pub(super) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect()
}

pub(super) fn string(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn literal(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
}

fn set_arguments(function: &mut Function, arguments: Vec<Expr>) {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    function.args = FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args,
        clauses: Vec::new(),
    });
}

pub(super) fn like_operators(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::BinaryOp { left, op, right } = expression else { return false };
        let (negated, insensitive) = match op {
            BinaryOperator::PGLikeMatch => (false, false),
            BinaryOperator::PGNotLikeMatch => (true, false),
            BinaryOperator::PGILikeMatch => (false, true),
            BinaryOperator::PGNotILikeMatch => (true, true),
            _ => return false,
        };
        let (expr, pattern) = (left.clone(), right.clone());
        *expression = match insensitive {
            false => Expr::Like { negated, any: false, expr, pattern, escape_char: None },
            true => Expr::ILike { negated, any: false, expr, pattern, escape_char: None },
        };
        true
    })
}

pub(super) fn like_escape(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let (pattern, escape) = match expression {
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                (pattern, escape_char)
            }
            _ => return false,
        };
        // A literal without backslash means the same in both; without ESCAPE it can still be optimised.
        if escape.is_some() || string(pattern).is_some_and(|text| !text.contains('\\')) {
            return false;
        }
        *escape = Some(Box::new(literal("\\")));
        true
    })
}

pub(super) fn schema_names(statement: &mut Statement) -> bool {
    fn strip(name: &mut ObjectName) -> bool {
        let is_schema = name.0.len() == 2
            && name.0[0]
                .as_ident()
                .is_some_and(|ident| ident.value == "public" || ident.value == "pg_catalog");
        if is_schema {
            name.0.remove(0);
        }
        is_schema
    }
    let mut changed = false;
    let _: ControlFlow<()> = visit_relations_mut(statement, |name| {
        changed |= strip(name);
        ControlFlow::Continue(())
    });
    changed
        | expressions(statement, |expression| match expression {
            Expr::Function(function) => strip(&mut function.name),
            _ => false,
        })
}

/// Words that DuckDB reserves and PostgreSQL does not.
const RESERVED: [&str; 10] = [
    "at",
    "describe",
    "lambda",
    "pivot",
    "pivot_longer",
    "pivot_wider",
    "qualify",
    "show",
    "summarize",
    "unpivot",
];

pub(super) fn reserved_words(statement: &mut Statement) -> bool {
    fn quote(ident: &mut Ident) -> bool {
        let is_bare = ident.quote_style.is_none() && RESERVED.contains(&ident.value.to_lowercase().as_str());
        if is_bare {
            ident.quote_style = Some('"');
        }
        is_bare
    }
    expressions(statement, |expression| match expression {
        Expr::Identifier(ident) => quote(ident),
        Expr::CompoundIdentifier(parts) => parts.iter_mut().fold(false, |quoted, part| quote(part) | quoted),
        _ => false,
    })
}

struct FillSelectLists {
    changed: bool,
}

impl VisitorMut for FillSelectLists {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && select.projection.is_empty()
        {
            select
                .projection
                .push(SelectItem::UnnamedExpr(Expr::value(Value::Number("1".to_owned(), false))));
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

pub(super) fn empty_select_list(statement: &mut Statement) -> bool {
    let mut visitor = FillSelectLists { changed: false };
    let _ = statement.visit(&mut visitor);
    visitor.changed
}

pub(super) fn function_names(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::Function(function) = expression else { return false };
        let name = match function_name(function).as_deref() {
            Some("every") => "bool_and",
            Some("btrim") => "trim",
            Some("char_length" | "character_length") => "length",
            Some("string_to_array") => "string_split",
            _ => return false,
        };
        rename(function, name);
        true
    })
}

pub(super) fn date_bin(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::Function(function) = expression else { return false };
        if function_name(function).as_deref() != Some("date_bin") {
            return false;
        }
        let Some(mut all) = arguments(function).map(|all| all.into_iter().cloned().collect::<Vec<_>>())
        else {
            return false;
        };
        // PostgreSQL resolves the untyped stride to an interval; DuckDB would take it for text.
        if let Some(first) = all.first_mut()
            && string(first).is_some()
        {
            *first = Expr::Interval(Interval {
                value: Box::new(first.clone()),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            });
        }
        set_arguments(function, all);
        rename(function, "time_bucket");
        true
    })
}

/// `(regexp_match(text, pattern))[n]` to the group itself, NULL if nothing matches.
pub(super) fn regexp_match_groups(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Some(text) = matched_group(expression) else { return false };
        let parsed =
            Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_expr());
        let Ok(rewritten) = parsed else { return false };
        *expression = rewritten;
        true
    })
}

fn matched_group(expression: &Expr) -> Option<String> {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return None };
    let [AccessExpr::Subscript(Subscript::Index { index })] = access_chain.as_slice() else { return None };
    let call = match root.as_ref() {
        Expr::Nested(inner) => inner.as_ref(),
        other => other,
    };
    let Expr::Function(function) = call else { return None };
    if function_name(function).as_deref() != Some("regexp_match") {
        return None;
    }
    let all = arguments(function)?;
    let [text, pattern] = all.as_slice() else { return None };
    Some(format!(
        "CASE WHEN regexp_matches({text}, {pattern}) THEN regexp_extract({text}, {pattern}, {index}) END"
    ))
}

pub(super) fn to_char_dates(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::Function(function) = expression else { return false };
        if function_name(function).as_deref() != Some("to_char") {
            return false;
        }
        let rewritten = match arguments(function).as_deref() {
            Some([value, format]) => string(format)
                .and_then(strftime_format)
                .map(|format| vec![(*value).clone(), literal(&format)]),
            _ => None,
        };
        let Some(all) = rewritten else { return false };
        set_arguments(function, all);
        rename(function, "strftime");
        true
    })
}

/// The codes of strftime for a format of `to_char` that has only numeric fields of dates and times and separators.
pub(super) fn strftime_format(format: &str) -> Option<String> {
    const FIELDS: [(&str, &str); 6] =
        [("YYYY", "%Y"), ("MM", "%m"), ("DD", "%d"), ("HH24", "%H"), ("MI", "%M"), ("SS", "%S")];
    let (mut rest, mut codes) = (format, String::new());
    while let Some(first) = rest.chars().next() {
        if let Some((field, code)) = FIELDS.iter().find(|(field, _)| rest.starts_with(field)) {
            codes.push_str(code);
            rest = &rest[field.len()..];
        } else if "-/:. ".contains(first) {
            codes.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            return None;
        }
    }
    Some(codes)
}

pub(super) fn array_literals(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::Cast {
            kind: CastKind::DoubleColon | CastKind::Cast,
            expr,
            data_type: DataType::Array(_),
            ..
        } = expression
        else {
            return false;
        };
        let Some(elements) = string(expr).and_then(plain_elements) else { return false };
        **expr = Expr::Array(Array { elem: elements, named: false });
        true
    })
}

/// The elements of a one-dimensional array literal without quoting; numbers stay numbers.
fn plain_elements(text: &str) -> Option<Vec<Expr>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.contains(['{', '"', '\\']) {
        return None;
    }
    let element = |text: &str| match text {
        "NULL" => Expr::value(Value::Null),
        number if number.parse::<i64>().is_ok() => Expr::value(Value::Number(number.to_owned(), false)),
        other => literal(other),
    };
    Some(inner.split(',').filter(|text| !text.is_empty()).map(|text| element(text.trim())).collect())
}

pub(super) fn numeric_without_precision(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::Cast { data_type, .. } = expression else { return false };
        let is_unlimited = matches!(
            data_type,
            DataType::Numeric(ExactNumberInfo::None)
                | DataType::Decimal(ExactNumberInfo::None)
                | DataType::Dec(ExactNumberInfo::None)
        );
        if is_unlimited {
            *data_type = DataType::DoublePrecision;
        }
        is_unlimited
    })
}

pub(super) fn bitwise_xor(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::BinaryOp { left, op: BinaryOperator::PGBitwiseXor, right } = expression else {
            return false;
        };
        let all = vec![(**left).clone(), (**right).clone()];
        let mut function = Function {
            name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("xor"))]),
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::None,
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        };
        set_arguments(&mut function, all);
        *expression = Expr::Function(function);
        true
    })
}

pub(super) fn nested_minus(statement: &mut Statement) -> bool {
    expressions(statement, |expression| {
        let Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } = expression else { return false };
        if !operand.to_string().starts_with('-') {
            return false;
        }
        **operand = Expr::Nested(operand.clone());
        true
    })
}
