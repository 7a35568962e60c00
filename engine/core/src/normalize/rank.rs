//! `rank-to-top-k`.
//!
//! ```text
//! Filter n <= k                         Filter n <= k
//!   Window .. n = row_number()    ─▶      Window .. n = row_number()
//!     A                                     TopK k by the window's partition and order
//!                                             A
//! ```
//!
//! `rank() <= k` is a limit WITH TIES: a group of peers has one rank, that of its first row. So are `dense_rank() <= 1` and
//! `dense_rank() = 1`; of `k` groups nothing says how many rows they have.
//!
//! The first rows of a partition have the numbers they have among all rows, because a window and a [`TopK`] break ties in
//! one way. That must hold for every call of the window: for those whose value depends only on rows before the current
//! one (`looks_back`). A RANGE frame that ends at the current row sees its later peers, which a limit may cut off and a
//! limit WITH TIES does not.
//!
//! Where nothing above reads a number, and the condition says no more than the limit, the window goes as well:
//! `row_number() .. = 1` is DISTINCT ON.

use crate::expr::{Expr, Piece, Shape};
use crate::plan::{Filter, FrameBound, FrameExclusion, FrameMode, Plan, Project, TopK, Window, WindowCall};
use crate::types::{TypeRef, Volatility};

pub(super) fn limit(plan: Plan) -> Plan {
    let (mut conditions, below) = conditions_over(plan);
    let below = match below {
        Plan::Window(window) => match limited(&window, &conditions) {
            Some((_, top)) => Plan::Window(Window { input: Box::new(Plan::TopK(top)), ..window }),
            None => Plan::Window(window),
        },
        Plan::Project(project) => numbers_unread(project),
        other => other,
    };
    let mut limited = below;
    for child in limited.children_mut() {
        *child = limit(child.clone());
    }
    conditions.reverse();
    filtered(limited, conditions)
}

/// A projection of a limited window whose numbers nothing reads is one of the rows the limit leaves.
fn numbers_unread(project: Project) -> Plan {
    let (mut conditions, input) = conditions_over((*project.input).clone());
    if let Plan::Window(window) = input
        && let Some((place, top)) = limited(&window, &conditions)
    {
        let width = window.input.columns().len();
        let bound = conditions.remove(place);
        let is_implied = upper_bound(&bound).is_some_and(|bound| !bound.is_equality || bound.count == 1);
        let is_of_input = |expr: &Expr| expr.columns().iter().all(|&column| column < width);
        let reads_numbers =
            !project.exprs.iter().all(|(expr, _)| is_of_input(expr)) || !conditions.iter().all(is_of_input);
        if is_implied && !reads_numbers {
            conditions.reverse();
            let input = Box::new(filtered(Plan::TopK(top), conditions));
            return Plan::Project(Project { input, exprs: project.exprs });
        }
    }
    Plan::Project(project)
}

/// The conditions of filters on top, outermost first, and what is below.
fn conditions_over(plan: Plan) -> (Vec<Expr>, Plan) {
    let mut conditions = vec![];
    let mut below = plan;
    while let Plan::Filter(filter) = below {
        conditions.push(filter.predicate);
        below = *filter.input;
    }
    (conditions, below)
}

/// The plan under conditions, innermost first.
fn filtered(plan: Plan, conditions: Vec<Expr>) -> Plan {
    conditions
        .into_iter()
        .fold(plan, |input, predicate| Plan::Filter(Filter { input: Box::new(input), predicate }))
}

/// The limit on the window's input that one of the conditions amounts to, and which condition that is.
fn limited(window: &Window, conditions: &[Expr]) -> Option<(usize, TopK)> {
    let width = window.input.columns().len();
    let function = |column: usize| -> Option<&str> {
        window.calls.get(column.checked_sub(width)?)?.function.builtin.as_deref()
    };
    let bounds = conditions.iter().enumerate().filter_map(|(place, condition)| {
        let bound = upper_bound(condition)?;
        let with_ties = match function(bound.column)? {
            "row_number" => false,
            "rank" => true,
            "dense_rank" if bound.count <= 1 => true,
            _ => return None,
        };
        let holds = window.calls.iter().all(|call| looks_back(call, with_ties));
        (holds && !(with_ties && window.order.is_empty())).then_some((bound.count, with_ties, place))
    });
    let (count, with_ties, place) = bounds.min()?;
    let top = TopK {
        input: window.input.clone(),
        partition: window.partition.clone(),
        order: window.order.clone(),
        limit: Some(count_of_rows(count)),
        offset: None,
        with_ties,
        position: None,
    };
    Some((place, top))
}

/// True if the call's value never depends on a row after the current one, in the total order of rows; with `peers_stay` it
/// may depend on its peers.
fn looks_back(call: &WindowCall, peers_stay: bool) -> bool {
    match call.function.builtin.as_deref() {
        Some("row_number" | "rank" | "dense_rank") => true,
        Some("lag") => call.args.len() == 1,
        Some("lead" | "ntile" | "percent_rank" | "cume_dist") => false,
        _ => {
            let ends_here = matches!(call.frame.end, FrameBound::CurrentRow | FrameBound::Preceding(_));
            let is_of_peers = call.frame.mode != FrameMode::Rows
                || matches!(call.frame.exclude, FrameExclusion::Group | FrameExclusion::Ties);
            ends_here && (peers_stay || !is_of_peers)
        }
    }
}

