//! What a stage keeps per group for one aggregate call, and how a change moves it.
//!
//! Exactness ladder (`design.md` 3.4): exact inverse where the result is provably what PostgreSQL would print; an
//! extremum moved by insertions and recomputed when it may have been removed; recompute of the group for the rest.
//! Where the inverse cannot promise the text for a group (a removed value had the largest display scale, NaN or
//! infinity occurs), the group is *flagged* and recomputed from the new input.

use crate::expr::Expr;
use crate::plan::AggCall;
use crate::sql::lower::substitute;
use crate::sql::{column_name, list};
use crate::types::{Arithmetic, Column, TypeRef};

/// How a call is maintained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `count(*)` without FILTER: the group's row count.
    Rows,
    /// `count(..)`: number of rows with a non-NULL argument that pass the filter.
    Count,
    /// `sum`, `avg` over integers and numeric: number and sum of the non-NULL arguments.
    Sum { average: bool },
    /// `min`, `max` of a type with a btree order.
    Extreme { max: bool },
    /// Anything else: recomputed for every affected group.
    Recompute,
}

/// One call with what is known of its argument.
#[derive(Debug, Clone)]
pub struct Accumulator<'a> {
    pub call: &'a AggCall,
    pub class: Class,
    index: usize,
    argument: Option<&'a Column>,
}

impl<'a> Accumulator<'a> {
    /// Call number `index` of an aggregate over `input`.
    pub fn new(index: usize, call: &'a AggCall, input: &'a [Column]) -> Self {
        let argument = call.args.first().map(|&arg| &input[arg]);
        Accumulator { call, class: classify(call, argument), index, argument }
    }

    /// State columns: name suffix under a prefix (`a` new, `o` old) and type.
    pub fn state(&self) -> Vec<(String, TypeRef)> {
        let name = |suffix: &str| format!("{}_{suffix}", self.index + 1);
        match self.class {
            Class::Rows => vec![],
            Class::Count => vec![(name("c"), TypeRef::int8())],
            Class::Sum { .. } => vec![(name("c"), TypeRef::int8()), (name("s"), TypeRef::numeric())],
            Class::Extreme { .. } | Class::Recompute => vec![(name("v"), self.call.ty.clone())],
        }
    }

    /// The call's result from its state; `column` gives the SQL of a state column by suffix, `rows` of the row count.
    pub fn output(&self, rows: &str, column: impl Fn(&str) -> String) -> String {
        let state = self.state();
        let value = |position: usize| column(&state[position].0);
        match self.class {
            Class::Rows => rows.to_owned(),
            Class::Count | Class::Extreme { .. } | Class::Recompute => value(0),
            Class::Sum { average: true } => format!("({} / {}::pg_catalog.numeric)", value(1), value(0)),
            Class::Sum { average: false } if self.call.ty.arithmetic == Arithmetic::Integer => {
                format!("{}::{}", value(1), self.call.ty.name)
            }
            Class::Sum { average: false } => value(1),
        }
    }

    /// Aggregates over the new input (relation `i`) that produce the state columns, in order of [`Self::state`].
    pub fn recomputed(&self) -> Vec<String> {
        let filter = self.call.filter.map(|column| format!(" FILTER (WHERE i.{})", column_name(column)));
        let filter = filter.unwrap_or_default();
        let argument =
            self.call.args.first().map_or("*".to_owned(), |&arg| format!("i.{}", column_name(arg)));
        match self.class {
            Class::Rows => vec![],
            Class::Count => vec![format!("pg_catalog.count({argument}){filter}")],
            Class::Sum { .. } => vec![
                format!("pg_catalog.count({argument}){filter}"),
                format!("pg_catalog.sum({argument}){filter}::pg_catalog.numeric"),
            ],
            Class::Extreme { max } => {
                vec![format!("pg_catalog.{}({argument}){filter}", if max { "max" } else { "min" })]
            }
            Class::Recompute => vec![call_text(self.call)],
        }
    }

    /// Aggregates over the change (relation `i` with weight `w`), with their names.
    pub fn changed(&self) -> Vec<(String, String)> {
        let Some(conditions) = self.conditions() else { return vec![] };
        let filter = |more: &str| {
            let all: Vec<&str> =
                conditions.iter().map(String::as_str).chain((!more.is_empty()).then_some(more)).collect();
            if all.is_empty() { String::new() } else { format!(" FILTER (WHERE {})", all.join(" AND ")) }
        };
        let name = |suffix: &str| format!("d{}_{suffix}", self.index + 1);
        let count =
            || (name("c"), format!("coalesce(pg_catalog.sum(i.w){}, 0)::pg_catalog.int8", filter("")));
        let argument = || format!("i.{}", column_name(self.call.args[0]));
        match self.class {
            Class::Rows | Class::Recompute => vec![],
            Class::Count => vec![count()],
            Class::Sum { .. } => {
                let x = argument();
                let mut columns = vec![
                    count(),
                    (name("s"), format!("pg_catalog.sum({x}::pg_catalog.numeric * i.w){}", filter(""))),
                ];
                if self.is_numeric() {
                    columns.push((
                        name("x"),
                        format!("pg_catalog.bool_or({x} IN ('NaN', 'Infinity', '-Infinity')){}", filter("")),
                    ));
                }
                if self.has_variable_scale() {
                    columns.push((
                        name("r"),
                        format!("pg_catalog.max(pg_catalog.scale({x})){}", filter("i.w < 0")),
                    ));
                }
                columns
            }
            Class::Extreme { max } => {
                let function = if max { "max" } else { "min" };
                let x = argument();
                vec![
                    (name("i"), format!("pg_catalog.{function}({x}){}", filter("i.w > 0"))),
                    (name("r"), format!("pg_catalog.{function}({x}){}", filter("i.w < 0"))),
                ]
            }
        }
    }

