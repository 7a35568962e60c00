//! `push-domain`: the right side of a dependent join evaluated for a whole domain at once.
//!
//! For a domain `D` and a plan `R` with outer references, [`Domain::applied`] is `{ (r, d) : d in D, r in R(d) }`: the
//! plan's columns followed by the domain's. `D` goes down until the outer references are its columns:
//!
//! ```text
//! D(R)             = R join D                                          R without outer references
//! D(filter R)      = filter(D(R)),  so projections
//! D(R1 join R2)    = D(R1) join[same d] D(R2);  R2 plain if it does not refer to the outer row
//! D(L left R)      = D(L) left[on, same d] D(R)                        full: both sides, d from the side that is there
//! D(L semi R)      = D(L) semi[on, same d] D(R)
//! D(group k of R)  = group k,d of D(R)
//! D(group () of R) = group d of (D left[same d] D(R)),  calls FILTER (WHERE matched)
//! D(R1 + R2)       = D(R1) + D(R2),  so set operations
//! D(R expanded)    = D(R) expanded, so repeated
//! D(top-k of R)    = top-k by d of D(R),  LIMIT and OFFSET over d
//! D(recursion)     = recursion of D(base) and D(step),  the rows of a round having d already
//! D(window over R) = window by d over D(R)
//! ```
//!
//! An aggregate over nothing is that of an empty group, so a row without match must not count (`design-review.md` 7.3).

use super::correlation::{Pulled, outward, pull};
use super::domain::{Domain, outer_columns};
use crate::expr::Expr;
use crate::plan::{
    Aggregate, Expand, Filter, Join, OuterJoin, OuterKind, Plan, Project, Recursive, Repeat, Round,
    RowSource, SemiJoin, SetOp, TopK, UnionAll, Values, Window,
};
use crate::query::{Construct, Unsupported};
use crate::refusal::Refusal;
use crate::types::Column;

impl Domain {
    /// The plan for every row of the domain: its columns, then the domain's.
    pub fn applied(&self, plan: &Plan) -> Result<Plan, Unsupported> {
        if let Some(Pulled { plan: free, conditions }) = self.freed(plan) {
            let width = free.columns().len();
            let predicates = conditions.iter().map(|condition| self.bind(condition, width)).collect();
            let joined = Plan::Join(Join { inputs: vec![free, self.plan.clone()], predicates });
            return Ok(keep(joined, (0..plan.columns().len()).chain(self.at(width))));
        }
        let width = plan.columns().len();
        match plan {
            Plan::Filter(node) => {
                let input = Box::new(self.applied(&node.input)?);
                Ok(Plan::Filter(Filter { input, predicate: self.bind(&node.predicate, width) }))
            }
            Plan::Project(node) => {
                let input = self.applied(&node.input)?;
                let offset = node.input.columns().len();
                let bound = node.exprs.iter().map(|(expr, name)| (self.bind(expr, offset), name.clone()));
                let mut exprs: Vec<(Expr, String)> = bound.collect();
                exprs.extend(columns_at(&input, self.at(offset)));
                Ok(Plan::Project(Project { input: Box::new(input), exprs }))
            }
            Plan::Join(node) => self.join(node),
            Plan::OuterJoin(node) => self.outer_join(node),
            Plan::SemiJoin(node) => self.semi_join(node),
            Plan::Aggregate(node) if node.keys.is_empty() => self.global_aggregate(node),
            Plan::Aggregate(node) => self.aggregate(node),
            Plan::UnionAll(node) => {
                let inputs = node.inputs.iter().map(|input| self.applied(input)).collect::<Result<_, _>>()?;
                Ok(Plan::UnionAll(UnionAll { inputs }))
            }
            Plan::SetOp(node) => self.set_op(node),
            Plan::TopK(node) => {
                let input = self.applied(&node.input)?;
                let mut partition = node.partition.clone();
                partition.extend(self.groupable().into_iter().map(|column| column + width));
                let bind = |count: &Option<Expr>| count.as_ref().map(|count| self.bind(count, width));
                Ok(Plan::TopK(TopK {
                    input: Box::new(input),
                    partition,
                    limit: bind(&node.limit),
                    offset: bind(&node.offset),
                    ..node.clone()
                }))
            }
            Plan::Window(node) => self.window(node),
            Plan::Expand(node) => self.expand(node),
            Plan::Repeat(node) => {
                let input = Box::new(self.applied(&node.input)?);
                Ok(Plan::Repeat(Repeat { input, count: self.bind(&node.count, width) }))
            }
            Plan::Values(node) => Ok(self.values(node)),
            Plan::Negate(input) => Ok(Plan::Negate(Box::new(self.applied(input)?))),
            Plan::Recursive(node) => self.recursive(node),
            Plan::Round(node) => {
                let columns = node.columns.iter().chain(&self.columns).cloned().collect();
                Ok(Plan::Round(Round { columns, ..node.clone() }))
            }
            Plan::Source(_)
            | Plan::Stored(_)
            | Plan::Delta(_)
            | Plan::DependentJoin(_)
            | Plan::Old(_)
            | Plan::Flip(_) => Err(Unsupported {
                construct: Construct { name: "correlated subquery".to_owned(), position: None },
                reason: Refusal::OuterRowPlace,
            }),
        }
    }

