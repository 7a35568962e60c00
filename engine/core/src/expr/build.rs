//! Expressions made by rewrites. Everything here yields self-delimiting text.

use super::{Expr, Piece, Shape};
use crate::types::{Column, TypeRef, Volatility};

impl Expr {
    /// A boolean constant.
    pub fn boolean(value: bool) -> Expr {
        Expr {
            pieces: vec![Piece::Text(if value { "true" } else { "false" }.to_owned())],
            ty: TypeRef::boolean(),
            volatility: Volatility::Immutable,
            nullable: false,
            strict: false,
            fixed_scale: None,
            shape: Shape::Constant,
        }
    }

    /// A typed NULL.
    pub fn null(column: &Column) -> Expr {
        let collate =
            column.ty.collation_name.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        Expr {
            pieces: vec![Piece::Text(format!("(NULL::{}{collate})", column.ty.name))],
            ty: column.ty.clone(),
            volatility: Volatility::Immutable,
            nullable: true,
            strict: false,
            fixed_scale: column.fixed_scale,
            shape: Shape::Constant,
        }
    }

    /// `(before self after)` with properties to be set by the caller through the returned value.
    fn wrapped(&self, before: &str, after: &str, ty: TypeRef) -> Expr {
        let mut pieces = vec![Piece::Text(before.to_owned())];
        pieces.extend(self.pieces.iter().cloned());
        pieces.push(Piece::Text(after.to_owned()));
        Expr {
            pieces,
            ty,
            volatility: self.volatility,
            nullable: self.nullable,
            strict: false,
            fixed_scale: None,
            shape: Shape::Opaque,
        }
    }

    /// `self IS NOT FALSE`.
    pub fn is_not_false(&self) -> Expr {
        Expr { nullable: false, ..self.wrapped("((", ") IS NOT FALSE)", TypeRef::boolean()) }
    }

    /// `self` with NULL replaced by 0, for a count of nothing.
    pub fn or_zero(&self) -> Expr {
        let zero = format!(", 0::{}))", self.ty.name);
        Expr { nullable: false, ..self.wrapped("(COALESCE(", &zero, self.ty.clone()) }
    }

    /// `pgtrickle.single_row(rows, self)`: the value, or the error of a scalar subquery with several rows.
    pub fn single_row(&self, rows: &Expr) -> Expr {
        let mut pieces = vec![Piece::Text("pgtrickle.single_row(".to_owned())];
        pieces.extend(rows.pieces.iter().cloned());
        pieces.push(Piece::Text(", ".to_owned()));
        pieces.extend(self.pieces.iter().cloned());
        pieces.push(Piece::Text(")".to_owned()));
        Expr { pieces, shape: Shape::Opaque, strict: false, nullable: true, ..self.clone() }
    }

    /// All of `conditions`; true for none.
    pub fn and(conditions: &[Expr]) -> Expr {
        let [first, rest @ ..] = conditions else { return Expr::boolean(true) };
        let mut all = first.clone();
        for condition in rest {
            let mut pieces = vec![Piece::Text("(".to_owned())];
            pieces.append(&mut all.pieces);
            pieces.push(Piece::Text(" AND ".to_owned()));
            pieces.extend(condition.pieces.iter().cloned());
            pieces.push(Piece::Text(")".to_owned()));
            all = Expr {
                pieces,
                ty: TypeRef::boolean(),
                volatility: all.volatility.max(condition.volatility),
                nullable: all.nullable || condition.nullable,
                strict: all.strict && condition.strict,
                fixed_scale: None,
                shape: Shape::Opaque,
            };
        }
        all
    }

    /// The negated column, if the expression is `NOT column`.
    pub fn as_negated_column(&self) -> Option<usize> {
        let mut words = String::new();
        let mut found = None;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => words += text,
                Piece::Column(position) if found.is_none() => found = Some(*position),
                _ => return None,
            }
        }
        let words: String = words.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
        found.filter(|_| words.eq_ignore_ascii_case("not"))
    }

    /// The expression over the inputs of a projection instead of its outputs.
    pub fn over_projection(&self, exprs: &[(Expr, String)]) -> Expr {
        let mut pieces = vec![];
        let mut composed = self.clone();
        for piece in &self.pieces {
            let Piece::Column(position) = piece else {
                pieces.push(piece.clone());
                continue;
            };
            let inner = &exprs[*position].0;
            composed.volatility = composed.volatility.max(inner.volatility);
            composed.strict &= inner.strict && !inner.columns().is_empty();
            if composed.shape == Shape::Equality && inner.shape != Shape::Column {
                composed.shape = Shape::Opaque;
            }
            let fenced = inner.pieces.len() > 1 && self.pieces.len() > 1;
            if fenced {
                pieces.push(Piece::Text("(".to_owned()));
            }
            pieces.extend(inner.pieces.iter().cloned());
            if fenced {
                pieces.push(Piece::Text(")".to_owned()));
            }
        }
        if self.shape == Shape::Column {
            composed = exprs[self.pieces.iter().find_map(column_of).unwrap_or_default()].0.clone();
        }
        composed.pieces = pieces;
        composed
    }

    /// Moves every slot; outer slots get their depth.
    pub fn map_slots(&self, mut map: impl FnMut(&Piece) -> Piece) -> Expr {
        let mut moved = self.clone();
        for piece in &mut moved.pieces {
            if !matches!(piece, Piece::Text(_)) {
                *piece = map(piece);
            }
        }
        moved
    }
}

fn column_of(piece: &Piece) -> Option<usize> {
    match piece {
        Piece::Column(position) => Some(*position),
        _ => None,
    }
}
