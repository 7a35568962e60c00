//! Properties of a plan, derived bottom-up and only read by rules: columns, keys, sources.

use super::*;
use crate::expr::Expr;
use crate::types::{Arithmetic, Column};

/// Sets of positions whose values identify a row of weight 1 (grouping equality, NULL equal to NULL).
pub type Keys = Vec<Vec<usize>>;

impl Plan {
    /// Output columns in order.
    pub fn columns(&self) -> Vec<Column> {
        match self {
            Plan::Source(source) => source.columns.clone(),
            Plan::Stored(stored) => stored.columns.clone(),
            Plan::Delta(delta) => delta.columns.clone(),
            Plan::Values(values) => values.columns.clone(),
            Plan::Filter(filter) => filter.input.columns(),
            Plan::Project(project) => project
                .exprs
                .iter()
                .map(|(expr, name)| Column {
                    name: name.clone(),
                    ty: expr.ty.clone(),
                    nullable: expr.nullable,
                    fixed_scale: expr.fixed_scale,
                })
                .collect(),
            Plan::Join(join) => join.inputs.iter().flat_map(Plan::columns).collect(),
            Plan::OuterJoin(join) => {
                let left = nullable_if(join.left.columns(), join.kind == OuterKind::Full);
                let right = nullable_if(join.right.columns(), true);
                left.into_iter().chain(right).collect()
            }
            Plan::SemiJoin(join) => join.left.columns(),
            Plan::Aggregate(aggregate) => {
                let input = aggregate.input.columns();
                let keys = aggregate.keys.iter().map(|&key| input[key].clone());
                keys.chain(aggregate.calls.iter().map(|call| call.column(&input))).collect()
            }
            Plan::SetOp(set_op) => union_columns([&*set_op.left, &*set_op.right]),
            Plan::UnionAll(union) => union_columns(&union.inputs),
            Plan::Recursive(recursive) => union_columns([&*recursive.base, &*recursive.step]),
            Plan::Round(round) => round.columns.clone(),
            Plan::TopK(top) => top.input.columns(),
            Plan::Expand(expand) => {
                let added = nullable_if(expand.columns.clone(), expand.left.is_some());
                expand.input.columns().into_iter().chain(added).collect()
            }
            Plan::Repeat(repeat) => repeat.input.columns(),
            Plan::Window(window) => window
                .input
                .columns()
                .into_iter()
                .chain(window.calls.iter().map(WindowCall::column))
                .collect(),
            Plan::DependentJoin(join) => {
                let mut columns = join.left.columns();
                match join.kind {
                    DependentKind::Inner => columns.extend(join.right.columns()),
                    DependentKind::Left => columns.extend(nullable_if(join.right.columns(), true)),
                    DependentKind::Mark | DependentKind::Scalar | DependentKind::Array => {
                        columns.extend(join.adds.clone());
                    }
                }
                columns
            }
            Plan::Negate(input) => input.columns(),
            Plan::Old(old) => old.new.columns(),
            Plan::Flip(flip) => flip.left.columns(),
        }
    }

