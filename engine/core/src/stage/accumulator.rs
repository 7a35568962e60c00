//! What a stage keeps per group for one aggregate call, and how a change moves it.
//!
//! Exactness ladder (`design.md` 3.4): exact inverse where the result is provably what PostgreSQL would print; an
//! extremum moved by insertions and recomputed when it may have been removed; recompute of the group for the rest.
//! Where the inverse cannot promise the text for a group (NaN or infinity occurs), the group is *flagged* and recomputed
//! from the new input.

mod classify;
mod scale;
mod spread;

pub use classify::Class;

use crate::expr::Expr;
use crate::plan::AggCall;
use crate::sql::lower::substitute;
use crate::sql::{column_name, list};
use crate::types::{Arithmetic, Column, TypeRef};
use classify::{INTERVAL, classify};

/// One call with what is known of its argument.
#[derive(Debug, Clone)]
pub struct Accumulator<'a> {
    pub call: &'a AggCall,
    pub class: Class,
    index: usize,
    input: &'a [Column],
    /// The key columns of the input, where direct arguments find their values in a query that groups by something else.
    keys: Vec<(usize, String)>,
}

/// One column of the state.
struct Kept {
    suffix: &'static str,
    ty: TypeRef,
    /// The aggregate over relation `i` that it is.
    recomputed: String,
    /// Its new value, from old state `s` and change `d`.
    moved: String,
}

impl<'a> Accumulator<'a> {
    /// Call number `index` of an aggregate over `input`.
    pub fn new(index: usize, call: &'a AggCall, input: &'a [Column]) -> Self {
        let argument = call.args.first().map(|&arg| &input[arg]);
        Accumulator { call, class: classify(call, argument), index, input, keys: vec![] }
    }

    /// The same for a query that groups by these expressions in place of the key columns.
    pub fn grouped_by(self, keys: Vec<(usize, String)>) -> Self {
        Accumulator { keys, ..self }
    }

    /// State columns: name suffix under a prefix (`a` new, `o` old) and type.
    pub fn state(&self) -> Vec<(String, TypeRef)> {
        self.kept().into_iter().map(|kept| (self.name(kept.suffix), kept.ty)).collect()
    }

    /// Aggregates over the new input (relation `i`) that produce the state columns, in order of [`Self::state`].
    pub fn recomputed(&self) -> Vec<String> {
        self.kept().into_iter().map(|kept| kept.recomputed).collect()
    }

    /// The new state columns from old state `s` and change `d`, in order of [`Self::state`].
    pub fn moved(&self) -> Vec<String> {
        self.kept().into_iter().map(|kept| kept.moved).collect()
    }

    /// The call's result from its state; `column` gives the SQL of a state column by suffix, `rows` of the row count.
    pub fn output(&self, rows: &str, column: impl Fn(&str) -> String) -> String {
        let value = |suffix: &str| column(&self.name(suffix));
        match self.class {
            Class::Rows => rows.to_owned(),
            Class::Count => value("c"),
            Class::Sum { average: true } => format!("({} / {}::pg_catalog.numeric)", value("s"), value("c")),
            Class::Additive { average: true } => {
                format!("({} / {}::pg_catalog.float8)", value("s"), value("c"))
            }
            Class::Sum { average: false } if self.call.ty.arithmetic == Arithmetic::Integer => {
                format!("{}::{}", value("s"), self.call.ty.name)
            }
            Class::Sum { average: false } | Class::Additive { average: false } => value("s"),
            Class::Spread { sample, root } => {
                spread::result(sample, root, &value("c"), &value("s"), &value("q"))
            }
            Class::Truth { all: true } => {
                format!("(CASE WHEN {0} <> 0 THEN {1} = {0} END)", value("c"), value("t"))
            }
            Class::Truth { all: false } => {
                format!("(CASE WHEN {} <> 0 THEN {} <> 0 END)", value("c"), value("t"))
            }
            Class::Parity | Class::Bits { .. } | Class::Extreme { .. } | Class::Recompute => value("v"),
        }
    }

