//! What a query's functions, operators and casts depend on besides their arguments.

use crate::pg::facts;
use crate::pg::node::{self, Tree};
use pg_trickle_core::query::{Construct, StableClass, StableConstruct, Unsupported};
use pg_trickle_core::types::{FunctionRef, Volatility};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::collections::BTreeSet;

/// Everything found in a query.
pub struct Found {
    pub functions: Vec<FunctionRef>,
    pub volatility: Volatility,
    pub worst: Option<Construct>,
    pub stable: Vec<StableConstruct>,
}

impl Found {
    /// Why no delta can be computed, if so.
    pub fn unsupported(&self) -> Option<Unsupported> {
        if self.volatility == Volatility::Volatile {
            let construct = self.worst.clone()?;
            return Some(Unsupported {
                construct,
                reason: "it is VOLATILE: its result cannot be retracted".into(),
            });
        }
        let stable = self.stable.iter().find(|stable| stable.class != StableClass::Settings)?;
        let reason = match stable.class {
            StableClass::Time => "its result changes with time, which is not yet maintained incrementally",
            _ => "it is STABLE and may depend on more than its arguments and settings",
        };
        Some(Unsupported { construct: stable.construct.clone(), reason: reason.into() })
    }
}

/// Built-in STABLE functions whose results depend on settings that are stored with the stream table, and on nothing
/// else. Input functions of dates and times are not among them: their text may say `now`.
const SETTINGS_ONLY: &[&str] = &[
    // Output, formatting, and parsing by a format.
    "date_out",
    "time_out",
    "timetz_out",
    "timestamp_out",
    "timestamptz_out",
    "interval_out",
    "enum_out",
    "array_out",
    "record_out",
    "range_out",
    "multirange_out",
    "anyarray_out",
    "cash_out",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_number",
    "concat",
    "concat_ws",
    "format",
    "quote_literal",
    "quote_nullable",
    "array_to_string",
    "array_to_json",
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "json_agg_strict",
    "jsonb_agg_strict",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "json_populate_record",
    "jsonb_populate_record",
    "string_to_array",
    "textanycat",
    "anytextcat",
    // Input of structures over element types, whose own functions count by themselves where they are called.
    "array_in",
    "enum_in",
    "cash_in",
    // Time zone.
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "timestamptz_pl_interval",
    "timestamptz_mi_interval",
    "interval_pl_timestamptz",
    "date_trunc",
    "date_part",
    "extract",
    "date_add",
    "date_subtract",
    "timezone",
    "date_lt_timestamptz",
    "date_le_timestamptz",
    "date_eq_timestamptz",
    "date_gt_timestamptz",
    "date_ge_timestamptz",
    "date_ne_timestamptz",
    "date_cmp_timestamptz",
    "timestamptz_lt_date",
    "timestamptz_le_date",
    "timestamptz_eq_date",
    "timestamptz_gt_date",
    "timestamptz_ge_date",
    "timestamptz_ne_date",
    "timestamptz_cmp_date",
    "timestamp_lt_timestamptz",
    "timestamp_le_timestamptz",
    "timestamp_eq_timestamptz",
    "timestamp_gt_timestamptz",
    "timestamp_ge_timestamptz",
    "timestamp_ne_timestamptz",
    "timestamp_cmp_timestamptz",
    "timestamptz_lt_timestamp",
    "timestamptz_le_timestamp",
    "timestamptz_eq_timestamp",
    "timestamptz_gt_timestamp",
    "timestamptz_ge_timestamp",
    "timestamptz_ne_timestamp",
    "timestamptz_cmp_timestamp",
    "overlaps",
    "make_timestamptz",
    // Text search configuration.
    "to_tsvector",
    "to_tsquery",
    "plainto_tsquery",
    "phraseto_tsquery",
    "websearch_to_tsquery",
    "ts_headline",
    // XML.
    "xml",
    "texttoxml",
    "xmlvalidate",
    "xml_in",
    "xml_out",
];

