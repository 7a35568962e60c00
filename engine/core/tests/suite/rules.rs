//! Goldens of the rules: `corpus/rules/*.test`.
//!
//! A case is a heading `## name`, a plan in its text form, and outputs, each a line `=> what` and the text it must be:
//!
//! - `=> change s0 s1`: the change of the plan when these sources (`s`) and stages (`g`) changed;
//! - `=> normalized`: the plan after normalisation;
//! - `=> stages`: the stages it is cut into after normalisation, and the fragment over them;
//! - `=> rounds s0`: for each recursion among the stages, the change of derivations when these changed, and what the
//!   change of a round adds to the next one;
//! - `=> spans`: of each window stage, how far a change reaches in its partition;
//! - `=> states`: the statements that create state tables and indexes;
//! - `=> filling`: the program that fills empty states and the empty stream table;
//! - `=> program s0 s1`: the program for a change of these sources;
//! - `=> careful s0 s1`: the change that is tried after that for these sources has raised;
//! - `=> polled s0`: state tables, the program that fills them, the look and the program for a change, where these sources
//!   are materialized views;
//! - `=> recomputation`: the program that rebuilds states and applies the difference.
//!
//! `REWRITE_RULES=1` writes what the rules make today into the files; the difference is then reviewed.

use pg_trickle_core::delta::{Changed, Sharing, differentiate, projections_last};
use pg_trickle_core::expr::{Expr, Piece};
use pg_trickle_core::maintain::{self, ApplyOptions, Maintenance, Names, table_ddl};
use pg_trickle_core::normalize::normalize;
use pg_trickle_core::plan::Plan;
use pg_trickle_core::plan::text::parse;
use pg_trickle_core::program::{Action, Program, Step};
use pg_trickle_core::query::{SourceColumn, SourceInfo, SourceKind, Unsupported};
use pg_trickle_core::stage::recursion::carry;
use pg_trickle_core::stage::window::span::{Distance, span};
use pg_trickle_core::stage::{Operator, cut};
use pg_trickle_core::types::{SourceId, StageId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/rules")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("corpus/rules is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    files
}

#[test]
fn rules_make_what_their_goldens_say() {
    let rewrite = std::env::var_os("REWRITE_RULES").is_some();
    let mut differing = vec![];
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let made = remade(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if made != text {
            if rewrite {
                std::fs::write(&file, &made).expect("a writable file");
            } else {
                differing.push(format!("{}\n{}", file.display(), first_difference(&text, &made)));
            }
        }
    }
    assert!(differing.is_empty(), "REWRITE_RULES=1 rewrites these goldens:\n{}", differing.join("\n"));
}

/// Every operator page has goldens of its name.
#[test]
fn every_operator_page_has_goldens() {
    let pages = std::fs::read_dir(folder().join("../../docs/operators")).expect("docs/operators is there");
    for page in pages {
        let path = page.expect("a readable entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let golden = folder().join(format!("{name}.test"));
        assert!(name == "README" || golden.exists(), "{} has no {}", path.display(), golden.display());
    }
}

/// The file with every output made anew.
fn remade(text: &str) -> Result<String, String> {
    let mut made = String::new();
    let mut plan_text = String::new();
    let mut in_output = false;
    for line in text.lines() {
        if let Some(what) = line.strip_prefix("=> ") {
            let plan = parse(&plan_text).map_err(|error| format!("{error} of the plan\n{plan_text}"))?;
            let output = output(&plan, what)?;
            let _ = write!(made, "{line}\n{}\n\n", output.trim_end());
            in_output = true;
            continue;
        }
        if line.starts_with("## ") {
            plan_text.clear();
            in_output = false;
            made.push_str(line);
            made.push('\n');
            continue;
        }
        if in_output {
            continue;
        }
        if !line.starts_with('#') {
            plan_text.push_str(line);
            plan_text.push('\n');
        }
        made.push_str(line);
        made.push('\n');
    }
    Ok(made.trim_end().to_owned() + "\n")
}

fn output(plan: &Plan, what: &str) -> Result<String, String> {
    let made = match what.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["change", changed @ ..] => change(plan, &named(changed)?, Sharing::default()),
        ["careful", changed @ ..] => {
            let sharing = Sharing { is_careful: true, ..Sharing::default() };
            change(&projections_last(plan), &named(changed)?, sharing)
        }
        ["normalized"] => normalize(plan).map(|plan| plan.to_string()),
        ["stages"] => stages(plan),
        ["spans"] => spans(plan),
        ["polled", polled @ ..] => {
            let polled = named(polled)?.sources;
            maintained(plan, &polled).and_then(|made| self::polled(&made, &polled))
        }
        ["states"] => states(plan),
        ["filling"] => {
            maintained(plan, &BTreeSet::new()).and_then(|made| made.populate()).map(|program| text(&program))
        }
        ["program", changed @ ..] => {
            let sources = named(changed)?.sources;
            maintained(plan, &BTreeSet::new())
                .and_then(|made| made.delta(&sources, ApplyOptions::default()))
                .map(|program| text(&program))
        }
        ["recomputation"] => maintained(plan, &BTreeSet::new())
            .and_then(|made| made.recompute(ApplyOptions::default()))
            .map(|program| text(&program)),
        ["rounds", changed @ ..] => rounds(plan, &named(changed)?),
        _ => return Err(format!("`=> {what}` is not an output")),
    };
    Ok(made.unwrap_or_else(|refusal| format!("unsupported {}: {}", refusal.construct.name, refusal.reason)))
}