    fn kept(&self) -> Vec<Kept> {
        let n = self.index + 1;
        let kept = |suffix, ty: TypeRef, recomputed, moved| Kept { suffix, ty, recomputed, moved };
        let value = |recomputed: String, moved: String| kept("v", self.call.ty.clone(), recomputed, moved);
        let count = || kept("c", TypeRef::int8(), self.counted(), self.new_count());
        let x = || self.argument();
        let filter = self.filter("");
        // Without a value the sum is NULL, which also forgets the display scale of values that are gone.
        let if_any = |moved: String| format!("(CASE WHEN {} <> 0 THEN {moved} END)", self.new_count());
        match self.class {
            Class::Rows => vec![],
            Class::Count => vec![count()],
            Class::Sum { .. } | Class::Spread { .. } => {
                let histogram = format!("(coalesce(s.a{n}_z, 0) + coalesce(d.d{n}_z, 0))");
                let shown = |sum: String, digits: &str| {
                    if self.has_variable_scale() {
                        format!("pg_catalog.round({sum}, {}{digits})", scale::largest(&histogram))
                    } else {
                        sum
                    }
                };
                let moved = |suffix: &str| {
                    format!("coalesce(s.a{n}_{suffix} + d.d{n}_{suffix}, s.a{n}_{suffix}, d.d{n}_{suffix})")
                };
                let total = format!("pg_catalog.sum({}){filter}::pg_catalog.numeric", x());
                let mut columns =
                    vec![count(), kept("s", TypeRef::numeric(), total, if_any(shown(moved("s"), "")))];
                if matches!(self.class, Class::Spread { .. }) {
                    let squares = format!(
                        "pg_catalog.sum({0}::pg_catalog.numeric * {0}::pg_catalog.numeric){filter}",
                        x()
                    );
                    columns.push(kept("q", TypeRef::numeric(), squares, if_any(shown(moved("q"), " * 2"))));
                }
                if self.has_variable_scale() {
                    let scales =
                        format!("pg_catalog.trim_scale(pg_catalog.sum({}){filter})", scale::term(&x()));
                    let moved = if_any(format!("pg_catalog.trim_scale({histogram})"));
                    columns.push(kept("z", TypeRef::numeric(), scales, moved));
                }
                columns
            }
            Class::Additive { .. } => {
                let zero = self.zero();
                let moved = format!(
                    "coalesce(s.a{n}_s, {zero}) + coalesce(d.d{n}_p, {zero}) - coalesce(d.d{n}_m, {zero})"
                );
                let total = format!("pg_catalog.sum({}){filter}", x());
                vec![count(), kept("s", self.call.ty.clone(), total, if_any(moved))]
            }
            Class::Truth { .. } => {
                let trues = format!("pg_catalog.count(*){}", self.filter(&x()));
                let moved = format!("(coalesce(s.a{n}_t, 0) + d.d{n}_t)");
                vec![count(), kept("t", TypeRef::int8(), trues, moved)]
            }
            Class::Parity => {
                // Values of even weight cancel, and leave 0 where there are values.
                let zero = format!("0::{}", self.call.ty.name);
                let moved = format!("(coalesce(s.a{n}_v, {zero}) # coalesce(d.d{n}_v, {zero}))");
                vec![count(), value(format!("pg_catalog.bit_xor({}){filter}", x()), if_any(moved))]
            }
            Class::Bits { all } => {
                let (function, operator) = bits(all);
                let moved = format!("coalesce(s.a{n}_v {operator} d.d{n}_i, s.a{n}_v, d.d{n}_i)");
                vec![count(), value(format!("pg_catalog.{function}({}){filter}", x()), if_any(moved))]
            }
            Class::Extreme { max } => {
                let combine = if max { "greatest" } else { "least" };
                vec![value(format!("{}{filter}", self.extreme()), format!("{combine}(s.a{n}_v, d.d{n}_i)"))]
            }
            Class::Recompute => {
                vec![value(self.call_text(), format!("(NULL::{})", self.call.ty.name))]
            }
        }
    }

