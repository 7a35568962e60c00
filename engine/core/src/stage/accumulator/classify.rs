//! Which rung of the exactness ladder a call stands on: by its name and by what is known of its argument.

use crate::plan::AggCall;
use crate::types::{Arithmetic, Column};

/// How a call is maintained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `count(*)` without FILTER: the group's row count.
    Rows,
    /// `count(..)`, `regr_count(..)`: the number of rows with no NULL argument that pass the filter.
    Count,
    /// `sum`, `avg` over integers and numeric: number and sum of the non-NULL arguments.
    Sum { average: bool },
    /// `var_*`, `stddev_*` over integers and numeric: number, sum and sum of squares.
    Spread { sample: bool, root: bool },
    /// `sum`, `avg` over interval, `sum` over money: number and sum, in the type itself.
    Additive { average: bool },
    /// `bool_and`, `bool_or`: number of non-NULL arguments and of true ones.
    Truth { all: bool },
    /// `bit_xor` over integers: number of non-NULL arguments and their parity by bit.
    Parity,
    /// `bit_and`, `bit_or` over integers: combined with insertions, recomputed when a removed value says something.
    Bits { all: bool },
    /// `min`, `max` of a type with a btree order; `any_value` of one, which is the least.
    Extreme { max: bool },
    /// Anything else: recomputed for every affected group.
    Recompute,
}

/// `pg_type.oid` of the types that [`Class::Additive`] is for.
pub(super) const INTERVAL: u32 = 1186;
pub(super) const MONEY: u32 = 790;

/// The class of a call whose first argument is `argument`.
pub(super) fn classify(call: &AggCall, argument: Option<&Column>) -> Class {
    if call.within_group || call.variadic {
        return Class::Recompute;
    }
    let Some(name) = call.function.builtin.as_deref() else { return Class::Recompute };
    let arithmetic = argument.map_or(Arithmetic::None, |column| column.ty.arithmetic);
    let is_exact = matches!(arithmetic, Arithmetic::Integer | Arithmetic::Numeric);
    let is_integer = arithmetic == Arithmetic::Integer;
    let oid = argument.map_or(0, |column| column.ty.oid);
    // What stays the same when equal values are one value.
    match (name, call.args.len()) {
        ("count", 0) if call.filter.is_none() => return Class::Rows,
        ("count", 0) => return Class::Count,
        ("min" | "max" | "any_value", 1) if argument.is_some_and(|column| column.ty.ordered) => {
            return Class::Extreme { max: name == "max" };
        }
        ("bool_and" | "every" | "bool_or", 1) if !call.distinct => {
            return Class::Truth { all: name != "bool_or" };
        }
        ("bit_and" | "bit_or", 1) if is_integer => return Class::Bits { all: name == "bit_and" },
        _ if call.distinct => return Class::Recompute,
        _ => {}
    }
    match (name, call.args.len()) {
        ("count", 1) | ("regr_count", 2) => Class::Count,
        ("sum", 1) if is_exact => Class::Sum { average: false },
        ("avg", 1) if is_exact => Class::Sum { average: true },
        ("sum", 1) if matches!(oid, INTERVAL | MONEY) => Class::Additive { average: false },
        ("avg", 1) if oid == INTERVAL => Class::Additive { average: true },
        ("variance" | "var_samp", 1) if is_exact => Class::Spread { sample: true, root: false },
        ("var_pop", 1) if is_exact => Class::Spread { sample: false, root: false },
        ("stddev" | "stddev_samp", 1) if is_exact => Class::Spread { sample: true, root: true },
        ("stddev_pop", 1) if is_exact => Class::Spread { sample: false, root: true },
        ("bit_xor", 1) if is_integer => Class::Parity,
        _ => Class::Recompute,
    }
}