    /// The plan without conditions on the outer row, if it depends on it in nothing else and needs no domain. The rows of
    /// a round are those of one outer row each.
    fn freed(&self, plan: &Plan) -> Option<Pulled> {
        if reads_round(plan) { None } else { pull(plan) }
    }

    fn at(&self, offset: usize) -> std::ops::Range<usize> {
        offset..offset + self.columns.len()
    }

    /// The conditions under which the domain's columns at two places of a relation hold the same values.
    fn same_at(&self, columns: &[Column], left: usize, right: usize) -> Vec<Expr> {
        let side = |offset: usize| move |column: usize| (offset + column, columns[offset + column].clone());
        self.same(side(left), side(right))
    }

    /// The right side of a join whose left side holds the domain's columns at `known`: plain where it is without outer
    /// references or these are conditions, which are then returned over left columns and its own, `offset` being where
    /// those start.
    fn joined(&self, right: &Plan, left: &[Column], known: usize) -> Result<(Plan, Vec<Expr>), Unsupported> {
        let offset = left.len();
        if outer_columns(right, 1).is_empty() && !reads_round(right) {
            return Ok((outward(right), vec![]));
        }
        let bound = |condition: &Expr| self.bind(&condition.map_columns(|column| column + offset), known);
        if let Some(Pulled { plan, conditions }) = self.freed(right) {
            return Ok((plan, conditions.iter().map(bound).collect()));
        }
        let plan = self.applied(right)?;
        let columns: Vec<Column> = left.iter().cloned().chain(plan.columns()).collect();
        let same = self.same_at(&columns, known, offset + right.columns().len());
        Ok((plan, same))
    }

    /// Inputs that refer to the outer row only in conditions need no domain of their own, as long as one input has it.
    fn join(&self, join: &Join) -> Result<Plan, Unsupported> {
        let widths: Vec<usize> = join.inputs.iter().map(|input| input.columns().len()).collect();
        let needs_domain = |input: &Plan| !outer_columns(input, 1).is_empty() && pull(input).is_none();
        let round = join.inputs.iter().position(reads_round);
        let first = round.or_else(|| join.inputs.iter().position(needs_domain));
        // The input with the domain stands first, since conditions of the others refer to it.
        let (mut joined, known, mut inputs) = match first {
            Some(index) => {
                let applied = self.applied(&join.inputs[index])?;
                (applied.columns(), widths[index], vec![applied])
            }
            None => (self.columns.clone(), 0, vec![self.plan.clone()]),
        };
        let mut places: Vec<usize> = vec![0; widths.len()];
        let mut predicates = vec![];
        for (index, input) in join.inputs.iter().enumerate().filter(|(index, _)| Some(*index) != first) {
            let (plan, conditions) = self.joined(input, &joined, known)?;
            places[index] = joined.len();
            joined.extend(plan.columns());
            predicates.extend(conditions);
            inputs.push(plan);
        }
        let of_original: Vec<usize> =
            places.iter().zip(&widths).flat_map(|(&place, &width)| place..place + width).collect();
        predicates.extend(
            join.predicates
                .iter()
                .map(|predicate| self.bind(&predicate.map_columns(|column| of_original[column]), known)),
        );
        let plan = Plan::Join(Join { inputs, predicates });
        Ok(keep(plan, of_original.into_iter().chain(self.at(known))))
    }

