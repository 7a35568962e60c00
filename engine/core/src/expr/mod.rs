//! Typed scalar expressions: SQL text with numbered column slots.
//!
//! The server prints every expression of a query once, at analysis, with its columns replaced by slots. Rules move,
//! remap and combine expressions but never look inside the text; what they need to know stands beside it.

mod build;
mod time;

use crate::types::{Column, TypeRef, Volatility};
use serde::{Deserialize, Serialize};

pub use time::{Moment, Time};

/// A scalar expression over the columns of one input relation (and, inside a dependent join, of outer relations).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Expr {
    /// The text, in pieces. Always self-delimiting: it can stand as an operand of any operator.
    pub pieces: Vec<Piece>,
    pub ty: TypeRef,
    pub volatility: Volatility,
    /// False only if provably never NULL (given the nullability of the columns it was built from).
    pub nullable: bool,
    /// NULL (for a condition: NULL or false) whenever any column it uses is NULL.
    pub strict: bool,
    /// See [`Column::fixed_scale`].
    pub fixed_scale: Option<u16>,
    pub shape: Shape,
}

/// One piece of an expression's text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Piece {
    Text(String),
    /// Column of the input relation.
    Column(usize),
    /// Column of an enclosing dependent join's left side; depth 1 is the nearest.
    Outer(u32, usize),
    /// See [`Time`].
    Time(Time),
}

/// What rules recognise in an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// Nothing known.
    Opaque,
    /// Exactly one column (or outer column) and nothing else.
    Column,
    /// A constant without columns.
    Constant,
    /// `a = b` by the default btree equality of one type (or of one operator family), each side a bare column or
    /// outer column. The two operands are the only slots, in text order.
    Equality,
}

impl Expr {
    /// The expression that is column `position` of an input.
    pub fn column(position: usize, column: &Column) -> Expr {
        Expr {
            pieces: vec![Piece::Column(position)],
            ty: column.ty.clone(),
            volatility: Volatility::Immutable,
            nullable: column.nullable,
            strict: true,
            fixed_scale: column.fixed_scale,
            shape: Shape::Column,
        }
    }

    /// The expression that is column `position` of an input, with the column's name.
    pub fn named(position: usize, column: &Column) -> (Expr, String) {
        (Expr::column(position, column), column.name.clone())
    }

    /// The position, if the expression is a bare column.
    pub fn as_column(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [Piece::Column(position)] => Some(*position),
            _ => None,
        }
    }

    /// Positions of the input's columns it uses, ascending, without repetition.
    pub fn columns(&self) -> Vec<usize> {
        let mut used: Vec<usize> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Column(position) => Some(*position),
                _ => None,
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// True if it is surely the constant 1, however it is written: `1`, `'1'::bigint`, `1::int8`.
    pub fn is_constant_one(&self) -> bool {
        match (&self.shape, self.pieces.as_slice()) {
            (Shape::Constant, [Piece::Text(text)]) => {
                let number = text.split("::").next().unwrap_or_default();
                number.trim_matches(|c| matches!(c, '(' | ')' | '\'' | ' ')) == "1"
            }
            _ => false,
        }
    }

    /// True if it uses a column of an enclosing query.
    pub fn is_correlated(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Outer(..)))
    }

    /// The same expression over moved columns.
    pub fn map_columns(&self, mut map: impl FnMut(usize) -> usize) -> Expr {
        let mut moved = self.clone();
        for piece in &mut moved.pieces {
            if let Piece::Column(position) = piece {
                *position = map(*position);
            }
        }
        moved
    }

    /// A condition over left columns then right columns, as seen from the right side of a dependent join whose left
    /// side has `left` columns: left columns become outer references, outer references lie one join further out.
    pub fn outward(&self, left: usize) -> Expr {
        let mut moved = self.clone();
        for piece in &mut moved.pieces {
            match piece {
                Piece::Column(position) if *position < left => *piece = Piece::Outer(1, *position),
                Piece::Column(position) => *position -= left,
                Piece::Outer(depth, _) => *depth += 1,
                Piece::Text(_) | Piece::Time(_) => {}
            }
        }
        moved
    }

    /// The two operands if the shape is [`Shape::Equality`].
    pub fn equality(&self) -> Option<(&Piece, &Piece)> {
        if self.shape != Shape::Equality {
            return None;
        }
        let mut slots =
            self.pieces.iter().filter(|piece| matches!(piece, Piece::Column(_) | Piece::Outer(..)));
        Some((slots.next()?, slots.next()?))
    }
}

/// A sort key: a column of the input, with the operator's direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
    /// Schema-qualified operator text after `USING` (e.g. `OPERATOR(public.<<)`) if it is not the default `<` or `>`.
    pub using: Option<String>,
}
