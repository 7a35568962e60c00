//! The rounds of a recursion maintained as the recursion stage does it, on Z-sets: the reference for the order of work and
//! for what the rules of the step make of it.

use crate::eval::{Env, eval, rounds};
use crate::scalar::EvalError;
use crate::value::{Row, Value, classes};
use crate::zset::ZSet;
use pg_trickle_core::delta::{Changed, Sharing};
use pg_trickle_core::plan::{DeltaOf, Plan, Recursive};
use pg_trickle_core::query::Unsupported;
use pg_trickle_core::stage::recursion::carry;
use pg_trickle_core::types::StageId;
use std::collections::BTreeMap;

use crate::law::{Differentiate, eval_change};

/// Rounds a change may run through before it is given up.
const ROUNDS_MAX: i64 = 60;

/// Why there is no change to judge.
#[derive(Debug, Clone)]
pub enum Failure {
    Eval(EvalError),
    Refused(Unsupported),
    /// The maintained state is not what it must be.
    Wrong(String),
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Failure {
        Failure::Eval(error)
    }
}

impl From<Unsupported> for Failure {
    fn from(refused: Unsupported) -> Failure {
        Failure::Refused(refused)
    }
}

/// One row that one round derives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Derived {
    row: Row,
    /// Derivations.
    count: i64,
    /// The row is in the round.
    is_member: bool,
    /// The change of `count` still to be taken.
    change: i64,
    is_pending: bool,
}

/// Rows by what tells them apart, and round.
type State = BTreeMap<(Row, i64), Derived>;

/// The change of the rows of a recursion, computed round by round from its old rounds and the changes of what it reads; None
/// if nothing it reads has changed. The state it leaves is compared with that of the new rounds.
pub fn change(
    recursive: &Recursive,
    id: StageId,
    (old, new): (&Env, &mut Env),
    changed: &Changed,
    sharing: &mut Sharing,
    differentiate: Differentiate,
) -> Result<Option<ZSet>, Failure> {
    let step = carry::carried(&recursive.step, id)
        .map_err(|reason| Failure::Wrong(format!("not carried: {reason}")))?;
    let base = differentiate(&recursive.base, changed, sharing)?.map(carry::first_round);
    let edges = differentiate(&step, changed, sharing)?;
    if base.is_none() && edges.is_none() {
        return Ok(None);
    }
    let of_round = Changed { round: Some(id), ..Changed::default() };
    let follow = differentiate(&step, &of_round, &mut Sharing::default())?
        .ok_or_else(|| Failure::Wrong("the step does not follow its round".to_owned()))?;
    let mut maintained = Rounds { all: recursive.all, state: state(recursive, old)? };
    new.rounds.insert(id, maintained.members());
    for seed in base.iter().chain(&edges) {
        maintained.place(&eval_change(seed, sharing, new)?);
    }
    let mut sum = ZSet::new();
    while let Some(round) = maintained.next() {
        if round > ROUNDS_MAX {
            return Err(EvalError::TooLarge.into());
        }
        let change = maintained.settle(round)?;
        change.iter().for_each(|(row, weight)| sum.insert(row[..row.len() - 1].to_vec(), weight));
        new.deltas.insert(DeltaOf::Round(id), change);
        maintained.place(&eval(&follow, new)?);
    }
    let expected = state(recursive, new)?;
    if maintained.state != expected {
        return Err(Failure::Wrong(format!(
            "state of the rounds\n-- expected\n{}\n-- actual\n{}",
            shown(&expected),
            shown(&maintained.state)
        )));
    }
    Ok(Some(sum))
}

fn shown(state: &State) -> String {
    let line = |((_, round), derived): (&(Row, i64), &Derived)| {
        let values: Vec<String> = derived.row.iter().map(ToString::to_string).collect();
        let member = if derived.is_member { "member" } else { "" };
        format!("    round {round}: {} x ({}) {member}\n", derived.count, values.join(", "))
    };
    state.iter().map(line).collect()
}

/// What tells rows of a recursion apart.
fn identity(all: bool, row: &[Value]) -> Row {
    if all { row.to_vec() } else { classes(row) }
}

/// The state by definition.
fn state(recursive: &Recursive, env: &Env) -> Result<State, EvalError> {
    let mut state = State::new();
    for (round, (derivations, members)) in rounds(recursive, env)?.into_iter().enumerate() {
        for (row, count) in derivations.iter() {
            let is_member = members.weight(row) > 0;
            let derived = Derived { row: row.clone(), count: 0, is_member, change: 0, is_pending: false };
            let key = (identity(recursive.all, row), round as i64);
            state.entry(key).or_insert(derived).count += count;
        }
    }
    Ok(state)
}

struct Rounds {
    all: bool,
    state: State,
}

impl Rounds {
    /// The rows of all rounds, with their round.
    fn members(&self) -> ZSet {
        let members = self.state.iter().filter(|(_, derived)| derived.is_member);
        let row = |((_, round), derived): (&(Row, i64), &Derived)| {
            (with_round(&derived.row, *round), if self.all { derived.count } else { 1 })
        };
        members.map(row).collect()
    }

    /// Makes derivations pending in their rounds.
    fn place(&mut self, found: &ZSet) {
        for (row, weight) in found.iter() {
            let (round, row) = match row.split_last() {
                Some((Value::Int(round), row)) => (*round, row.to_vec()),
                _ => unreachable!("a derivation says its round"),
            };
            let derived = self.state.entry((identity(self.all, &row), round)).or_insert(Derived {
                row,
                count: 0,
                is_member: false,
                change: 0,
                is_pending: true,
            });
            derived.change += weight;
            derived.is_pending = true;
        }
    }

    fn next(&self) -> Option<i64> {
        let pending = self.state.iter().filter(|(_, derived)| derived.is_pending);
        pending.map(|((_, round), _)| *round).min()
    }

    /// Takes what is pending in a round; returns the change of the round.
    fn settle(&mut self, round: i64) -> Result<ZSet, Failure> {
        let is_here = |(key, derived): &(&(Row, i64), &Derived)| derived.is_pending && key.1 == round;
        let keys: Vec<(Row, i64)> = self.state.iter().filter(is_here).map(|(key, _)| key.clone()).collect();
        let mut change = ZSet::new();
        for key in keys {
            let before = self.state[&key].clone();
            let count = before.count + before.change;
            if count < 0 {
                return Err(Failure::Wrong("derivations below zero".to_owned()));
            }
            let is_first = self.state.range((key.0.clone(), i64::MIN)..key.clone()).next().is_none();
            let is_member = count > 0 && (self.all || is_first);
            let weight =
                if self.all { before.change } else { i64::from(is_member) - i64::from(before.is_member) };
            change.insert(with_round(&before.row, round), weight);
            if !self.all && is_first && (count == 0 || !before.is_member) {
                let later = (key.0.clone(), round + 1)..=(key.0.clone(), i64::MAX);
                let mut later = self.state.range_mut(later);
                if let Some((_, moved)) = later.find(|(_, other)| other.is_member || count == 0) {
                    moved.is_pending = true;
                }
            }
            if count == 0 {
                self.state.remove(&key);
            } else {
                self.state.insert(key, Derived { count, is_member, change: 0, is_pending: false, ..before });
            }
        }
        Ok(change)
    }
}

fn with_round(row: &[Value], round: i64) -> Row {
    row.iter().cloned().chain([Value::Int(round)]).collect()
}

/// The recursion that a plan is.
pub fn as_recursive(plan: &Plan) -> Option<&Recursive> {
    match plan {
        Plan::Recursive(recursive) => Some(recursive),
        _ => None,
    }
}
