//! Naive evaluation of plans on Z-sets: every node by its definition, nothing by cleverness.
//!
//! This is the reference that rules are judged by, so it follows the doc comments of [`pg_trickle_core::plan`] and the
//! SQL standard, never the rules. Where SQL leaves a choice (the representative of a class of equal values, ties), the
//! least by identity is taken, which makes every result a function of the multiset.

use crate::aggregate;
use crate::scalar::{Clock, EvalError, Result, Scalar, Scope, truth, unknown};
use crate::value::{Row, Value, classes};
use crate::window;
use crate::zset::ZSet;
use pg_trickle_core::expr::{Expr, SortKey};
use pg_trickle_core::plan::*;
use pg_trickle_core::types::{SourceId, StageId};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Rows an intermediate result may have before an evaluation is given up.
const ROWS_MAX: usize = 1_500;
/// Rounds a recursion may have before an evaluation is given up.
const ROUNDS_MAX: usize = 12;
/// Pairs of rows a join may compare before an evaluation is given up.
const PAIRS_MAX: usize = 20_000;

/// What the leaves of a plan read. Rows are whole rows: leaves pick their columns by ordinal.
#[derive(Debug, Clone, Default)]
pub struct Env {
    pub sources: BTreeMap<SourceId, ZSet>,
    pub stages: BTreeMap<StageId, ZSet>,
    pub deltas: BTreeMap<DeltaOf, ZSet>,
    /// The rows of all rounds of a recursion before the change, with their round.
    pub rounds: BTreeMap<StageId, ZSet>,
    pub clock: Clock,
    /// Computed values are looked at where they are computed, as a server does with the rows of a change before it sums
    /// them up. Else an error waits in a row until somebody looks at the value.
    pub looks_at_once: bool,
}

/// The Z-set `plan` denotes.
pub fn eval(plan: &Plan, env: &Env) -> Result<ZSet> {
    let rows = Evaluator { env, outer: vec![], working: vec![] }.plan(plan)?;
    rows.iter().try_for_each(|(row, _)| usable(row))?;
    Ok(rows)
}

/// The rounds of a recursion: for each what is derived in it, and of that the rows of the round. The last has no rows.
pub fn rounds(recursive: &Recursive, env: &Env) -> Result<Vec<(ZSet, ZSet)>> {
    Evaluator { env, outer: vec![], working: vec![] }.rounds(recursive)
}

struct Evaluator<'a> {
    env: &'a Env,
    /// Left rows of the enclosing dependent joins, nearest last.
    outer: Vec<Row>,
    /// The rounds last made of the enclosing recursions, nearest last.
    working: Vec<ZSet>,
}

