//! The counterexamples of unnesting (`design-review.md` 7), each evaluated as written and as normalised.

use pg_trickle_core::delta::{Changed, Sharing, differentiate};
use pg_trickle_core::normalize::normalize;
use pg_trickle_core::plan::text::parse;
use pg_trickle_core::plan::{Delta, DeltaOf, Plan};
use pg_trickle_core::stage::cut;
use pg_trickle_core::types::SourceId;
use pg_trickle_oracle::eval::{Env, eval};
use pg_trickle_oracle::scalar::EvalError;
use pg_trickle_oracle::value::{Decimal, Row, Value};
use pg_trickle_oracle::zset::ZSet;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn numeric(text: &str) -> Value {
    Value::Numeric(Decimal::parse(text).expect("a number"))
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

/// The rows of `plan` over the given sources; what the normalised plan gives must be the same.
fn rows(plan: &str, sources: &[Vec<Row>]) -> Result<Vec<Row>, EvalError> {
    let plan = parse(plan).unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let mut env = Env::default();
    for (index, rows) in sources.iter().enumerate() {
        let rows = rows.iter().map(|row| (row.clone(), 1)).collect();
        env.sources.insert(SourceId(index as u32), rows);
    }
    let normal = normalize(&plan).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let (expected, actual) = (eval(&plan, &env), eval(&normal, &env));
    assert_eq!(actual, expected, "{normal}");
    let rows = expected?;
    Ok(rows.iter().flat_map(|(row, weight)| (0..weight).map(|_| row.clone())).collect())
}

/// 7.1: outer values that are equal but not identical stay apart.
#[test]
fn outer_values_are_told_apart_by_identity() {
    let plan = "
Project
  - t = `((#0::pg_catalog.text) || ':' || (#1::pg_catalog.text))` text nullable
  DependentJoin scalar
    - adds n int8 nullable
    Source s0
      - x @0 numeric nullable
    Aggregate by ()
      - n = count/2803 () int8
      Filter
        - `(#0 = ^1.0)` bool nullable strict equality
        Source s1
          - y @0 numeric nullable";
    let outer = vec![vec![numeric("1.5")], vec![numeric("1.50")], vec![Value::Null]];
    let expected = vec![vec![Value::Null], vec![text("1.50:1")], vec![text("1.5:1")]];
    let mut actual = rows(plan, &[outer, vec![vec![numeric("1.500")]]]).expect("rows");
    actual.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(actual, expected);
}

const GUARDED: &str = "
Project
  - v = `(CASE WHEN #1 THEN #2 END)` int4 nullable
  DependentJoin scalar
    - adds v int4 nullable
    Source s0
      - k @0 int4
      - flag @1 bool
    Project
      - v = `#1` int4 strict column
      Filter
        - `(#0 = ^1.0)` bool strict equality
        Source s1
          - k @0 int4
          - v @1 int4";

/// 7.2: a scalar subquery with two rows is no error where CASE does not come to it, and one where it does.
#[test]
fn two_rows_are_an_error_only_where_the_value_is_used() {
    let two = vec![vec![int(1), int(10)], vec![int(1), int(20)]];
    let outer = |flag| vec![vec![int(1), Value::Bool(flag)], vec![int(2), Value::Bool(true)]];
    let nulls = vec![vec![Value::Null], vec![Value::Null]];
    assert_eq!(rows(GUARDED, &[outer(false), two.clone()]), Ok(nulls));
    assert_eq!(rows(GUARDED, &[outer(true), two]), Err(EvalError::MoreThanOneRow));
}

/// 7.3: aggregates over no rows are those of an empty group, not of a group with one row of NULLs.
#[test]
fn aggregates_over_nothing_are_of_an_empty_group() {
    let plan = |call: &str, ty: &str| {
        format!(
            "
DependentJoin scalar
  - adds a {ty} nullable
  Source s0
    - k @0 int4
  Aggregate by ()
    - a = {call} {ty}
    Filter
      - `(#0 = ^1.0)` bool strict equality
      Source s1
        - k @0 int4
        - v @1 int4 nullable"
        )
    };
    let array = "type(\"pg_catalog.int4[]\" 1007 -1 0 ordered hashable)";
    let sources = [vec![vec![int(1)], vec![int(2)]], vec![vec![int(1), Value::Null]]];
    let expected = |one, two| Ok(vec![vec![int(1), one], vec![int(2), two]]);
    let count = rows(&plan("count/2803 ()", "int8"), &sources);
    assert_eq!(count, expected(int(1), int(0)));
    let values = rows(&plan("count/2147 1", "int8"), &sources);
    assert_eq!(values, expected(int(0), int(0)));
    let arrays = rows(&plan("array_agg/2335 1 order 1", array), &sources);
    assert_eq!(arrays, expected(Value::Array(vec![Value::Null]), Value::Null));
    let sum = rows(&plan("sum/2108 1", "int8"), &sources);
    assert_eq!(sum, expected(Value::Null, Value::Null));
}

/// 5.1: a NULL on the right makes every NOT IN unknown; without rows on the right, a NULL on the left is not in it.
#[test]
fn not_in_is_three_valued() {
    let plan = "
Project
  - k = `#0` int4 nullable strict column
  Filter
    - `(NOT #1)` bool nullable strict
    DependentJoin mark
      - adds m bool nullable
      - on `(#0 = #1)` bool nullable strict equality
      Source s0
        - k @0 int4 nullable
      Source s1
        - k @0 int4 nullable";
    let left = || vec![vec![Value::Null], vec![int(1)], vec![int(2)]];
    assert_eq!(rows(plan, &[left(), vec![vec![int(2)]]]), Ok(vec![vec![int(1)]]));
    assert_eq!(rows(plan, &[left(), vec![vec![int(2)], vec![Value::Null]]]), Ok(vec![]));
    assert_eq!(rows(plan, &[left(), vec![]]), Ok(left()));
}

/// The mark itself as a column: true, false and NULL.
#[test]
fn a_mark_has_three_values() {
    let plan = "
DependentJoin mark
  - adds m bool nullable
  - on `(#0 = #1)` bool nullable strict equality
  Source s0
    - k @0 int4 nullable
  Source s1
    - k @0 int4 nullable";
    let sources = [vec![vec![int(1)], vec![int(2)]], vec![vec![int(1)], vec![Value::Null]]];
    let expected = vec![vec![int(1), Value::Bool(true)], vec![int(2), Value::Null]];
    assert_eq!(rows(plan, &sources), Ok(expected));
}

/// 7.2: the check stays above another subquery of the same row, and is made within one that looks at the value.
#[test]
fn the_number_of_rows_is_checked_above_other_subqueries() {
    let plan = "
Project
  - v = `(CASE WHEN #1 THEN #2 END)` int4 nullable
  - m = `#3` bool strict column
  DependentJoin mark
    - adds m bool
    DependentJoin scalar
      - adds v int4 nullable
      Source s0
        - k @0 int4
        - flag @1 bool
      Project
        - v = `#1` int4 strict column
        Filter
          - `(#0 = ^1.0)` bool strict equality
          Source s1
            - k @0 int4
            - v @1 int4
    Filter
      - `(#0 < ^1.0)` bool strict
      Source s1
        - k @0 int4
        - v @1 int4";
    let two = vec![vec![int(1), int(10)], vec![int(1), int(20)]];
    let outer = |flag| vec![vec![int(1), Value::Bool(flag)], vec![int(2), Value::Bool(true)]];
    let unseen = vec![vec![Value::Null, Value::Bool(false)], vec![Value::Null, Value::Bool(true)]];
    assert_eq!(rows(plan, &[outer(false), two.clone()]), Ok(unseen));
    assert_eq!(rows(plan, &[outer(true), two]), Err(EvalError::MoreThanOneRow));
}

/// 7.2: what stands in a branch of CASE is not evaluated for outer values that do not come to the branch.
#[test]
fn a_guard_restricts_the_domain() {
    let plan = "
DependentJoin scalar
  - adds v int8 nullable
  Source s0
    - k @0 int4
  Filter
    - `(^1.0 <> 0)` bool strict
    Aggregate by ()
      - s = sum/2108 0 int8
      Project
        - v = `(#0 / ^1.0)` int4 strict
        Source s1
          - v @0 int4";
    let plan = parse(plan).expect("a plan");
    let normal = normalize(&plan).expect("a normal form");
    let mut env = Env::default();
    let relation = |values: &[i64]| values.iter().map(|&value| (vec![int(value)], 1)).collect();
    env.sources.insert(SourceId(0), relation(&[0, 2]));
    env.sources.insert(SourceId(1), relation(&[4, 6]));
    assert_eq!(eval(&plan, &env), Err(EvalError::DivisionByZero));
    let expected = [(vec![int(0), Value::Null], 1), (vec![int(2), int(5)], 1)];
    assert_eq!(eval(&normal, &env), Ok(expected.into_iter().collect()), "{normal}");
}

/// A scalar subquery whose first row is asked for by a value that another one gives, of which there may be several.
const NESTED: &str = "
DependentJoin scalar
  - adds c2 int4 nullable
  Source s0
    - a @0 int4 nullable
  Project
    - v = `#1` int4 nullable strict column
    TopK by ()
      - order 1
      - limit `1::pg_catalog.int8` int8 constant
      DependentJoin scalar
        - adds v int4 nullable
        Source s0
          - a @0 int4 nullable
        Filter
          - `(#0 = ^2.0)` bool nullable strict equality
          Source s0
            - a @0 int4 nullable";

/// The rows of the normal form of a plan that raises as it stands.
fn rows_of_normal_form(plan: &str, sources: &[&[Option<i64>]]) -> Result<Vec<Row>, EvalError> {
    let plan = parse(plan).unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let mut env = Env::default();
    for (index, values) in sources.iter().enumerate() {
        let rows = values.iter().map(|value| (vec![value.map_or(Value::Null, int)], 1));
        env.sources.insert(SourceId(index as u32), rows.collect());
    }
    assert_eq!(eval(&plan, &env), Err(EvalError::MoreThanOneRow));
    let rows = eval(&normalize(&plan).expect("a normal form"), &env)?;
    Ok(rows.iter().flat_map(|(row, weight)| (0..weight).map(|_| row.clone())).collect())
}

fn indented(plan: &str, depth: usize) -> String {
    plan.lines().map(|line| format!("{}{line}\n", " ".repeat(2 * depth))).collect()
}

/// 7.2: a subquery that raises for a row is not evaluated for one that NOT EXISTS takes away.
#[test]
fn a_mark_stands_before_a_subquery_that_may_raise() {
    let plan = format!(
        "
Filter
  - `(NOT #2)` bool strict
  DependentJoin mark
    - adds m bool
    Project
      - c0 = `#0` int4 nullable strict column
      - c2 = `#1` int4 nullable strict column
{}
    Filter
      - `(#0 = ^1.0)` bool nullable strict equality
      Source s0
        - a @0 int4 nullable",
        indented(NESTED.trim(), 3).trim_end()
    );
    let expected = vec![vec![Value::Null, Value::Null, Value::Bool(false)]];
    assert_eq!(rows_of_normal_form(&plan, &[&[None, Some(1), Some(1)]]), Ok(expected));
}

/// 7.2: nor for one that a join takes away.
#[test]
fn a_subquery_that_may_raise_stands_above_a_join() {
    let plan = format!(
        "
Join
  - on `(#0 = #1)` bool nullable strict equality
  Source s1
    - k @0 int4
{}",
        indented(NESTED.trim(), 1).trim_end()
    );
    let expected = vec![vec![int(2), int(2), int(2)]];
    assert_eq!(rows_of_normal_form(&plan, &[&[Some(1), Some(1), Some(2)], &[Some(2)]]), Ok(expected));
}

/// 7.2: nor for one that a LIMIT cuts off.
#[test]
fn a_subquery_that_may_raise_stands_above_a_limit() {
    let plan = format!(
        "
TopK by ()
  - order 0 desc
  - limit `1::pg_catalog.int8` int8 constant
{}",
        indented(NESTED.trim(), 1).trim_end()
    );
    let expected = vec![vec![int(2), int(2)]];
    assert_eq!(rows_of_normal_form(&plan, &[&[Some(1), Some(1), Some(2)]]), Ok(expected));
}

/// 7.4: LIMIT of the outer row; NULL is no limit.
#[test]
fn a_limit_may_refer_to_the_outer_row() {
    let plan = "
DependentJoin array
  - adds vs type(\"pg_catalog.int4[]\" 1007 -1 0 ordered hashable)
  Source s0
    - n @0 int8 nullable
  TopK by ()
    - order 0 desc
    - limit `^1.0` int8 nullable strict column
    Source s1
      - v @0 int4";
    let outer = vec![vec![Value::Null], vec![int(0)], vec![int(2)]];
    let inner = vec![vec![int(1)], vec![int(3)], vec![int(2)]];
    let array = |values: &[i64]| Value::Array(values.iter().copied().map(int).collect());
    let expected =
        vec![vec![Value::Null, array(&[3, 2, 1])], vec![int(0), array(&[])], vec![int(2), array(&[3, 2])]];
    assert_eq!(rows(plan, &[outer, inner]), Ok(expected));
}

/// A row that comes together with its match, and so never is one of the result's, is not looked at by a change either.
#[test]
fn a_change_looks_at_no_row_that_cancels() {
    let plan = "
Filter
  - `(NOT #2)` bool strict
  DependentJoin mark
    - adds m bool
    DependentJoin scalar
      - adds v int4 nullable
      Source s0
        - a @0 int4 nullable
      Filter
        - `(#0 = ^1.0)` bool nullable strict equality
        Source s0
          - a @0 int4 nullable
    Filter
      - `(#0 = ^1.0)` bool nullable strict equality
      Source s0
        - a @0 int4 nullable";
    let staged = normalize(&parse(plan).expect("a plan")).and_then(|plan| cut(&plan)).expect("stages");
    let rows: ZSet = [(vec![Value::Null], 1), (vec![int(1)], 2)].into_iter().collect();
    let mut env = Env { looks_at_once: true, ..Env::default() };
    env.sources.insert(SourceId(0), rows.clone());
    env.deltas.insert(DeltaOf::Source(SourceId(0)), rows);
    let mut changed = Changed::sources([SourceId(0)]);
    for stage in &staged.stages {
        // Before the change there was nothing.
        let groups = eval(&stage.plan(), &env).expect("groups");
        env.deltas.insert(DeltaOf::Stage(stage.id), groups.clone());
        env.stages.insert(stage.id, groups);
        changed.stages.insert(stage.id);
    }
    let mut sharing = Sharing::default();
    let change = differentiate(&staged.result, &changed, &mut sharing).expect("a rule").expect("a change");
    for (index, shared) in sharing.plans.iter().enumerate() {
        let rows = eval(shared, &env).expect("rows");
        env.deltas.insert(DeltaOf::Shared(index as u32), rows);
    }
    let expected = [(vec![Value::Null, Value::Null, Value::Bool(false)], 1)];
    assert_eq!(eval(&change, &env), Ok(expected.into_iter().collect()), "{change}");
    let inlined = inlined(&change, &sharing);
    assert_eq!(eval(&inlined, &env), Err(EvalError::MoreThanOneRow), "{inlined}");
}

/// The change without consolidation on the way.
fn inlined(change: &Plan, sharing: &Sharing) -> Plan {
    if let Plan::Delta(Delta { of: DeltaOf::Shared(shared), .. }) = change {
        return inlined(&sharing.plans[*shared as usize], sharing);
    }
    let mut change = change.clone();
    for child in change.children_mut() {
        *child = inlined(child, sharing);
    }
    change
}
