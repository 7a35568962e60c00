//! `null-aware`.  When a row of the right side may match a left row: some comparison is not false.
//!
//! An equality is NULL iff one of its sides is, so equalities that are not false are found without looking at every pair:
//!
//! ```text
//! (l = r) IS NOT FALSE  =  l = r  or  r IS NULL  or  l IS NULL
//! L anti[p or q] R      =  (L anti[p] R) anti[q] R
//! ```
//!
//! The first part is led by the equality. Of the second only the right rows with a NULL are of interest, of which one is as
//! good as all; of the third only left rows with a NULL, for which there is a row or there is none. Of several equalities
//! the second and third part are those that are not false altogether.
//!
//! Without this, one nullable column made `NOT IN` a comparison of all pairs.

use crate::expr::{Expr, Piece};
use crate::plan::{Aggregate, Filter, Plan, Project};

/// A right side, and the conditions over left then right columns under which its rows match.
pub(super) struct Match {
    pub right: Plan,
    pub on: Vec<Expr>,
}

/// The ways in which a row of `right` that belongs to the left row by `conditions` may satisfy all of `on`, or leave it
/// unknown. The first is to satisfy it. None if some condition that may be NULL is no equality between the sides.
pub(super) fn matches(left: &Plan, right: &Plan, conditions: &[Expr], on: &[Expr]) -> Option<Vec<Match>> {
    let width = left.columns().len();
    let (left_columns, right_columns) = (left.columns(), right.columns());
    let (mut null_left, mut null_right): (Vec<Expr>, Vec<Expr>) = (vec![], vec![]);
    for condition in on {
        let (one, other) = condition.equality()?;
        let (&Piece::Column(one), &Piece::Column(other)) = (one, other) else { return None };
        let (of_left, of_right) = (one.min(other), one.max(other).checked_sub(width)?);
        let column = left_columns.get(of_left)?;
        if column.nullable {
            null_left.push(Expr::column(of_left, column).is_not_null());
        }
        let column = right_columns.get(of_right)?;
        if column.nullable {
            null_right.push(Expr::column(of_right, column).is_not_null());
        }
    }
    let with = |more: Vec<Expr>| conditions.iter().cloned().chain(more).collect::<Vec<_>>();
    let mut all = vec![Match { right: right.clone(), on: with(on.to_vec()) }];
    // A NULL makes the only equality NULL; beside others, one that is false decides.
    let rest = if on.len() > 1 { vec![Expr::and(on).is_not_false()] } else { vec![] };
    if !null_right.is_empty() {
        let predicate = Expr::and(&null_right).negated();
        let with_null = Plan::Filter(Filter { input: Box::new(right.clone()), predicate });
        all.push(one_of_each(Match { right: with_null, on: with(rest.clone()) }, width, conditions));
    }
    if !null_left.is_empty() {
        let mut possible = Match { right: right.clone(), on: with(rest.clone()) };
        if rest.is_empty() {
            possible = one_of_each(possible, width, conditions);
        }
        possible.on.push(Expr::and(&null_left).negated());
        all.push(possible);
    }
    Some(all)
}

/// Unless equalities with the left row lead to them, the distinct rows of a right side, of the columns that are looked at: a
/// stage that hardly ever changes.
fn one_of_each(all: Match, width: usize, conditions: &[Expr]) -> Match {
    let of_right = |condition: &Expr| condition.columns().into_iter().any(|column| column >= width);
    if conditions.iter().any(of_right) {
        return all;
    }
    let columns = all.right.columns();
    let mut used: Vec<usize> =
        all.on.iter().flat_map(Expr::columns).filter_map(|column| column.checked_sub(width)).collect();
    used.sort_unstable();
    used.dedup();
    let mut exprs: Vec<(Expr, String)> =
        used.iter().map(|&column| Expr::named(column, &columns[column])).collect();
    if exprs.is_empty() {
        exprs.push((Expr::boolean(true), "present".to_owned()));
    }
    let keys = (0..exprs.len()).collect();
    let input = Box::new(Plan::Project(Project { input: Box::new(all.right), exprs }));
    let place = |column: usize| {
        column
            .checked_sub(width)
            .map_or(column, |column| width + used.partition_point(|&known| known < column))
    };
    let on = all.on.iter().map(|condition| condition.map_columns(place)).collect();
    Match { right: Plan::Aggregate(Aggregate { input, keys, calls: vec![] }), on }
}