fn named(names: &[&str]) -> Result<Changed, String> {
    let mut changed = Changed::default();
    for name in names {
        if *name == "time" {
            changed.time = true;
            continue;
        }
        let (kind, number) = name.split_at(1);
        let number =
            number.parse().map_err(|_| format!("`{name}` is neither a source nor a stage nor `time`"))?;
        match kind {
            "s" => changed.sources.insert(SourceId(number)),
            "g" => changed.stages.insert(StageId(number)),
            _ => return Err(format!("`{name}` is neither a source nor a stage")),
        };
    }
    Ok(changed)
}

fn change(plan: &Plan, changed: &Changed, mut sharing: Sharing) -> Result<String, Unsupported> {
    let change = differentiate(plan, changed, &mut sharing)?;
    let mut text = String::new();
    for (index, plan) in sharing.plans.iter().enumerate() {
        let _ = writeln!(text, "// shared x{index}\n{plan}\n//");
    }
    let _ = write!(text, "{}", change.map_or("// nothing".to_owned(), |change| change.to_string()));
    Ok(text)
}

fn stages(plan: &Plan) -> Result<String, Unsupported> {
    let staged = cut(&normalize(plan)?)?;
    let mut text = String::new();
    for stage in &staged.stages {
        let _ = writeln!(text, "// stage g{}\n{}\n//", stage.id.0, stage.plan());
    }
    let _ = write!(text, "// result\n{}", staged.result);
    Ok(text)
}

fn spans(plan: &Plan) -> Result<String, Unsupported> {
    let mut text = String::new();
    for stage in cut(&normalize(plan)?)?.stages {
        let Operator::Window { order, calls, .. } = &stage.operator else { continue };
        let input = stage.input.columns();
        let _ = match span(calls, order, &input, !stage.input.keys().is_empty()) {
            Ok(span) => {
                let columns = span.positions.columns.iter().map(|column| format!("#{column}"));
                let distances = |distances: &[Distance]| {
                    let all: Vec<String> = distances.iter().map(distance).collect();
                    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
                };
                let carried = calls.iter().zip(&span.carried);
                let carried = carried
                    .filter_map(|(call, carry)| Some(format!("; {} carries {:?}", call.name, (*carry)?)));
                writeln!(
                    text,
                    "// g{} by {}: back {}, ahead {}{}",
                    stage.id.0,
                    columns.collect::<Vec<_>>().join(", "),
                    distances(&span.back),
                    distances(&span.ahead),
                    carried.collect::<String>()
                )
            }
            Err(reason) => writeln!(text, "// g{}: whole partitions: {reason}", stage.id.0),
        };
    }
    Ok(text)
}

fn distance(distance: &Distance) -> String {
    match distance {
        Distance::OneRow => "1 row".to_owned(),
        Distance::Rows(count) => format!("`{}` rows", text_of(count)),
        Distance::Signed { distance, is_reversed } => {
            format!("{}`{}` rows", if *is_reversed { "-" } else { "" }, text_of(distance))
        }
        Distance::Groups(count) => format!("`{}` groups", text_of(count)),
        Distance::Values(distance) => format!("`{}` of the key", text_of(distance)),
    }
}

fn text_of(expr: &Expr) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    expr.pieces.iter().map(text).collect()
}

