//! The match-count formulas by brute force, and tempting wrong readings of them that must fail (`design-review.md` 5.1,
//! 5.2).
//!
//! ```text
//! d(L anti R) = dL anti Old(R) - Flip(L, R, dR)      d(L semi R) = dL semi Old(R) + Flip(L, R, dR)
//! ```

use pg_trickle_core::expr::{Expr, Piece, Shape};
use pg_trickle_core::plan::{Delta, DeltaOf, Flip, Old, Plan, SemiJoin, Source, UnionAll};
use pg_trickle_core::types::{Column, SourceId, TypeRef, Volatility};
use pg_trickle_oracle::eval::{Env, eval};
use pg_trickle_oracle::value::Value;
use pg_trickle_oracle::zset::ZSet;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const LEFT: SourceId = SourceId(0);
const RIGHT: SourceId = SourceId(1);
const CASES: usize = 300;

/// Old contents and changes of two relations `(k, v)`.
#[derive(Debug, Clone)]
struct Case {
    left: (ZSet, ZSet),
    right: (ZSet, ZSet),
}

/// Up to four rows with weights up to three, before and after; nothing relates the two.
fn relation() -> impl Strategy<Value = (ZSet, ZSet)> {
    let value = prop_oneof![1 => Just(Value::Null), 4 => (0..3_i64).prop_map(Value::Int)];
    let row = (value.clone(), value).prop_map(|(k, v)| vec![k, v]);
    let state =
        proptest::collection::vec((row, 1..4_i64), 0..5).prop_map(|rows| rows.into_iter().collect::<ZSet>());
    (state.clone(), state).prop_map(|(old, new)| (old.clone(), new.minus(&old)))
}