    /// The new state columns from old state `s` and change `d`, in order of [`Self::state`].
    pub fn moved(&self) -> Vec<String> {
        let n = self.index + 1;
        let count = format!("(coalesce(s.a{n}_c, 0) + d.d{n}_c)");
        match self.class {
            Class::Rows => vec![],
            Class::Count => vec![count],
            Class::Sum { .. } => vec![
                count.clone(),
                // Without a value the sum is NULL, which also forgets the display scale of values that are gone.
                format!(
                    "(CASE WHEN {count} <> 0 THEN coalesce(s.a{n}_s + d.d{n}_s, s.a{n}_s, d.d{n}_s) END)"
                ),
            ],
            Class::Extreme { max } => {
                let function = if max { "greatest" } else { "least" };
                vec![format!("{function}(s.a{n}_v, d.d{n}_i)")]
            }
            Class::Recompute => vec![format!("(NULL::{})", self.call.ty.name)],
        }
    }

    /// A condition over old state `s` and change `d` under which [`Self::moved`] does not promise the result.
    pub fn flag(&self) -> Option<String> {
        let n = self.index + 1;
        match self.class {
            Class::Rows | Class::Count => None,
            Class::Sum { .. } => {
                let mut conditions = vec![];
                if self.is_numeric() {
                    conditions.push(format!("d.d{n}_x"));
                    conditions.push(format!("s.a{n}_s IN ('NaN', 'Infinity', '-Infinity')"));
                }
                if self.has_variable_scale() {
                    conditions.push(format!("d.d{n}_r >= pg_catalog.scale(s.a{n}_s)"));
                }
                (!conditions.is_empty()).then(|| conditions.join(" OR "))
            }
            Class::Extreme { max } => {
                let compare = if max { ">=" } else { "<=" };
                Some(format!("d.d{n}_r {compare} s.a{n}_v"))
            }
            Class::Recompute => Some("true".to_owned()),
        }
    }

    /// The conditions under which a row counts for the call; `None` if the class does not look at rows.
    fn conditions(&self) -> Option<Vec<String>> {
        if matches!(self.class, Class::Rows | Class::Recompute) {
            return None;
        }
        let not_null = self.call.args.first().zip(self.argument).filter(|(_, column)| column.nullable);
        let not_null = not_null.map(|(&arg, _)| format!("i.{} IS NOT NULL", column_name(arg)));
        let filter = self.call.filter.map(|column| format!("i.{}", column_name(column)));
        Some(not_null.into_iter().chain(filter).collect())
    }

    fn is_numeric(&self) -> bool {
        self.argument.is_some_and(|column| column.ty.arithmetic == Arithmetic::Numeric)
    }

    fn has_variable_scale(&self) -> bool {
        self.is_numeric() && self.argument.is_some_and(|column| column.fixed_scale.is_none())
    }
}

fn classify(call: &AggCall, argument: Option<&Column>) -> Class {
    if call.within_group || call.variadic {
        return Class::Recompute;
    }
    let exact = argument.is_some_and(|column| {
        matches!(column.ty.arithmetic, Arithmetic::Integer | Arithmetic::Numeric) && !call.distinct
    });
    match (call.function.builtin.as_deref(), call.args.len()) {
        (Some("count"), 0) if call.filter.is_none() => Class::Rows,
        (Some("count"), 0 | 1) if !call.distinct => Class::Count,
        (Some("sum"), 1) if exact => Class::Sum { average: false },
        (Some("avg"), 1) if exact => Class::Sum { average: true },
        (Some(name @ ("min" | "max")), 1) if argument.is_some_and(|column| column.ty.ordered) => {
            Class::Extreme { max: name == "max" }
        }
        _ => Class::Recompute,
    }
}

/// The call over relation `i`.
fn call_text(call: &AggCall) -> String {
    let column = |&column: &usize| format!("i.{}", column_name(column));
    let order = list(call.order_by.iter().map(|key| sort_key(key, "i.")));
    let filter =
        call.filter.map(|filter| format!(" FILTER (WHERE i.{})", column_name(filter))).unwrap_or_default();
    if call.within_group {
        let width = call.direct_args.iter().flat_map(Expr::columns).max().map_or(0, |last| last + 1);
        let names: Vec<String> = (0..width).map(|position| column(&position)).collect();
        let direct = list(call.direct_args.iter().map(|argument| substitute(argument, &names)));
        return format!("{}({direct}) WITHIN GROUP (ORDER BY {order}){filter}", call.function.name);
    }
    let mut arguments: Vec<String> = call.args.iter().map(column).collect();
    if let (true, Some(last)) = (call.variadic, arguments.last_mut()) {
        *last = format!("VARIADIC {last}");
    }
    let arguments = if arguments.is_empty() { "*".to_owned() } else { list(arguments) };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
    format!("{}({distinct}{arguments}{order}){filter}", call.function.name)
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
