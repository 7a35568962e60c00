//! `pgtrickle.validate_query`: what the front end makes of a query, without creating anything.

use crate::analyze::{AnalyzeError, analyze};
use crate::catalog::definition;
use crate::lifecycle::create;
use crate::refresh::compiled;
use pg_trickle_core::query::{Analyzed, Construct, SourceInfo, StableClass};
use pg_trickle_core::types::Volatility;
use pgrx::prelude::*;

/// A row of the result: what was looked at, what was found, and how bad it is (`info`, `warning` or `error`).
type Check = (String, String, String);

/// Dry run of a defining query as the current user: the mode it would resolve to, its columns and sources, constructs
/// that are not maintained incrementally, volatility, warnings, and the plan.
#[pg_extern(stable, strict, parallel_unsafe)]
fn validate_query(
    query: &str,
) -> TableIterator<'static, (name!(check_name, String), name!(result, String), name!(severity, String))> {
    TableIterator::new(checks(&analyze(query)))
}

fn checks(analyzed: &Result<Analyzed, AnalyzeError>) -> Vec<Check> {
    match analyzed {
        Ok(analyzed) => report(analyzed),
        Err(error) => {
            let mut rows = vec![row("query", &at(&error.message(), error.position()), "error")];
            rows.extend(error.hint().map(|hint| row("hint", &hint, "info")));
            rows
        }
    }
}

fn row(check: &str, result: &str, severity: &str) -> Check {
    (check.into(), result.into(), severity.into())
}

fn at(text: &str, position: Option<u32>) -> String {
    // Users count characters from 1, as the server does in its own messages.
    position.map_or_else(|| text.into(), |position| format!("{text} at position {}", position + 1))
}

fn construct(construct: &Construct) -> String {
    at(&construct.name, construct.position)
}

fn report(analyzed: &Analyzed) -> Vec<Check> {
    let nowhere = definition::names("", "", 0);
    let maintenance = match create::unpolled(analyzed) {
        Some(unsupported) => Err(unsupported),
        None => compiled::maintenance(analyzed, &nowhere, &[]),
    };
    let mode = if maintenance.is_ok() { "DIFFERENTIAL" } else { "FULL" };
    let mut rows = vec![row("resolved_mode", mode, "info")];
    if let Err(unsupported) = &maintenance {
        let text = format!("{}: {}", construct(&unsupported.construct), unsupported.reason);
        rows.push(row("unsupported", &text, "warning"));
    }
    rows.push(volatility(analyzed));
    for stable in &analyzed.stable_constructs {
        let (depends, severity) = match stable.class {
            StableClass::Settings => ("settings stored with the stream table", "info"),
            StableClass::Time => ("the current time", "warning"),
            StableClass::Other => ("more than its arguments and settings", "warning"),
        };
        rows.push(row("stable", &format!("{} depends on {depends}", construct(&stable.construct)), severity));
    }
    for column in &analyzed.columns {
        let null = if column.nullable { "" } else { " not null" };
        rows.push(row("column", &format!("{} {}{null}", column.name, column.ty.name), "info"));
    }
    rows.extend(analyzed.sources.iter().map(|source| row("source", &source_text(source), "info")));
    rows.extend(analyzed.functions.iter().map(|function| row("function", &function.name, "info")));
    rows.extend(analyzed.warnings.iter().map(|warning| row("warning", warning, "warning")));
    if let Ok(plan) = &analyzed.plan {
        rows.push(row("plan", &plan.to_string(), "info"));
    }
    rows
}

fn volatility(analyzed: &Analyzed) -> Check {
    let (text, severity) = match analyzed.volatility {
        Volatility::Immutable => ("immutable", "info"),
        Volatility::Stable => ("stable", "info"),
        Volatility::Volatile => ("volatile", "warning"),
    };
    let worst = analyzed.volatile_construct.as_ref().map(|worst| format!(": {}", construct(worst)));
    row("volatility", &format!("{text}{}", worst.unwrap_or_default()), severity)
}

fn source_text(source: &SourceInfo) -> String {
    let columns: Vec<&str> = source.columns.iter().map(|column| column.column.name.as_str()).collect();
    let keys = source.keys.iter().map(|key| {
        let names: Vec<&str> = key.iter().map(|&index| columns[index]).collect();
        format!(", key ({})", names.join(", "))
    });
    format!("{} {:?} ({}){}", source.name, source.kind, columns.join(", "), keys.collect::<String>())
}
