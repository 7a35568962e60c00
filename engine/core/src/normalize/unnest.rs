//! Unnesting: dependent joins become ordinary joins, whatever their right side is.
//!
//! Conditions that look at the outer row are pulled out of the right side and become join conditions. Where something
//! else depends on the outer row, the right side is evaluated for the distinct outer values (`domain`, `descend`) and
//! joined with them. A correlated aggregate is grouped by the inner columns that equal outer values and joined by them;
//! where no group exists the aggregate over nothing is supplied: 0 for counts, NULL otherwise.

use super::correlation::{Pulled, correlated_column, is_correlated, map_expressions, outward, pull};
use super::descend::columns_at;
use super::domain::{Domain, builtin_call, outer_columns};
use super::null_aware;
use crate::expr::{Expr, Piece, SortKey};
use crate::plan::{
    AggCall, Aggregate, DependentJoin, DependentKind, Expand, Filter, Join, OuterJoin, OuterKind, Plan,
    Project, SemiJoin, UnionAll,
};
use crate::query::Unsupported;
use crate::types::{Column, TypeRef};

pub(super) fn unnest(plan: Plan) -> Result<Plan, Unsupported> {
    match plan {
        Plan::Filter(mut filter) => {
            if let Plan::DependentJoin(join) = &*filter.input
                && join.kind == DependentKind::Mark
            {
                let mark = join.left.columns().len();
                if filter.predicate.as_column() == Some(mark) {
                    return checked_above(unnested_sides(join)?, &|join| mark_to_semi(join, false));
                }
                if filter.predicate.as_negated_column() == Some(mark) {
                    return checked_above(unnested_sides(join)?, &|join| mark_to_semi(join, true));
                }
            }
            filter.input = Box::new(unnest(*filter.input)?);
            Ok(Plan::Filter(filter))
        }
        Plan::DependentJoin(join) => checked_above(unnested_sides(&join)?, &|join| match join.kind {
            DependentKind::Mark => mark_to_union(join),
            DependentKind::Scalar => scalar_to_join(join),
            DependentKind::Inner | DependentKind::Left => lateral_to_join(join),
            DependentKind::Array => array_to_join(join),
        }),
        mut other => {
            for child in other.children_mut() {
                *child = unnest(child.clone())?;
            }
            Ok(other)
        }
    }
}

/// The dependent join of sides without dependent joins.
fn unnested_sides(join: &DependentJoin) -> Result<DependentJoin, Unsupported> {
    let left = Box::new(unnest((*join.left).clone())?);
    let right = Box::new(unnest((*join.right).clone())?);
    Ok(DependentJoin { left, right, ..join.clone() })
}

/// `checks-above`.  A scalar subquery is two columns, its number of rows and its value; that there are several rows is
/// an error where the value is used, and nowhere before (`design-review.md` 7.2). So the projection that checks it at
/// the top of a left side is computed after the join, and the right side checks for itself where it looks at the value.
fn checked_above(
    join: DependentJoin,
    unnested: &dyn Fn(DependentJoin) -> Result<Plan, Unsupported>,
) -> Result<Plan, Unsupported> {
    let project = match &*join.left {
        Plan::Project(project) if project.exprs.iter().any(|(expr, _)| expr.checks_rows()) => project.clone(),
        _ => return unnested(join),
    };
    let exprs = project.exprs;
    let mut right = join.right;
    map_expressions(&mut right, 0, &mut |expr, inside| expr.over_outer_projection(inside + 1, &exprs));
    let width = project.input.columns().len();
    let mut both = exprs.clone();
    both.extend(
        columns_at(&right, 0..right.columns().len())
            .into_iter()
            .map(|(expr, name)| (expr.map_columns(|column| column + width), name)),
    );
    let on = join.on.iter().map(|condition| condition.over_projection(&both)).collect();
    let joined = unnested(DependentJoin { left: project.input, right, on, ..join })?;
    let added = columns_at(&joined, width..joined.columns().len());
    Ok(self::project(joined, exprs.into_iter().chain(added).collect()))
}

