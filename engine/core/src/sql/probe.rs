//! Probing a change row by row.
//!
//! A change in memory has no index, so a lateral item over it reads all of it for every row before it: work that grows
//! with the square of the change. Most rows meet nothing there, and that can be known: an item with the condition
//! `outer.key = ANY (SELECT key FROM change)` is given by the server a one-time filter over a hash table of the keys,
//! made once for the whole statement. Only rows that meet the change read it.

use super::select::Block;
use crate::expr::{Expr, Piece};

/// Conditions over the rows outside alone, true wherever `on` can be true for some row of `change`. `columns` are those
/// of the concatenation that `on` ranges over; `inner` gives the column of `change` for a position of its own.
pub fn meets(
    on: &[Expr],
    columns: &[String],
    change: &Block,
    inner: impl Fn(usize) -> Option<usize>,
) -> Vec<String> {
    let condition = |predicate: &Expr| {
        let (left, right) = predicate.equality()?;
        let (Piece::Column(left), Piece::Column(right)) = (left, right) else { return None };
        let operator = operator(predicate)?;
        let (outer, key) = match (inner(*left), inner(*right)) {
            (None, Some(key)) => (*left, key),
            // The operands change places, which an operator between two types need not allow.
            (Some(key), None) if operator == "=" => (*right, key),
            _ => return None,
        };
        let keys = format!("SELECT {}{}", change.columns[key], change.from_where());
        Some(format!("{} {operator} ANY ({keys})", columns[outer]))
    };
    on.iter().filter_map(condition).collect()
}

/// The operator between the two bare columns of an equality; None if one of them is converted.
fn operator(predicate: &Expr) -> Option<&str> {
    let is_column = |piece: &Piece| matches!(piece, Piece::Column(_));
    let first = predicate.pieces.iter().position(is_column)?;
    let [_, Piece::Text(between), Piece::Column(_), after @ ..] = &predicate.pieces[first..] else {
        return None;
    };
    let is_bracket =
        |piece: &Piece| matches!(piece, Piece::Text(text) if text.chars().all(|c| "() ".contains(c)));
    if !predicate.pieces[..first].iter().chain(after).all(is_bracket) {
        return None;
    }
    let operator = between.trim();
    let is_qualified =
        operator.starts_with("OPERATOR(") && operator.ends_with("=)") && !operator.contains("::");
    (operator == "=" || is_qualified).then_some(operator)
}

#[cfg(test)]
mod tests {
    use super::meets;
    use crate::expr::{Expr, Piece, Shape};
    use crate::sql::select::{Block, FromItem};
    use crate::types::{Column, TypeRef};

    fn equality(before: &str, between: &str, after: &str) -> Expr {
        let column = Column { name: "c".to_owned(), ty: TypeRef::int8(), nullable: true, fixed_scale: None };
        let text = |text: &str| Piece::Text(text.to_owned());
        let pieces = vec![text(before), Piece::Column(0), text(between), Piece::Column(1), text(after)];
        Expr { pieces, shape: Shape::Equality, ..Expr::column(0, &column) }
    }

    fn met(on: Expr, inner: usize) -> Vec<String> {
        let relation = FromItem::Plain { relation: "d".to_owned(), alias: "t9".to_owned() };
        let change = Block { columns: vec!["t9.c1".to_owned()], from: vec![relation], ..Block::default() };
        let columns = ["a.x".to_owned(), "b.y".to_owned()];
        meets(&[on], &columns, &change, |column| (column == inner).then_some(0))
    }

    #[test]
    fn the_side_outside_is_compared_with_the_keys_of_the_change() {
        let keys = "ANY (SELECT t9.c1 FROM d AS t9)";
        assert_eq!(met(equality("(", " = ", ")"), 1), [format!("a.x = {keys}")]);
        assert_eq!(met(equality("(", " = ", ")"), 0), [format!("b.y = {keys}")]);
        assert_eq!(
            met(equality("", " OPERATOR(public.=) ", ""), 1),
            [format!("a.x OPERATOR(public.=) {keys}")]
        );
    }

    #[test]
    fn what_cannot_be_turned_round_or_is_converted_is_left_alone() {
        assert!(met(equality("", " OPERATOR(public.=) ", ""), 0).is_empty());
        assert!(met(equality("((", ")::text = ", ")"), 1).is_empty());
    }
}
