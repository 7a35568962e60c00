//! Comparing a stream table with a recomputation.
//!
//! Contents are right at the frontier, not at the moment of looking: so the stream table is first refreshed to a
//! snapshot, then compared under it (`design-review.md` 17).

use crate::catalog::definition::{self, StreamTable};
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::snapshot::Snapshot;
use crate::pg::{security, xact};
use crate::refresh::compiled::{self, Compiled};
use crate::refresh::wave::{self, OnFailure, Options, Wave};
use crate::refresh::{Initiator, member, run};
use pg_trickle_core::apply::{OUTPUT, difference, output_step};
use pg_trickle_core::maintain::ApplyOptions;
use pg_trickle_core::program::{Action, Program};
use pg_trickle_core::stage::Operator;
use pg_trickle_core::types::Arithmetic;

/// The outcome of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: String,
    pub missing: i64,
    pub surplus: i64,
    pub detail: Option<String>,
}

/// Refreshes the stream table and compares contents and states; with `repair`, rebuilds it if anything differs.
pub fn verify(name: Option<&str>, repair: bool) -> Result<Vec<Finding>> {
    let stream_table = definition::resolve(&Executor::new(Snapshot::for_refresh()), "name", name)?;
    definition::check_owner(&stream_table)?;
    let targets = [stream_table.pgt_id];
    let options = Options { on_failure: OnFailure::Raise, force: false };
    let wave = wave::begin(&targets, Initiator::Manual)?;
    wave.run(&targets, options)?;
    let stream_table = definition::load(&wave.session.executor, stream_table.pgt_id)
        .ok_or_else(|| Error::NoSuchStreamTable { name: stream_table.display_name() })?;
    let compiled = compiled::load(&wave.session.executor, &stream_table)?;
    let mut findings = vec![contents(&wave.session.executor, &stream_table, &compiled)?];
    findings.extend(states(&wave, &stream_table, &compiled)?);
    if repair && findings.iter().any(|finding| finding.missing + finding.surplus > 0) {
        member::refresh(&wave.session, &stream_table, true)?;
        for finding in &mut findings {
            if finding.missing + finding.surplus > 0 {
                finding.detail = Some("rebuilt".to_owned());
            }
        }
    }
    Ok(findings)
}

/// The stream table against its query. Rows are compared by identity; if that shows a difference, once more with
/// values that only represent an equality class compared by `=` and floats to seven digits.
fn contents(executor: &Executor, stream_table: &StreamTable, compiled: &Compiled) -> Result<Finding> {
    let columns = &compiled.shape.columns;
    let mut finding = difference_from(executor, stream_table, compiled, &compiled.query_sql)?;
    if finding.missing + finding.surplus > 0 {
        let value = |index: usize| {
            let name = format!("o.c{}", index + 1);
            let ty = &columns[index].ty;
            match ty.arithmetic {
                Arithmetic::Float => format!("pg_catalog.float4({name}::pg_catalog.float8)"),
                _ if ty.ordered => name,
                _ => format!("pgtrickle.image({name})"),
            }
        };
        let groups: Vec<String> = (0..columns.len()).map(value).collect();
        let grouping =
            if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
        let tolerant = security::run_as(stream_table.owner, &stream_table.settings, || {
            count(
                executor,
                &format!("SELECT pg_catalog.sum(o.w)::pg_catalog.int8 AS w FROM {OUTPUT} AS o{grouping}"),
            )
        });
        if tolerant.missing + tolerant.surplus == 0 {
            finding =
                Finding { detail: Some("equal up to representation of equal values".to_owned()), ..tolerant };
        } else if let Some(query) = compiled.tie_breaking_query() {
            executor.clear_relations();
            let kept = difference_from(executor, stream_table, compiled, &query)?;
            if kept.missing + kept.surplus == 0 {
                let detail = "equal with ties in the order in which they are kept".to_owned();
                finding = Finding { detail: Some(detail), ..kept };
            }
        }
    }
    executor.clear_relations();
    Ok(finding)
}

/// The stream table against a query for its contents. The difference stays in [`OUTPUT`].
fn difference_from(
    executor: &Executor,
    stream_table: &StreamTable,
    compiled: &Compiled,
    query: &str,
) -> Result<Finding> {
    let body = difference(&compiled.shape, &stream_table.names(), query);
    let step = output_step(&compiled.shape.columns, &body);
    run::run(
        executor,
        stream_table,
        &Program { steps: vec![step], output: Some(OUTPUT.to_owned()) },
        Planning::Once,
    )?;
    Ok(security::run_as(stream_table.owner, &stream_table.settings, || {
        count(executor, &format!("SELECT o.w AS w FROM {OUTPUT} AS o"))
    }))
}