/// What is done for polled sources.
fn polled(made: &Maintenance, sources: &BTreeSet<SourceId>) -> Result<String, Unsupported> {
    let looks = made.polls().into_iter().map(|(_, step)| step).collect();
    let programs = [
        made.populate()?,
        Program { steps: looks, output: None },
        made.delta(sources, ApplyOptions::default())?,
    ];
    let programs: Vec<String> = programs.iter().map(text).collect();
    Ok(format!("{}\n{}", made.state_ddl().join("\n"), programs.concat()))
}

/// The maintenance of a plan over tables `public.s0`, `public.s1` .. without keys and indexes; those in `polled` are
/// materialized views.
fn maintained(plan: &Plan, polled: &BTreeSet<SourceId>) -> Result<Maintenance, Unsupported> {
    let mut columns: BTreeMap<u32, BTreeMap<usize, SourceColumn>> = BTreeMap::new();
    plan.visit(&mut |part| {
        if let Plan::Source(source) = part {
            let known = columns.entry(source.source.0).or_default();
            for (&ordinal, column) in source.ordinals.iter().zip(&source.columns) {
                known.insert(ordinal, SourceColumn { attnum: ordinal as i16 + 1, column: column.clone() });
            }
        }
    });
    let count = columns.keys().max().map_or(0, |last| last + 1);
    let sources: Vec<SourceInfo> = (0..count)
        .map(|index| (index, columns.remove(&index).unwrap_or_default()))
        .map(|(index, columns)| SourceInfo {
            relid: index + 1,
            name: format!("public.s{index}"),
            kind: match polled.contains(&SourceId(index)) {
                true => SourceKind::MaterializedView,
                false => SourceKind::Table,
            },
            columns: columns.into_values().collect(),
            keys: vec![],
            indexes: vec![],
        })
        .collect();
    let names = Names { stream_table: "public.st".to_owned(), state_prefix: "state.s_".to_owned() };
    maintain::plan(plan, &sources, &names, &[])
}

fn states(plan: &Plan) -> Result<String, Unsupported> {
    let made = maintained(plan, &BTreeSet::new())?;
    let names = Names { stream_table: "public.st".to_owned(), state_prefix: "state.s_".to_owned() };
    Ok([made.state_ddl(), table_ddl(made.shape(), &names)].concat().join("\n"))
}

/// A program as text: for each step what it is for, on whose behalf and when it runs, and its SQL.
fn text(program: &Program) -> String {
    steps(&program.steps)
}

fn steps(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let when =
            step.when.as_ref().map_or_else(String::new, |relation| format!(", if {relation} has rows"));
        let _ = writeln!(text, "// {} ({:?}{when})", step.label, step.identity);
        let _ = match &step.action {
            Action::Select { into, sql, .. } => writeln!(text, "{into} :=\n{sql}"),
            Action::Modify { sql, expect: None, .. } => writeln!(text, "{sql}"),
            Action::Modify { sql, expect: Some(expect), .. } => writeln!(text, "{sql}\n// rows: {expect}"),
            Action::Check { sql, message } => writeln!(text, "{sql}\n// else: {message}"),
            Action::Append { into, sql } => writeln!(text, "{into} +=\n{sql}"),
            Action::Rounds { next, round, grows, steps } => {
                let steps = self::steps(steps);
                writeln!(text, "{round} :=\n{next}\n// limited if {grows}\n{steps}// next round")
            }
        };
    }
    text
}

fn rounds(plan: &Plan, changed: &Changed) -> Result<String, Unsupported> {
    let mut text = String::new();
    for stage in &cut(&normalize(plan)?)?.stages {
        let Operator::Recursion { step, .. } = &stage.operator else { continue };
        let mut sharing = Sharing::default();
        let derived = carry::derived_change(&stage.input, step, stage.id, changed, &mut sharing)?;
        for (index, plan) in sharing.plans.iter().enumerate() {
            let _ = writeln!(text, "// shared x{index}\n{plan}\n//");
        }
        let shown = |plan: Option<Plan>| plan.map_or("// nothing".to_owned(), |plan| plan.to_string());
        let _ = writeln!(text, "// derivations of g{}\n{}\n//", stage.id.0, shown(derived));
        let _ = writeln!(text, "// next round\n{}", shown(carry::next_change(step, stage.id)?));
    }
    Ok(text)
}

fn first_difference(old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    format!("  line {}\n  - {}\n  + {}", line + 1, at(old), at(new))
}
