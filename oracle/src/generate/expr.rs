//! Well-typed scalar expressions whose metadata (nullability, strictness, scale) is right by construction.

use super::{Choices, data};
use crate::value::Value;
use pg_trickle_core::expr::{Expr, Moment, Piece, Shape, Time};
use pg_trickle_core::types::{Arithmetic, Column, TypeRef, Volatility};

/// What an expression may refer to: the input's columns and those of outer queries, nearest last.
pub(super) struct ExprScope<'a> {
    pub columns: &'a [Column],
    pub outer: &'a [Vec<Column>],
}

impl ExprScope<'_> {
    /// An expression of type `ty`.
    pub fn expr(&self, ty: &TypeRef, depth: usize, choices: &mut Choices) -> Expr {
        let columns = self.references(ty);
        let leaf = |choices: &mut Choices| {
            if columns.is_empty() || choices.percent(15) {
                constant(ty, choices)
            } else {
                choices.one_of(&columns)
            }
        };
        if depth == 0 || !choices.percent(45) {
            return leaf(choices);
        }
        let depth = depth - 1;
        match choices.below(4) {
            0 => {
                let (left, right) = (self.expr(ty, depth, choices), self.expr(ty, depth, choices));
                coalesce(left, right)
            }
            1 => {
                let condition = self.boolean(depth, choices);
                let (left, right) = (self.expr(ty, depth, choices), self.expr(ty, depth, choices));
                case(condition, left, right)
            }
            _ => match ty.arithmetic {
                // Without a modifier only: a sum does not keep the modifier's promise.
                Arithmetic::Integer | Arithmetic::Numeric if ty.typmod < 0 => {
                    let (left, right) = (self.expr(ty, depth, choices), self.expr(ty, depth, choices));
                    let operator = choices.one_of(&[" + ", " - ", " * "]);
                    infix(operator, left, right, ty)
                }
                _ if ty.oid == 16 => self.boolean(depth, choices),
                _ if ty.oid == 25 => {
                    // The text of a number shows its scale: equal numbers, different texts.
                    let of = choices.one_of(&[TypeRef::text(), TypeRef::numeric(), TypeRef::int4()]);
                    let (left, right) = (self.expr(ty, 0, choices), self.expr(&of, 0, choices));
                    infix(" || ", left, as_text(right), ty)
                }
                _ => leaf(choices),
            },
        }
    }

    /// A condition for a filter or a join. Its strictness is that of conditions.
    pub fn condition(&self, depth: usize, choices: &mut Choices) -> Expr {
        if depth > 0 && choices.percent(20) {
            let (left, right) = (self.condition(depth - 1, choices), self.condition(depth - 1, choices));
            return logical(" AND ", left, right, true);
        }
        self.boolean(depth, choices)
    }

    /// A condition that compares something of the row with the time, alone or inside another condition. Only the
    /// input's own columns take part.
    pub fn condition_with_time(&self, choices: &mut Choices) -> Expr {
        let own = ExprScope { columns: self.columns, outer: &[] };
        let comparison = own.comparison_with_time(choices);
        match choices.below(5) {
            0..=2 => comparison,
            3 => {
                let other = own.boolean(1, choices);
                logical(choices.one_of(&[" OR ", " AND "]), comparison, other, false)
            }
            _ => {
                let other = own.comparison_with_time(choices);
                let nullable = comparison.nullable || other.nullable;
                let otherwise = wrap("(NOT ", ")", other, &TypeRef::boolean(), nullable, false);
                case(own.boolean(0, choices), comparison, otherwise)
            }
        }
    }

    fn comparison_with_time(&self, choices: &mut Choices) -> Expr {
        let int4 = TypeRef::int4();
        let row = self.expr(&int4, 1, choices);
        let offset = literal(&int4, &data::constant(&int4, choices));
        let (operator, negator) = choices.one_of(&[("<", ">="), (">", "<="), (">=", "<"), ("=", "<>")]);
        let text = |text: &str| Piece::Text(text.to_owned());
        let (operator, negator) = (operator.to_owned(), choices.percent(80).then(|| negator.to_owned()));
        let mut pieces = vec![Piece::Time(Time::Open)];
        pieces.extend(row.pieces);
        pieces.push(Piece::Time(Time::Operator { operator, negator }));
        pieces.extend([text("("), Piece::Time(Time::Read(Moment::Now)), text(" - ")]);
        pieces.extend(offset.pieces);
        pieces.extend([text(")"), Piece::Time(Time::Close)]);
        let comparison = expr(pieces, &TypeRef::boolean(), row.nullable, row.strict, None);
        Expr { volatility: Volatility::Stable, ..comparison }
    }

    /// An equality between a column below `split` and one from it on, if there are two of one type.
    pub fn equality_across(&self, split: usize, choices: &mut Choices) -> Option<Expr> {
        let mut pairs = vec![];
        for (left, left_column) in self.columns[..split].iter().enumerate() {
            for (right, right_column) in self.columns[split..].iter().enumerate() {
                if is_comparable(left_column, right_column) {
                    pairs.push((left, split + right));
                }
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let (left, right) = choices.one_of(&pairs);
        let operand = |position: usize| Expr::column(position, &self.columns[position]);
        Some(equality(operand(left), operand(right)))
    }

    /// An equality between a column of the input and one of an outer query, the shape of a correlated subquery.
    pub fn equality_with_outer(&self, choices: &mut Choices) -> Option<Expr> {
        let mut pairs = vec![];
        for (position, column) in self.columns.iter().enumerate() {
            for (depth, outer) in self.outer.iter().rev().enumerate() {
                for (outer_position, outer_column) in outer.iter().enumerate() {
                    if is_comparable(column, outer_column) {
                        let outer = outer_reference(depth as u32 + 1, outer_position, outer_column);
                        pairs.push((Expr::column(position, column), outer));
                    }
                }
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let (inner, outer) = choices.one_of(&pairs);
        Some(if choices.percent(50) { equality(outer, inner) } else { equality(inner, outer) })
    }

    /// A call of a set-returning function.
    pub fn set_returning(&self, choices: &mut Choices) -> Expr {
        let text = |text: &str| vec![Piece::Text(text.to_owned())];
        let (name, first, last) = match choices.weighted(&[3, 2]) {
            0 => {
                let ty = choices.one_of(&[TypeRef::int4(), TypeRef::int8()]);
                ("generate_series", constant(&ty, choices), self.expr(&ty, 0, choices))
            }
            _ => {
                let delimiter = literal(&TypeRef::text(), &Value::Text("a".into()));
                ("string_to_table", self.expr(&TypeRef::text(), 0, choices), delimiter)
            }
        };
        let ty = first.ty.clone();
        let open = text(&format!("pg_catalog.{name}("));
        let pieces = [open, first.pieces, text(", "), last.pieces, text(")")].concat();
        expr(pieces, &ty, true, false, None)
    }

    /// 0 to 2 copies, by a column or a condition.
    pub fn count_of_copies(&self, choices: &mut Choices) -> Expr {
        let int8 = TypeRef::int8();
        let copies = |count| literal(&int8, &Value::Int(count));
        case(self.boolean(0, choices), copies(2), copies(choices.below(2) as i64))
    }

    fn boolean(&self, depth: usize, choices: &mut Choices) -> Expr {
        let boolean = TypeRef::boolean();
        let ty = choices.one_of(&self.types());
        match choices.weighted(&[6, 3, 2, 1, 2, 2, 1]) {
            0 => {
                let (left, right) = (self.expr(&ty, depth.min(1), choices), self.expr(&ty, 0, choices));
                let is_bare = |side: &Expr| side.shape == Shape::Column;
                if is_bare(&left) && is_bare(&right) {
                    equality(left, right)
                } else {
                    infix(" = ", left, right, &boolean)
                }
            }
            1 => {
                let (left, right) = (self.expr(&ty, depth.min(1), choices), self.expr(&ty, 0, choices));
                let operator = choices.one_of(&[" < ", " <> ", " >= "]);
                infix(operator, left, right, &boolean)
            }
            2 => {
                let operand = self.expr(&ty, 0, choices);
                let test = choices.one_of(&[" IS NULL)", " IS NOT NULL)"]);
                wrap("(", test, operand, &boolean, false, false)
            }
            3 => {
                let (left, right) = (self.expr(&ty, 0, choices), self.expr(&ty, 0, choices));
                let operator = choices.one_of(&[" IS NOT DISTINCT FROM ", " IS DISTINCT FROM "]);
                Expr { nullable: false, strict: false, ..infix(operator, left, right, &boolean) }
            }
            4 if depth > 0 => {
                let (left, right) = (self.boolean(depth - 1, choices), self.boolean(depth - 1, choices));
                logical(choices.one_of(&[" OR ", " AND "]), left, right, false)
            }
            5 if depth > 0 => {
                let operand = self.boolean(depth - 1, choices);
                let (nullable, strict) = (operand.nullable, operand.strict);
                match choices.below(3) {
                    0 => wrap("(NOT ", ")", operand, &boolean, nullable, strict),
                    1 => wrap("(", " IS NOT TRUE)", operand, &boolean, false, false),
                    _ => wrap("(", " IS FALSE)", operand, &boolean, false, false),
                }
            }
            _ => {
                let columns = self.references(&boolean);
                if columns.is_empty() { constant(&boolean, choices) } else { choices.one_of(&columns) }
            }
        }
    }

    /// All columns of exactly this type, outer ones too (twice, because they are what a correlated plan is about).
    fn references(&self, ty: &TypeRef) -> Vec<Expr> {
        let own = self.columns.iter().enumerate().filter(|(_, column)| column.ty == *ty);
        let mut found: Vec<Expr> = own.map(|(position, column)| Expr::column(position, column)).collect();
        for (depth, outer) in self.outer.iter().rev().enumerate() {
            for (position, column) in outer.iter().enumerate().filter(|(_, column)| column.ty == *ty) {
                let reference = outer_reference(depth as u32 + 1, position, column);
                found.extend([reference.clone(), reference]);
            }
        }
        found
    }

    /// Types of the scalars in scope; `int4` if there is none.
    fn types(&self) -> Vec<TypeRef> {
        let columns = self.columns.iter().chain(self.outer.iter().flatten());
        let mut types: Vec<TypeRef> = columns.map(|column| column.ty.clone()).filter(is_scalar).collect();
        if types.is_empty() {
            types.push(TypeRef::int4());
        }
        types
    }
}

/// Arrays are carried along but not computed with.
pub(super) fn is_scalar(ty: &TypeRef) -> bool {
    super::column_types().contains(ty)
}

fn is_comparable(left: &Column, right: &Column) -> bool {
    left.ty.oid == right.ty.oid && is_scalar(&left.ty)
}

fn outer_reference(depth: u32, position: usize, column: &Column) -> Expr {
    Expr { pieces: vec![Piece::Outer(depth, position)], ..Expr::column(0, column) }
}

/// A literal of the type, NULL at times.
pub(super) fn constant(ty: &TypeRef, choices: &mut Choices) -> Expr {
    let value = if choices.percent(15) { Value::Null } else { data::constant(ty, choices) };
    literal(ty, &value)
}

pub(super) fn literal(ty: &TypeRef, value: &Value) -> Expr {
    let scale = if let Value::Numeric(decimal) = value { Some(decimal.scale as u16) } else { None };
    Expr {
        pieces: vec![Piece::Text(format!("({value}::{})", ty.name))],
        ty: ty.clone(),
        volatility: Volatility::Immutable,
        nullable: value.is_null(),
        strict: true,
        fixed_scale: scale,
        shape: Shape::Constant,
    }
}

fn equality(left: Expr, right: Expr) -> Expr {
    Expr { shape: Shape::Equality, ..infix(" = ", left, right, &TypeRef::boolean()) }
}

fn infix(operator: &str, left: Expr, right: Expr, ty: &TypeRef) -> Expr {
    let fixed_scale = match (ty.arithmetic, operator, left.fixed_scale, right.fixed_scale) {
        (Arithmetic::Numeric, " * ", Some(left), Some(right)) => Some(left + right),
        (Arithmetic::Numeric, " + " | " - ", Some(left), Some(right)) => Some(left.max(right)),
        _ => None,
    };
    let text = |text: &str| Piece::Text(text.to_owned());
    let (nullable, strict) = (left.nullable || right.nullable, left.strict && right.strict);
    let pieces = [vec![text("(")], left.pieces, vec![text(operator)], right.pieces, vec![text(")")]].concat();
    expr(pieces, ty, nullable, strict, fixed_scale)
}

/// AND or OR; `AND` of strict conditions is strict as a condition, but not as a value.
fn logical(operator: &str, left: Expr, right: Expr, as_condition: bool) -> Expr {
    let strict = as_condition && left.strict && right.strict;
    Expr { strict, ..infix(operator, left, right, &TypeRef::boolean()) }
}

fn wrap(before: &str, after: &str, operand: Expr, ty: &TypeRef, nullable: bool, strict: bool) -> Expr {
    let text = |text: &str| vec![Piece::Text(text.to_owned())];
    expr([text(before), operand.pieces, text(after)].concat(), ty, nullable, strict, None)
}

fn as_text(operand: Expr) -> Expr {
    let (nullable, strict) = (operand.nullable, operand.strict);
    wrap("(", "::pg_catalog.text)", operand, &TypeRef::text(), nullable, strict)
}

fn coalesce(left: Expr, right: Expr) -> Expr {
    let text = |text: &str| vec![Piece::Text(text.to_owned())];
    let (nullable, ty) = (left.nullable && right.nullable, left.ty.clone());
    let scale = left.fixed_scale.filter(|_| left.fixed_scale == right.fixed_scale);
    let pieces = [text("COALESCE("), left.pieces, text(", "), right.pieces, text(")")].concat();
    expr(pieces, &ty, nullable, false, scale)
}

fn case(condition: Expr, left: Expr, right: Expr) -> Expr {
    let text = |text: &str| vec![Piece::Text(text.to_owned())];
    let (nullable, ty) = (left.nullable || right.nullable, left.ty.clone());
    let scale = left.fixed_scale.filter(|_| left.fixed_scale == right.fixed_scale);
    let pieces = [
        text("CASE WHEN "),
        condition.pieces,
        text(" THEN "),
        left.pieces,
        text(" ELSE "),
        right.pieces,
        text(" END"),
    ];
    expr([text("("), pieces.concat(), text(")")].concat(), &ty, nullable, false, scale)
}

fn expr(pieces: Vec<Piece>, ty: &TypeRef, nullable: bool, strict: bool, fixed_scale: Option<u16>) -> Expr {
    Expr {
        pieces: merged(pieces),
        ty: ty.clone(),
        volatility: Volatility::Immutable,
        nullable,
        strict,
        fixed_scale,
        shape: Shape::Opaque,
    }
}

/// Neighbouring texts as one piece, as the front end makes them.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = vec![];
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}