/// The sides of a dependent join, the right one without references to the outer row.
struct Freed {
    /// The left side, perhaps with further columns.
    left: Plan,
    /// How many columns the left side had.
    width: usize,
    /// The right side, perhaps with further columns.
    right: Plan,
    /// Which pairs belong together, over left columns then right columns.
    conditions: Vec<Expr>,
}

impl Freed {
    /// A condition or value over the original left columns then right columns, over those of now.
    fn moved(&self, expr: &Expr) -> Expr {
        let grown = self.left.columns().len() - self.width;
        expr.map_columns(|column| if column < self.width { column } else { column + grown })
    }

    /// The conditions for a pair to belong together and satisfy `on`, or not make it false.
    fn matching(&self, on: &[Expr], not_false: bool) -> Vec<Expr> {
        let mut all = self.conditions.clone();
        let on: Vec<Expr> = on.iter().map(|condition| self.moved(condition)).collect();
        if not_false && on.iter().any(|condition| condition.nullable) {
            all.push(Expr::and(&on).is_not_false());
        } else {
            all.extend(on);
        }
        all
    }

    /// The left rows for which every pair that belongs together makes `on` false.
    fn unmatched(&self, on: &[Expr]) -> Plan {
        let moved: Vec<Expr> = on.iter().map(|condition| self.moved(condition)).collect();
        let is_nullable = on.iter().any(|condition| condition.nullable);
        let matches = null_aware::matches(&self.left, &self.right, &self.conditions, &moved);
        match matches.filter(|_| is_nullable) {
            Some(matches) => matches
                .iter()
                .fold(self.left.clone(), |left, each| semi(true, &left, &each.right, each.on.clone())),
            None => semi(true, &self.left, &self.right, self.matching(on, true)),
        }
    }

    /// The left side's original columns at the beginning of `plan`.
    fn left_columns(&self, plan: &Plan) -> Vec<(Expr, String)> {
        columns_at(plan, 0..self.width)
    }
}

/// Frees the right side: of its conditions, if it depends on the outer row in nothing else, or by a domain.
fn free(left: &Plan, right: &Plan) -> Result<Freed, Unsupported> {
    let width = left.columns().len();
    if let Some(Pulled { plan, conditions }) = pull(right) {
        let conditions = conditions.iter().map(|condition| bind(condition, width)).collect();
        return Ok(Freed { left: left.clone(), width, right: plan, conditions });
    }
    free_by_domain(left, right)
}

/// Conditions on the outer row at the top of the right side restrict the domain: the rest of it is not evaluated for
/// outer values that fail them (`design-review.md` 7.2).
fn free_by_domain(left: &Plan, right: &Plan) -> Result<Freed, Unsupported> {
    let width = left.columns().len();
    let (guards, right) = guarded(right);
    let guards: Vec<Expr> = guards.into_iter().map(|guard| bind(guard, width)).collect();
    if outer_columns(right, 1).is_empty() {
        return Ok(Freed { left: left.clone(), width, right: outward(right), conditions: guards });
    }
    let (domain, extended) = Domain::new(left, &filtered(left.clone(), &guards), right);
    let applied = domain.applied(right)?;
    let left_columns = extended.plan.columns();
    let right_columns = applied.columns();
    let start = right.columns().len();
    let of_left = |column: usize| (extended.places[column], left_columns[extended.places[column]].clone());
    let of_right =
        |column: usize| (left_columns.len() + start + column, right_columns[start + column].clone());
    let mut conditions = domain.same(of_left, of_right);
    conditions.extend(guards);
    Ok(Freed { left: extended.plan, width, right: applied, conditions })
}

/// The conditions at the top of a right side that look at outer rows only, and what stands below them.
fn guarded(right: &Plan) -> (Vec<&Expr>, &Plan) {
    match right {
        Plan::Filter(filter) if filter.predicate.is_correlated() && filter.predicate.columns().is_empty() => {
            let (mut guards, below) = guarded(&filter.input);
            guards.push(&filter.predicate);
            (guards, below)
        }
        other => (vec![], other),
    }
}

