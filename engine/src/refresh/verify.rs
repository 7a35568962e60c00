//! Comparing a stream table with a recomputation.
//!
//! Contents are right at the frontier, not at the moment of looking: so the stream table is first refreshed to a
//! snapshot, then compared under it (`design-review.md` 17).

use crate::catalog::definition::{self, StreamTable};
use crate::catalog::known;
use crate::catalog::progress;
use crate::error::{Error, Result};
use crate::pg::exec::Executor;
use crate::pg::plans::Planning;
use crate::pg::value::Param;
use crate::pg::{security, xact};
use crate::refresh::compiled::{self, Compiled};
use crate::refresh::wave::{self, OnFailure, Options, Wave};
use crate::refresh::{Initiator, member, run};
use pg_trickle_core::apply::{OUTPUT, difference, output_step};
use pg_trickle_core::maintain::{ApplyOptions, Maintenance};
use pg_trickle_core::program::{Action, Program};
use pg_trickle_core::sql::column_name;
use pg_trickle_core::sql::likeness::{self, Likeness};
use pg_trickle_core::stage::Operator;

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
    let known = known::resolve("name", name, known::fixed_view().as_ref())?;
    definition::check_owner(&known.stream_table)?;
    let targets = [known.stream_table.pgt_id];
    let options = Options { on_failure: OnFailure::Raise, force: false };
    let wave = wave::begin(&targets, Initiator::Manual)?;
    wave.run(&targets, options)?;
    // The refresh may have changed the key or the meaning of the definition.
    let known = known::read(&wave.session.executor, known.stream_table.pgt_id)
        .ok_or_else(|| Error::NoSuchStreamTable { name: known.stream_table.display_name() })?;
    let stream_table = &known.stream_table;
    let compiled = compiled::load(&wave.session.executor, stream_table)?;
    let mut findings = vec![contents(&wave.session.executor, stream_table, &compiled)?];
    findings.extend(states(&wave, stream_table, &compiled)?);
    if repair && findings.iter().any(|finding| finding.missing + finding.surplus > 0) {
        member::refresh(&wave.session, &known, true)?;
        for finding in &mut findings {
            if finding.missing + finding.surplus > 0 {
                finding.detail = Some("rebuilt".to_owned());
            }
        }
    }
    Ok(findings)
}

/// The stream table against its query; where that leaves a choice to the server, also against the choice that is kept.
fn contents(executor: &Executor, stream_table: &StreamTable, compiled: &Compiled) -> Result<Finding> {
    let finding = contents_by(executor, stream_table, compiled, &compiled.query_sql)?;
    if finding.missing + finding.surplus == 0 {
        return Ok(finding);
    }
    let Some(query) = compiled.tie_breaking_query() else { return Ok(finding) };
    let kept = contents_by(executor, stream_table, compiled, &query)?;
    if kept.missing + kept.surplus > 0 {
        return Ok(finding);
    }
    Ok(Finding { detail: Some("equal with ties in the order in which they are kept".to_owned()), ..kept })
}