fn cases() -> Vec<Case> {
    let strategy = (relation(), relation()).prop_map(|(left, right)| Case { left, right });
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn columns() -> Vec<Column> {
    let column =
        |name: &str| Column { name: name.into(), ty: TypeRef::int4(), nullable: true, fixed_scale: None };
    vec![column("k"), column("v")]
}

fn new(source: SourceId) -> Plan {
    Plan::Source(Source { source, ordinals: vec![0, 1], columns: columns(), keys: vec![] })
}

fn delta(source: SourceId) -> Plan {
    Plan::Delta(Delta { of: DeltaOf::Source(source), ordinals: vec![0, 1], columns: columns() })
}

fn old(source: SourceId) -> Plan {
    Plan::Old(Old { new: Box::new(new(source)), delta: Box::new(delta(source)) })
}

fn semi(anti: bool, left: Plan, right: Plan, on: &[Expr]) -> Plan {
    Plan::SemiJoin(SemiJoin { anti, left: Box::new(left), right: Box::new(right), on: on.to_vec() })
}

fn flip(on: &[Expr]) -> Plan {
    let [left, right, delta] = [new(LEFT), new(RIGHT), delta(RIGHT)].map(Box::new);
    Plan::Flip(Flip { left, right, delta, on: on.to_vec() })
}

fn negate(plan: Plan) -> Plan {
    Plan::Negate(Box::new(plan))
}

fn sum(inputs: Vec<Plan>) -> Plan {
    Plan::UnionAll(UnionAll { inputs })
}

/// A condition over (k, v) of the left and (k, v) of the right side: `#0` to `#3`.
fn condition(text: &str) -> Expr {
    let mut pieces = vec![];
    for (index, part) in text.split('#').enumerate() {
        let (slot, rest) = if index == 0 { ("", part) } else { part.split_at(1) };
        pieces.extend(slot.parse().map(Piece::Column));
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Expr {
        pieces,
        ty: TypeRef::boolean(),
        volatility: Volatility::Immutable,
        nullable: true,
        strict: false,
        fixed_scale: None,
        shape: Shape::Opaque,
    }
}

/// Equality with NULLs, an inequality, equality and another column, three-valued "not false" as for NOT IN, and none.
fn conditions() -> Vec<Vec<Expr>> {
    let texts: [&[&str]; 5] =
        [&["#0 = #2"], &["#0 < #2"], &["#0 = #2", "#1 <> #3"], &["(#0 = #2) IS NOT FALSE"], &[]];
    texts.iter().map(|texts| texts.iter().map(|text| condition(text)).collect()).collect()
}

fn env(case: &Case, is_new: bool) -> Env {
    let state = |(old, delta): &(ZSet, ZSet)| if is_new { old.plus(delta) } else { old.clone() };
    let mut env = Env::default();
    env.sources.insert(LEFT, state(&case.left));
    env.sources.insert(RIGHT, state(&case.right));
    env.deltas.insert(DeltaOf::Source(LEFT), case.left.1.clone());
    env.deltas.insert(DeltaOf::Source(RIGHT), case.right.1.clone());
    env
}

/// How many cases the formula gets wrong for `L anti R` (or semi).
fn wrong(anti: bool, formula: impl Fn(&[Expr]) -> Plan) -> usize {
    let mut wrong = 0;
    for case in cases() {
        for on in conditions() {
            let query = semi(anti, new(LEFT), new(RIGHT), &on);
            let (before, after) = (env(&case, false), env(&case, true));
            let expected = eval(&query, &after).unwrap().minus(&eval(&query, &before).unwrap());
            let is_wrong = eval(&formula(&on), &after) != Ok(expected);
            wrong += usize::from(is_wrong);
        }
    }
    wrong
}

#[test]
fn anti_join_is_old_matches_of_the_change_minus_flips() {
    let formula = |on: &[Expr]| sum(vec![semi(true, delta(LEFT), old(RIGHT), on), negate(flip(on))]);
    assert_eq!(wrong(true, formula), 0);
}

#[test]
fn semi_join_is_old_matches_of_the_change_plus_flips() {
    let formula = |on: &[Expr]| sum(vec![semi(false, delta(LEFT), old(RIGHT), on), flip(on)]);
    assert_eq!(wrong(false, formula), 0);
}

#[test]
fn flips_with_the_other_sign_are_wrong() {
    let formula = |on: &[Expr]| sum(vec![semi(true, delta(LEFT), old(RIGHT), on), flip(on)]);
    assert!(wrong(true, formula) > CASES);
}

/// The change of L is looked at whether or not R changed for its keys.
#[test]
fn restricting_the_first_term_to_touched_keys_is_wrong() {
    let touched = |on: &[Expr]| semi(false, delta(LEFT), touching(), on);
    let formula = |on: &[Expr]| sum(vec![semi(true, touched(on), old(RIGHT), on), negate(flip(on))]);
    assert!(wrong(true, formula) > CASES);
}

/// The matches of the first term are counted before the change, not after it.
#[test]
fn matching_the_change_with_the_new_state_is_wrong() {
    let formula = |on: &[Expr]| sum(vec![semi(true, delta(LEFT), new(RIGHT), on), negate(flip(on))]);
    assert!(wrong(true, formula) > CASES / 2);
}

/// Existence over `New + (-dR)` row by row counts cancelled rows as matches: the sum of weights is what counts.
#[test]
fn existence_of_a_row_in_the_old_state_is_wrong() {
    // Rows with a match in either relation, once: those with one in New, and those with one only in the change.
    let matched = |on: &[Expr]| {
        let only_touched = semi(false, semi(true, delta(LEFT), new(RIGHT), on), touching(), on);
        sum(vec![semi(false, delta(LEFT), new(RIGHT), on), only_touched])
    };
    let unmatched = |on: &[Expr]| sum(vec![delta(LEFT), negate(matched(on))]);
    let formula = |on: &[Expr]| sum(vec![unmatched(on), negate(flip(on))]);
    assert!(wrong(true, formula) > CASES / 2);
}

/// The rows of dR with positive weights: what appeared and what disappeared.
fn touching() -> Plan {
    use pg_trickle_core::plan::{SetOp, SetOpKind};
    let except = |left: Plan, right: Plan| {
        let (left, right) = (Box::new(left), Box::new(right));
        Plan::SetOp(SetOp { kind: SetOpKind::Except, all: true, left, right, position: None })
    };
    sum(vec![except(new(RIGHT), old(RIGHT)), except(old(RIGHT), new(RIGHT))])
}