    /// Aggregates over the change (relation `i` with weight `w`), with their names.
    pub fn changed(&self) -> Vec<(String, String)> {
        let filter = |more: &str| self.filter(more);
        let named = |suffix: &str, sql: String| (format!("d{}", self.name(suffix)), sql);
        let weights = |suffix: &str, more: &str| {
            named(suffix, format!("coalesce(pg_catalog.sum(i.w){}, 0)::pg_catalog.int8", filter(more)))
        };
        let count = || weights("c", "");
        let x = || self.argument();
        let number = || format!("{}::pg_catalog.numeric", x());
        match self.class {
            Class::Rows | Class::Recompute => vec![],
            Class::Count => vec![count()],
            Class::Sum { .. } | Class::Spread { .. } => {
                let weighted = |value: String| format!("pg_catalog.sum({value} * i.w){}", filter(""));
                let mut columns = vec![count(), named("s", weighted(number()))];
                if matches!(self.class, Class::Spread { .. }) {
                    columns.push(named("q", weighted(format!("{0} * {0}", number()))));
                }
                if self.is_numeric() {
                    let special = format!(
                        "pg_catalog.bool_or({} IN ('NaN', 'Infinity', '-Infinity')){}",
                        x(),
                        filter("")
                    );
                    columns.push(named("x", special));
                }
                if self.has_variable_scale() {
                    columns.push(named("z", weighted(scale::term(&x()))));
                }
                columns
            }
            Class::Additive { .. } => {
                let special = if self.is_interval() {
                    format!("pg_catalog.abs(i.w) > 1 OR NOT pg_catalog.isfinite({})", x())
                } else {
                    "pg_catalog.abs(i.w) > 1".to_owned()
                };
                vec![
                    count(),
                    named("p", format!("pg_catalog.sum({}){}", x(), filter("i.w > 0"))),
                    named("m", format!("pg_catalog.sum({}){}", x(), filter("i.w < 0"))),
                    named("x", format!("pg_catalog.bool_or({special}){}", filter(""))),
                ]
            }
            Class::Truth { .. } => vec![count(), weights("t", &x())],
            Class::Parity => {
                let odd = filter("pg_catalog.mod(i.w, 2) <> 0");
                vec![count(), named("v", format!("pg_catalog.bit_xor({}){odd}", x()))]
            }
            Class::Bits { all } => {
                let (function, _) = bits(all);
                vec![
                    count(),
                    named("i", format!("pg_catalog.{function}({}){}", x(), filter("i.w > 0"))),
                    named("r", format!("pg_catalog.{function}({}){}", x(), filter("i.w < 0"))),
                ]
            }
            Class::Extreme { .. } => vec![
                named("i", format!("{}{}", self.extreme(), filter("i.w > 0"))),
                named("r", format!("{}{}", self.extreme(), filter("i.w < 0"))),
            ],
        }
    }

    /// A condition over old state `s` and change `d` under which [`Self::moved`] does not promise the result.
    pub fn flag(&self) -> Option<String> {
        let n = self.index + 1;
        match self.class {
            Class::Rows | Class::Count | Class::Truth { .. } | Class::Parity => None,
            Class::Sum { .. } | Class::Spread { .. } => {
                let mut conditions = vec![];
                if self.is_numeric() {
                    conditions.push(format!("d.d{n}_x"));
                    conditions.push(format!("s.a{n}_s IN ('NaN', 'Infinity', '-Infinity')"));
                }
                if self.has_variable_scale() {
                    let max = scale::MAX;
                    conditions.push(format!("pg_catalog.scale(d.d{n}_s) >= {max}"));
                    conditions.push(format!("pg_catalog.scale(s.a{n}_s) >= {max}"));
                }
                (!conditions.is_empty()).then(|| conditions.join(" OR "))
            }
            Class::Additive { .. } if self.is_interval() => {
                Some(format!("d.d{n}_x OR NOT pg_catalog.isfinite(s.a{n}_s)"))
            }
            Class::Additive { .. } => Some(format!("d.d{n}_x")),
            // A value that leaves every bit as it is cannot be missed. Nothing is left to be read without a value.
            Class::Bits { all } => {
                let neutral = if all { -1 } else { 0 };
                Some(format!("({} <> 0 AND d.d{n}_r <> {neutral})", self.new_count()))
            }
            Class::Extreme { max } => {
                let compare = if max { ">=" } else { "<=" };
                Some(format!("d.d{n}_r {compare} s.a{n}_v"))
            }
            Class::Recompute => Some("true".to_owned()),
        }
    }