/// A freed right side whose rows for one outer row are those with certain values in `keys`.
struct Keyed {
    freed: Freed,
    /// Right columns with an equality; the conditions say that they equal something of the left row.
    keys: Vec<usize>,
}

/// The columns that equal outer values, if these equalities are all that ties the rows to the outer row. A condition on
/// the outer row alone ties nothing to it.
pub(super) fn tying_columns(pulled: &Pulled) -> Option<Vec<usize>> {
    let tying = pulled.conditions.iter().filter(|condition| !condition.columns().is_empty());
    tying.map(correlated_column).collect()
}

fn free_by_keys(left: &Plan, right: &Plan) -> Result<Keyed, Unsupported> {
    let start = right.columns().len();
    if let Some(keys) = pull(right).as_ref().and_then(tying_columns) {
        return Ok(Keyed { freed: free(left, right)?, keys: distinct(&keys) });
    }
    let freed = free_by_domain(left, right)?;
    let columns = freed.right.columns();
    let is_groupable = |column: &usize| columns[*column].ty.ordered || columns[*column].ty.hashable;
    let keys = (start..columns.len()).filter(is_groupable).collect();
    Ok(Keyed { freed, keys })
}

impl Keyed {
    /// The left side joined with the right side grouped by its keys: left columns, keys, calls. `Left` unless there is a
    /// group for every left row.
    fn join_grouped(&self, calls: Vec<AggCall>, position: Option<u32>) -> Plan {
        let left_width = self.freed.left.columns().len();
        let place = |column: usize| {
            let key = column.checked_sub(left_width);
            let key = key.and_then(|column| self.keys.iter().position(|&key| key == column));
            key.map_or(column, |key| left_width + key)
        };
        let on = self.freed.conditions.iter().map(|condition| condition.map_columns(place)).collect();
        let grouped = Aggregate { input: Box::new(self.freed.right.clone()), keys: self.keys.clone(), calls };
        left_join(self.freed.left.clone(), Plan::Aggregate(grouped), on, position)
    }
}

/// Conditions over a right side become conditions over left then right columns.
fn bind(condition: &Expr, left_width: usize) -> Expr {
    let mut bound = condition.map_slots(|piece| match piece {
        Piece::Column(column) => Piece::Column(column + left_width),
        Piece::Outer(1, column) => Piece::Column(*column),
        Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
        Piece::Text(_) | Piece::Time(_) => piece.clone(),
    });
    if bound.is_correlated() && bound.shape == crate::expr::Shape::Column {
        bound.shape = crate::expr::Shape::Opaque;
    }
    bound
}

fn all_columns(plan: &Plan) -> Vec<(Expr, String)> {
    columns_at(plan, 0..plan.columns().len())
}

fn project(input: Plan, exprs: Vec<(Expr, String)>) -> Plan {
    Plan::Project(Project { input: Box::new(input), exprs })
}

fn semi(anti: bool, left: &Plan, right: &Plan, on: Vec<Expr>) -> Plan {
    Plan::SemiJoin(SemiJoin { anti, left: Box::new(left.clone()), right: Box::new(right.clone()), on })
}

fn left_join(left: Plan, right: Plan, on: Vec<Expr>, position: Option<u32>) -> Plan {
    Plan::OuterJoin(OuterJoin {
        kind: OuterKind::Left,
        left: Box::new(left),
        right: Box::new(right),
        on,
        position,
    })
}

/// The projection at the top of a right side, if it looks at the outer row: it can be computed after the join.
fn correlated_projection(right: &Plan) -> Option<&Project> {
    match right {
        Plan::Project(project) if project.exprs.iter().any(|(expr, _)| expr.is_correlated()) => Some(project),
        _ => None,
    }
}

/// True if the right side depends on the outer row in more than conditions and what is computed after the join.
pub(super) fn needs_domain(right: &Plan) -> bool {
    if let Some(projection) = correlated_projection(right) {
        return needs_domain(&projection.input);
    }
    match projected_aggregate(right) {
        Some((_, aggregate)) => pull(&aggregate.input).is_none(),
        None => pull(right).is_none(),
    }
}