    fn outer_join(&self, join: &OuterJoin) -> Result<Plan, Unsupported> {
        let (left_width, right_width) = (join.left.columns().len(), join.right.columns().len());
        let left = self.applied(&join.left)?;
        let left_columns = left.columns();
        let full = join.kind == OuterKind::Full;
        let (right, mut on) = if full {
            let right = self.applied(&join.right)?;
            let columns: Vec<Column> = left_columns.iter().cloned().chain(right.columns()).collect();
            (right, self.same_at(&columns, left_width, left_columns.len() + right_width))
        } else {
            self.joined(&join.right, &left_columns, left_width)?
        };
        let grown = |column: usize| if column < left_width { column } else { column + self.columns.len() };
        on.extend(join.on.iter().map(|on| self.bind(&on.map_columns(grown), left_width)));
        // Where a value is asked for, the server compares both sides with it in place of the equality of the sides, if it
        // sees that one column is the one side or else the other. A FULL JOIN that has other conditions, too, is then left
        // without an equality to join by, which is an error.
        let is_by_equality = on.iter().all(|on| on.equality().is_some());
        let right_start = left_columns.len();
        let joined = Plan::OuterJoin(OuterJoin {
            kind: join.kind,
            left: Box::new(left),
            right: Box::new(right),
            on,
            position: join.position,
        });
        let visible = (0..left_width).chain(right_start..right_start + right_width);
        if !full {
            return Ok(keep(joined, visible.chain(self.at(left_width))));
        }
        let columns = joined.columns();
        let mut exprs = columns_at(&joined, visible);
        for (index, column) in self.columns.iter().enumerate() {
            let of = |place: usize| Expr::column(place, &columns[place]);
            let (left, right) = (of(left_width + index), of(right_start + right_width + index));
            let either = if is_by_equality { left.or_else(&right) } else { left.or_else_opaque(&right) };
            exprs.push((Expr { nullable: column.nullable, ..either }, column.name.clone()));
        }
        Ok(Plan::Project(Project { input: Box::new(joined), exprs }))
    }

    fn semi_join(&self, join: &SemiJoin) -> Result<Plan, Unsupported> {
        let left_width = join.left.columns().len();
        let left = self.applied(&join.left)?;
        let (right, mut on) = self.joined(&join.right, &left.columns(), left_width)?;
        let grown = |column: usize| if column < left_width { column } else { column + self.columns.len() };
        on.extend(join.on.iter().map(|on| self.bind(&on.map_columns(grown), left_width)));
        Ok(Plan::SemiJoin(SemiJoin { anti: join.anti, left: Box::new(left), right: Box::new(right), on }))
    }

