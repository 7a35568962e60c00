//! Expressions made by rewrites. Everything here yields self-delimiting text.

use super::{Expr, Piece, Shape};
use crate::types::{Column, TypeRef, Volatility};

/// The check of a scalar subquery's number of rows.
const SINGLE_ROW: &str = "pgtrickle.single_row(";

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

    /// `(NOT self)`. Not strict even if `self` is, which may be false where a column is NULL.
    pub fn negated(&self) -> Expr {
        self.wrapped("(NOT ", ")", TypeRef::boolean())
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

    /// `(self = 1)` for a count.
    pub fn is_one(&self) -> Expr {
        let one = format!(" = 1::{})", self.ty.name);
        self.wrapped("(", &one, TypeRef::boolean())
    }

    /// An array with NULL replaced by the empty array.
    pub fn or_empty_array(&self) -> Expr {
        let empty = format!(", '{{}}'::{}))", self.ty.name);
        Expr { nullable: false, ..self.wrapped("(COALESCE(", &empty, self.ty.clone()) }
    }

    /// `pgtrickle.single_row(rows, self)`: the value, or the error of a scalar subquery with several rows.
    pub fn single_row(&self, rows: &Expr) -> Expr {
        let mut pieces = vec![Piece::Text(SINGLE_ROW.to_owned())];
        pieces.extend(rows.pieces.iter().cloned());
        pieces.push(Piece::Text(", ".to_owned()));
        pieces.extend(self.pieces.iter().cloned());
        pieces.push(Piece::Text(")".to_owned()));
        Expr { pieces, shape: Shape::Opaque, strict: false, nullable: true, ..self.clone() }
    }

    /// `pgtrickle.image(self)`: the bytes of the value, which are its identity.
    pub fn image(&self) -> Expr {
        Expr { strict: true, ..self.wrapped("pgtrickle.image(", ")", TypeRef::bytea()) }
    }

    /// `pgtrickle.hash_v1(values..)`, never NULL.
    pub fn hash(values: &[&Expr]) -> Expr {
        let mut pieces = vec![Piece::Text("pgtrickle.hash_v1(".to_owned())];
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                pieces.push(Piece::Text(", ".to_owned()));
            }
            pieces.extend(value.pieces.iter().cloned());
        }
        pieces.push(Piece::Text(")".to_owned()));
        Expr {
            pieces,
            ty: TypeRef::int8(),
            volatility: Volatility::Immutable,
            nullable: false,
            strict: false,
            fixed_scale: None,
            shape: Shape::Opaque,
        }
    }

    /// `(self IS DISTINCT FROM NULL)`: not NULL, also where it is a row, of which `IS NOT NULL` would look at the fields.
    pub fn is_not_null(&self) -> Expr {
        let test = self.wrapped("(", " IS DISTINCT FROM NULL)", TypeRef::boolean());
        Expr { nullable: false, strict: true, ..test }
    }

    /// `(self = other)` of two columns of one type.
    pub fn equals(&self, other: &Expr) -> Expr {
        let nullable = self.nullable || other.nullable;
        Expr {
            nullable,
            strict: true,
            shape: Shape::Equality,
            ..self.infix(" = ", other, TypeRef::boolean())
        }
    }

    /// `(self IS NOT DISTINCT FROM other)`.
    pub fn is_not_distinct_from(&self, other: &Expr) -> Expr {
        Expr { nullable: false, ..self.infix(" IS NOT DISTINCT FROM ", other, TypeRef::boolean()) }
    }

    /// `(COALESCE(self, other))`, of one type.
    pub fn or_else(&self, other: &Expr) -> Expr {
        let mut both = self.wrapped("(COALESCE(", ", ", self.ty.clone());
        both.pieces.extend(other.pieces.iter().cloned());
        both.pieces.push(Piece::Text("))".to_owned()));
        let fixed_scale = self.fixed_scale.filter(|_| self.fixed_scale == other.fixed_scale);
        Expr {
            nullable: self.nullable && other.nullable,
            volatility: self.volatility.max(other.volatility),
            fixed_scale,
            ..both
        }
    }

    /// What [`Expr::or_else`] says, in a form that the planner does not look into: `(CASE WHEN self IS DISTINCT FROM NULL
    /// THEN self ELSE other END)`.
    pub fn or_else_opaque(&self, other: &Expr) -> Expr {
        let mut both = self.wrapped("(CASE WHEN ", " IS DISTINCT FROM NULL THEN ", self.ty.clone());
        both.pieces.extend(self.pieces.iter().cloned());
        both.pieces.push(Piece::Text(" ELSE ".to_owned()));
        both.pieces.extend(other.pieces.iter().cloned());
        both.pieces.push(Piece::Text(" END)".to_owned()));
        let coalesced = self.or_else(other);
        Expr { pieces: both.pieces, ..coalesced }
    }

    /// `(CASE WHEN condition THEN self END)`.
    pub fn only_if(&self, condition: &Expr) -> Expr {
        let mut guarded = condition.wrapped("(CASE WHEN ", " THEN ", self.ty.clone());
        guarded.pieces.extend(self.pieces.iter().cloned());
        guarded.pieces.push(Piece::Text(" END)".to_owned()));
        Expr {
            nullable: true,
            volatility: self.volatility.max(condition.volatility),
            fixed_scale: self.fixed_scale,
            ..guarded
        }
    }

    fn infix(&self, operator: &str, other: &Expr, ty: TypeRef) -> Expr {
        let mut both = self.wrapped("(", operator, ty);
        both.pieces.extend(other.pieces.iter().cloned());
        both.pieces.push(Piece::Text(")".to_owned()));
        both.volatility = self.volatility.max(other.volatility);
        both
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
        if let Some(column) = self.as_column() {
            composed = exprs[column].0.clone();
        }
        composed.pieces = pieces;
        composed
    }

    /// The same, if the columns it uses are bare columns of the inputs: so its shape stays.
    pub fn over_bare_projection(&self, exprs: &[(Expr, String)]) -> Option<Expr> {
        let is_bare = self.columns().iter().all(|&column| exprs[column].0.as_column().is_some());
        is_bare.then(|| self.over_projection(exprs))
    }

    /// The expression with the columns of an outer row, `depth` dependent joins out, computed by `exprs` over another.
    pub fn over_outer_projection(&self, depth: u32, exprs: &[(Expr, String)]) -> Expr {
        let mut composed = self.clone();
        composed.pieces.clear();
        for piece in &self.pieces {
            let Piece::Outer(outer, position) = piece else {
                composed.pieces.push(piece.clone());
                continue;
            };
            if *outer != depth {
                composed.pieces.push(piece.clone());
                continue;
            }
            let inner = exprs[*position].0.map_slots(|piece| match piece {
                Piece::Column(column) => Piece::Outer(depth, *column),
                Piece::Outer(further, column) => Piece::Outer(depth + further, *column),
                other => other.clone(),
            });
            composed.volatility = composed.volatility.max(inner.volatility);
            composed.strict &= inner.strict;
            if inner.shape != Shape::Column {
                composed.shape = Shape::Opaque;
            }
            let fenced = inner.pieces.len() > 1;
            composed.pieces.extend(fenced.then(|| Piece::Text("(".to_owned())));
            composed.pieces.extend(inner.pieces);
            composed.pieces.extend(fenced.then(|| Piece::Text(")".to_owned())));
        }
        composed
    }

    /// True if looking at the value may be an error because a scalar subquery had several rows.
    pub fn checks_rows(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(SINGLE_ROW)))
    }

    /// Moves every slot; outer slots get their depth.
    pub fn map_slots(&self, mut map: impl FnMut(&Piece) -> Piece) -> Expr {
        let mut moved = self.clone();
        for piece in &mut moved.pieces {
            if matches!(piece, Piece::Column(_) | Piece::Outer(..)) {
                *piece = map(piece);
            }
        }
        moved
    }
}
