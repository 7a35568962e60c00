//! Scalar expressions: a parser and an evaluator for the subset of SQL that generated plans and rules contain.
//!
//! An [`Expr`] is text with column slots. Laws need its meaning, so the text is parsed by PostgreSQL's precedences and
//! evaluated with three-valued logic. What is outside the subset is an error, never a guess.

mod parse;

use crate::value::{Decimal, Row, Value};
use pg_trickle_core::expr::{Expr, Moment};
use std::cmp::Ordering;
use std::fmt;

/// Rows that one call may return before an evaluation is given up.
const SERIES_MAX: i64 = 500;

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// PostgreSQL: "more than one row returned by a subquery used as an expression".
    MoreThanOneRow,
    DivisionByZero,
    OutOfRange,
    /// A weight below zero where an operator is defined on bags only.
    NegativeWeight(&'static str),
    /// An intermediate result is larger than the interpreter is meant for.
    TooLarge,
    /// The interpreter does not know this construct, or the plan is malformed.
    Unknown(String),
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            EvalError::MoreThanOneRow => write!(f, "more than one row returned by a scalar subquery"),
            EvalError::DivisionByZero => write!(f, "division by zero"),
            EvalError::OutOfRange => write!(f, "number out of range"),
            EvalError::NegativeWeight(operator) => write!(f, "negative weight in the input of {operator}"),
            EvalError::TooLarge => write!(f, "intermediate result too large"),
            EvalError::Unknown(what) => write!(f, "not understood: {what}"),
        }
    }
}

