//! Aggregate calls over the rows of one group.

use crate::eval::compare_by;
use crate::scalar::{EvalError, Result, decimal_of, text_of, truth, unknown};
use crate::value::{Decimal, Row, Value, classes};
use pg_trickle_core::plan::AggCall;
use pg_trickle_core::types::Arithmetic;
use std::collections::BTreeSet;

/// The result of `call` over the rows of a group with their (positive) weights.
///
/// Values arrive in the order of the call, ties and calls without an order by identity of the arguments.
pub(crate) fn call(call: &AggCall, rows: &[(&Row, i64)]) -> Result<Value> {
    let mut inputs: Vec<(&Row, Row)> = vec![];
    for (row, weight) in rows {
        let passes = match call.filter {
            None => true,
            Some(filter) => truth(&row[filter])? == Some(true),
        };
        if passes {
            let args: Row = call.args.iter().map(|&arg| row[arg].clone()).collect();
            inputs.extend((0..*weight).map(|_| (*row, args.clone())));
        }
    }
    inputs.sort_by(|a, b| compare_by(&call.order_by, a.0, b.0).then_with(|| a.1.cmp(&b.1)));
    if call.distinct {
        let mut seen = BTreeSet::new();
        inputs.retain(|(_, args)| seen.insert(classes(args)));
    }
    let function = call.function.builtin.as_deref().unwrap_or(&call.function.name);
    let args: Vec<Row> = inputs.into_iter().map(|(_, args)| args).collect();
    apply(function, call, args)
}

fn apply(function: &str, call: &AggCall, args: Vec<Row>) -> Result<Value> {
    // All but these are strict: a row with a NULL first argument is skipped.
    match function {
        "count" if call.args.is_empty() => return Ok(Value::Int(args.len() as i64)),
        "array_agg" if args.is_empty() => return Ok(Value::Null),
        "array_agg" => return Ok(Value::Array(args.into_iter().map(|mut args| args.remove(0)).collect())),
        _ => {}
    }
    let args: Vec<Row> =
        args.into_iter().filter(|args| args.first().is_some_and(|first| !first.is_null())).collect();
    let values = || args.iter().map(|args| &args[0]);
    if function == "count" {
        return Ok(Value::Int(args.len() as i64));
    }
    if args.is_empty() {
        return Ok(Value::Null);
    }
    Ok(match function {
        "sum" => sum(values(), call.ty.arithmetic)?,
        "avg" => {
            let Value::Numeric(sum) = sum(values(), Arithmetic::Numeric)? else {
                return Err(unknown("an average of something else than numbers"));
            };
            let count = Decimal::from(args.len() as i64);
            Value::Numeric(sum.divide(&count).ok_or(EvalError::OutOfRange)?)
        }
        // The least by identity among the equal ones, so that the result is a function of the multiset.
        "min" | "any_value" => fold(values(), |value, best| value.compare(best).is_some_and(|o| o.is_lt())),
        "max" => fold(values(), |value, best| value.compare(best).is_some_and(|o| o.is_gt())),
        "variance" | "var_samp" => spread(values(), true)?,
        "var_pop" => spread(values(), false)?,
        "stddev" | "stddev_samp" => root(&spread(values(), true)?)?,
        "stddev_pop" => root(&spread(values(), false)?)?,
        "bit_and" => bits(values(), |all, value| all & value)?,
        "bit_or" => bits(values(), |all, value| all | value)?,
        "bit_xor" => bits(values(), |all, value| all ^ value)?,
        "bool_and" | "every" => Value::Bool(truths(values())?.into_iter().all(|truth| truth)),
        "bool_or" => Value::Bool(truths(values())?.into_iter().any(|truth| truth)),
        "string_agg" => {
            let mut text = String::new();
            for (index, args) in args.iter().enumerate() {
                if index > 0 && !args[1].is_null() {
                    text += &text_of(&args[1]);
                }
                text += &text_of(&args[0]);
            }
            Value::Text(text)
        }
        other => return Err(unknown(&format!("aggregate {other}"))),
    })
}

fn sum<'a>(values: impl Iterator<Item = &'a Value>, arithmetic: Arithmetic) -> Result<Value> {
    let mut sum = Decimal::from(0);
    for value in values {
        sum = sum.add(&decimal_of(value)?).ok_or(EvalError::OutOfRange)?;
    }
    match arithmetic {
        Arithmetic::Integer => Ok(Value::Int(sum.mantissa.try_into().map_err(|_| EvalError::OutOfRange)?)),
        Arithmetic::Numeric => Ok(Value::Numeric(sum)),
        _ => Err(unknown("a sum of something else than exact numbers")),
    }
}

/// The variance of a sample or of a population: `(n * sum of squares - square of sum) / (n * (n - 1))`, or by `n * n`.
fn spread<'a>(values: impl Iterator<Item = &'a Value>, is_sample: bool) -> Result<Value> {
    let (mut count, mut sum, mut squares) = (0_i64, Decimal::from(0), Decimal::from(0));
    let too_large = || EvalError::OutOfRange;
    for value in values {
        let value = decimal_of(value)?;
        count += 1;
        sum = sum.add(&value).ok_or_else(too_large)?;
        squares = value.multiply(&value).and_then(|square| squares.add(&square)).ok_or_else(too_large)?;
    }
    if is_sample && count < 2 {
        return Ok(Value::Null);
    }
    let rows = Decimal::from(count);
    let of_sum = sum.multiply(&sum).ok_or_else(too_large)?;
    let difference = rows.multiply(&squares).and_then(|all| all.subtract(&of_sum)).ok_or_else(too_large)?;
    let pairs = Decimal::from(count * if is_sample { count - 1 } else { count });
    Ok(Value::Numeric(difference.divide(&pairs).ok_or_else(too_large)?))
}

/// The square root, with as many digits as the number has.
fn root(value: &Value) -> Result<Value> {
    let Value::Numeric(value) = value else { return Ok(Value::Null) };
    let square = value.rescaled(2 * value.scale).ok_or(EvalError::OutOfRange)?;
    Ok(Value::Numeric(Decimal::new(square.mantissa.isqrt(), value.scale)))
}

fn bits<'a>(mut values: impl Iterator<Item = &'a Value>, combine: impl Fn(i64, i64) -> i64) -> Result<Value> {
    let number = |value: &Value| match value {
        Value::Int(value) => Ok(*value),
        _ => Err(unknown("the bits of something else than integers")),
    };
    let first = values.next().map_or(Ok(0), number)?;
    Ok(Value::Int(values.try_fold(first, |all, value| Ok::<i64, EvalError>(combine(all, number(value)?)))?))
}

fn fold<'a>(values: impl Iterator<Item = &'a Value>, is_better: impl Fn(&Value, &Value) -> bool) -> Value {
    let better = |best: &'a Value, value: &'a Value| {
        let is_equal = value.compare(best).is_some_and(|ordering| ordering.is_eq());
        if is_better(value, best) || (is_equal && value < best) { value } else { best }
    };
    values.reduce(better).cloned().unwrap_or(Value::Null)
}

fn truths<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Vec<bool>> {
    values.map(|value| Ok(truth(value)?.unwrap_or(false))).collect()
}