    /// The recursions of all outer rows as one. UNION compares their rows with their outer values.
    fn recursive(&self, recursive: &Recursive) -> Result<Plan, Unsupported> {
        if !recursive.all && self.groupable().len() < self.columns.len() {
            return Err(Unsupported {
                construct: Construct {
                    name: format!("recursive query {}", recursive.name),
                    position: recursive.position,
                },
                reason: Refusal::RecursionOutward,
            });
        }
        let base = Box::new(self.applied(&recursive.base)?);
        let step = Box::new(self.applied(&recursive.step)?);
        Ok(Plan::Recursive(Recursive { base, step, ..recursive.clone() }))
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<Plan, Unsupported> {
        let input = self.applied(&aggregate.input)?;
        let offset = aggregate.input.columns().len();
        Ok(self.grouped(aggregate, input, offset, |column| column))
    }

    /// Without keys there is a group for every row of the domain, also without rows in it.
    fn global_aggregate(&self, aggregate: &Aggregate) -> Result<Plan, Unsupported> {
        let applied = self.applied(&aggregate.input)?;
        let width = aggregate.input.columns().len();
        let mut exprs = columns_at(&applied, 0..applied.columns().len());
        let marker = exprs.len();
        exprs.push((Expr::boolean(true), "matched".to_owned()));
        let right = Plan::Project(Project { input: Box::new(applied), exprs });
        let start = self.columns.len();
        let columns: Vec<Column> = self.columns.iter().cloned().chain(right.columns()).collect();
        let on = self.same_at(&columns, 0, start + width);
        let joined = Plan::OuterJoin(OuterJoin {
            kind: OuterKind::Left,
            left: Box::new(self.plan.clone()),
            right: Box::new(right),
            on,
            position: None,
        });
        let mut exprs = columns_at(&joined, 0..joined.columns().len());
        let matched = exprs[start + marker].0.clone();
        let mut filtered = aggregate.clone();
        for call in &mut filtered.calls {
            let filter = match call.filter {
                None => matched.clone(),
                Some(filter) => Expr::and(&[matched.clone(), exprs[start + filter].0.clone()]),
            };
            // Positions are those of the aggregate's own input until `grouped` moves them.
            let known = exprs.iter().position(|(expr, _)| *expr == filter).unwrap_or(exprs.len());
            if known == exprs.len() {
                exprs.push((filter, "filter".to_owned()));
            }
            call.filter = Some(known - start);
        }
        let input = Plan::Project(Project { input: Box::new(joined), exprs });
        Ok(self.grouped(&filtered, input, 0, |column| column + start))
    }

    /// The aggregate over an input whose columns lie at `place` and the domain's at `known`, by the domain's too.
    fn grouped(
        &self,
        aggregate: &Aggregate,
        input: Plan,
        known: usize,
        place: impl Fn(usize) -> usize,
    ) -> Plan {
        let own = aggregate.keys.len();
        let groupable = self.groupable();
        let mut keys: Vec<usize> = aggregate.keys.iter().map(|&key| place(key)).collect();
        keys.extend(groupable.iter().map(|&column| known + column));
        let mut calls = aggregate.calls.clone();
        for call in &mut calls {
            call.args.iter_mut().for_each(|arg| *arg = place(*arg));
            call.filter = call.filter.map(&place);
            call.order_by.iter_mut().for_each(|key| key.column = place(key.column));
            call.direct_args.iter_mut().for_each(|arg| *arg = self.bind(&arg.map_columns(&place), known));
        }
        let grouped = Plan::Aggregate(Aggregate { input: Box::new(input), keys, calls });
        let width = own + groupable.len();
        let visible = (0..own).chain(width..width + aggregate.calls.len());
        self.restored(keep(grouped, visible.chain(own..width)))
    }

    /// The rows of both sides are compared with their outer values, which therefore are columns like the others.
    fn set_op(&self, set_op: &SetOp) -> Result<Plan, Unsupported> {
        let width = set_op.left.columns().len();
        let side = |plan: &Plan| {
            let applied = self.applied(plan)?;
            let groupable = self.groupable().into_iter().map(|column| column + width);
            Ok(keep(applied, (0..width).chain(groupable)))
        };
        let (left, right) = (Box::new(side(&set_op.left)?), Box::new(side(&set_op.right)?));
        Ok(self.restored(Plan::SetOp(SetOp { left, right, ..set_op.clone() })))
    }

    /// Offsets of frames that depend on the outer row are the same for all rows of a partition.
    fn window(&self, window: &Window) -> Result<Plan, Unsupported> {
        let width = window.input.columns().len();
        let input = self.applied(&window.input)?;
        let start = input.columns().len();
        let mut partition = window.partition.clone();
        partition.extend(self.groupable().into_iter().map(|column| column + width));
        let mut calls = window.calls.clone();
        for call in &mut calls {
            for expr in call.expressions_mut() {
                *expr = self.bind(expr, width);
            }
        }
        let count = calls.len();
        let applied =
            Plan::Window(Window { input: Box::new(input), partition, calls, order: window.order.clone() });
        Ok(keep(applied, (0..width).chain(start..start + count).chain(self.at(width))))
    }

    /// A function of the outer row is one of the row it is called for.
    fn expand(&self, expand: &Expand) -> Result<Plan, Unsupported> {
        let width = expand.input.columns().len();
        let input = self.applied(&expand.input)?;
        let grown = |column: usize| if column < width { column } else { column + self.columns.len() };
        let bound = |expr: &Expr| self.bind(&expr.map_columns(grown), width);
        let rows = match &expand.rows {
            RowSource::Functions { calls, ordinality } => {
                RowSource::Functions { calls: calls.iter().map(bound).collect(), ordinality: *ordinality }
            }
            RowSource::Item(item) => RowSource::Item(bound(item)),
        };
        let left = expand.left.as_ref().map(|on| on.iter().map(bound).collect());
        let start = input.columns().len();
        let expanded = Plan::Expand(Expand { input: Box::new(input), rows, left, ..expand.clone() });
        let visible = (0..width).chain(start..start + expand.columns.len());
        Ok(keep(expanded, visible.chain(self.at(width))))
    }

    /// A plan whose last columns are the domain's groupable ones, with all of the domain's instead.
    fn restored(&self, plan: Plan) -> Plan {
        let groupable = self.groupable();
        if groupable.len() == self.columns.len() {
            return plan;
        }
        let columns = plan.columns();
        let start = columns.len() - groupable.len();
        let left = |column: usize| {
            let place = start + groupable.iter().position(|known| *known == column).unwrap_or(0);
            (place, columns[place].clone())
        };
        let right = |column: usize| (columns.len() + column, self.columns[column].clone());
        let predicates = self.same(left, right);
        let joined = Plan::Join(Join { inputs: vec![plan, self.plan.clone()], predicates });
        keep(joined, (0..start).chain(self.at(columns.len())))
    }

    fn values(&self, values: &Values) -> Plan {
        if values.rows.is_empty() {
            let columns = values.columns.iter().chain(&self.columns).cloned().collect();
            return Plan::Values(Values { columns, rows: vec![] });
        }
        let row = |row: &Vec<Expr>| {
            let names = values.columns.iter().map(|column| column.name.clone());
            let mut exprs: Vec<(Expr, String)> =
                row.iter().map(|value| self.bind(value, 0)).zip(names).collect();
            exprs.extend(columns_at(&self.plan, self.at(0)));
            Plan::Project(Project { input: Box::new(self.plan.clone()), exprs })
        };
        let mut inputs: Vec<Plan> = values.rows.iter().map(row).collect();
        if inputs.len() == 1 { inputs.remove(0) } else { Plan::UnionAll(UnionAll { inputs }) }
    }
}

/// Whether a plan, part of the step of a recursion, reads the rows of the round before.
fn reads_round(plan: &Plan) -> bool {
    match plan {
        Plan::Round(_) => true,
        // The rounds of its step are its own.
        Plan::Recursive(inner) => reads_round(&inner.base),
        _ => plan.children().into_iter().any(reads_round),
    }
}

/// Columns of a plan as expressions.
pub(super) fn columns_at(plan: &Plan, positions: impl IntoIterator<Item = usize>) -> Vec<(Expr, String)> {
    let columns = plan.columns();
    positions.into_iter().map(|position| Expr::named(position, &columns[position])).collect()
}

/// The columns at these positions, without a projection if they are all there are.
pub(super) fn keep(plan: Plan, positions: impl IntoIterator<Item = usize>) -> Plan {
    let positions: Vec<usize> = positions.into_iter().collect();
    if positions.iter().copied().eq(0..plan.columns().len()) {
        return plan;
    }
    Plan::Project(Project { exprs: columns_at(&plan, positions), input: Box::new(plan) })
}