/// The stream table against a query for its contents. Rows are compared by identity; if that shows a difference, once
/// more with values that only represent an equality class compared by `=` and floats to a tolerance.
fn contents_by(
    executor: &Executor,
    stream_table: &StreamTable,
    compiled: &Compiled,
    query: &str,
) -> Result<Finding> {
    let mut finding = difference_from(executor, stream_table, compiled, query)?;
    if finding.missing + finding.surplus > 0 {
        let columns: Vec<(String, Likeness)> = compiled
            .shape
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (column_name(index), Likeness::of_result(&column.ty)))
            .collect();
        let copies = |sign: &str| {
            format!(
                "(SELECT o.* FROM {OUTPUT} AS o, LATERAL pg_catalog.generate_series(1::pg_catalog.int8, {sign}o.w))"
            )
        };
        let query = likeness::difference(&columns, &copies(""), &copies("-"), None);
        let tolerant =
            security::run_as(stream_table.owner, &stream_table.settings, || count(executor, &query));
        if tolerant.missing + tolerant.surplus == 0 {
            finding =
                Finding { detail: Some("equal up to representation of equal values".to_owned()), ..tolerant };
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
    let progress = progress::load(executor, stream_table.pgt_id, wave.session.home);
    if !progress.is_some_and(|progress| progress.state_is_valid) {
        // The defining query has been run in place of a program that raised: until the next refresh, which rebuilds
        // them, nobody reads the states.
        let detail = Some("not kept since the last FULL refresh".to_owned());
        return Ok(vec![Finding { check: "states".to_owned(), missing: 0, surplus: 0, detail }]);
    }
    let rebuild = maintenance.recompute(ApplyOptions::default()).map_err(member::not_differential)?;
    let fill = Program {
        steps: rebuild
            .steps
            .into_iter()
            .take_while(|step| !matches!(&step.action, Action::Select { into, .. } if into == OUTPUT))
            .collect(),
        output: None,
    };
    let states: Vec<State> =
        stream_table.state_tables.iter().map(|table| State::new(executor, maintenance, table)).collect();
    let mut findings = Ok(vec![]);
    // The error is the rollback that was asked for, or what raised before.
    let undone = xact::subtransaction(|| {
        for (index, state) in states.iter().enumerate() {
            security::run_as(stream_table.owner, &stream_table.settings, || {
                executor.keep_as_is(&before(index), &state.rows())
            });
        }
        findings = run::run(executor, stream_table, &fill, Planning::Once).map(|_| {
            let compare = |(index, state): (usize, &State)| {
                let query = state.difference(&before(index));
                let counted =
                    security::run_as(stream_table.owner, &stream_table.settings, || count(executor, &query));
                Finding { check: format!("state {}", state.table), ..counted }
            };
            states.iter().enumerate().map(compare).collect()
        });
        xact::roll_back();
    });
    executor.clear_relations();
    match undone {
        Err(failure) if !failure.is_deliberate() => Err(failure.into()),
        _ => findings,
    }
}

/// A state table and how its columns are compared.
struct State<'a> {
    table: &'a str,
    columns: Vec<(String, Likeness)>,
    is_prefix: bool,
}

impl<'a> State<'a> {
    fn new(executor: &Executor, maintenance: &Maintenance, table: &'a str) -> State<'a> {
        let stage = maintenance.stage_of(table);
        let is_prefix = stage.is_some_and(|stage| matches!(stage.operator, Operator::TopK { .. }));
        let names = executor.fixed_rows(
            "SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute AS a \
             WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass \
                 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[Param::text(table)],
        );
        let columns = names.iter().map(|row| row.text(0));
        let columns = columns
            // Whether a prefix is complete depends on how long it happens to be.
            .filter(|name| !(is_prefix && name == "complete"))
            .map(|name| {
                let likeness = maintenance.likeness(table, &name);
                (name, likeness)
            })
            .collect();
        State { table, columns, is_prefix }
    }

    fn rows(&self) -> String {
        format!("SELECT s.* FROM {} AS s", self.table)
    }

    /// Signed counts of the rows only one of two states has. A top-k state is a prefix of its group, longer or shorter
    /// by its history: there, rows that only one side has are a difference only if the other side has some too.
    fn difference(&self, before: &str) -> String {
        let group = self.is_prefix.then_some("h");
        let rows = likeness::difference(&self.columns, self.table, before, group);
        if !self.is_prefix {
            return rows;
        }
        format!(
            "SELECT d.w FROM ({rows}) AS d WHERE EXISTS ( \
             SELECT 1 FROM ({rows}) AS o WHERE o.grp OPERATOR(pg_catalog.=) d.grp \
                 AND pg_catalog.sign(o.w::pg_catalog.float8) OPERATOR(pg_catalog.=) -pg_catalog.sign(d.w::pg_catalog.float8) \
                 AND o.w OPERATOR(pg_catalog.<>) 0)"
        )
    }
}

fn before(index: usize) -> String {
    format!("pgt_state_before_{index}")
}
