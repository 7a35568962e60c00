//! The printer.

use super::SHORT_TYPES;
use crate::expr::{Expr, Moment, Piece, Shape, SortKey, Time};
use crate::plan::*;
use crate::types::{Arithmetic, Column, FunctionRef, Volatility};
use std::fmt::Write;

pub(super) fn plan(plan: &Plan, depth: usize, out: &mut String) {
    let (head, items) = node(plan);
    line(depth, &head, out);
    for item in items {
        line(depth + 1, &format!("- {item}"), out);
    }
    for child in plan.children() {
        self::plan(child, depth + 1, out);
    }
}

fn line(depth: usize, text: &str, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// The node's line and its items.
fn node(plan: &Plan) -> (String, Vec<String>) {
    match plan {
        Plan::Source(node) => (
            format!("Source s{}{}", node.source.0, keys(&node.keys)),
            columns(&node.columns, Some(&node.ordinals)),
        ),
        Plan::Stored(node) => {
            (format!("Stored g{}{}", node.stage.0, keys(&node.keys)), columns(&node.columns, None))
        }
        Plan::Delta(node) => {
            let of = match node.of {
                DeltaOf::Source(source) => format!("s{}", source.0),
                DeltaOf::Stage(stage) => format!("g{}", stage.0),
                DeltaOf::Shared(shared) => format!("x{shared}"),
                DeltaOf::Round(stage) => format!("r{}", stage.0),
            };
            (format!("Delta {of}"), columns(&node.columns, Some(&node.ordinals)))
        }
        Plan::Values(node) => {
            let mut items = columns(&node.columns, None);
            items.extend(node.rows.iter().map(|row| {
                let exprs: Vec<String> = row.iter().map(expr).collect();
                format!("row {}", exprs.join(", ")).trim_end().to_owned()
            }));
            ("Values".to_owned(), items)
        }
        Plan::Filter(node) => ("Filter".to_owned(), vec![expr(&node.predicate)]),
        Plan::Project(node) => {
            let items =
                node.exprs.iter().map(|(value, name)| format!("{} = {}", self::name(name), expr(value)));
            ("Project".to_owned(), items.collect())
        }
        Plan::Join(node) => ("Join".to_owned(), conditions(&node.predicates)),
        Plan::OuterJoin(node) => {
            let kind = match node.kind {
                OuterKind::Left => "LeftJoin",
                OuterKind::Full => "FullJoin",
            };
            (format!("{kind}{}", at(node.position)), conditions(&node.on))
        }
        Plan::SemiJoin(node) => {
            let kind = if node.anti { "AntiJoin" } else { "SemiJoin" };
            (kind.to_owned(), conditions(&node.on))
        }
        Plan::Aggregate(node) => {
            (format!("Aggregate by{}", numbers(&node.keys)), node.calls.iter().map(call).collect())
        }
        Plan::SetOp(node) => {
            let kind = match node.kind {
                SetOpKind::Union => "Union",
                SetOpKind::Intersect => "Intersect",
                SetOpKind::Except => "Except",
            };
            let all = if node.all { " all" } else { "" };
            (format!("{kind}{all}{}", at(node.position)), vec![])
        }
        Plan::UnionAll(_) => ("UnionAll".to_owned(), vec![]),
        Plan::Recursive(node) => {
            let all = if node.all { " all" } else { "" };
            (format!("Recursive{all} {}{}", quoted(&node.name), at(node.position)), vec![])
        }
        Plan::Round(node) => {
            let of = node.of.map(|stage| format!(" g{}", stage.0)).unwrap_or_default();
            (format!("Round{of}"), columns(&node.columns, None))
        }
        Plan::TopK(node) => {
            let ties = if node.with_ties { " with ties" } else { "" };
            let mut items: Vec<String> =
                node.order.iter().map(|key| format!("order {}", sort_key(key))).collect();
            items.extend(node.limit.iter().map(|limit| format!("limit {}", expr(limit))));
            items.extend(node.offset.iter().map(|offset| format!("offset {}", expr(offset))));
            (format!("TopK by{}{ties}{}", numbers(&node.partition), at(node.position)), items)
        }
        Plan::Expand(node) => {
            let (mut items, ordinality) = match &node.rows {
                RowSource::Functions { calls, ordinality } => {
                    (calls.iter().map(|call| format!("call {}", expr(call))).collect(), *ordinality)
                }
                RowSource::Item(item) => (vec![format!("item {}", expr(item))], false),
            };
            items.extend(columns(&node.columns, None));
            items.extend(node.left.iter().flat_map(|on| conditions(on)));
            let left = if node.left.is_some() { " left" } else { "" };
            let ordinality = if ordinality { " ordinality" } else { "" };
            (format!("Expand{left}{ordinality}{}", at(node.position)), items)
        }
        Plan::Repeat(node) => ("Repeat".to_owned(), vec![expr(&node.count)]),
        Plan::Window(node) => {
            let mut items: Vec<String> =
                node.order.iter().map(|key| format!("order {}", sort_key(key))).collect();
            items.extend(node.calls.iter().map(window_call));
            (format!("Window by{}", numbers(&node.partition)), items)
        }
        Plan::DependentJoin(node) => {
            let kind = match node.kind {
                DependentKind::Inner => "inner",
                DependentKind::Left => "left",
                DependentKind::Mark => "mark",
                DependentKind::Scalar => "scalar",
                DependentKind::Array => "array",
            };
            let adds = node.adds.iter().map(|column| format!("adds {}", self::column(column, None)));
            let items = adds.chain(conditions(&node.on)).collect();
            (format!("DependentJoin {kind}{}", at(node.position)), items)
        }
        Plan::Negate(_) => ("Negate".to_owned(), vec![]),
        Plan::Old(_) => ("Old".to_owned(), vec![]),
        Plan::Flip(node) => ("Flip".to_owned(), conditions(&node.on)),
    }
}

fn keys(keys: &[Vec<usize>]) -> String {
    keys.iter().map(|key| format!(" key{}", numbers(key))).collect()
}

/// ` 0,1`, or ` ()` for no number.
fn numbers(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    if numbers.is_empty() { " ()".to_owned() } else { format!(" {}", numbers.join(",")) }
}

fn at(position: Option<u32>) -> String {
    position.map(|position| format!(" at {position}")).unwrap_or_default()
}

fn columns(columns: &[Column], ordinals: Option<&[usize]>) -> Vec<String> {
    let ordinal = |index: usize| ordinals.and_then(|ordinals| ordinals.get(index)).copied();
    columns.iter().enumerate().map(|(index, each)| column(each, ordinal(index))).collect()
}

fn column(column: &Column, ordinal: Option<usize>) -> String {
    let mut text = name(&column.name);
    if let Some(ordinal) = ordinal {
        let _ = write!(text, " @{ordinal}");
    }
    text + " " + &ty(&column.ty) + &value_flags(column.nullable, column.fixed_scale)
}

fn value_flags(nullable: bool, fixed_scale: Option<u16>) -> String {
    let scale = fixed_scale.map(|scale| format!(" scale {scale}")).unwrap_or_default();
    format!("{}{scale}", if nullable { " nullable" } else { "" })
}

fn conditions(conditions: &[Expr]) -> Vec<String> {
    conditions.iter().map(|condition| format!("on {}", expr(condition))).collect()
}

fn expr(expr: &Expr) -> String {
    let mut text = String::from("`");
    let mut is_after_text = false;
    for piece in &expr.pieces {
        match piece {
            Piece::Text(piece) => {
                if is_after_text || piece.is_empty() {
                    // A boundary between two texts, which nothing else would show.
                    text.push_str("\\|");
                }
                // A digit directly after a slot would run on into its number.
                let is_after_slot = text.ends_with(|c: char| c.is_ascii_digit());
                for (index, c) in piece.chars().enumerate() {
                    match c {
                        c if index == 0 && is_after_slot && c.is_ascii_digit() => text.extend(['\\', c]),
                        '#' | '^' => text.extend([c, c]),
                        '`' | '\\' => text.extend(['\\', c]),
                        '\n' => text.push_str("\\n"),
                        '\r' => text.push_str("\\r"),
                        c => text.push(c),
                    }
                }
            }
            Piece::Column(column) => {
                let _ = write!(text, "#{column}");
            }
            Piece::Outer(depth, column) => {
                let _ = write!(text, "^{depth}.{column}");
            }
            Piece::Time(time) => match time {
                Time::Read(Moment::Now) => text.push_str("\\N"),
                Time::Read(Moment::Then) => text.push_str("\\F"),
                Time::Open => text.push_str("\\("),
                Time::Operator { operator, negator } => {
                    let negator = negator.as_deref().unwrap_or_default();
                    let _ = write!(text, "\\:{operator}\\:{negator}\\:");
                }
                Time::Close => text.push_str("\\)"),
            },
        }
        is_after_text = matches!(piece, Piece::Text(_));
    }
    text.push('`');
    text += " ";
    text += &ty(&expr.ty);
    text += &value_flags(expr.nullable, expr.fixed_scale);
    if expr.strict {
        text += " strict";
    }
    text += match expr.volatility {
        Volatility::Immutable => "",
        Volatility::Stable => " stable",
        Volatility::Volatile => " volatile",
    };
    text += match expr.shape {
        Shape::Opaque => "",
        Shape::Column => " column",
        Shape::Constant => " constant",
        Shape::Equality => " equality",
    };
    text
}

fn sort_key(key: &SortKey) -> String {
    let direction = if key.descending { " desc" } else { "" };
    let nulls = if key.nulls_first { " nulls first" } else { "" };
    let using = key.using.as_ref().map(|using| format!(" using {}", quoted(using))).unwrap_or_default();
    format!("{}{direction}{nulls}{using}", key.column)
}

/// `name = sum/2108 1 distinct filter 2 order 3 desc, 4 int8 at 30`.
fn call(call: &AggCall) -> String {
    let mut text = format!("{} = {}{}", name(&call.name), function(&call.function), numbers(&call.args));
    for argument in &call.direct_args {
        text += &format!(" direct {}", expr(argument));
    }
    for (is_set, word) in
        [(call.distinct, " distinct"), (call.within_group, " within"), (call.variadic, " variadic")]
    {
        text += if is_set { word } else { "" };
    }
    if let Some(filter) = call.filter {
        text += &format!(" filter {filter}");
    }
    for key in &call.order_by {
        text += &format!(" order {}", sort_key(key));
    }
    text + " " + &ty(&call.ty) + &at(call.position)
}

/// `frame rows unbounded preceding to current row exclude ties`; none for SQL's default.
fn frame(frame: &Frame) -> String {
    let mode = match frame.mode {
        FrameMode::Rows => "rows",
        FrameMode::Range => "range",
        FrameMode::Groups => "groups",
    };
    let bound = |bound: &FrameBound| match bound {
        FrameBound::UnboundedPreceding => "unbounded preceding".to_owned(),
        FrameBound::Preceding(offset) => format!("preceding {}", expr(offset)),
        FrameBound::CurrentRow => "current".to_owned(),
        FrameBound::Following(offset) => format!("following {}", expr(offset)),
        FrameBound::UnboundedFollowing => "unbounded following".to_owned(),
    };
    let exclude = match frame.exclude {
        FrameExclusion::Nothing => "",
        FrameExclusion::CurrentRow => " exclude current",
        FrameExclusion::Group => " exclude group",
        FrameExclusion::Ties => " exclude ties",
    };
    format!("frame {mode} {} to {}{exclude}", bound(&frame.start), bound(&frame.end))
}

/// ``over total = sum/2108 arg `#1` int4 filter `#2` bool int8 at 30``.
fn window_call(call: &WindowCall) -> String {
    let mut text = format!("over {} = {}", name(&call.name), function(&call.function));
    text += if call.star { " star" } else { "" };
    for argument in &call.args {
        text += &format!(" arg {}", expr(argument));
    }
    if let Some(filter) = &call.filter {
        text += &format!(" filter {}", expr(filter));
    }
    if call.frame != Frame::default() {
        text += &format!(" {}", frame(&call.frame));
    }
    text + " " + &ty(&call.ty) + &at(call.position)
}

/// `sum/2108` for built-ins, `"public.f"/16400` with a trailing `=builtin` where name and built-in name differ.
fn function(function: &FunctionRef) -> String {
    match &function.builtin {
        Some(builtin) if function.name == format!("pg_catalog.{builtin}") => match name(builtin) {
            bare if bare == *builtin => format!("{bare}/{}", function.oid),
            odd => format!("{}/{}={odd}", quoted(&function.name), function.oid),
        },
        Some(builtin) => format!("{}/{}={}", quoted(&function.name), function.oid, name(builtin)),
        None => format!("{}/{}", quoted(&function.name), function.oid),
    }
}

fn ty(ty: &TypeRef) -> String {
    if let Some((name, _)) = SHORT_TYPES.iter().find(|(_, short)| short() == *ty) {
        return (*name).to_owned();
    }
    let modifier = ty.typmod - 4;
    let (precision, scale) = ((modifier >> 16) as u16, modifier as u16);
    if ty.typmod >= 4 && TypeRef::numeric_with(precision, scale) == *ty {
        return format!("numeric({precision},{scale})");
    }
    let arithmetic = match ty.arithmetic {
        Arithmetic::Integer => " integer",
        Arithmetic::Numeric => " numeric",
        Arithmetic::Float => " float",
        Arithmetic::None => "",
    };
    let mut text = format!("type({} {} {} {}", quoted(&ty.name), ty.oid, ty.typmod, ty.collation);
    if let Some(collation) = &ty.collation_name {
        text += &format!(" collate {}", quoted(collation));
    }
    for (is_set, word) in [(ty.equal_image, " image"), (ty.ordered, " ordered"), (ty.hashable, " hashable")] {
        text += if is_set { word } else { "" };
    }
    text + arithmetic + ")"
}

/// Bare if it is a plain identifier that is not a word of this format at its place, else in double quotes.
fn name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if starts
        && name.chars().all(is_plain)
        && !["row", "on", "order", "limit", "offset", "adds", "call", "item", "over"].contains(&name)
    {
        return name.to_owned();
    }
    quoted(name)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
