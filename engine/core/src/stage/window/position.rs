//! Positions: where rows stand in the order of their partition, as values that an index holds.
//!
//! A position consists of the leading sort keys of one direction whose values fit an index entry. A key that can be NULL is
//! two parts, whether it is NULL and what stands in for NULL, so that no part is ever NULL and positions are compared as
//! rows, `(a, b) >= (x, y)`, which an index on the parts supports. Rows of one position are peers or differ in later keys
//! only: groups of positions consist of whole groups of peers.

use crate::expr::SortKey;
use crate::program::RelationColumn;
use crate::sql::{column_name, list};
use crate::types::{Column, TypeRef};

/// What positions in an order are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    parts: Vec<(Part, TypeRef)>,
    /// The order runs from large positions to small ones.
    is_descending: bool,
    /// The columns of the sort keys that positions are made of.
    pub columns: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A column without NULLs.
    Value(usize),
    IsNull(usize),
    IsNotNull(usize),
    /// A column with a constant in the place of NULL.
    ValueOr(usize, &'static str),
}

/// More parts tell rows apart that hardly ever tie, and an index has no room for any number of columns.
const PARTS_MAX: usize = 8;

/// Positions in `order` over `input`; None if not even the first key fits an index.
pub fn positions(order: &[SortKey], input: &[Column]) -> Option<Positions> {
    if order.iter().any(|key| key.using.is_some()) {
        return None;
    }
    let is_descending = order.first()?.descending;
    let mut positions = Positions { parts: vec![], is_descending, columns: vec![] };
    for key in order {
        let column = &input[key.column];
        let fits = column.ty.ordered && column.ty.is_compact();
        if !fits || key.descending != is_descending || positions.parts.len() >= PARTS_MAX {
            break;
        }
        if !column.nullable {
            positions.parts.push((Part::Value(key.column), column.ty.clone()));
        } else if let Some(constant) = stand_in(column.ty.oid) {
            let test = match key.nulls_first == key.descending {
                true => Part::IsNull(key.column),
                false => Part::IsNotNull(key.column),
            };
            positions.parts.push((test, TypeRef::boolean()));
            // With another value in its place a modifier does not bind.
            let ty = TypeRef { typmod: -1, ..column.ty.clone() };
            positions.parts.push((Part::ValueOr(key.column, constant), ty));
        } else {
            break;
        }
        positions.columns.push(key.column);
    }
    (!positions.parts.is_empty()).then_some(positions)
}

impl Positions {
    /// The parts over columns with `prefix`.
    pub fn of(&self, prefix: &str) -> Vec<String> {
        let part = |(part, _): &(Part, TypeRef)| {
            let name = |column: usize| format!("{prefix}{}", column_name(column));
            match *part {
                Part::Value(column) => name(column),
                Part::IsNull(column) => format!("({} IS NULL)", name(column)),
                Part::IsNotNull(column) => format!("({} IS NOT NULL)", name(column)),
                Part::ValueOr(column, constant) => format!("coalesce({}, {constant})", name(column)),
            }
        };
        self.parts.iter().map(part).collect()
    }

    /// The elements of an index on positions.
    pub fn index_elements(&self) -> Vec<String> {
        let element = |((part, _), text): (&(Part, TypeRef), String)| match part {
            Part::Value(_) => text,
            _ => format!("({text})"),
        };
        self.parts.iter().zip(self.of("")).map(element).collect()
    }

    /// The names of a position's parts: `f1, f2` for `f`.
    pub fn names(&self, name: &str) -> Vec<String> {
        (1..=self.parts.len()).map(|part| format!("{name}{part}")).collect()
    }

    /// Columns of a relation that hold a position.
    pub fn relation_columns(&self, name: &str) -> Vec<RelationColumn> {
        let column = |(name, (_, ty)): (String, &(Part, TypeRef))| RelationColumn { name, ty: ty.clone() };
        self.names(name).into_iter().zip(&self.parts).map(column).collect()
    }

    /// A condition: the first position comes before the second.
    pub fn before(&self, left: &[String], right: &[String]) -> String {
        compared(left, if self.is_descending { ">" } else { "<" }, right)
    }

    /// A condition: a position lies between two others, or is one of them. The parts alone say nothing that the whole does
    /// not, but tell the planner that such positions are few.
    pub fn between(&self, position: &[String], from: &[String], until: &[String]) -> String {
        let (low, high) = if self.is_descending { (until, from) } else { (from, until) };
        let whole = format!("{} AND {}", compared(position, ">=", low), compared(position, "<=", high));
        if position.len() == 1 {
            return whole;
        }
        let first = |side: &[String]| vec![side[0].clone()];
        let (low, high) =
            (compared(&first(position), ">=", &first(low)), compared(&first(position), "<=", &first(high)));
        format!("{whole} AND {low} AND {high}")
    }

