//! What a query's functions, operators and casts depend on besides their arguments.

use crate::pg::facts;
use crate::pg::node::{self, Tree};
use pg_trickle_core::query::{Construct, StableClass, StableConstruct, Unsupported};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{FunctionRef, Volatility};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

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
            return Some(Unsupported { construct, reason: Refusal::Volatile });
        }
        let stable = self.stable.iter().find(|stable| stable.class == StableClass::Other)?;
        Some(Unsupported { construct: stable.construct.clone(), reason: Refusal::Stable })
    }

    /// Puts the construct that reads the time at this position before the others, so that messages name it.
    pub fn first_at(&mut self, position: Option<u32>) {
        let is_there = |stable: &StableConstruct| {
            stable.class == StableClass::Time && stable.construct.position == position
        };
        if let Some(index) = self.stable.iter().position(is_there).filter(|_| position.is_some()) {
            self.stable[..=index].rotate_right(1);
        }
    }
}

/// What the built-in STABLE functions depend on, one per line.
const STABLE_FUNCTIONS: &str = include_str!("stable_functions.txt");

/// The class of a built-in STABLE function. One that the list does not know may depend on anything.
fn class_of(name: &str) -> StableClass {
    static CLASSES: LazyLock<HashMap<&str, StableClass>> = LazyLock::new(|| {
        let lines = STABLE_FUNCTIONS.lines().filter(|line| !line.starts_with('#'));
        let class = |class| match class {
            "settings" => StableClass::Settings,
            "time" => StableClass::Time,
            _ => StableClass::Other,
        };
        lines.filter_map(|line| line.split_once(' ')).map(|(name, word)| (name, class(word))).collect()
    });
    match CLASSES.get(name) {
        // The front end replaces `statement_timestamp` where it can, which is not in views; `age` reads the date.
        Some(StableClass::Time) if !matches!(name, "now" | "transaction_timestamp") => StableClass::Other,
        Some(class) => *class,
        None => StableClass::Other,
    }
}

/// Functions that read text as values of the types of their result.
const READING: &[&str] =
    &["json_populate_record", "jsonb_populate_record", "json_populate_recordset", "jsonb_populate_recordset"];

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
            let reference = facts::function_ref(function);
            let is_reading = reference.builtin.as_deref().is_some_and(|name| READING.contains(&name));
            if !seen.insert(function.to_u32()) && !is_reading {
                return;
            }
            let volatility = facts::volatility(function);
            let class = match reference.builtin.as_deref() {
                Some(name) if READING.contains(&name) && reads_time(node::type_of(part).0) => {
                    StableClass::Other
                }
                Some(name) => class_of(name),
                None => StableClass::Other,
            };
            if (is_call || reference.builtin.is_none()) && !self.functions.contains(&reference) {
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
        let known =
            |stable: &StableConstruct| stable.construct.name == construct.name && stable.class == class;
        let known = self.stable.iter().any(known);
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
    if let Some(table) = node::cast::<pg_sys::TableFunc>(part) {
        // Values are read from text by the input functions of the columns' types.
        let is_time = node::oids(table.coltypes).into_iter().any(reads_time);
        let class = if is_time { StableClass::Other } else { StableClass::Settings };
        return Some(("XMLTABLE or JSON_TABLE", Volatility::Stable, class));
    }
    if let Some(function) = node::cast::<pg_sys::RangeTblFunction>(part)
        && node::oids(function.funccoltypes).into_iter().any(reads_time)
    {
        return Some(("a column definition of a date or time", Volatility::Stable, StableClass::Other));
    }
    if node::tag_name(part) == "JsonExpr" && reads_time(node::type_of(part).0) {
        return Some(("SQL/JSON text read as a date or time", Volatility::Stable, StableClass::Other));
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

/// Types whose text form may say `now` or `today`, alone or within.
fn reads_time(oid: Oid) -> bool {
    let base = facts::base_type(oid);
    matches!(
        base,
        pg_sys::DATEOID | pg_sys::TIMEOID | pg_sys::TIMETZOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID
    ) || facts::parts(base).into_iter().any(reads_time)
}