/// Sums of the positive and negative weights of a query with a column `w`.
fn count(executor: &Executor, query: &str) -> Finding {
    let row = executor
        .row(
            &format!(
                "SELECT coalesce(pg_catalog.sum(d.w) FILTER (WHERE d.w OPERATOR(pg_catalog.>) 0), 0)::pg_catalog.int8, \
                 coalesce(-pg_catalog.sum(d.w) FILTER (WHERE d.w OPERATOR(pg_catalog.<) 0), 0)::pg_catalog.int8 \
                 FROM ({query}) AS d"
            ),
            &[],
        )
        .expect("an aggregate returns a row");
    Finding { check: "contents".to_owned(), missing: row.int(0), surplus: row.int(1), detail: None }
}

/// The states against states rebuilt from the sources: rebuilt in a subtransaction, compared, rolled back.
fn states(wave: &Wave, stream_table: &StreamTable, compiled: &Compiled) -> Result<Vec<Finding>> {
    let Ok(maintenance) = &compiled.maintenance else { return Ok(vec![]) };
    if stream_table.state_tables.is_empty() || !stream_table.runs_differentially() {
        return Ok(vec![]);
    }
    let executor = &wave.session.executor;
    let rebuild = maintenance.recompute(ApplyOptions::default()).map_err(member::not_differential)?;
    let fill = Program {
        steps: rebuild
            .steps
            .into_iter()
            .take_while(|step| !matches!(&step.action, Action::Select { into, .. } if into == OUTPUT))
            .collect(),
        output: None,
    };
    let is_prefix = |table: &str| {
        let stage = maintenance.stage_of(table);
        stage.is_some_and(|stage| matches!(stage.operator, Operator::TopK { .. }))
    };
    let mut findings = Ok(vec![]);
    // The error is the rollback that was asked for, or what raised before.
    let undone = xact::subtransaction(|| {
        for (index, table) in stream_table.state_tables.iter().enumerate() {
            let rows = state_rows(table, is_prefix(table));
            security::run_as(stream_table.owner, &stream_table.settings, || {
                executor.keep_as_is(&before(index), &rows)
            });
        }
        findings = run::run(executor, stream_table, &fill, Planning::Once).map(|_| {
            let compare = |(index, table): (usize, &String)| {
                let is_prefix = is_prefix(table);
                let query = difference_of_states(&state_rows(table, is_prefix), &before(index), is_prefix);
                let counted =
                    security::run_as(stream_table.owner, &stream_table.settings, || count(executor, &query));
                Finding { check: format!("state {table}"), ..counted }
            };
            stream_table.state_tables.iter().enumerate().map(compare).collect()
        });
        xact::roll_back();
    });
    executor.clear_relations();
    match undone {
        Err(failure) if !failure.is_deliberate() => Err(failure.into()),
        _ => findings,
    }
}

/// The rows of a state as text under the hash of their group. A top-k state says of each row whether its prefix is
/// complete, which depends on how long it happens to be.
fn state_rows(table: &str, is_prefix: bool) -> String {
    if is_prefix {
        format!(
            "SELECT s.h AS h, (pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.-) 'complete'::pg_catalog.text)\
             ::pg_catalog.text AS row FROM {table} AS s"
        )
    } else {
        format!("SELECT 0::pg_catalog.int8 AS h, s::pg_catalog.text AS row FROM {table} AS s")
    }
}

/// Signed counts of the rows only one of two states has. A top-k state is a prefix of its group, longer or shorter
/// by its history: there, rows that only one side has are a difference only if the other side has some too.
fn difference_of_states(after: &str, before: &str, is_prefix: bool) -> String {
    let rows = format!(
        "SELECT u.h, u.row, pg_catalog.sum(u.w)::pg_catalog.int8 AS w FROM ( \
         SELECT a.h, a.row, 1 AS w FROM ({after}) AS a \
         UNION ALL SELECT b.h, b.row, -1 FROM {before} AS b) AS u GROUP BY u.h, u.row"
    );
    if !is_prefix {
        return rows;
    }
    format!(
        "SELECT d.w FROM ({rows}) AS d WHERE EXISTS ( \
         SELECT 1 FROM ({rows}) AS o WHERE o.h OPERATOR(pg_catalog.=) d.h \
             AND pg_catalog.sign(o.w::pg_catalog.float8) OPERATOR(pg_catalog.=) -pg_catalog.sign(d.w::pg_catalog.float8) \
             AND o.w OPERATOR(pg_catalog.<>) 0)"
    )
}

fn before(index: usize) -> String {
    format!("pgt_state_before_{index}")
}