    /// A condition: two positions are the same.
    pub fn same(&self, left: &[String], right: &[String]) -> String {
        let same = left.iter().zip(right).map(|(left, right)| format!("{left} = {right}"));
        same.collect::<Vec<_>>().join(" AND ")
    }

    /// A distance from a position is a position: there is one sort key, of a type with exact arithmetic.
    pub fn can_shift(&self) -> bool {
        self.columns.len() == 1 && self.parts.last().is_some_and(|(_, ty)| SHIFTED.contains(&ty.oid))
    }

    /// The position that lies a distance of values away, or a little further where the arithmetic of dates is not exact. NULL
    /// is infinitely far from everything else.
    pub fn shifted(&self, position: &[String], distance: &str, forward: bool) -> Vec<String> {
        let mut parts = position.to_vec();
        if let (Some(value), Some((_, ty))) = (parts.last_mut(), self.parts.last()) {
            *value = shifted(value, distance, ty.oid, forward != self.is_descending);
        }
        parts
    }

    /// `ORDER BY` items from the first position to the last, or back.
    pub fn order(&self, position: &[String], is_reversed: bool) -> String {
        let direction = if self.is_descending != is_reversed { "DESC" } else { "ASC" };
        list(position.iter().map(|part| format!("{part} {direction}")))
    }
}

fn compared(left: &[String], operator: &str, right: &[String]) -> String {
    let row = |parts: &[String]| match parts {
        [part] => part.clone(),
        parts => format!("({})", list(parts.iter().cloned())),
    };
    format!("{} {operator} {}", row(left), row(right))
}

/// int2, int4, int8, numeric, date, timestamp, timestamptz
const SHIFTED: &[u32] = &[21, 23, 20, 1700, 1082, 1114, 1184];

/// `value + distance` or `value - distance`, no further than the type goes.
fn shifted(value: &str, distance: &str, oid: u32, adds: bool) -> String {
    let operator = if adds { "+" } else { "-" };
    let integer = |ty: &str, least: i64, most: i64| {
        let sum = format!("{value}::pg_catalog.numeric {operator} ({distance})::pg_catalog.numeric");
        format!("(greatest(least({sum}, {most}), {least})::pg_catalog.{ty})")
    };
    // Months are of different lengths, and with a time zone so are days.
    let moment = |ty: &str, uneven: &str| {
        let slack = format!("(CASE WHEN {uneven} THEN '4 days' ELSE '0' END)::pg_catalog.interval");
        format!("(({value} {operator} ({distance}) {operator} {slack})::pg_catalog.{ty})")
    };
    let field = |name: &str| format!("extract({name} FROM ({distance})::pg_catalog.interval) <> 0");
    let months = format!("{} OR {}", field("year"), field("month"));
    match oid {
        21 => integer("int2", i16::MIN.into(), i16::MAX.into()),
        23 => integer("int4", i32::MIN.into(), i32::MAX.into()),
        20 => integer("int8", i64::MIN, i64::MAX),
        1082 => moment("date", &months),
        1114 => moment("timestamp", &months),
        1184 => moment("timestamptz", &format!("{months} OR {}", field("day"))),
        _ => {
            // Beyond infinity, NaN is the last value in the order.
            let end = if adds { "NaN" } else { "-Infinity" };
            format!(
                "(CASE WHEN ({distance}) = 'Infinity' THEN '{end}' ELSE {value} {operator} ({distance}) END)"
            )
        }
    }
}

/// A value of a type that fits an index entry, by the type's OID.
fn stand_in(oid: u32) -> Option<&'static str> {
    Some(match oid {
        16 => "false",
        18 => "'0'::pg_catalog.\"char\"",
        20 => "0::pg_catalog.int8",
        21 => "0::pg_catalog.int2",
        23 => "0::pg_catalog.int4",
        26 => "0::pg_catalog.oid",
        700 => "0::pg_catalog.float4",
        701 => "0::pg_catalog.float8",
        1082 => "'2000-01-01'::pg_catalog.date",
        1083 => "'00:00'::pg_catalog.time",
        1114 => "'2000-01-01 00:00'::pg_catalog.timestamp",
        1184 => "'2000-01-01 00:00+00'::pg_catalog.timestamptz",
        1186 => "'0'::pg_catalog.interval",
        1266 => "'00:00+00'::pg_catalog.timetz",
        1700 => "0::pg_catalog.numeric",
        2950 => "'00000000-0000-0000-0000-000000000000'::pg_catalog.uuid",
        _ => return None,
    })
}