    /// Keys of the plan's rows, each of which then has weight 1. Grouping equality, NULLs equal.
    ///
    /// An empty key says that there is at most one row. The list is not exhaustive; every entry is proven.
    pub fn keys(&self) -> Keys {
        match self {
            Plan::Source(source) => source.keys.clone(),
            Plan::Stored(stored) => stored.keys.clone(),
            Plan::Filter(filter) => filter.input.keys(),
            Plan::Project(project) => {
                let position_of = |column: &usize| {
                    project.exprs.iter().position(|(expr, _)| expr.as_column() == Some(*column))
                };
                let keys = project.input.keys();
                keys.iter().filter_map(|key| key.iter().map(position_of).collect()).collect()
            }
            Plan::Join(join) => join_keys(join),
            Plan::OuterJoin(join) if join.kind == OuterKind::Left => {
                let inner = Join {
                    inputs: vec![(*join.left).clone(), (*join.right).clone()],
                    predicates: join.on.clone(),
                };
                left_join_keys(&inner)
            }
            Plan::SemiJoin(join) => join.left.keys(),
            Plan::Aggregate(aggregate) => vec![(0..aggregate.keys.len()).collect()],
            Plan::SetOp(set_op) if !set_op.all => vec![(0..set_op.left.columns().len()).collect()],
            Plan::Recursive(recursive) if !recursive.all => {
                vec![(0..recursive.base.columns().len()).collect()]
            }
            Plan::TopK(top) => {
                let mut keys = top.input.keys();
                let is_one = top.limit.as_ref().is_some_and(Expr::is_constant_one) && !top.with_ties;
                keys.extend(is_one.then(|| top.partition.clone()));
                keys
            }
            Plan::Expand(expand) => expand_keys(expand),
            Plan::Window(window) => window_keys(window),
            Plan::DependentJoin(join) => match join.kind {
                DependentKind::Mark | DependentKind::Scalar | DependentKind::Array => join.left.keys(),
                DependentKind::Inner | DependentKind::Left => vec![],
            },
            Plan::OuterJoin(_)
            | Plan::SetOp(_)
            | Plan::UnionAll(_)
            | Plan::Recursive(_)
            | Plan::Round(_)
            | Plan::Values(_)
            | Plan::Repeat(_)
            | Plan::Delta(_)
            | Plan::Negate(_)
            | Plan::Old(_)
            | Plan::Flip(_) => vec![],
        }
    }
}

impl AggCall {
    /// The output column, given the columns of the aggregate's input.
    pub fn column(&self, input: &[Column]) -> Column {
        let is_count = matches!(self.function.builtin.as_deref(), Some("count"));
        let keeps_scale = matches!(self.function.builtin.as_deref(), Some("sum" | "min" | "max"));
        Column {
            name: self.name.clone(),
            ty: self.ty.clone(),
            nullable: !is_count,
            fixed_scale: self.args.first().filter(|_| keeps_scale).and_then(|&arg| input[arg].fixed_scale),
        }
    }
}

impl WindowCall {
    /// The output column.
    pub fn column(&self) -> Column {
        let first = self.args.first();
        let (nullable, keeps_scale) = match self.function.builtin.as_deref() {
            Some("row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "count") => {
                (false, false)
            }
            // NULL buckets have NULL numbers.
            Some("ntile") => (first.is_none_or(|arg| arg.nullable), false),
            Some("sum" | "min" | "max" | "first_value" | "last_value" | "nth_value") => (true, true),
            // A default need not have the scale of the argument.
            Some("lag" | "lead") => (true, self.args.len() < 3),
            _ => (true, false),
        };
        Column {
            name: self.name.clone(),
            ty: self.ty.clone(),
            nullable,
            fixed_scale: first.filter(|_| keeps_scale).and_then(|arg| arg.fixed_scale),
        }
    }
}

