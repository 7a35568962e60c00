//! The difference of two relations whose rows need not be identical to be the same.

use super::list;
use crate::types::{Arithmetic, TypeRef};

/// When two values are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Byte by byte.
    Identical,
    /// By the type's own equality.
    Equal,
    /// Floats to one part in 10^7 (`float4`: in 10^5), or a billionth of a thousandth of the largest value of the
    /// column (`float4`: a millionth), which itself counts as at least 1: sums that cancel keep what rounding left.
    Close { is_single: bool },
    /// Always: nothing says what the value must be.
    Unsettled,
}

impl Likeness {
    /// Of a value that may be another one of its class, or a float computed in another order.
    pub fn of_result(ty: &TypeRef) -> Likeness {
        match ty.arithmetic {
            Arithmetic::Float => Likeness::Close { is_single: ty.oid == FLOAT4 },
            _ if ty.equal_image => Likeness::Identical,
            _ if ty.ordered || ty.hashable => Likeness::Equal,
            _ => Likeness::Identical,
        }
    }
}

/// `pg_type.oid` of `float4`.
const FLOAT4: u32 = 700;

/// A query for the rows that only one of two relations has, with a column `w`: 1 for a row of `after`, -1 for one of
/// `before`; and, if named, the column that they are `grouped` by. Both relations have the columns, with their names.
pub fn difference(
    columns: &[(String, Likeness)],
    after: &str,
    before: &str,
    grouped: Option<&str>,
) -> String {
    let mut exact: Vec<String> = vec![];
    let mut close: Vec<(String, bool)> = vec![];
    for (name, likeness) in columns {
        match likeness {
            Likeness::Identical => exact.push(format!("pgtrickle.image(s.{name})")),
            Likeness::Equal => exact.push(format!("s.{name}")),
            Likeness::Close { is_single } => close.push((format!("s.{name}::pg_catalog.float8"), *is_single)),
            Likeness::Unsettled => {}
        }
    }
    let group = grouped.map(|name| format!("s.{name} AS grp"));
    let exact_names = (1..=exact.len()).map(|number| format!("e{number}"));
    let keys: Vec<String> = grouped.map(|_| "grp".to_owned()).into_iter().chain(exact_names).collect();
    let values = exact.iter().enumerate().map(|(index, sql)| format!("{sql} AS e{}", index + 1));
    let floats = close.iter().enumerate().map(|(index, (sql, _))| format!("{sql} AS f{}", index + 1));
    let items: Vec<String> = group.into_iter().chain(values).chain(floats).collect();
    let side = |relation: &str, weight: i32| {
        format!("SELECT {} FROM {relation} s", list(items.iter().cloned().chain([format!("{weight} AS w")])))
    };
    let both = format!("{} UNION ALL {}", side(after, 1), side(before, -1));
    let shown = if grouped.is_some() { "grp, " } else { "" };
    if close.is_empty() {
        let by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", list(keys)) };
        return format!("SELECT {shown}pg_catalog.sum(u.w)::pg_catalog.int8 AS w FROM ({both}) u{by}");
    }
    // Rows that agree in everything else are paired by the order of their floats.
    let names: Vec<String> = (1..=close.len()).map(|number| format!("f{number}")).collect();
    let finite = |sql: &str| format!("({sql} < 'Infinity' AND {sql} > '-Infinity')");
    let sizes = names.iter().map(|name| {
        format!(
            "greatest(1, pg_catalog.max(CASE WHEN {} THEN pg_catalog.abs(u.{name}) END) OVER ()) AS size_{name}",
            finite(&format!("u.{name}"))
        )
    });
    let partition = list(["w".to_owned()].into_iter().chain(keys.iter().cloned()));
    let number = format!(
        "pg_catalog.row_number() OVER (PARTITION BY {partition} ORDER BY {}) AS place",
        list(names.iter().cloned())
    );
    let numbered = format!("SELECT u.*, {} FROM ({both}) u", list(sizes.chain([number])));
    let is_close = names.iter().zip(&close).map(|(name, (_, is_single))| {
        let (relative, absolute) = if *is_single { ("1e-5", "1e-6") } else { ("1e-7", "1e-12") };
        let (least, most) = (format!("pg_catalog.min(n.{name})"), format!("pg_catalog.max(n.{name})"));
        format!(
            "(pg_catalog.count(n.{name}) IN (0, 2) AND coalesce({least} = {most} OR ({} AND {} AND {most} - {least} <= \
             greatest({relative} * greatest(pg_catalog.abs({least}), pg_catalog.abs({most})), {absolute} * \
             pg_catalog.max(n.size_{name}))), true))",
            finite(&least),
            finite(&most)
        )
    });
    let is_close = is_close.collect::<Vec<_>>().join(" AND ");
    let by = list(keys.into_iter().chain(["place".to_owned()]));
    let paired = format!(
        "SELECT {shown}pg_catalog.sum(n.w)::pg_catalog.int8 AS w, {is_close} AS is_close FROM ({numbered}) n GROUP BY {by}"
    );
    format!(
        "SELECT {shown}v.w FROM ({paired}) p, LATERAL (SELECT p.w WHERE p.w <> 0 UNION ALL SELECT x.w FROM (VALUES \
         (1::pg_catalog.int8), ((-1)::pg_catalog.int8)) x(w) WHERE p.w = 0 AND NOT p.is_close) v"
    )
}