    /// A usual change may flag a group. NaN, infinities and scales beyond all reason do not count: they are not worth a
    /// copy of the input.
    pub fn rereads(&self) -> bool {
        match self.class {
            Class::Rows | Class::Count | Class::Truth { .. } | Class::Parity => false,
            Class::Sum { .. } | Class::Spread { .. } => false,
            Class::Additive { .. } | Class::Bits { .. } | Class::Extreme { .. } | Class::Recompute => true,
        }
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.index + 1)
    }

    /// The first argument, a column of relation `i`.
    fn argument(&self) -> String {
        self.call.args.first().map_or("*".to_owned(), |&arg| format!("i.{}", column_name(arg)))
    }

    /// The number of rows that count, over relation `i`.
    fn counted(&self) -> String {
        match self.call.args.as_slice() {
            [_] => format!("pg_catalog.count({}){}", self.argument(), self.call_filter()),
            _ => format!("pg_catalog.count(*){}", self.filter("")),
        }
    }

    /// The number of rows that count, after the change.
    fn new_count(&self) -> String {
        let n = self.index + 1;
        format!("(coalesce(s.a{n}_c, 0) + d.d{n}_c)")
    }

    /// The call's own filter.
    fn call_filter(&self) -> String {
        let filter = self.call.filter.map(|column| format!(" FILTER (WHERE i.{})", column_name(column)));
        filter.unwrap_or_default()
    }

    /// A filter for the rows that count: no argument is NULL, the call's own filter passes, and `more`.
    fn filter(&self, more: &str) -> String {
        let arguments = self.call.args.iter().filter(|&&arg| self.input[arg].nullable);
        let present =
            arguments.map(|&arg| is_present(&format!("i.{}", column_name(arg)), &self.input[arg].ty));
        let filter = self.call.filter.map(|column| format!("i.{}", column_name(column)));
        let more = (!more.is_empty()).then(|| format!("({more})"));
        let all: Vec<String> = present.chain(filter).chain(more).collect();
        if all.is_empty() { String::new() } else { format!(" FILTER (WHERE {})", all.join(" AND ")) }
    }

    /// The call of `min` or `max`. Some types with an order have no `min`, so that `any_value` is the first in order.
    fn extreme(&self) -> String {
        let x = self.argument();
        match (self.call.function.builtin.as_deref(), self.class) {
            (Some("any_value"), _) => format!("pg_catalog.any_value({x} ORDER BY {x})"),
            (_, Class::Extreme { max: true }) => format!("pg_catalog.max({x})"),
            _ => format!("pg_catalog.min({x})"),
        }
    }

    fn is_interval(&self) -> bool {
        self.call.args.first().is_some_and(|&arg| self.input[arg].ty.oid == INTERVAL)
    }

    fn zero(&self) -> &'static str {
        if self.is_interval() { "'0'::pg_catalog.interval" } else { "0::pg_catalog.money" }
    }

    fn is_numeric(&self) -> bool {
        self.call.args.first().is_some_and(|&arg| self.input[arg].ty.arithmetic == Arithmetic::Numeric)
    }

    fn has_variable_scale(&self) -> bool {
        self.is_numeric() && self.call.args.first().is_some_and(|&arg| self.input[arg].fixed_scale.is_none())
    }

    /// The call itself over relation `i`.
    fn call_text(&self) -> String {
        let call = self.call;
        let column = |&column: &usize| format!("i.{}", column_name(column));
        let order = list(call.order_by.iter().map(|key| sort_key(key, "i.")));
        let filter = self.call_filter();
        if call.within_group {
            let width = call.direct_args.iter().flat_map(Expr::columns).max().map_or(0, |last| last + 1);
            let key = |position: &usize| self.keys.iter().find(|(key, _)| key == position);
            let names = (0..width).map(|position| match key(&position) {
                Some((_, grouped)) => grouped.clone(),
                None => column(&position),
            });
            let names: Vec<String> = names.collect();
            let direct = list(call.direct_args.iter().map(|argument| substitute(argument, &names)));
            return format!("{}({direct}) WITHIN GROUP (ORDER BY {order}){filter}", call.function.name);
        }
        let mut arguments: Vec<String> = call.args.iter().map(column).collect();
        if let (true, Some(last)) = (call.variadic, arguments.last_mut()) {
            *last = format!("VARIADIC {last}");
        }
        // A type without an order has an image, by which the choice is a function of the rows.
        let order = match (call.function.builtin.as_deref(), arguments.as_slice()) {
            (Some("any_value"), [x]) if !call.distinct => format!("pgtrickle.image({x})"),
            _ => order,
        };
        let arguments = if arguments.is_empty() { "*".to_owned() } else { list(arguments) };
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
        format!("{}({distinct}{arguments}{order}){filter}", call.function.name)
    }
}

/// Aggregate and operator that combine bits.
fn bits(all: bool) -> (&'static str, &'static str) {
    if all { ("bit_and", "&") } else { ("bit_or", "|") }
}

/// A condition: the value is not NULL as aggregates understand it. A composite value with a NULL field is one.
fn is_present(value: &str, ty: &TypeRef) -> String {
    if ty.equal_image || ty.is_compact() {
        format!("{value} IS NOT NULL")
    } else {
        format!("pg_catalog.num_nulls({value}) = 0")
    }
}

/// One ORDER BY item over columns of a relation with the given prefix.
pub fn sort_key(key: &crate::expr::SortKey, prefix: &str) -> String {
    let direction = match (&key.using, key.descending) {
        (Some(operator), _) => format!("USING {operator}"),
        (None, true) => "DESC".to_owned(),
        (None, false) => "ASC".to_owned(),
    };
    let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
    format!("{prefix}{} {direction} NULLS {nulls}", column_name(key.column))
}