/// Built-in STABLE functions of the current time.
const TIME: &[&str] = &["now", "transaction_timestamp", "statement_timestamp", "age"];

/// Looks through a rewritten query at every depth.
pub fn of_query(query: &mut pg_sys::Query) -> Found {
    let mut found =
        Found { functions: vec![], volatility: Volatility::Immutable, worst: None, stable: vec![] };
    let mut seen = BTreeSet::new();
    let mut see = |part: Tree, _: u32| {
        if !matches!(node::tag(part), NodeTag::T_Query | NodeTag::T_RangeTblEntry) {
            found.node(part, &mut seen);
        }
        node::Walk::Into
    };
    node::walk(std::ptr::from_mut(query).cast(), &mut see);
    found
}

impl Found {
    fn node(&mut self, part: Tree, seen: &mut BTreeSet<u32>) {
        let position = node::position(part);
        if let Some((name, volatility, class)) = special(part) {
            self.construct(Construct { name: name.into(), position }, volatility, class);
            return;
        }
        let is_call =
            matches!(node::tag(part), NodeTag::T_FuncExpr | NodeTag::T_Aggref | NodeTag::T_WindowFunc);
        node::functions_in(part, &mut |function| {
            if !seen.insert(function.to_u32()) {
                return;
            }
            let reference = facts::function_ref(function);
            let volatility = facts::volatility(function);
            let class = match reference.builtin.as_deref() {
                Some(name) if SETTINGS_ONLY.contains(&name) => StableClass::Settings,
                Some(name) if TIME.contains(&name) => StableClass::Time,
                _ => StableClass::Other,
            };
            if is_call || reference.builtin.is_none() {
                self.functions.push(reference);
            }
            let name = format!("function {}", facts::function_signature(function));
            self.construct(Construct { name, position }, volatility, class);
        });
    }

    fn construct(&mut self, construct: Construct, volatility: Volatility, class: StableClass) {
        if volatility > self.volatility {
            self.volatility = volatility;
            self.worst = Some(construct.clone());
        }
        let known = self.stable.iter().any(|stable| stable.construct.name == construct.name);
        if volatility == Volatility::Stable && !known {
            self.stable.push(StableConstruct { construct, class });
        }
    }
}

/// Constructs that are not calls by name.
fn special(part: Tree) -> Option<(&'static str, Volatility, StableClass)> {
    if let Some(value) = node::cast::<pg_sys::SQLValueFunction>(part) {
        use pg_sys::SQLValueFunctionOp::{SVFOP_CURRENT_DATE, SVFOP_LOCALTIMESTAMP_N};
        let is_time = (SVFOP_CURRENT_DATE..=SVFOP_LOCALTIMESTAMP_N).contains(&value.op);
        return Some(match is_time {
            true => ("the current date or time", Volatility::Stable, StableClass::Time),
            false => ("the current user, role, catalog or schema", Volatility::Stable, StableClass::Other),
        });
    }
    if let Some(coercion) = node::cast::<pg_sys::CoerceViaIO>(part)
        && reads_time(coercion.resulttype)
    {
        return Some(("a cast of text to a date or time", Volatility::Stable, StableClass::Other));
    }
    match node::tag(part) {
        NodeTag::T_NextValueExpr => Some(("nextval", Volatility::Volatile, StableClass::Other)),
        NodeTag::T_TableSampleClause => Some(("TABLESAMPLE", Volatility::Volatile, StableClass::Other)),
        NodeTag::T_JsonConstructorExpr => {
            Some(("SQL/JSON constructor", Volatility::Stable, StableClass::Settings))
                .filter(|_| super::scalar::volatility(part) != Volatility::Immutable)
        }
        _ => None,
    }
}

/// Types whose text form may be `now` or `today`.
fn reads_time(oid: Oid) -> bool {
    matches!(
        facts::base_type(oid),
        pg_sys::DATEOID | pg_sys::TIMEOID | pg_sys::TIMETZOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID
    )
}
