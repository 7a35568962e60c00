//! What must hold between a plan, its change and its rewritings, and how a violation is told.
//!
//! The functions under test come in as arguments: laws judge the rules of `pg_trickle_core` and, to show that they can
//! fail, broken variants of them.

use crate::eval::{Env, eval};
use crate::generate::World;
use crate::recursion::{self, Failure};
use crate::scalar::EvalError;
use crate::zset::ZSet;
use pg_trickle_core::delta::{Changed, Sharing};
use pg_trickle_core::plan::{DeltaOf, Plan};
use pg_trickle_core::query::Unsupported;
use pg_trickle_core::stage::cut;
use pg_trickle_core::types::StageId;
use std::fmt;

/// A differentiation: the change of a plan, or None if nothing it reads has changed.
pub type Differentiate<'a> = &'a dyn Fn(&Plan, &Changed, &mut Sharing) -> Result<Option<Plan>, Unsupported>;

/// A law that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With the number of rows that the law was about.
    Held(usize),
    /// The query itself raises an error, or the interpreter does not know a construct, so there is nothing to compare.
    Discarded(EvalError),
    /// The rules say why they do not cover the plan.
    Refused(Unsupported),
}

/// A law that did not hold, with all that is needed to see it.
#[derive(Debug, Clone)]
pub struct Violation {
    pub law: &'static str,
    pub details: Vec<(String, String)>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "VIOLATED: {}", self.law)?;
        self.details.iter().try_for_each(|(title, text)| writeln!(f, "-- {title}\n{text}"))
    }
}

