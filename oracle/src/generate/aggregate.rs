//! Aggregates over random columns.

use super::Choices;
use super::expr::is_scalar;
use super::plan::sort_keys;
use pg_trickle_core::plan::{AggCall, Aggregate, Plan};
use pg_trickle_core::types::{Arithmetic, Column, FunctionRef, TypeRef};

/// GROUP BY some columns, or none.
pub(super) fn grouped(input: Plan, choices: &mut Choices) -> Plan {
    let columns = input.columns();
    let mut keys = vec![];
    for _ in 0..choices.weighted(&[3, 6, 2]) {
        let key = choices.below(columns.len());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let least = usize::from(keys.is_empty());
    let calls = (0..least + choices.below(3)).map(|index| call(&columns, &keys, index, choices)).collect();
    Plan::Aggregate(Aggregate { input: Box::new(input), keys, calls })
}

/// One row with one column.
pub(super) fn global(input: Plan, choices: &mut Choices) -> Plan {
    let calls = vec![call(&input.columns(), &[], 0, choices)];
    Plan::Aggregate(Aggregate { input: Box::new(input), keys: vec![], calls })
}

/// Variances and deviations, each under both of the names it has for a sample.
const SPREADS: [&str; 6] = ["variance", "stddev", "var_samp", "stddev_samp", "var_pop", "stddev_pop"];

fn call(columns: &[Column], keys: &[usize], index: usize, choices: &mut Choices) -> AggCall {
    let arg = choices.below(columns.len());
    let ty = &columns[arg].ty;
    let is_scalar = is_scalar(ty);
    let mut options = vec!["count(*)", "count"];
    match ty.arithmetic {
        Arithmetic::Integer | Arithmetic::Numeric => {
            options.extend(["sum", "sum", "avg", "min", "max"]);
            options.push(choices.one_of(&SPREADS));
        }
        _ if ty.oid == 16 => options.extend(["bool_and", "bool_or"]),
        _ if ty.oid == 25 => options.extend(["min", "max"]),
        _ => {}
    }
    if ty.arithmetic == Arithmetic::Integer {
        options.extend(["bit_and", "bit_or", "bit_xor"]);
    }
    // Of different values the server may choose any.
    if keys.contains(&arg) {
        options.push("any_value");
    }
    if is_scalar {
        options.push("array_agg");
    }
    let name = choices.one_of(&options);
    let distinct = is_scalar && name != "count(*)" && choices.percent(20);
    // An ordered DISTINCT aggregate may only be ordered by its argument.
    let order_by = match name {
        "array_agg" if !distinct => sort_keys(columns, 1, choices),
        "array_agg" => {
            let mut keys = sort_keys(columns, 1, choices);
            keys.iter_mut().for_each(|key| key.column = arg);
            keys
        }
        _ => vec![],
    };
    let order_by = if order_by.iter().all(|key| super::expr::is_scalar(&columns[key.column].ty)) {
        order_by
    } else {
        vec![]
    };
    let booleans: Vec<usize> = (0..columns.len()).filter(|&column| columns[column].ty.oid == 16).collect();
    let filter =
        if !booleans.is_empty() && choices.percent(30) { Some(choices.one_of(&booleans)) } else { None };
    let (oid, result) = signature(name, ty);
    let builtin = name.trim_end_matches("(*)").to_owned();
    AggCall {
        function: FunctionRef { oid, name: format!("pg_catalog.{builtin}"), builtin: Some(builtin) },
        direct_args: vec![],
        args: if name == "count(*)" { vec![] } else { vec![arg] },
        distinct,
        filter,
        order_by,
        within_group: false,
        variadic: false,
        ty: result,
        name: format!("g{index}"),
        position: None,
    }
}

/// `pg_proc.oid` and result type of an aggregate over one type.
pub(super) fn signature(name: &str, ty: &TypeRef) -> (u32, TypeRef) {
    let numeric = TypeRef::numeric;
    match (name, ty.oid) {
        ("count(*)", _) => (2803, TypeRef::int8()),
        ("count", _) => (2147, TypeRef::int8()),
        ("sum", 23) => (2108, TypeRef::int8()),
        ("sum", 20) => (2107, numeric()),
        ("sum", _) => (2114, numeric()),
        ("avg", 23) => (2101, numeric()),
        ("avg", 20) => (2100, numeric()),
        ("avg", _) => (2103, numeric()),
        ("min", 23) => (2132, ty.clone()),
        ("min", 20) => (2131, ty.clone()),
        ("min", 25) => (2145, ty.clone()),
        ("min", _) => (2146, numeric()),
        ("max", 23) => (2116, ty.clone()),
        ("max", 20) => (2115, ty.clone()),
        ("max", 25) => (2129, ty.clone()),
        ("max", _) => (2130, numeric()),
        ("bit_and", 23) => (2238, ty.clone()),
        ("bit_and", _) => (2240, ty.clone()),
        ("bit_or", 23) => (2239, ty.clone()),
        ("bit_or", _) => (2241, ty.clone()),
        ("bit_xor", 23) => (6165, ty.clone()),
        ("bit_xor", _) => (6166, ty.clone()),
        ("any_value", _) => (6292, ty.clone()),
        ("variance", 23) => (2149, numeric()),
        ("variance", 20) => (2148, numeric()),
        ("variance", _) => (2153, numeric()),
        ("stddev", 23) => (2155, numeric()),
        ("stddev", 20) => (2154, numeric()),
        ("stddev", _) => (2159, numeric()),
        ("var_samp", 23) => (2642, numeric()),
        ("var_samp", 20) => (2641, numeric()),
        ("var_samp", _) => (2646, numeric()),
        ("stddev_samp", 23) => (2713, numeric()),
        ("stddev_samp", 20) => (2712, numeric()),
        ("stddev_samp", _) => (2717, numeric()),
        ("var_pop", 23) => (2719, numeric()),
        ("var_pop", 20) => (2718, numeric()),
        ("var_pop", _) => (2723, numeric()),
        ("stddev_pop", 23) => (2725, numeric()),
        ("stddev_pop", 20) => (2724, numeric()),
        ("stddev_pop", _) => (2729, numeric()),
        ("bool_and", _) => (2517, TypeRef::boolean()),
        ("bool_or", _) => (2518, TypeRef::boolean()),
        _ => (2335, array_of(ty)),
    }
}

/// The array type over `element`. Its own oid, as the server has it for the generated types.
pub(super) fn array_of(element: &TypeRef) -> TypeRef {
    let oid = match element.oid {
        16 => 1000,
        20 => 1016,
        23 => 1007,
        25 => 1009,
        _ => 1231,
    };
    TypeRef {
        oid,
        name: format!("{}[]", element.name),
        arithmetic: Arithmetic::None,
        equal_image: false,
        ..element.clone()
    }
}