/// Conditions over left columns then a projection's columns, over left columns then the projection's input.
fn beneath(on: &[Expr], left: &Plan, project: &Project) -> Vec<Expr> {
    let width = left.columns().len();
    let mut exprs = all_columns(left);
    exprs.extend(project.exprs.iter().map(|(expr, name)| (bind(expr, width), name.clone())));
    on.iter().map(|condition| condition.over_projection(&exprs)).collect()
}

/// The sides of a mark with what tests a pair.
fn tested(join: &DependentJoin) -> Result<(Freed, Vec<Expr>), Unsupported> {
    let (mut right, mut on) = (&*join.right, join.on.clone());
    while let Some(project) = correlated_projection(right) {
        on = beneath(&on, &join.left, project);
        right = &project.input;
    }
    Ok((free(&join.left, right)?, on))
}

/// `mark-to-semi`.  Filter(mark) = semi join; Filter(NOT mark) = anti join on "not false": one comparison that is NULL
/// makes `NOT IN` NULL (`null_aware`). The mark column stays, as the constant it has become.
fn mark_to_semi(join: DependentJoin, negated: bool) -> Result<Plan, Unsupported> {
    let (freed, on) = tested(&join)?;
    let joined = if negated {
        freed.unmatched(&on)
    } else {
        semi(false, &freed.left, &freed.right, freed.matching(&on, false))
    };
    let mut exprs = freed.left_columns(&joined);
    exprs.push((Expr::boolean(!negated), added_name(&join)));
    Ok(project(joined, exprs))
}

fn added_name(join: &DependentJoin) -> String {
    join.adds.as_ref().map_or_else(String::new, |column| column.name.clone())
}

/// `mark-to-union`.  True where a match is true; false where every comparison is false; NULL between. Not `null_aware`:
/// each further join would multiply the terms of the change by those of the other marks of the row.
fn mark_to_union(join: DependentJoin) -> Result<Plan, Unsupported> {
    let (freed, on) = tested(&join)?;
    let (left, right, name) = (&freed.left, &freed.right, added_name(&join));
    let nullable = on.iter().any(|condition| condition.nullable);
    let with_mark = |input: Plan, mut value: Expr| {
        let mut exprs = freed.left_columns(&input);
        value.nullable |= nullable;
        exprs.push((value, name.clone()));
        project(input, exprs)
    };
    let matched = freed.matching(&on, false);
    let possible = freed.matching(&on, true);
    let mut inputs = vec![
        with_mark(semi(false, left, right, matched.clone()), Expr::boolean(true)),
        with_mark(semi(true, left, right, possible.clone()), Expr::boolean(false)),
    ];
    if nullable {
        let unknown = semi(true, &semi(false, left, right, possible), right, matched);
        let column = Column { name: name.clone(), ty: TypeRef::boolean(), nullable: true, fixed_scale: None };
        inputs.push(with_mark(unknown, Expr::null(&column)));
    }
    Ok(Plan::UnionAll(UnionAll { inputs }))
}

/// `lateral-to-join`.
fn lateral_to_join(join: DependentJoin) -> Result<Plan, Unsupported> {
    lateral(&join.left, &join.right, &join.on, &join)
}

