//! The order in which the inputs of a join stand in FROM.
//!
//! An old state is a lateral item that sees only what stands before it. And where many relations are joined, the server
//! looks for the best order among neighbours only (`join_collapse_limit`): to look among all of them takes it a tenth
//! of a second, longer than a small change takes to go through them. So inputs follow the change along equalities, and
//! those that cannot multiply its rows come first.

use crate::expr::{Expr, Piece};
use crate::plan::{Join, Keys, Plan};

/// A join whose inputs are being placed.
pub(super) struct Order<'a> {
    join: &'a Join,
    owners: Vec<usize>,
    inputs: Vec<Input>,
}

/// What the place of an input depends on, whatever is placed before it.
struct Input {
    keys: Keys,
    is_old: bool,
    is_change: bool,
    is_thinned: bool,
}

impl<'a> Order<'a> {
    pub fn new(join: &'a Join) -> Self {
        let owners = owners(join);
        let of = |(index, plan): (usize, &Plan)| Input {
            keys: plan.keys(),
            is_old: matches!(plan, Plan::Old(_)),
            is_change: reads_change(plan),
            is_thinned: is_thinned(join, &owners, index),
        };
        let inputs = join.inputs.iter().enumerate().map(of).collect();
        Order { join, owners, inputs }
    }

    /// Whether the first input is a change.
    pub fn follows_change(&self) -> bool {
        self.inputs.iter().any(|input| input.is_change)
    }

    /// The input to place next; None if all are.
    ///
    /// Of those that an equality ties to a placed one: plain ones before old states, so that one that is reachable only
    /// through an old state comes after it and the lateral item is not probed for a cross product; then further changes;
    /// then those of which a row meets one row at most; then those that a condition of their own thins out.
    pub fn next(&self, placed: &[Option<Vec<String>>]) -> Option<usize> {
        let waiting = (0..placed.len()).filter(|&index| placed[index].is_none());
        if placed.iter().all(Option::is_none) {
            return waiting.min_by_key(|&index| !self.inputs[index].is_change);
        }
        waiting.min_by_key(|&index| {
            let input = &self.inputs[index];
            let tied = self.tied_columns(index, |owner| placed[owner].is_some());
            let meets_one = input.keys.iter().any(|key| key.iter().all(|column| tied.contains(column)));
            (tied.is_empty(), input.is_old, !input.is_change, !meets_one, !input.is_thinned)
        })
    }

    /// The columns of an input, by their position in it, that an equality ties to a value of placed inputs.
    fn tied_columns(&self, index: usize, is_placed: impl Fn(usize) -> bool) -> Vec<usize> {
        let owners = &self.owners;
        let first = owners.partition_point(|&owner| owner < index);
        let tied = |predicate: &Expr| {
            let (left, right) = predicate.equality()?;
            let owned = |piece: &Piece| matches!(piece, Piece::Column(column) if owners[*column] == index);
            let is_rest_placed = predicate
                .columns()
                .iter()
                .all(|&column| owners[column] == index || is_placed(owners[column]));
            match (left, right) {
                (Piece::Column(own), other) | (other, Piece::Column(own))
                    if owners[*own] == index && !owned(other) && is_rest_placed =>
                {
                    Some(own - first)
                }
                _ => None,
            }
        };
        self.join.predicates.iter().filter_map(tied).collect()
    }
}

/// For each column of the concatenation, the input it comes from.
pub(super) fn owners(join: &Join) -> Vec<usize> {
    join.inputs.iter().enumerate().flat_map(|(index, input)| vec![index; input.columns().len()]).collect()
}

/// Whether some condition looks at nothing but the input.
fn is_thinned(join: &Join, owners: &[usize], index: usize) -> bool {
    let is_own = |predicate: &Expr| {
        let columns = predicate.columns();
        !columns.is_empty() && columns.iter().all(|&column| owners[column] == index)
    };
    matches!(join.inputs[index], Plan::Filter(_)) || join.predicates.iter().any(is_own)
}

/// Whether a plan starts from a change. An old state only takes one back.
fn reads_change(plan: &Plan) -> bool {
    let mut found = false;
    plan.visit(&mut |plan| found |= matches!(plan, Plan::Delta(_)));
    found && !matches!(plan, Plan::Old(_))
}