impl WindowCall {
    /// True if the value can differ for peers, or with the order in which peers come.
    pub fn sees_order_of_peers(&self) -> bool {
        let is_of_peers = match self.function.builtin.as_deref() {
            Some("rank" | "dense_rank" | "percent_rank" | "cume_dist") => return false,
            // Exact sums and counts do not depend on the order of what they see.
            Some("count" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor") => true,
            Some("sum" | "avg") => self
                .args
                .iter()
                .all(|arg| matches!(arg.ty.arithmetic, Arithmetic::Integer | Arithmetic::Numeric)),
            Some("min" | "max") => self.args.iter().all(|arg| arg.ty.equal_image),
            _ => false,
        };
        !is_of_peers || self.frame.mode == FrameMode::Rows
    }
}

/// The input's keys, since every row stays one row; and a row number identifies a row of its partition.
fn window_keys(window: &Window) -> Keys {
    let width = window.input.columns().len();
    let mut keys = window.input.keys();
    let number = window.calls.iter().position(|call| call.function.builtin.as_deref() == Some("row_number"));
    keys.extend(number.map(|number| window.partition.iter().copied().chain([width + number]).collect()));
    keys
}

/// One key of each input together identify a joined row; an input whose key is equated to columns outside it adds
/// nothing.
fn join_keys(join: &Join) -> Keys {
    let mut offsets = vec![];
    let mut width = 0;
    for input in &join.inputs {
        offsets.push(width);
        width += input.columns().len();
    }
    let owner = |column: usize| offsets.partition_point(|&offset| offset <= column) - 1;
    let mut chosen: Vec<Vec<usize>> = vec![];
    for (index, input) in join.inputs.iter().enumerate() {
        let Some(key) = input.keys().into_iter().min_by_key(Vec::len) else {
            return vec![];
        };
        chosen.push(key.iter().map(|column| column + offsets[index]).collect());
    }
    // An input is determined when a key of it is equated to columns of determined inputs; its key may go when the
    // inputs that stay determine all others.
    let keys: Vec<Keys> = join.inputs.iter().map(Plan::keys).collect();
    let all_determined = |stays: &[bool]| {
        let mut determined = stays.to_vec();
        while let Some(next) = (0..keys.len()).find(|&index| {
            !determined[index]
                && keys[index].iter().any(|key| {
                    key.iter().all(|column| {
                        let equated = equated_to(&join.predicates, column + offsets[index]);
                        equated.into_iter().any(|other| determined[owner(other)])
                    })
                })
        }) {
            determined[next] = true;
        }
        determined.into_iter().all(|input| input)
    };
    let mut stays = vec![true; join.inputs.len()];
    for index in 0..stays.len() {
        stays[index] = false;
        stays[index] = !all_determined(&stays);
    }
    vec![chosen.into_iter().zip(stays).filter(|(_, stays)| *stays).flat_map(|(key, _)| key).collect()]
}

/// A left join keeps the left key alone if the right side matches at most once, else left and right key together
/// (the null-extended row has NULL in all right columns, and only one per left row).
fn left_join_keys(join: &Join) -> Keys {
    let width = join.inputs[0].columns().len();
    let Some(left) = join.inputs[0].keys().into_iter().min_by_key(Vec::len) else {
        return vec![];
    };
    let right_keys = join.inputs[1].keys();
    let at_most_once = right_keys.iter().any(|key| {
        key.iter()
            .all(|column| equated_to(&join.predicates, column + width).iter().any(|&other| other < width))
    });
    if at_most_once {
        return vec![left];
    }
    let Some(right) = right_keys.into_iter().min_by_key(Vec::len) else {
        return vec![];
    };
    vec![left.into_iter().chain(right.into_iter().map(|column| column + width)).collect()]
}

/// The ordinality tells the rows of one input row apart; a null-extended row is the only one of its input row.
fn expand_keys(expand: &Expand) -> Keys {
    let RowSource::Functions { ordinality: true, .. } = expand.rows else { return vec![] };
    let last = expand.input.columns().len() + expand.columns.len() - 1;
    let keys = expand.input.keys().into_iter();
    keys.map(|key| key.into_iter().chain([last]).collect()).collect()
}

/// Columns that a predicate equates to `column`.
fn equated_to(predicates: &[crate::expr::Expr], column: usize) -> Vec<usize> {
    use crate::expr::Piece::Column;
    let other = |predicate: &crate::expr::Expr| match predicate.equality()? {
        (Column(left), Column(right)) if *left == column => Some(*right),
        (Column(left), Column(right)) if *right == column => Some(*left),
        _ => None,
    };
    predicates.iter().filter_map(other).collect()
}

fn nullable_if(mut columns: Vec<Column>, nullable: bool) -> Vec<Column> {
    if nullable {
        columns.iter_mut().for_each(|column| column.nullable = true);
    }
    columns
}

fn union_columns<'a>(inputs: impl IntoIterator<Item = &'a Plan>) -> Vec<Column> {
    let mut inputs = inputs.into_iter();
    let mut columns = inputs.next().map(Plan::columns).unwrap_or_default();
    for input in inputs {
        for (column, other) in columns.iter_mut().zip(input.columns()) {
            column.nullable |= other.nullable;
            if column.fixed_scale != other.fixed_scale {
                column.fixed_scale = None;
            }
        }
    }
    columns
}
