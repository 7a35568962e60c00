//! How a stream table is maintained, for people and for tools.

use crate::catalog::definition::{self, StreamTable};
use crate::error::Result;
use crate::pg::exec::Executor;
use crate::refresh::compiled;
use pg_trickle_core::maintain::{ApplyOptions, Work};
use pg_trickle_core::plan::Plan;
use pg_trickle_core::program::Program;
use pg_trickle_core::query::SourceInfo;
use pg_trickle_core::stage::polled::is_polled;
use pg_trickle_core::types::SourceId;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Everything worth saying, in order.
pub struct Explanation {
    name: String,
    mode: &'static str,
    effective_mode: &'static str,
    reason: Option<String>,
    schedule: String,
    original_query: String,
    query: String,
    key: Option<Vec<String>>,
    state_tables: Vec<String>,
    /// The query as the front end made it of the text: its plan, and what the plan knows of its sources.
    analyzed: Option<Value>,
    /// The plan of the result over stages and sources, and that of each stage.
    plan: Option<String>,
    stages: Vec<String>,
    sources: Vec<SourceExplanation>,
}

struct SourceExplanation {
    name: String,
    captured: bool,
    /// Its changes are found by comparing it with a copy.
    polled: bool,
    columns: Vec<String>,
    /// How the work of a refresh after a change of this source grows, and why.
    work: Option<Work>,
    /// Steps of the program for a change of this source alone: label and SQL.
    steps: Vec<(String, String)>,
}

/// Explains a stream table. The caller has checked that the user may see its program.
pub fn explain(executor: &Executor, stream_table: &StreamTable) -> Result<Explanation> {
    let compiled = compiled::load(executor, stream_table)?;
    let dependencies = definition::dependencies(executor, stream_table.pgt_id);
    let differential = stream_table.runs_differentially();
    let sources = compiled.sources.iter().enumerate().map(|(index, source)| {
        let changed = BTreeSet::from([SourceId(index as u32)]);
        let program =
            if differential { compiled.delta(&changed, ApplyOptions::default()).ok() } else { None };
        let work = if differential {
            compiled.maintenance.as_ref().ok().and_then(|plan| plan.work(SourceId(index as u32)).ok())
        } else {
            None
        };
        SourceExplanation {
            work,
            name: source.name.clone(),
            captured: dependencies
                .iter()
                .any(|dependency| dependency.relid == source.relid && dependency.is_captured),
            polled: differential && is_polled(source),
            columns: source.columns.iter().map(|column| column.column.name.clone()).collect(),
            steps: program.map_or_else(Vec::new, |program| steps(&program)),
        }
    });
    let staged = compiled.maintenance.as_ref().ok().filter(|_| differential).map(|plan| plan.staged());
    let names = |key: &Vec<usize>| {
        key.iter().map(|&position| compiled.shape.columns[position].name.clone()).collect()
    };
    Ok(Explanation {
        name: stream_table.display_name(),
        mode: stream_table.mode.as_str(),
        effective_mode: if differential { "DIFFERENTIAL" } else { "FULL" },
        reason: stream_table.downgrade_reason.clone(),
        schedule: stream_table.schedule.clone(),
        original_query: stream_table.original_query.clone(),
        query: compiled.query_sql.clone(),
        key: stream_table.key.as_ref().map(names),
        state_tables: stream_table.state_tables.clone(),
        analyzed: compiled.plan.as_ref().map(|plan| analyzed(plan, &compiled.sources)),
        plan: staged.map(|staged| staged.result.to_string()),
        stages: staged.map_or_else(Vec::new, |staged| {
            staged.stages.iter().map(|stage| stage.plan().to_string()).collect()
        }),
        sources: sources.collect(),
    })
}

/// A plan with its sources, from which the core makes every program without a server.
fn analyzed(plan: &Plan, sources: &[SourceInfo]) -> Value {
    json!({ "plan": plan.to_string(), "sources": sources })
}

fn steps(program: &Program) -> Vec<(String, String)> {
    let statements = program.statements().into_iter();
    statements.map(|(label, sql)| (label.to_owned(), sql.to_owned())).collect()
}

impl Explanation {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("stream table {}\n", self.name);
        let mut line = |label: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label}: {value}");
        };
        line("mode", &format!("{} (effective {})", self.mode, self.effective_mode));
        if let Some(reason) = &self.reason {
            line("not differential because", reason);
        }
        line("schedule", &self.schedule);
        line("rows are found by", &self.key_text());
        if !self.state_tables.is_empty() {
            line("state", &self.state_tables.join(", "));
        }
        line("query", &format!("\n{}", self.query));
        for source in &self.sources {
            let capture = match (source.captured, source.polled) {
                (true, _) => "captured",
                (false, true) => "polled",
                (false, false) => "not captured",
            };
            line("\nsource", &format!("{} ({capture}): {}", source.name, source.columns.join(", ")));
            if let Some(work) = &source.work {
                line("work", work.class.words());
                for reason in &work.reasons {
                    line("  because", reason);
                }
            }
            for (label, sql) in &source.steps {
                line(&format!("-- {label}"), &format!("\n{sql}"));
            }
        }
        text
    }

    fn key_text(&self) -> String {
        match &self.key {
            None => "their whole content (a bag)".to_owned(),
            Some(key) if key.is_empty() => "being the only one".to_owned(),
            Some(key) => format!("key ({})", key.join(", ")),
        }
    }

    /// For tools.
    pub fn json(&self) -> String {
        let sources: Vec<Value> = self
            .sources
            .iter()
            .map(|source| {
                let steps: Vec<Value> =
                    source.steps.iter().map(|(label, sql)| json!({"label": label, "sql": sql})).collect();
                let work = source.work.as_ref();
                let work = work.map(|work| json!({"class": work.class.words(), "reasons": work.reasons}));
                json!({
                    "name": source.name, "captured": source.captured, "polled": source.polled,
                    "columns": source.columns, "work": work,
                    "steps": steps,
                })
            })
            .collect();
        json!({
            "stream_table": self.name, "mode": self.mode, "effective_mode": self.effective_mode,
            "reason": self.reason, "schedule": self.schedule, "original_query": self.original_query,
            "query": self.query, "key": self.key, "state_tables": self.state_tables,
            "analyzed": self.analyzed, "plan": self.plan, "stages": self.stages,
            "sources": sources,
        })
        .to_string()
    }
}