impl Evaluator<'_> {
    fn plan(&mut self, plan: &Plan) -> Result<ZSet> {
        let result = match plan {
            Plan::Source(source) => pick(self.env.sources.get(&source.source), &source.ordinals, "source")?,
            Plan::Stored(stored) => {
                let ordinals: Vec<usize> = (0..stored.columns.len()).collect();
                pick(self.env.stages.get(&stored.stage), &ordinals, "stage")?
            }
            Plan::Delta(delta) => pick(self.env.deltas.get(&delta.of), &delta.ordinals, "delta")?,
            Plan::Values(values) => self.values(values)?,
            Plan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                let predicate = Scalar::parse(&filter.predicate)?;
                self.retain(input, |this, row| this.holds(&predicate, row))?
            }
            Plan::Project(project) => self.project(project)?,
            Plan::Join(join) => self.join(join)?,
            Plan::OuterJoin(join) => self.outer_join(join)?,
            Plan::SemiJoin(join) => self.semi_join(join)?,
            Plan::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Plan::SetOp(set_op) => self.set_op(set_op)?,
            Plan::UnionAll(union) => {
                let mut sum = ZSet::new();
                for input in &union.inputs {
                    sum = sum.plus(&self.plan(input)?);
                }
                sum
            }
            Plan::Recursive(recursive) => {
                self.rounds(recursive)?.iter().fold(ZSet::new(), |sum, (_, round)| sum.plus(round))
            }
            Plan::Round(Round { of: Some(stage), columns }) => {
                let ordinals: Vec<usize> = (0..columns.len()).collect();
                pick(self.env.rounds.get(stage), &ordinals, "recursion")?
            }
            Plan::Round(_) => {
                self.working.last().cloned().ok_or_else(|| unknown("a round of no recursion"))?
            }
            Plan::TopK(top) => self.top_k(top)?,
            Plan::Expand(expand) => self.expand(expand)?,
            Plan::Repeat(repeat) => self.repeat(repeat)?,
            Plan::Window(window) => self.window_functions(window)?,
            Plan::DependentJoin(join) => self.dependent_join(join)?,
            Plan::Negate(input) => self.plan(input)?.negated(),
            Plan::Old(old) => self.plan(&old.new)?.minus(&self.plan(&old.delta)?),
            Plan::Flip(flip) => self.flip(flip)?,
        };
        if result.len() > ROWS_MAX { Err(EvalError::TooLarge) } else { Ok(result) }
    }

    fn scope<'b>(&'b self, row: &'b [Value]) -> Scope<'b> {
        Scope { row, outer: &self.outer, clock: self.env.clock }
    }

    fn holds(&self, condition: &Scalar, row: &[Value]) -> Result<bool> {
        condition.holds(self.scope(row))
    }

    fn all_hold(&self, conditions: &[Scalar], row: &[Value]) -> Result<bool> {
        for condition in conditions {
            if !self.holds(condition, row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn retain(&mut self, input: ZSet, mut keep: impl FnMut(&Self, &Row) -> Result<bool>) -> Result<ZSet> {
        let mut kept = ZSet::new();
        for (row, weight) in input.iter() {
            if keep(self, row)? {
                kept.insert(row.clone(), weight);
            }
        }
        Ok(kept)
    }

    fn values(&mut self, values: &Values) -> Result<ZSet> {
        let mut rows = ZSet::new();
        for exprs in &values.rows {
            let row = exprs.iter().map(|expr| Scalar::parse(expr)?.eval(self.scope(&[])));
            rows.insert(row.collect::<Result<Row>>()?, 1);
        }
        Ok(rows)
    }

    fn project(&mut self, project: &Project) -> Result<ZSet> {
        if self.env.looks_at_once {
            let terms = terms(&project.input);
            if terms.len() > 1 {
                let mut sum = ZSet::new();
                for input in terms {
                    let exprs = project.exprs.clone();
                    sum = sum.plus(&self.project(&Project { input: Box::new(input), exprs })?);
                }
                return Ok(sum);
            }
        }
        let input = self.plan(&project.input)?;
        let exprs = parse_all(project.exprs.iter().map(|(expr, _)| expr))?;
        let mut projected = ZSet::new();
        for (row, weight) in input.iter() {
            let values = exprs.iter().map(|expr| match expr.eval(self.scope(row)) {
                Err(EvalError::MoreThanOneRow) if !self.env.looks_at_once => Ok(Value::TooManyRows),
                value => value,
            });
            projected.insert(values.collect::<Result<Row>>()?, weight);
        }
        Ok(projected)
    }

    /// The product of the inputs, filtered. A predicate is applied as soon as its columns are there, which keeps the
    /// product small and changes nothing else.
    fn join(&mut self, join: &Join) -> Result<ZSet> {
        let mut waiting: Vec<&Expr> = join.predicates.iter().collect();
        let mut joined: ZSet = [(vec![], 1)].into_iter().collect();
        let mut width = 0;
        for input in &join.inputs {
            let input_rows = self.plan(input)?;
            width += input.columns().len();
            let (ready, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|predicate| predicate.columns().iter().all(|&column| column < width));
            waiting = rest;
            joined = self.pairs(&joined, &input_rows, &parse_all(ready)?)?;
        }
        if waiting.is_empty() { Ok(joined) } else { Err(unknown("a join predicate over missing columns")) }
    }

    /// Pairs of rows that satisfy all conditions; weights multiply.
    fn pairs(&self, left: &ZSet, right: &ZSet, on: &[Scalar]) -> Result<ZSet> {
        check_size(left, right)?;
        let mut pairs = ZSet::new();
        for (left_row, left_weight) in left.iter() {
            for (right_row, right_weight) in right.iter() {
                let pair = concat(left_row, right_row);
                if self.all_hold(on, &pair)? {
                    pairs.insert(pair, left_weight * right_weight);
                }
            }
            if pairs.len() > ROWS_MAX {
                return Err(EvalError::TooLarge);
            }
        }
        Ok(pairs)
    }

    /// The sum of the weights of the rows of `right` that match `left_row`, and whether any row matches.
    fn degree(&self, left_row: &Row, right: &ZSet, on: &[Scalar]) -> Result<(i64, bool)> {
        let (mut degree, mut any) = (0, false);
        for (right_row, weight) in right.iter() {
            if self.all_hold(on, &concat(left_row, right_row))? {
                degree += weight;
                any = true;
            }
        }
        Ok((degree, any))
    }

    fn outer_join(&mut self, join: &OuterJoin) -> Result<ZSet> {
        let (left, right) = (self.plan(&join.left)?, self.plan(&join.right)?);
        let on = parse_all(&join.on)?;
        let mut result = self.pairs(&left, &right, &on)?;
        let right_nulls = vec![Value::Null; join.right.columns().len()];
        for (row, weight) in left.iter() {
            if match_count(self.degree(row, &right, &on)?.0)? == 0 {
                result.insert(concat(row, &right_nulls), weight);
            }
        }
        if join.kind == OuterKind::Full {
            let left_nulls = vec![Value::Null; join.left.columns().len()];
            for (row, weight) in right.iter() {
                let mut degree = 0;
                for (left_row, left_weight) in left.iter() {
                    if self.all_hold(&on, &concat(left_row, row))? {
                        degree += left_weight;
                    }
                }
                if match_count(degree)? == 0 {
                    result.insert(concat(&left_nulls, row), weight);
                }
            }
        }
        Ok(result)
    }

    fn semi_join(&mut self, join: &SemiJoin) -> Result<ZSet> {
        let (left, right) = (self.plan(&join.left)?, self.plan(&join.right)?);
        check_size(&left, &right)?;
        let on = parse_all(&join.on)?;
        self.retain(left, |this, row| Ok((match_count(this.degree(row, &right, &on)?.0)? == 0) == join.anti))
    }

    fn flip(&mut self, flip: &Flip) -> Result<ZSet> {
        let (left, right, delta) = (self.plan(&flip.left)?, self.plan(&flip.right)?, self.plan(&flip.delta)?);
        check_size(&left, &right)?;
        let on = parse_all(&flip.on)?;
        let mut flips = ZSet::new();
        for (row, weight) in left.iter() {
            let (change, is_touched) = self.degree(row, &delta, &on)?;
            if is_touched {
                let after = match_count(self.degree(row, &right, &on)?.0)?;
                let before = match_count(after - change)?;
                flips.insert(row.clone(), weight * (i64::from(before == 0) - i64::from(after == 0)));
            }
        }
        Ok(flips)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<ZSet> {
        let input = bag(self.plan(&aggregate.input)?, "an aggregate")?;
        let mut groups: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
        if aggregate.keys.is_empty() {
            groups.insert(vec![], vec![]);
        }
        for (row, weight) in input.iter() {
            let used = aggregate.calls.iter().flat_map(|call| {
                let ordered = call.order_by.iter().map(|key| key.column);
                call.args.iter().copied().chain(call.filter).chain(ordered)
            });
            usable(aggregate.keys.iter().copied().chain(used).map(|column| &row[column]))?;
            let key: Row = aggregate.keys.iter().map(|&key| row[key].class()).collect();
            groups.entry(key).or_default().push((row, weight));
        }
        let mut result = ZSet::new();
        for (key, rows) in groups {
            // Equal by grouping equality is not equal by identity: the least member stands for the key.
            let members =
                rows.iter().map(|(row, _)| aggregate.keys.iter().map(|&key| row[key].clone()).collect());
            let mut row: Row = members.min().unwrap_or(key);
            for call in &aggregate.calls {
                row.push(aggregate::call(call, &rows)?);
            }
            result.insert(row, 1);
        }
        Ok(result)
    }

    fn set_op(&mut self, set_op: &SetOp) -> Result<ZSet> {
        let left = bag(self.plan(&set_op.left)?, "a set operation")?;
        let right = bag(self.plan(&set_op.right)?, "a set operation")?;
        left.iter().chain(right.iter()).try_for_each(|(row, _)| usable(row))?;
        // Per class of equal rows: the least of them, which stands for it in the result, and both counts.
        let mut counts: BTreeMap<Row, (Row, i64, i64)> = BTreeMap::new();
        for (row, weight) in left.iter() {
            counts.entry(classes(row)).or_insert_with(|| (row.clone(), 0, 0)).1 += weight;
        }
        for (row, weight) in right.iter() {
            let (member, _, count) = counts.entry(classes(row)).or_insert_with(|| (row.clone(), 0, 0));
            *count += weight;
            if row < member {
                *member = row.clone();
            }
        }
        let of_counts = |left: i64, right: i64| match (set_op.kind, set_op.all) {
            (SetOpKind::Union, false) => 1,
            (SetOpKind::Union, true) => left + right,
            (SetOpKind::Intersect, false) => i64::from(left > 0 && right > 0),
            (SetOpKind::Intersect, true) => left.min(right),
            (SetOpKind::Except, false) => i64::from(left > 0 && right == 0),
            (SetOpKind::Except, true) => (left - right).max(0),
        };
        Ok(counts.into_values().map(|(row, left, right)| (row, of_counts(left, right))).collect())
    }

    /// As PostgreSQL evaluates them: each from the one before, until one is empty.
    fn rounds(&mut self, recursive: &Recursive) -> Result<Vec<(ZSet, ZSet)>> {
        let mut rounds = vec![];
        let mut seen = std::collections::BTreeSet::new();
        let mut next = self.plan(&recursive.base)?;
        loop {
            let derived = bag(next, "a recursion")?;
            derived.iter().try_for_each(|(row, _)| usable(row))?;
            let round: ZSet = if recursive.all {
                derived.clone()
            } else {
                let new = derived.iter().filter(|(row, _)| seen.insert(classes(row)));
                new.map(|(row, _)| (row.clone(), 1)).collect()
            };
            rounds.push((derived, round.clone()));
            if round.is_empty() {
                return Ok(rounds);
            }
            if rounds.len() > ROUNDS_MAX {
                return Err(EvalError::TooLarge);
            }
            self.working.push(round);
            let stepped = self.plan(&recursive.step);
            self.working.pop();
            next = stepped?;
        }
    }

    fn expand(&mut self, expand: &Expand) -> Result<ZSet> {
        let input = self.plan(&expand.input)?;
        let RowSource::Functions { calls, ordinality } = &expand.rows else {
            return Err(unknown("an item of FROM that is not a list of functions"));
        };
        let calls = parse_all(calls)?;
        let on = expand.left.as_ref().map(parse_all).transpose()?;
        let nulls = vec![Value::Null; expand.columns.len()];
        let mut expanded = ZSet::new();
        for (row, weight) in input.iter() {
            let columns = calls.iter().map(|call| call.rows(self.scope(row))).collect::<Result<Vec<_>>>()?;
            let count = columns.iter().map(Vec::len).max().unwrap_or(0);
            let mut is_matched = false;
            for index in 0..count {
                let cell = |column: &Vec<Value>| column.get(index).cloned().unwrap_or(Value::Null);
                let mut added: Row = columns.iter().map(cell).collect();
                if *ordinality {
                    added.push(Value::Int(index as i64 + 1));
                }
                let pair = concat(row, &added);
                if self.all_hold(on.as_deref().unwrap_or_default(), &pair)? {
                    expanded.insert(pair, weight);
                    is_matched = true;
                }
            }
            if on.is_some() && !is_matched {
                expanded.insert(concat(row, &nulls), weight);
            }
            if expanded.len() > ROWS_MAX {
                return Err(EvalError::TooLarge);
            }
        }
        Ok(expanded)
    }

    fn repeat(&mut self, repeat: &Repeat) -> Result<ZSet> {
        let input = self.plan(&repeat.input)?;
        let count = Scalar::parse(&repeat.count)?;
        let mut repeated = ZSet::new();
        for (row, weight) in input.iter() {
            match count.eval(self.scope(row))? {
                Value::Int(count) if count >= 0 => repeated.insert(row.clone(), weight * count),
                other => return Err(unknown(&format!("{other} as a number of copies"))),
            }
        }
        Ok(repeated)
    }

    fn top_k(&mut self, top: &TopK) -> Result<ZSet> {
        let input = bag(self.plan(&top.input)?, "a LIMIT")?;
        let mut partitions: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
        for (row, weight) in input.iter() {
            usable(row)?;
            let key = top.partition.iter().map(|&column| row[column].class()).collect();
            partitions.entry(key).or_default().push((row, weight));
        }
        let mut result = ZSet::new();
        for mut rows in partitions.into_values() {
            rows.sort_by(|a, b| compare_by(&top.order, a.0, b.0).then_with(|| a.0.cmp(b.0)));
            let (first, last) = self.window(top, rows[0].0)?;
            let mut position = 0;
            let mut last_taken: Option<&Row> = None;
            for (row, weight) in rows {
                let taken = (position + weight).min(last) - position.max(first);
                let is_tie = top.with_ties
                    && position >= first
                    && last_taken.is_some_and(|last| compare_by(&top.order, last, row).is_eq());
                position += weight;
                if taken > 0 {
                    last_taken = Some(row);
                }
                if is_tie || (top.with_ties && taken > 0) {
                    // Copies of one row are ties of each other.
                    result.insert(row.clone(), position - first.max(position - weight));
                } else {
                    result.insert(row.clone(), taken.max(0));
                }
            }
        }
        Ok(result)
    }

    /// Positions of a partition that are taken: from the first to before the last. The bounds may refer to columns
    /// that are constant in the partition, so any of its rows serves.
    fn window(&self, top: &TopK, row: &Row) -> Result<(i64, i64)> {
        let bound = |expr: &Option<Expr>| match expr {
            None => Ok(None),
            Some(expr) => match Scalar::parse(expr)?.eval(self.scope(row))? {
                Value::Null => Ok(None),
                Value::Int(bound) if bound >= 0 => Ok(Some(bound)),
                _ => Err(EvalError::OutOfRange),
            },
        };
        let first = bound(&top.offset)?.unwrap_or(0);
        Ok((first, bound(&top.limit)?.map_or(i64::MAX, |limit| first.saturating_add(limit))))
    }

    fn window_functions(&mut self, window: &Window) -> Result<ZSet> {
        let input = bag(self.plan(&window.input)?, "a window function")?;
        let mut partitions: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
        for (row, weight) in input.iter() {
            usable(row)?;
            let key = window.partition.iter().map(|&column| row[column].class()).collect();
            partitions.entry(key).or_default().push((row, weight));
        }
        let mut result = ZSet::new();
        for rows in partitions.into_values() {
            for row in window::partition(window, &rows, &self.outer)? {
                result.insert(row, 1);
            }
        }
        Ok(result)
    }

    fn dependent_join(&mut self, join: &DependentJoin) -> Result<ZSet> {
        let left = self.plan(&join.left)?;
        let on = parse_all(&join.on)?;
        let nulls = vec![Value::Null; join.right.columns().len()];
        let mut result = ZSet::new();
        for (row, weight) in left.iter() {
            self.outer.push(row.clone());
            let right = self.plan(&join.right);
            self.outer.pop();
            let right = right?;
            match join.kind {
                DependentKind::Inner | DependentKind::Left => {
                    let single = [(row.clone(), weight)].into_iter().collect();
                    let pairs = self.pairs(&single, &right, &on)?;
                    if pairs.is_empty() && join.kind == DependentKind::Left {
                        result.insert(concat(row, &nulls), weight);
                    }
                    pairs.iter().for_each(|(pair, weight)| result.insert(pair.clone(), weight));
                }
                DependentKind::Mark => {
                    let mark = self.mark(row, &bag(right, "a subquery test")?, &on)?;
                    result.insert(concat(row, &[mark]), weight);
                }
                DependentKind::Scalar => {
                    let right = bag(right, "a scalar subquery")?;
                    let value = match right.iter().map(|(_, weight)| weight).sum::<i64>() {
                        0 => Value::Null,
                        1 => right.iter().next().map_or(Value::Null, |(row, _)| row[0].clone()),
                        _ => Value::TooManyRows,
                    };
                    result.insert(concat(row, &[value]), weight);
                }
                DependentKind::Array => {
                    right.iter().try_for_each(|(row, _)| usable(row))?;
                    let mut rows: Vec<(Row, i64)> = bag(right, "an array subquery")?
                        .iter()
                        .map(|(row, weight)| (row.clone(), weight))
                        .collect();
                    if let Plan::TopK(top) = &*join.right {
                        rows.sort_by(|a, b| compare_by(&top.order, &a.0, &b.0).then_with(|| a.0.cmp(&b.0)));
                    }
                    let copies = rows.iter().flat_map(|(row, weight)| (0..*weight).map(|_| row[0].clone()));
                    result.insert(concat(row, &[Value::Array(copies.collect())]), weight);
                }
            }
        }
        Ok(result)
    }

    /// The three-valued "some right row satisfies `on`".
    fn mark(&self, row: &Row, right: &ZSet, on: &[Scalar]) -> Result<Value> {
        let mut is_unknown = false;
        for (right_row, _) in right.iter() {
            let pair = concat(row, right_row);
            let mut of_row = Some(true);
            for condition in on {
                of_row = match (of_row, truth(&condition.eval(self.scope(&pair))?)?) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
            }
            match of_row {
                Some(true) => return Ok(Value::Bool(true)),
                Some(false) => {}
                None => is_unknown = true,
            }
        }
        Ok(if is_unknown { Value::Null } else { Value::Bool(false) })
    }
}

/// Rows ordered by the sort keys; rows equal in all of them are ties.
pub(crate) fn compare_by(order: &[SortKey], left: &[Value], right: &[Value]) -> Ordering {
    for key in order {
        let (left, right) = (&left[key.column], &right[key.column]);
        let nulls = if key.nulls_first { Ordering::Less } else { Ordering::Greater };
        let ordering = match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => nulls,
            (false, true) => nulls.reverse(),
            (false, false) => {
                let ordering = left.compare(right).unwrap_or(Ordering::Equal);
                if key.descending { ordering.reverse() } else { ordering }
            }
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

/// The terms of a sum that a server computes one by one: rows that cancel are in two of them.
fn terms(plan: &Plan) -> Vec<Plan> {
    let over = |input: &Plan, place: &dyn Fn(Plan) -> Plan| terms(input).into_iter().map(place).collect();
    match plan {
        Plan::UnionAll(union) => union.inputs.iter().flat_map(terms).collect(),
        Plan::Negate(input) => over(input, &|term| Plan::Negate(Box::new(term))),
        Plan::Filter(node) => {
            over(&node.input, &|term| Plan::Filter(Filter { input: Box::new(term), ..node.clone() }))
        }
        Plan::Project(node) => {
            over(&node.input, &|term| Plan::Project(Project { input: Box::new(term), ..node.clone() }))
        }
        Plan::Old(node) => [terms(&node.new), terms(&Plan::Negate(node.delta.clone()))].concat(),
        Plan::Join(node) => {
            let mut combined: Vec<Vec<Plan>> = vec![vec![]];
            for input in &node.inputs {
                let terms = terms(input);
                let with = |known: &Vec<Plan>, term: &Plan| [known.clone(), vec![term.clone()]].concat();
                let grown = combined.iter().flat_map(|known| terms.iter().map(|term| with(known, term)));
                combined = grown.collect();
            }
            let predicates = || node.predicates.clone();
            combined.into_iter().map(|inputs| Plan::Join(Join { inputs, predicates: predicates() })).collect()
        }
        Plan::SemiJoin(node) => {
            over(&node.left, &|term| Plan::SemiJoin(SemiJoin { left: Box::new(term), ..node.clone() }))
        }
        other => vec![other.clone()],
    }
}

fn parse_all<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Result<Vec<Scalar>> {
    exprs.into_iter().map(Scalar::parse).collect()
}

fn pick(rows: Option<&ZSet>, ordinals: &[usize], what: &str) -> Result<ZSet> {
    let rows = rows.ok_or_else(|| unknown(&format!("a {what} without contents")))?;
    let of_row =
        |row: &Row| ordinals.iter().map(|&ordinal| row.get(ordinal).cloned()).collect::<Option<Row>>();
    rows.iter()
        .map(|(row, weight)| Ok((of_row(row).ok_or_else(|| unknown("an ordinal beyond the row"))?, weight)))
        .collect::<Result<ZSet>>()
}

/// Looking at the value of a scalar subquery with several rows is an error.
fn usable<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<()> {
    let is_error = values.into_iter().any(|value| *value == Value::TooManyRows);
    if is_error { Err(EvalError::MoreThanOneRow) } else { Ok(()) }
}

fn check_size(left: &ZSet, right: &ZSet) -> Result<()> {
    if left.len() * right.len() > PAIRS_MAX { Err(EvalError::TooLarge) } else { Ok(()) }
}

fn concat(left: &[Value], right: &[Value]) -> Row {
    left.iter().chain(right).cloned().collect()
}

fn bag(rows: ZSet, operator: &'static str) -> Result<ZSet> {
    if rows.is_bag() { Ok(rows) } else { Err(EvalError::NegativeWeight(operator)) }
}

/// A number of matches is a sum of weights of a state, old or new: never negative.
fn match_count(degree: i64) -> Result<i64> {
    if degree < 0 { Err(EvalError::NegativeWeight("a match count")) } else { Ok(degree) }
}