/// A condition that a column is at most (`is_equality`: is) a count.
struct UpperBound {
    column: usize,
    count: i64,
    is_equality: bool,
}

/// Recognises `column <= 3`, `column < 3`, `column = 3` and their mirror images.
fn upper_bound(condition: &Expr) -> Option<UpperBound> {
    let slot = condition.pieces.iter().position(|piece| !matches!(piece, Piece::Text(_)))?;
    let Piece::Column(column) = condition.pieces[slot] else { return None };
    let (before, after) = (text(&condition.pieces[..slot])?, text(&condition.pieces[slot + 1..])?);
    // The brackets around the whole condition.
    let brackets = before.len() - before.trim_start_matches('(').len();
    let left = before.trim_start_matches('(').trim();
    let right = after.trim().strip_suffix(&")".repeat(if left.is_empty() { brackets } else { 0 }))?.trim();
    let (operator, count) = if left.is_empty() {
        let operator = ["<=", "<", "="].into_iter().find(|&operator| right.starts_with(operator))?;
        (operator, integer(right[operator.len()..].trim())?)
    } else {
        let outer = after.trim();
        if outer.chars().any(|c| c != ')') || outer.len() != brackets {
            return None;
        }
        let operator = [">=", ">", "="].into_iter().find(|&operator| left.ends_with(operator))?;
        (operator, integer(left[..left.len() - operator.len()].trim())?)
    };
    let count = if matches!(operator, "<" | ">") { count - 1 } else { count };
    (count >= 0).then_some(UpperBound { column, count, is_equality: operator == "=" })
}

/// The pieces if all are text.
fn text(pieces: &[Piece]) -> Option<String> {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// `3`, `'3'::bigint`, `(3::pg_catalog.int8)`.
fn integer(text: &str) -> Option<i64> {
    let text = match text.strip_prefix('(') {
        Some(inner) if inner.ends_with(')') => &inner[..inner.len() - 1],
        _ => text,
    };
    let (digits, ty) = text.split_once("::").unwrap_or((text, "integer"));
    let digits = digits.strip_prefix('\'').and_then(|digits| digits.strip_suffix('\'')).unwrap_or(digits);
    let ty = ty.strip_prefix("pg_catalog.").unwrap_or(ty);
    let is_integer = ["bigint", "integer", "smallint", "int8", "int4", "int2"].contains(&ty);
    let is_count = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    // Far below the range, so that sums of counts stay in it.
    if is_integer && is_count { digits.parse().ok().filter(|&count: &i64| count < 1 << 40) } else { None }
}

fn count_of_rows(count: i64) -> Expr {
    Expr {
        pieces: vec![Piece::Text(format!("({count}::pg_catalog.int8)"))],
        ty: TypeRef::int8(),
        volatility: Volatility::Immutable,
        nullable: false,
        strict: true,
        fixed_scale: None,
        shape: Shape::Constant,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(before: &str, after: &str) -> Option<(i64, bool)> {
        let pieces = [Piece::Text(before.into()), Piece::Column(4), Piece::Text(after.into())];
        let pieces = pieces.into_iter().filter(|piece| *piece != Piece::Text(String::new())).collect();
        let condition = Expr { pieces, ..Expr::boolean(true) };
        upper_bound(&condition).map(|bound| (bound.count, bound.is_equality))
    }

    #[test]
    fn bounds_are_recognised_by_their_text() {
        assert_eq!(bound("(", " <= 3)"), Some((3, false)));
        assert_eq!(bound("((", " < '3'::bigint))"), Some((2, false)));
        assert_eq!(bound("(", " = (1::pg_catalog.int8))"), Some((1, true)));
        assert_eq!(bound("(3 >= ", ")"), Some((3, false)));
        assert_eq!(bound("('7'::bigint > ", ")"), Some((6, false)));
        assert_eq!(bound("", " <= 3"), Some((3, false)));
    }

    #[test]
    fn other_conditions_are_not_bounds() {
        for (before, after) in [
            ("(", " >= 3)"),
            ("(", " <> 3)"),
            ("(3 <= ", ")"),
            ("(", " <= 3.5)"),
            ("(", " <= -1)"),
            ("(", " < 0)"),
            ("(", " <= 3) IS NOT FALSE"),
            ("(NOT (", " <= 3))"),
            ("((", " + 1) <= 3)"),
            ("(- ", " <= 3)"),
            ("(", " <= 'x'::text)"),
            ("(", " OPERATOR(public.<=) 3)"),
            ("(5 - 1 >= ", ")"),
            ("(", " <= 3 OR true)"),
        ] {
            assert_eq!(bound(before, after), None, "{before}#{after}");
        }
    }
}
