//! Time in expressions.
//!
//! `now()` and its relatives are one parameter: the time tau of the refresh. A stream table is its query at a snapshot
//! and at a time, so an expression that reads tau changes although no source does. What rules need to know of such an
//! expression is for which rows it changes between two times. They know if tau appears only inside comparisons: then a
//! row can only be concerned if one of its comparisons comes out differently, and with `notop` the negator of `op`
//!
//! ```text
//! a(tau) op b(tau)  differs between then and now  iff
//!     (a(then) op b(then) AND a(now) notop b(now))  OR  (a(now) op b(now) AND a(then) notop b(then))
//! ```
//!
//! provided that neither side is NULL at one time and not at the other, which the front end makes sure of. If `a` is a
//! column and `b` reads tau alone, each half is a range of the column between two boundaries, which an index finds.

use super::{Expr, Piece, Shape};
use crate::types::{TypeRef, Volatility};
use serde::{Deserialize, Serialize};

/// A piece of an expression that has to do with time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Time {
    /// The time itself, a `timestamptz`.
    Read(Moment),
    /// Begins a comparison: `Open`, left side, `Operator`, right side, `Close`.
    Open,
    /// The operator, and the one that is true where this one is false, if there is such an operator.
    Operator {
        operator: String,
        negator: Option<String>,
    },
    Close,
}

/// Which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Moment {
    /// Of the transaction that evaluates the expression; in a delta, of the running refresh.
    Now,
    /// Of the frontier: what the last refresh saw.
    Then,
}

impl Expr {
    /// True if the expression depends on the time of the refresh.
    pub fn reads_time(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Time(Time::Read(_))))
    }

    /// True if it depends on it outside comparisons: nothing is known of the rows for which it changes.
    pub fn reads_time_at_large(&self) -> bool {
        let mut depth = 0;
        self.pieces.iter().any(|piece| match piece {
            Piece::Time(Time::Open) => {
                depth += 1;
                false
            }
            Piece::Time(Time::Close) => {
                depth -= 1;
                false
            }
            Piece::Time(Time::Read(_)) => depth == 0,
            _ => false,
        })
    }

    /// The same expression at the time of the frontier.
    pub fn then(&self) -> Expr {
        Expr { pieces: at(&self.pieces, Moment::Then), ..self.clone() }
    }

    /// For each outermost comparison with time, two conditions: it is true now and was not then; it was true then and
    /// is not now.
    pub fn crossings(&self) -> Vec<[Expr; 2]> {
        let comparisons = comparisons(&self.pieces);
        comparisons
            .map(|pieces| {
                [(Moment::Then, Moment::Now), (Moment::Now, Moment::Then)].map(|(fails, holds)| {
                    let text = |text: &str| vec![Piece::Text(text.to_owned())];
                    let pieces =
                        [text("("), at(pieces, holds), text(" AND "), at(&negated(pieces), fails), text(")")];
                    condition(pieces.concat())
                })
            })
            .collect()
    }

    /// True if the expression is one comparison and nothing else.
    pub fn is_comparison_with_time(&self) -> bool {
        let mut found = comparisons(&self.pieces);
        found.next().is_some_and(|pieces| pieces.len() == self.pieces.len())
    }

    /// Any of the conditions.
    pub(crate) fn or(conditions: &[Expr]) -> Expr {
        let mut pieces = vec![];
        for (index, each) in conditions.iter().enumerate() {
            pieces.push(Piece::Text(if index == 0 { "(" } else { " OR " }.to_owned()));
            pieces.extend(each.pieces.iter().cloned());
        }
        pieces.push(Piece::Text(")".to_owned()));
        condition(pieces)
    }
}

fn condition(pieces: Vec<Piece>) -> Expr {
    Expr {
        pieces,
        ty: TypeRef::boolean(),
        volatility: Volatility::Stable,
        nullable: true,
        strict: false,
        fixed_scale: None,
        shape: Shape::Opaque,
    }
}

/// The outermost comparisons, each with its brackets.
fn comparisons(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    let (mut depth, mut start) = (0, 0);
    pieces.iter().enumerate().filter_map(move |(index, piece)| match piece {
        Piece::Time(Time::Open) => {
            if depth == 0 {
                start = index;
            }
            depth += 1;
            None
        }
        Piece::Time(Time::Close) => {
            depth -= 1;
            (depth == 0).then(|| &pieces[start..=index])
        }
        _ => None,
    })
}

fn at(pieces: &[Piece], moment: Moment) -> Vec<Piece> {
    let moved = |piece: &Piece| match piece {
        Piece::Time(Time::Read(_)) => Piece::Time(Time::Read(moment)),
        other => other.clone(),
    };
    pieces.iter().map(moved).collect()
}

/// A comparison that is true where this one is false. Comparisons within its sides stay as they are.
fn negated(pieces: &[Piece]) -> Vec<Piece> {
    let mut depth = 0;
    let mut is_negated = false;
    let mut negate = |piece: &Piece| match piece {
        Piece::Time(Time::Open) => {
            depth += 1;
            piece.clone()
        }
        Piece::Time(Time::Close) => {
            depth -= 1;
            piece.clone()
        }
        Piece::Time(Time::Operator { operator, negator: Some(negator) }) if depth == 1 => {
            is_negated = true;
            Piece::Time(Time::Operator { operator: negator.clone(), negator: Some(operator.clone()) })
        }
        other => other.clone(),
    };
    let pieces: Vec<Piece> = pieces.iter().map(&mut negate).collect();
    if is_negated {
        return pieces;
    }
    let text = |text: &str| vec![Piece::Text(text.to_owned())];
    [text("(NOT "), pieces, text(")")].concat()
}
