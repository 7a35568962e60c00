//! Window functions over random columns.
//!
//! A window either has functions of the order of rows, and then a frame whose meaning does not change when its order is
//! made total, or only functions of peers: so the same window can be written in SQL such that PostgreSQL has one answer.

use super::Choices;
use super::expr::{ExprScope, constant, is_scalar, literal};
use super::plan::sort_keys;
use crate::value::Value;
use pg_trickle_core::expr::{Expr, Piece, Shape, SortKey};
use pg_trickle_core::plan::{Filter, Frame, FrameBound, FrameExclusion, FrameMode, Plan, Window, WindowCall};
use pg_trickle_core::types::{Arithmetic, Column, FunctionRef, TypeRef};

pub(super) fn window(input: Plan, outer: &[Vec<Column>], choices: &mut Choices) -> Plan {
    let columns = input.columns();
    let mut partition = vec![];
    for _ in 0..choices.weighted(&[2, 5, 1]) {
        let column = choices.below(columns.len());
        if !partition.contains(&column) {
            partition.push(column);
        }
    }
    let order = match choices.weighted(&[1, 6, 2]) {
        0 => vec![],
        count => sort_keys(&columns, count, choices),
    };
    let of_rows = choices.percent(50);
    let scope = ExprScope { columns: &columns, outer };
    let calls = (0..1 + choices.below(2)).map(|index| {
        let frame = if of_rows { rows_frame(outer, choices) } else { peers_frame(&columns, &order, choices) };
        WindowCall { frame, ..call(&scope, of_rows, index, choices) }
    });
    let calls: Vec<WindowCall> = calls.collect();
    let is_number = |call: &WindowCall| {
        matches!(call.function.builtin.as_deref(), Some("row_number" | "rank" | "dense_rank"))
    };
    let number = calls.iter().position(is_number);
    let plan = Plan::Window(Window { input: Box::new(input), partition, order, calls });
    match number {
        Some(number) if choices.percent(60) => first_rows(plan, columns.len() + number, choices),
        _ if choices.percent(30) => {
            let predicate = ExprScope { columns: &columns, outer }.condition(1, choices);
            Plan::Filter(Filter { input: Box::new(plan), predicate })
        }
        _ => plan,
    }
}

/// The rows whose number, a column, is at most or exactly a constant.
fn first_rows(plan: Plan, number: usize, choices: &mut Choices) -> Plan {
    let operator = choices.one_of(&[" <= ", " = ", " < "]);
    let predicate = Expr {
        pieces: vec![
            Piece::Text("(".to_owned()),
            Piece::Column(number),
            Piece::Text(format!("{operator}({}::pg_catalog.int8))", 1 + choices.below(3))),
        ],
        strict: true,
        shape: Shape::Opaque,
        ..Expr::boolean(true)
    };
    Plan::Filter(Filter { input: Box::new(plan), predicate })
}

fn count_of(choices: &mut Choices) -> Expr {
    literal(&TypeRef::int8(), &Value::Int(choices.below(3) as i64))
}

/// A count of an outer row, or a constant.
fn outer_count(outer: &[Vec<Column>], choices: &mut Choices) -> Expr {
    let is_integer = |column: &Column| column.ty.arithmetic == Arithmetic::Integer;
    let Some(place) = outer.last().and_then(|columns| columns.iter().position(is_integer)) else {
        return count_of(choices);
    };
    if !choices.percent(30) {
        return count_of(choices);
    }
    let text = |text: &str| Piece::Text(text.to_owned());
    let column = || Piece::Outer(1, place);
    let pieces = vec![
        text("(CASE WHEN ("),
        column(),
        text(" > 0) THEN "),
        column(),
        text(" ELSE 0 END)::pg_catalog.int8"),
    ];
    Expr { pieces, ty: TypeRef::int8(), shape: Shape::Opaque, ..Expr::boolean(true) }
}

/// A frame that counts rows; its exclusion does not look at peers.
fn rows_frame(outer: &[Vec<Column>], choices: &mut Choices) -> Frame {
    if choices.percent(30) {
        return Frame { mode: FrameMode::Rows, ..Frame::default() };
    }
    let (start, end) = bounds(choices, |choices| outer_count(outer, choices));
    let exclude = choices.one_of(&[FrameExclusion::Nothing, FrameExclusion::CurrentRow]);
    Frame { mode: FrameMode::Rows, start, end, exclude }
}

/// A frame of whole groups of peers, or of a distance in the only sort key.
fn peers_frame(columns: &[Column], order: &[SortKey], choices: &mut Choices) -> Frame {
    use FrameExclusion::*;
    let exclude = choices.one_of(&[Nothing, Nothing, CurrentRow, Group, Ties]);
    // A frame without the current row but with its peers is not the same for all peers.
    let exclude = if exclude == CurrentRow { Group } else { exclude };
    let distance_of = match order {
        [key] if matches!(columns[key.column].ty.oid, 20 | 23 | 1700) => Some(columns[key.column].ty.clone()),
        _ => None,
    };
    let (mode, (start, end)) = match (choices.below(3), distance_of) {
        (1, Some(ty)) => {
            let distance = |choices: &mut Choices| {
                // The distance of a column with a modifier has none.
                let ty = if ty.arithmetic == Arithmetic::Numeric { TypeRef::numeric() } else { ty.clone() };
                let value = choices.below(3) as i64;
                let value = match ty.arithmetic {
                    Arithmetic::Numeric => Value::Numeric(value.into()),
                    _ => Value::Int(value),
                };
                literal(&ty, &value)
            };
            (FrameMode::Range, bounds(choices, distance))
        }
        (2, _) if !order.is_empty() => (FrameMode::Groups, bounds(choices, count_of)),
        _ => (FrameMode::Range, whole_bounds(choices)),
    };
    Frame { mode, start, end, exclude }
}