/// Left columns then right columns, of rows of the kind of `join`.
fn lateral(left: &Plan, right: &Plan, on: &[Expr], join: &DependentJoin) -> Result<Plan, Unsupported> {
    let is_inner = join.kind == DependentKind::Inner;
    if let Some(projection) = correlated_projection(right) {
        return lateral_projection(left, projection, on, join);
    }
    if let Plan::UnionAll(union) = right
        && is_inner
        && pull(right).is_none()
        && union.inputs.iter().all(depends_in_conditions)
    {
        let inputs = union.inputs.iter().map(|input| lateral(left, input, on, join));
        return Ok(Plan::UnionAll(UnionAll { inputs: inputs.collect::<Result<_, _>>()? }));
    }
    if let Plan::Expand(expand) = right
        && is_inner
        && right.expressions().into_iter().any(Expr::is_correlated)
    {
        return lateral_functions(left, expand, on, join);
    }
    if (is_inner || on.is_empty())
        && is_correlated(right, 1)
        && let Some((exprs, aggregate)) = projected_aggregate(right)
        && let Some((joined, calls)) = join_aggregate(left, aggregate, &[], join.position)?
    {
        let mut outputs = columns_at(&joined, 0..left.columns().len());
        outputs.extend(exprs.iter().map(|(expr, name)| (bind_outer(expr, &calls), name.clone())));
        return Ok(filtered(project(joined, outputs), on));
    }
    let freed = free(left, right)?;
    let conditions = freed.matching(on, false);
    let start = freed.left.columns().len();
    let visible = (0..freed.width).chain(start..start + right.columns().len());
    let joined = if is_inner {
        Plan::Join(Join { inputs: vec![freed.left.clone(), freed.right.clone()], predicates: conditions })
    } else {
        left_join(freed.left.clone(), freed.right.clone(), conditions, join.position)
    };
    Ok(project(joined.clone(), columns_at(&joined, visible)))
}

/// A projection at the top of the right side, computed after the join: NULL in a row without match.
fn lateral_projection(
    left: &Plan,
    projection: &Project,
    on: &[Expr],
    join: &DependentJoin,
) -> Result<Plan, Unsupported> {
    let width = left.columns().len();
    let on = beneath(on, left, projection);
    if join.kind == DependentKind::Inner {
        let joined = lateral(left, &projection.input, &on, join)?;
        let mut exprs = columns_at(&joined, 0..width);
        exprs.extend(projection.exprs.iter().map(|(expr, name)| (bind(expr, width), name.clone())));
        return Ok(project(joined, exprs));
    }
    let mut marked = all_columns(&projection.input);
    let marker = width + marked.len();
    marked.push((Expr::boolean(true), "matched".to_owned()));
    let joined = lateral(left, &project((*projection.input).clone(), marked), &on, join)?;
    let columns = joined.columns();
    let matched = Expr::column(marker, &columns[marker]);
    let mut exprs = columns_at(&joined, 0..width);
    exprs.extend(projection.exprs.iter().map(|(expr, name)| {
        let value = match expr.as_column() {
            Some(column) => Expr::column(width + column, &columns[width + column]),
            None => bind(expr, width).only_if(&matched),
        };
        (value, name.clone())
    }));
    Ok(project(joined, exprs))
}

/// Functions of the outer row are called for the joined row.
fn lateral_functions(
    left: &Plan,
    expand: &Expand,
    on: &[Expr],
    join: &DependentJoin,
) -> Result<Plan, Unsupported> {
    let width = left.columns().len();
    let input = Box::new(lateral(left, &expand.input, &[], join)?);
    let mut expanded = Plan::Expand(Expand { input, ..expand.clone() });
    for expr in expanded.expressions_mut() {
        *expr = bind(expr, width);
    }
    Ok(filtered(expanded, on))
}

/// True if the plan needs no domain: it depends on the outer row in conditions and projections at its top only.
fn depends_in_conditions(plan: &Plan) -> bool {
    match correlated_projection(plan) {
        Some(projection) => depends_in_conditions(&projection.input),
        None => pull(plan).is_some(),
    }
}

fn filtered(plan: Plan, conditions: &[Expr]) -> Plan {
    conditions.iter().fold(plan, |input, predicate| {
        Plan::Filter(Filter { input: Box::new(input), predicate: predicate.clone() })
    })
}