pub type Result<T> = std::result::Result<T, EvalError>;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Column(usize),
    Outer(u32, usize),
    Time(Moment),
    Constant(Value),
    Negate(Box<Scalar>),
    Arithmetic(char, Box<Scalar>, Box<Scalar>),
    Concatenate(Box<Scalar>, Box<Scalar>),
    Compare(Comparison, Box<Scalar>, Box<Scalar>),
    And(Box<Scalar>, Box<Scalar>),
    Or(Box<Scalar>, Box<Scalar>),
    Not(Box<Scalar>),
    /// `IS [NOT] NULL`; the flag is the result for NULL.
    IsNull(Box<Scalar>, bool),
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`: the tested value and the result for it.
    IsBool(Box<Scalar>, bool, bool),
    /// `IS [NOT] DISTINCT FROM`; the flag is the result for distinct values.
    IsDistinct(Box<Scalar>, Box<Scalar>, bool),
    Case(Vec<(Scalar, Scalar)>, Box<Scalar>),
    Cast(Box<Scalar>, CastTo),
    Call(String, Vec<Scalar>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CastTo {
    Int,
    /// With the scale of the type modifier, if it has one.
    Numeric(Option<u32>),
    Text,
    Bool,
    Array,
}

/// What an expression is evaluated over: the input's row, inside dependent joins the outer rows, nearest last, and the
/// time.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub row: &'a [Value],
    pub outer: &'a [Row],
    pub clock: Clock,
}

/// The times an expression can read: plain numbers here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    pub now: i64,
    pub then: i64,
}

impl Scalar {
    pub fn parse(expr: &Expr) -> Result<Scalar> {
        parse::parse(&expr.pieces)
    }

    pub fn eval(&self, scope: Scope) -> Result<Value> {
        let value = |scalar: &Scalar| scalar.eval(scope);
        Ok(match self {
            Scalar::Column(position) => slot(scope.row, *position)?,
            Scalar::Outer(depth, position) => {
                let row =
                    scope.outer.len().checked_sub(*depth as usize).and_then(|index| scope.outer.get(index));
                slot(row.ok_or_else(|| unknown("an outer reference without an outer row"))?, *position)?
            }
            Scalar::Time(Moment::Now) => Value::Int(scope.clock.now),
            Scalar::Time(Moment::Then) => Value::Int(scope.clock.then),
            Scalar::Constant(value) => value.clone(),
            Scalar::Negate(operand) => arithmetic('-', &Value::Int(0), &value(operand)?)?,
            Scalar::Arithmetic(operator, left, right) => {
                arithmetic(*operator, &value(left)?, &value(right)?)?
            }
            Scalar::Concatenate(left, right) => match (value(left)?, value(right)?) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (left, right) => Value::Text(text_of(&left) + &text_of(&right)),
            },
            Scalar::Compare(comparison, left, right) => match value(left)?.compare(&value(right)?) {
                None => Value::Null,
                Some(ordering) => Value::Bool(comparison.holds(ordering)),
            },
            Scalar::And(left, right) => match truth(&value(left)?)? {
                Some(false) => Value::Bool(false),
                left => match (left, truth(&value(right)?)?) {
                    (_, Some(false)) => Value::Bool(false),
                    (Some(true), Some(true)) => Value::Bool(true),
                    _ => Value::Null,
                },
            },
            Scalar::Or(left, right) => match truth(&value(left)?)? {
                Some(true) => Value::Bool(true),
                left => match (left, truth(&value(right)?)?) {
                    (_, Some(true)) => Value::Bool(true),
                    (Some(false), Some(false)) => Value::Bool(false),
                    _ => Value::Null,
                },
            },
            Scalar::Not(operand) => truth(&value(operand)?)?.map_or(Value::Null, |truth| Value::Bool(!truth)),
            Scalar::IsNull(operand, for_null) => Value::Bool(value(operand)?.is_null() == *for_null),
            Scalar::IsBool(operand, tested, result) => {
                Value::Bool((truth(&value(operand)?)? == Some(*tested)) == *result)
            }
            Scalar::IsDistinct(left, right, result) => {
                let is_distinct = value(left)?.class() != value(right)?.class();
                Value::Bool(is_distinct == *result)
            }
            Scalar::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    if truth(&value(condition)?)? == Some(true) {
                        return value(result);
                    }
                }
                value(otherwise)?
            }
            Scalar::Cast(operand, to) => cast(value(operand)?, *to)?,
            Scalar::Call(function, args) => call(function, args, scope)?,
        })
    }

    /// The rows of a set-returning function: one for a function that returns a single value.
    pub fn rows(&self, scope: Scope) -> Result<Vec<Value>> {
        let Scalar::Call(function, args) = self else { return Ok(vec![self.eval(scope)?]) };
        let values = args.iter().map(|arg| arg.eval(scope)).collect::<Result<Vec<Value>>>()?;
        match (function.as_str(), values.as_slice()) {
            ("generate_series" | "string_to_table", [Value::Null, _]) => Ok(vec![]),
            ("generate_series", [_, Value::Null]) => Ok(vec![]),
            ("generate_series", [Value::Int(first), Value::Int(last)]) if last - first > SERIES_MAX => {
                Err(EvalError::TooLarge)
            }
            ("generate_series", [Value::Int(first), Value::Int(last)]) => {
                Ok((*first..=*last).map(Value::Int).collect())
            }
            ("string_to_table", [Value::Text(text), Value::Text(_)]) if text.is_empty() => Ok(vec![]),
            ("string_to_table", [Value::Text(text), Value::Text(by)]) => {
                Ok(text.split(by).map(|part| Value::Text(part.to_owned())).collect())
            }
            _ => Ok(vec![self.eval(scope)?]),
        }
    }

    /// True if the condition is true (not NULL, not false).
    pub fn holds(&self, scope: Scope) -> Result<bool> {
        Ok(truth(&self.eval(scope)?)? == Some(true))
    }
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// The three truth values; None is unknown.
pub fn truth(value: &Value) -> Result<Option<bool>> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
        other => Err(unknown(&format!("{other} as a condition"))),
    }
}

pub(crate) fn unknown(what: &str) -> EvalError {
    EvalError::Unknown(what.to_owned())
}

fn slot(row: &[Value], position: usize) -> Result<Value> {
    match row.get(position) {
        Some(Value::TooManyRows) => Err(EvalError::MoreThanOneRow),
        Some(value) => Ok(value.clone()),
        None => Err(unknown(&format!("column {position} of a row with {}", row.len()))),
    }
}

fn arithmetic(operator: char, left: &Value, right: &Value) -> Result<Value> {
    let (left, right) = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
        (Value::Int(left), Value::Int(right)) => return integer_arithmetic(operator, *left, *right),
        (left, right) => (decimal_of(left)?, decimal_of(right)?),
    };
    let result = match operator {
        '+' => left.add(&right),
        '-' => left.subtract(&right),
        '*' => left.multiply(&right),
        '/' if right.mantissa == 0 => return Err(EvalError::DivisionByZero),
        '/' => left.divide(&right),
        other => return Err(unknown(&format!("operator {other} on numeric"))),
    };
    result.map(Value::Numeric).ok_or(EvalError::OutOfRange)
}

fn integer_arithmetic(operator: char, left: i64, right: i64) -> Result<Value> {
    let result = match operator {
        '+' => left.checked_add(right),
        '-' => left.checked_sub(right),
        '*' => left.checked_mul(right),
        '/' | '%' if right == 0 => return Err(EvalError::DivisionByZero),
        '/' => left.checked_div(right),
        '%' => left.checked_rem(right),
        other => return Err(unknown(&format!("operator {other} on integers"))),
    };
    result.map(Value::Int).ok_or(EvalError::OutOfRange)
}

/// An integer or numeric value as a decimal.
pub(crate) fn decimal_of(value: &Value) -> Result<Decimal> {
    match value {
        Value::Int(value) => Ok(Decimal::from(*value)),
        Value::Numeric(value) => Ok(*value),
        other => Err(unknown(&format!("{other} as a number"))),
    }
}

/// The value's text, without quotes.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cast(value: Value, to: CastTo) -> Result<Value> {
    let malformed = |value: &Value| unknown(&format!("cast of {value} to {to:?}"));
    Ok(match (value, to) {
        (Value::Null, _) => Value::Null,
        (value @ Value::Int(_), CastTo::Int) => value,
        (Value::Numeric(value), CastTo::Int) => {
            let whole = value.rescaled(0).ok_or(EvalError::OutOfRange)?;
            Value::Int(whole.mantissa.try_into().map_err(|_| EvalError::OutOfRange)?)
        }
        (Value::Bool(value), CastTo::Int) => Value::Int(value.into()),
        (Value::Text(text), CastTo::Int) => {
            Value::Int(text.trim().parse().map_err(|_| malformed(&Value::Text(text.clone())))?)
        }
        (Value::Text(text), CastTo::Numeric(scale)) => {
            let value = Decimal::parse(text.trim()).ok_or_else(|| malformed(&Value::Text(text.clone())))?;
            cast(Value::Numeric(value), CastTo::Numeric(scale))?
        }
        (value @ (Value::Int(_) | Value::Numeric(_)), CastTo::Numeric(scale)) => {
            let value = decimal_of(&value)?;
            let scaled = scale.map_or(Some(value), |scale| value.rescaled(scale));
            Value::Numeric(scaled.ok_or(EvalError::OutOfRange)?)
        }
        (Value::Text(text), CastTo::Bool) => match text.as_str() {
            "t" | "true" => Value::Bool(true),
            "f" | "false" => Value::Bool(false),
            _ => return Err(malformed(&Value::Text(text))),
        },
        (value @ Value::Bool(_), CastTo::Bool) => value,
        (value @ Value::Array(_), CastTo::Array) => value,
        (Value::Text(text), CastTo::Array) if text == "{}" => Value::Array(vec![]),
        (value, CastTo::Text) => Value::Text(text_of(&value)),
        (value, _) => return Err(malformed(&value)),
    })
}

/// Functions by their bare name. `coalesce` evaluates its arguments one by one, the others all of them.
fn call(function: &str, args: &[Scalar], scope: Scope) -> Result<Value> {
    if function == "coalesce" {
        for arg in args {
            let value = arg.eval(scope)?;
            if !value.is_null() {
                return Ok(value);
            }
        }
        return Ok(Value::Null);
    }
    let values = args.iter().map(|arg| arg.eval(scope)).collect::<Result<Vec<Value>>>()?;
    match (function, values.as_slice()) {
        // `single_row(n, value)`: the value of a scalar subquery that returned n rows.
        ("single_row", [Value::Int(rows), value]) => {
            if *rows > 1 {
                Err(EvalError::MoreThanOneRow)
            } else {
                Ok(value.clone())
            }
        }
        ("single_row", [Value::Null, value]) => Ok(value.clone()),
        // The datum as bytes: what identity compares.
        ("image", [value]) => Ok(match value {
            Value::Null => Value::Null,
            value => Value::Text(format!("image of {value}")),
        }),
        ("hash_v1", values) => Ok(Value::Int(hash(values))),
        ("abs", [Value::Int(value)]) => Ok(Value::Int(value.abs())),
        ("upper", [Value::Text(text)]) => Ok(Value::Text(text.to_uppercase())),
        ("length", [Value::Text(text)]) => Ok(Value::Int(text.chars().count() as i64)),
        ("abs" | "upper" | "length", [Value::Null]) => Ok(Value::Null),
        ("greatest", values) => {
            let present = values.iter().filter(|value| !value.is_null());
            Ok(present.max_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal)).cloned().unwrap_or(Value::Null))
        }
        ("least", values) => {
            let present = values.iter().filter(|value| !value.is_null());
            Ok(present.min_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal)).cloned().unwrap_or(Value::Null))
        }
        _ => Err(unknown(&format!("function {function} of {} arguments", values.len()))),
    }
}

/// A hash under grouping equality. A small one, so that laws meet collisions.
fn hash(values: &[Value]) -> i64 {
    values.iter().fold(7, |hash, value| {
        value.class().to_string().bytes().fold(hash, |hash: i64, byte| (hash * 31 + i64::from(byte)) % 13)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_trickle_core::expr::Piece;

    fn eval(text: &str) -> Result<Value> {
        let row = [Value::Int(7), Value::Null, Value::Bool(true)];
        let outer = [vec![Value::Text("far".into())], vec![Value::Text("near".into())]];
        let mut pieces = vec![];
        for (index, part) in text.split('#').enumerate() {
            if index == 0 {
                pieces.push(Piece::Text(part.into()));
                continue;
            }
            let (slot, rest) = part.split_at(1);
            pieces.push(match slot {
                "a" => Piece::Outer(1, 0),
                "b" => Piece::Outer(2, 0),
                slot => Piece::Column(slot.parse().unwrap()),
            });
            pieces.push(Piece::Text(rest.into()));
        }
        parse::parse(&pieces)?.eval(Scope { row: &row, outer: &outer, clock: Clock::default() })
    }

    #[test]
    fn evaluates_the_subset() {
        let expected = [
            ("#0 + 2 * 3", "13"),
            ("(#0 + 2) * 3", "27"),
            ("- #0 - 1", "-8"),
            ("1.5 + 1.50", "3.00"),
            ("7 / 2", "3"),
            ("#1 = 1", "NULL"),
            ("#1 IS NULL AND NOT false", "true"),
            ("#1 = 1 OR #2", "true"),
            ("#1 = 1 AND #2", "NULL"),
            ("#1 = 1 AND false", "false"),
            ("NOT (#1 = 1)", "NULL"),
            ("(#1 = 1) IS NOT TRUE", "true"),
            ("(#1 = 1) IS FALSE", "false"),
            ("(#1 = 1) IS UNKNOWN", "true"),
            ("#1 IS DISTINCT FROM 1", "true"),
            ("#1 IS NOT DISTINCT FROM NULL", "true"),
            ("1.5 IS NOT DISTINCT FROM 1.50", "true"),
            ("COALESCE(#1, #0, 3)", "7"),
            ("CASE WHEN #1 = 1 THEN 'a' WHEN #2 THEN 'b' ELSE 'c' END", "'b'"),
            ("CASE #0 WHEN 1 THEN 'a' WHEN 7 THEN 'b' END", "'b'"),
            ("CASE WHEN false THEN 1 END", "NULL"),
            ("(1.5)::text || ':' || (2)::pg_catalog.text", "'1.5:2'"),
            ("'it''s'::text", "'it''s'"),
            ("(2.345)::numeric(15,2)", "2.35"),
            ("CAST('12' AS integer)", "12"),
            ("NULL::pg_catalog.int4 COLLATE \"C\"", "NULL"),
            ("#0 OPERATOR(pg_catalog.=) 7", "true"),
            ("#0 IN (1, 7)", "true"),
            ("#0 NOT IN (1, NULL)", "NULL"),
            ("#0 <> 7 OR #0 >= 7", "true"),
            ("#0 BETWEEN 1 AND 9", "true"),
            ("#a || #b", "'nearfar'"),
            ("pgtrickle.single_row(1, #0)", "7"),
        ];
        for (text, value) in expected {
            assert_eq!(eval(text).map(|value| value.to_string()), Ok(value.to_owned()), "{text}");
        }
    }

    #[test]
    fn errors_are_raised_only_where_evaluation_reaches() {
        assert_eq!(eval("1 / 0"), Err(EvalError::DivisionByZero));
        assert_eq!(eval("CASE WHEN #2 THEN 1 ELSE 1 / 0 END"), Ok(Value::Int(1)));
        assert_eq!(eval("pgtrickle.single_row(2, #0)"), Err(EvalError::MoreThanOneRow));
        assert_eq!(eval("COALESCE(#0, pgtrickle.single_row(2, #0))"), Ok(Value::Int(7)));
        assert!(matches!(eval("1 +"), Err(EvalError::Unknown(_))));
        assert!(matches!(eval("now()"), Err(EvalError::Unknown(_))));
    }
}