/// `eval(dQ) = eval(Q, new) - eval(Q, old)`; and what is said not to change does not.
pub fn delta(plan: &Plan, world: &World, differentiate: Differentiate) -> Result<Outcome, Violation> {
    let violation = |more: Vec<(&str, String)>| {
        let mut details = vec![("plan".to_owned(), show(plan)), ("data".to_owned(), world.to_string())];
        details.extend(more.into_iter().map(|(title, text)| (title.to_owned(), text)));
        Violation { law: "eval(dQ) = eval(Q, new) - eval(Q, old)", details }
    };
    let mut env = world.new_state();
    let (old, new) = match (eval(plan, &world.old()), eval(plan, &env)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => return Ok(Outcome::Discarded(error)),
    };
    let expected = new.minus(&old);
    let mut sharing = Sharing::default();
    let change = match differentiate(plan, &world.changed(), &mut sharing) {
        Ok(change) => change,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let described = |change: &Plan| {
        let shared = sharing.plans.iter().enumerate();
        shared.map(|(index, plan)| format!("shared {index} =\n{}", show(plan))).collect::<String>()
            + &show(change)
    };
    let actual = match &change {
        None => Ok(ZSet::new()),
        Some(change) => eval_change(change, &sharing, &mut env),
    };
    let rules = change.as_ref().map_or("none".to_owned(), described);
    match actual {
        Ok(actual) if actual == expected => Ok(Outcome::Held(expected.len())),
        Ok(actual) => Err(violation(vec![
            ("change by the rules", rules),
            ("expected", expected.to_string()),
            ("actual", actual.to_string()),
            ("actual - expected", actual.minus(&expected).to_string()),
        ])),
        Err(EvalError::TooLarge) => Ok(Outcome::Discarded(EvalError::TooLarge)),
        Err(error) => Err(violation(vec![("change by the rules", rules), ("error", error.to_string())])),
    }
}

/// Evaluates shared changes in their order, then the change that reads them.
pub(crate) fn eval_change(change: &Plan, sharing: &Sharing, env: &mut Env) -> Result<ZSet, EvalError> {
    for (index, plan) in sharing.plans.iter().enumerate() {
        let rows = eval(plan, env)?;
        env.deltas.insert(DeltaOf::Shared(index as u32), rows);
    }
    eval(change, env)
}

/// A rewriting of plans.
pub type Rewrite<'a> = &'a dyn Fn(&Plan) -> Result<Plan, Unsupported>;

/// `eval(rewritten Q) = eval(Q)`, with the same types of columns.
///
/// Whether "more than one row" is raised may differ: a pushed filter removes rows before their subquery is looked at (as
/// PostgreSQL's own planner does), and a subquery that the query never comes to evaluate, because its outer side is
/// empty, may be evaluated by the rewritten plan (the product then falls back to the query itself, `design-review.md`
/// 6.3).
pub fn same_rows(plan: &Plan, env: &Env, rewrite: Rewrite) -> Result<Outcome, Violation> {
    let expected = match eval(plan, env) {
        Ok(rows) => rows,
        Err(error) => return Ok(Outcome::Discarded(error)),
    };
    let rewritten = match rewrite(plan) {
        Ok(rewritten) => rewritten,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let violation = |more: Vec<(&str, String)>| {
        let mut details = vec![("plan".to_owned(), show(plan)), ("rewritten".to_owned(), show(&rewritten))];
        for (source, rows) in &env.sources {
            details.push((format!("source {}", source.0), rows.to_string()));
        }
        details.extend(more.into_iter().map(|(title, text)| (title.to_owned(), text)));
        Violation { law: "eval(rewritten Q) = eval(Q)", details }
    };
    let types = |plan: &Plan| plan.columns().into_iter().map(|column| column.ty).collect::<Vec<_>>();
    if types(plan) != types(&rewritten) {
        return Err(violation(vec![("error", "the types of the columns differ".to_owned())]));
    }
    match eval(&rewritten, env) {
        Ok(actual) if actual == expected => Ok(Outcome::Held(expected.len())),
        Ok(actual) => Err(violation(vec![
            ("expected", expected.to_string()),
            ("actual", actual.to_string()),
            ("actual - expected", actual.minus(&expected).to_string()),
        ])),
        Err(error) if is_excused(&error) => Ok(Outcome::Discarded(error)),
        Err(error) => Err(violation(vec![("expected", expected.to_string()), ("error", error.to_string())])),
    }
}

/// Errors a rewritten plan may raise where the query does not; see [`same_rows`].
fn is_excused(error: &EvalError) -> bool {
    matches!(error, EvalError::TooLarge | EvalError::MoreThanOneRow)
}

/// The whole pipeline: evaluating stage by stage gives the plan's rows before and after the change; the change of each
/// stage's input by the rules is the difference of its inputs, given the changes of the stages below; and so is the
/// change of the result. A change raises "more than one row" only if a state does.
pub fn pipeline(
    plan: &Plan,
    world: &World,
    normalize: Rewrite,
    differentiate: Differentiate,
) -> Result<Outcome, Violation> {
    let (mut old, mut new) = (world.old(), world.new_state());
    let (old_rows, new_rows) = match (eval(plan, &old), eval(plan, &new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => return Ok(Outcome::Discarded(error)),
    };
    let staged = match normalize(plan).and_then(|plan| cut(&plan)) {
        Ok(staged) => staged,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let violation = |what: String, more: Vec<(&str, String)>| {
        let mut details = vec![("plan".to_owned(), show(plan))];
        for stage in &staged.stages {
            details.push((format!("stage {}", stage.id.0), show(&stage.plan())));
        }
        details.push(("result".to_owned(), show(&staged.result)));
        details.push(("data".to_owned(), world.to_string()));
        details.push(("wrong".to_owned(), what));
        details.extend(more.into_iter().map(|(title, text)| (title.to_owned(), text)));
        Violation { law: "stages and their changes make up the plan and its change", details }
    };
    let compare = |what: String, expected: &ZSet, actual: &ZSet| match actual == expected {
        true => Ok(()),
        false => Err(violation(
            what,
            vec![
                ("expected", expected.to_string()),
                ("actual", actual.to_string()),
                ("actual - expected", actual.minus(expected).to_string()),
            ],
        )),
    };
    let mut changed = world.changed();
    let mut sharing = Sharing::default();
    // No state so far holds a value that raises.
    let mut is_calm = true;
    let mut inputs: Vec<(String, &Plan, Option<Plan>)> = vec![];
    for stage in &staged.stages {
        inputs.push((format!("stage {}", stage.id.0), &stage.input, Some(stage.plan())));
    }
    inputs.push(("result".to_owned(), &staged.result, None));
    for (index, (name, input, output)) in inputs.into_iter().enumerate() {
        let both = |plan: &Plan, old: &Env, new: &Env| Ok((eval(plan, old)?, eval(plan, new)?));
        let (before, after) = match both(input, &old, &new) {
            Ok(states) => states,
            Err(error) if is_excused(&error) => return Ok(Outcome::Discarded(error)),
            Err(error) => return Err(violation(format!("input of {name}: {error}"), vec![])),
        };
        let change = match differentiate(input, &changed, &mut sharing) {
            Ok(change) => change,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let actual = match &change {
            None => Ok(ZSet::new()),
            Some(change) => eval_change(change, &sharing, &mut new),
        };
        let actual = match actual {
            Ok(actual) => actual,
            Err(error) if is_excused(&error) => return Ok(Outcome::Discarded(error)),
            Err(error) => return Err(violation(format!("change of {name}: {error}"), vec![])),
        };
        compare(format!("change of the input of {name}"), &after.minus(&before), &actual)?;
        let [mut at_once, at_once_before] =
            [&new, &old].map(|env| Env { looks_at_once: true, ..env.clone() });
        is_calm &= both(input, &at_once_before, &at_once).is_ok();
        if let (true, Some(change)) = (is_calm, &change)
            && let Err(error @ EvalError::MoreThanOneRow) = eval_change(change, &sharing, &mut at_once)
        {
            let what = format!("the change of the input of {name} meets rows that are in no state: {error}");
            return Err(violation(what, vec![("change by the rules", show(change))]));
        }
        let Some(output) = output else {
            compare("rows before the change".to_owned(), &old_rows, &before)?;
            compare("rows after the change".to_owned(), &new_rows, &after)?;
            return Ok(Outcome::Held(actual.len()));
        };
        let (before, after) = match both(&output, &old, &new) {
            Ok(states) => states,
            Err(error) if is_excused(&error) => return Ok(Outcome::Discarded(error)),
            Err(error) => return Err(violation(format!("output of {name}: {error}"), vec![])),
        };
        let id = StageId(index as u32);
        let mut is_changed = change.is_some();
        if let Some(recursive) = recursion::as_recursive(&output) {
            let envs = (&old, &mut new);
            match recursion::change(recursive, id, envs, &changed, &mut sharing, differentiate) {
                Ok(change) => {
                    is_changed = change.is_some();
                    let change = change.unwrap_or_default();
                    compare(format!("change of the rounds of {name}"), &after.minus(&before), &change)?;
                }
                Err(Failure::Eval(error)) if is_excused(&error) => return Ok(Outcome::Discarded(error)),
                Err(Failure::Eval(error)) => {
                    return Err(violation(format!("rounds of {name}: {error}"), vec![]));
                }
                Err(Failure::Refused(refusal)) => return Ok(Outcome::Refused(refusal)),
                Err(Failure::Wrong(what)) => return Err(violation(format!("{name}: {what}"), vec![])),
            }
        }
        if is_changed {
            changed.stages.insert(id);
            new.deltas.insert(DeltaOf::Stage(id), after.minus(&before));
        } else {
            compare(format!("{name} is said not to change, its output"), &before, &after)?;
        }
        old.stages.insert(id, before);
        new.stages.insert(id, after);
    }
    Ok(Outcome::Held(0))
}

/// What [`Plan::columns`] and [`Plan::keys`] claim is true of the rows: NULLs, numeric scales, widths, keys.
pub fn derived_properties(plan: &Plan, env: &Env) -> Result<Outcome, Violation> {
    use crate::value::{Value, classes};
    let rows = match eval(plan, env) {
        Ok(rows) => rows,
        Err(error) => return Ok(Outcome::Discarded(error)),
    };
    let violation = |claim: String| Violation {
        law: "derived properties are true of the rows",
        details: vec![
            ("claim".to_owned(), claim),
            ("plan".to_owned(), show(plan)),
            ("rows".to_owned(), rows.to_string()),
        ],
    };
    let columns = plan.columns();
    for (row, _) in rows.iter() {
        if row.len() != columns.len() {
            return Err(violation(format!("{} columns", columns.len())));
        }
        for (position, (value, column)) in row.iter().zip(&columns).enumerate() {
            if value.is_null() && !column.nullable {
                return Err(violation(format!("column {position} is not NULL")));
            }
            if let (Value::Numeric(value), Some(scale)) = (value, column.fixed_scale)
                && value.scale != u32::from(scale)
            {
                return Err(violation(format!("column {position} has scale {scale}")));
            }
        }
    }
    for key in plan.keys() {
        let mut seen = std::collections::BTreeSet::new();
        for (row, weight) in rows.iter() {
            let values: Vec<Value> = key.iter().map(|&position| row[position].clone()).collect();
            if weight != 1 || !seen.insert(classes(&values)) {
                return Err(violation(format!("columns {key:?} are a key")));
            }
        }
    }
    Ok(Outcome::Held(rows.len()))
}

/// The plan as text.
fn show(plan: &Plan) -> String {
    plan.to_string()
}