/// `scalar-to-join`.
fn scalar_to_join(join: DependentJoin) -> Result<Plan, Unsupported> {
    let (left, right, name) = (&*join.left, &*join.right, added_name(&join));
    let width = left.columns().len();
    let finish = |joined: Plan, value: Expr| {
        let mut exprs = columns_at(&joined, 0..width);
        exprs.push((value, name.clone()));
        project(joined, exprs)
    };
    if !is_correlated(right, 1) && right.keys().iter().any(Vec::is_empty) {
        let joined = if is_one_row(right) {
            Plan::Join(Join { inputs: vec![left.clone(), right.clone()], predicates: vec![] })
        } else {
            left_join(left.clone(), right.clone(), vec![], join.position)
        };
        let value = Expr::column(width, &joined.columns()[width]);
        return Ok(finish(joined, value));
    }
    let (guards, below) = guarded(right);
    let guards: Vec<Expr> = guards.into_iter().map(|guard| bind(guard, width)).collect();
    if let Some((exprs, aggregate)) = projected_aggregate(below)
        && let Some((joined, calls)) = join_aggregate(left, aggregate, &guards, join.position)?
    {
        let value = Expr { nullable: true, ..bind_outer(&exprs[0].0, &calls) };
        let value = if guards.is_empty() { value } else { value.only_if(&Expr::and(&guards)) };
        return Ok(finish(joined, value));
    }
    let (right, value) = match correlated_projection(right) {
        Some(projection) if pull(&projection.input).as_ref().and_then(tying_columns).is_some() => {
            (&*projection.input, Some(&projection.exprs[0].0))
        }
        _ => (right, None),
    };
    let keyed = free_by_keys(left, right)?;
    let start = keyed.freed.left.columns().len();
    let is_single = |key: &Vec<usize>| key.iter().all(|column| keyed.keys.contains(column));
    if value.is_none() && keyed.freed.right.keys().iter().any(is_single) {
        let Freed { left, right, conditions, .. } = keyed.freed;
        let joined = left_join(left, right, conditions, join.position);
        let value = Expr::column(start, &joined.columns()[start]);
        return Ok(finish(joined, value));
    }
    // Several rows are an error at the place of use: the rows are counted and one value of each column is kept.
    let columns = keyed.freed.right.columns();
    let used = value.map_or(vec![0], Expr::columns);
    let mut calls = vec![builtin_call("count", &[], TypeRef::int8())];
    calls.extend(used.iter().map(|&column| builtin_call("any_value", &[column], columns[column].ty.clone())));
    let first = start + keyed.keys.len();
    let joined = keyed.join_grouped(calls, join.position);
    let columns = joined.columns();
    let column = |index: usize| Expr::column(index, &columns[index]);
    let value = match value {
        None => column(first + 1),
        Some(value) => {
            let place =
                |column: usize| first + 1 + used.iter().position(|&known| known == column).unwrap_or(0);
            let value = value.map_slots(|piece| match piece {
                Piece::Column(column) => Piece::Column(place(*column)),
                Piece::Outer(1, column) => Piece::Column(*column),
                Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
                other => other.clone(),
            });
            value.only_if(&column(first).is_one())
        }
    };
    let value = value.single_row(&column(first));
    Ok(finish(joined, value))
}

/// `array-to-join`.  The elements are collected in the subquery's order; equal elements of that order by themselves, so
/// that the array is a function of the rows.
fn array_to_join(join: DependentJoin) -> Result<Plan, Unsupported> {
    let left = &*join.left;
    let mut order = order_of(&join.right);
    let input = match &*join.right {
        Plan::TopK(top) if top.limit.is_none() && top.offset.is_none() && top.partition.is_empty() => {
            &*top.input
        }
        other => other,
    };
    let element = input.columns()[0].ty.clone();
    if element.ordered && !order.iter().any(|key| key.column == 0) {
        order.push(SortKey { column: 0, descending: false, nulls_first: false, using: None });
    }
    let added = join.adds.clone();
    let ty = added.map_or_else(|| element.clone(), |column| column.ty);
    let keyed = free_by_keys(left, input)?;
    let mut collected = builtin_call("array_agg", &[0], ty);
    collected.order_by = order;
    let place = keyed.freed.left.columns().len() + keyed.keys.len();
    let joined = keyed.join_grouped(vec![collected], join.position);
    let value = Expr::column(place, &joined.columns()[place]).or_empty_array();
    let mut exprs = columns_at(&joined, 0..keyed.freed.width);
    exprs.push((value, added_name(&join)));
    Ok(project(joined, exprs))
}