/// Bounds without offsets.
fn whole_bounds(choices: &mut Choices) -> (FrameBound, FrameBound) {
    use FrameBound::*;
    choices.one_of(&[
        (UnboundedPreceding, CurrentRow),
        (UnboundedPreceding, UnboundedFollowing),
        (CurrentRow, UnboundedFollowing),
        (CurrentRow, CurrentRow),
    ])
}

/// Any bounds SQL allows.
fn bounds(choices: &mut Choices, mut offset: impl FnMut(&mut Choices) -> Expr) -> (FrameBound, FrameBound) {
    match choices.below(6) {
        0 => whole_bounds(choices),
        1 => (FrameBound::Preceding(offset(choices)), FrameBound::CurrentRow),
        2 => (FrameBound::Preceding(offset(choices)), FrameBound::Following(offset(choices))),
        3 => (FrameBound::Preceding(offset(choices)), FrameBound::Preceding(offset(choices))),
        4 => (FrameBound::Following(offset(choices)), FrameBound::Following(offset(choices))),
        _ => (FrameBound::CurrentRow, FrameBound::Following(offset(choices))),
    }
}

fn call(scope: &ExprScope, of_rows: bool, index: usize, choices: &mut Choices) -> WindowCall {
    let mut of_peers =
        vec!["rank", "dense_rank", "percent_rank", "cume_dist", "count(*)", "count", "sum", "min", "max"];
    let function = if of_rows && choices.percent(30) {
        "row_number"
    } else if of_rows {
        of_peers.extend(["row_number", "row_number", "ntile", "lag", "lead", "first_value", "last_value"]);
        of_peers.extend(["nth_value", "array_agg", "sum", "count"]);
        choices.one_of(&of_peers)
    } else {
        choices.one_of(&of_peers)
    };
    let number = |ty: TypeRef, least: usize, choices: &mut Choices| {
        literal(&ty, &Value::Int((least + choices.below(3)) as i64))
    };
    let (mut args, mut filter) = (vec![], None);
    match function {
        "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "count(*)" => {}
        "ntile" => args.push(number(TypeRef::int4(), 1, choices)),
        "sum" => {
            let ty = choices.one_of(&[TypeRef::int4(), TypeRef::numeric(), TypeRef::int8()]);
            args.push(scope.expr(&ty, 1, choices));
        }
        "min" | "max" => {
            let ty = choices.one_of(&[TypeRef::int4(), TypeRef::numeric(), TypeRef::text()]);
            args.push(scope.expr(&ty, 1, choices));
        }
        _ => args.push(scope.expr(&argument_type(scope, choices), 1, choices)),
    }
    match function {
        "nth_value" => args.push(number(TypeRef::int4(), 1, choices)),
        "lag" | "lead" => {
            for count in 0..choices.below(3) {
                let more = match count {
                    0 => number(TypeRef::int4(), 0, choices),
                    _ => constant(&args[0].ty.clone(), choices),
                };
                args.push(more);
            }
        }
        "count(*)" | "count" | "sum" | "min" | "max" | "array_agg" if choices.percent(25) => {
            filter = Some(scope.condition(1, choices));
        }
        _ => {}
    }
    let (oid, ty) = signature(function, args.first().map(|arg| &arg.ty));
    let builtin = function.trim_end_matches("(*)").to_owned();
    WindowCall {
        function: FunctionRef { oid, name: format!("pg_catalog.{builtin}"), builtin: Some(builtin) },
        args,
        star: function == "count(*)",
        filter,
        frame: Frame::default(),
        ty,
        name: format!("w{index}"),
        position: None,
    }
}

/// The type of a column of the input, or an integer.
fn argument_type(scope: &ExprScope, choices: &mut Choices) -> TypeRef {
    let mut types: Vec<TypeRef> =
        scope.columns.iter().map(|column| column.ty.clone()).filter(is_scalar).collect();
    types.push(TypeRef::int4());
    // `lag(x, 1, default)` has the type of all of them, without a modifier.
    let ty = choices.one_of(&types);
    if ty.arithmetic == Arithmetic::Numeric { TypeRef::numeric() } else { ty }
}

/// `pg_proc.oid` and result type.
fn signature(function: &str, argument: Option<&TypeRef>) -> (u32, TypeRef) {
    let argument = || argument.cloned().unwrap_or_else(TypeRef::int4);
    match function {
        "row_number" => (3100, TypeRef::int8()),
        "rank" => (3101, TypeRef::int8()),
        "dense_rank" => (3102, TypeRef::int8()),
        "percent_rank" => (3103, float8()),
        "cume_dist" => (3104, float8()),
        "ntile" => (3105, TypeRef::int4()),
        "lag" => (3106, argument()),
        "lead" => (3109, argument()),
        "first_value" => (3112, argument()),
        "last_value" => (3113, argument()),
        "nth_value" => (3114, argument()),
        aggregate => super::aggregate::signature(aggregate, &argument()),
    }
}

/// What distribution functions return. The interpreter has exact quotients in its place.
fn float8() -> TypeRef {
    TypeRef {
        oid: 701,
        name: "pg_catalog.float8".to_owned(),
        arithmetic: Arithmetic::Float,
        equal_image: false,
        ..TypeRef::int8()
    }
}