/// The order of the rows of a subquery, over its columns.
fn order_of(plan: &Plan) -> Vec<SortKey> {
    match plan {
        Plan::TopK(top) => top.order.clone(),
        Plan::Project(project) => {
            let place = |key: SortKey| {
                let mut outputs = project.exprs.iter();
                let column = outputs.position(|(expr, _)| expr.as_column() == Some(key.column))?;
                Some(SortKey { column, ..key })
            };
            order_of(&project.input).into_iter().map_while(place).collect()
        }
        _ => vec![],
    }
}

/// A projection of a global aggregate always has exactly one row.
fn is_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Project(project) => is_one_row(&project.input),
        Plan::Aggregate(aggregate) => aggregate.keys.is_empty(),
        _ => false,
    }
}

/// Projections of a global aggregate, composed into expressions over the aggregate's columns.
fn projected_aggregate(plan: &Plan) -> Option<(Vec<(Expr, String)>, &Aggregate)> {
    match plan {
        Plan::Project(project) => {
            let (inner, aggregate) = projected_aggregate(&project.input)?;
            let composed =
                project.exprs.iter().map(|(expr, name)| (expr.over_projection(&inner), name.clone()));
            Some((composed.collect(), aggregate))
        }
        Plan::Aggregate(aggregate) if aggregate.keys.is_empty() => Some((all_columns(plan), aggregate)),
        _ => None,
    }
}

/// What a call gives over no rows, as far as it is known: 0 or NULL.
enum OverNothing {
    Zero,
    Null,
    Unknown,
}

fn over_nothing(call: &AggCall) -> OverNothing {
    match call.function.builtin.as_deref() {
        Some("count" | "regr_count") => OverNothing::Zero,
        // Hypothetical-set aggregates have a result over no rows.
        None | Some("rank" | "dense_rank" | "percent_rank" | "cume_dist") => OverNothing::Unknown,
        Some(_) if call.direct_args.iter().any(Expr::is_correlated) => OverNothing::Unknown,
        Some(_) => OverNothing::Null,
    }
}

/// A plan, and the results of aggregate calls over its columns with their names.
type WithCalls = (Plan, Vec<(Expr, String)>);

/// The left side joined with a global aggregate grouped by what ties it to the outer row, and the results of the calls
/// over the joined columns. None if the result of some call over no rows is not known. Left rows for which a guard is
/// not true need no result.
fn join_aggregate(
    left: &Plan,
    aggregate: &Aggregate,
    guards: &[Expr],
    position: Option<u32>,
) -> Result<Option<WithCalls>, Unsupported> {
    if aggregate.calls.iter().any(|call| matches!(over_nothing(call), OverNothing::Unknown)) {
        return Ok(None);
    }
    let width = left.columns().len();
    let input = guards.iter().fold((*aggregate.input).clone(), |input, guard| {
        Plan::Filter(Filter { input: Box::new(input), predicate: guard.outward(width) })
    });
    let keyed = free_by_keys(left, &input)?;
    let joined = keyed.join_grouped(aggregate.calls.clone(), position);
    let columns = joined.columns();
    let first = keyed.freed.left.columns().len() + keyed.keys.len();
    let calls = aggregate.calls.iter().enumerate().map(|(index, call)| {
        let column = Expr::column(first + index, &columns[first + index]);
        let is_zero = matches!(over_nothing(call), OverNothing::Zero);
        (if is_zero { column.or_zero() } else { column }, call.name.clone())
    });
    Ok(Some((joined, calls.collect())))
}

/// The subquery's value over the joined columns: its aggregate results by position, its outer references directly.
fn bind_outer(value: &Expr, calls: &[(Expr, String)]) -> Expr {
    value.over_projection(calls).map_slots(|piece| match piece {
        Piece::Outer(1, column) => Piece::Column(*column),
        Piece::Outer(depth, column) => Piece::Outer(depth - 1, *column),
        other => other.clone(),
    })
}

fn distinct(columns: &[usize]) -> Vec<usize> {
    let mut kept: Vec<usize> = vec![];
    for &column in columns {
        if !kept.contains(&column) {
            kept.push(column);
        }
    }
    kept
}
