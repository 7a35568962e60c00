//! Well-typed random plans of every node kind, bounded in depth and size.

use super::expr::{ExprScope, constant, is_scalar, literal};
use super::{Choices, World, aggregate, column_types, window};
use crate::value::Value;
use pg_trickle_core::expr::{Expr, SortKey};
use pg_trickle_core::plan::*;
use pg_trickle_core::types::{Column, TypeRef};

/// Which nodes a plan may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// Linear and bilinear operators: what is differentiated.
    Bilinear,
    /// Stateful operators too: what is cut into stages.
    Stateful,
    /// Dependent joins too: what is normalised.
    Whole,
    /// A window over a leaf.
    Window,
}

/// Columns a generated node has at most; wider ones are projected.
const COLUMNS_MAX: usize = 5;
/// Nodes a generated plan has about at most.
const NODES_MAX: usize = 14;

/// A plan over the relations of `world`.
pub fn plan(world: &World, fragment: Fragment, choices: &mut Choices) -> Plan {
    let depth = 1 + choices.below(4);
    Generator { world, fragment, choices, outer: vec![], nodes: 0 }.plan(depth)
}

pub(super) struct Generator<'a, 'c> {
    world: &'a World,
    fragment: Fragment,
    pub(super) choices: &'a mut Choices<'c>,
    /// Columns of the enclosing dependent joins' left sides, nearest last.
    pub(super) outer: Vec<Vec<Column>>,
    nodes: usize,
}

impl Generator<'_, '_> {
    pub(super) fn plan(&mut self, depth: usize) -> Plan {
        if self.fragment == Fragment::Window {
            return window::window(self.leaf(), &[], self.choices);
        }
        self.nodes += 1;
        if depth == 0 || self.nodes > NODES_MAX {
            return self.leaf();
        }
        let depth = depth - 1;
        let weights: &[usize] = match self.fragment {
            Fragment::Bilinear => &[1, 3, 3, 6, 5, 5, 3, 1, 3, 1],
            Fragment::Stateful => &[1, 2, 3, 5, 4, 3, 2, 1, 2, 1, 6, 2, 4, 3, 4, 4],
            _ => &[1, 2, 3, 3, 3, 2, 2, 1, 2, 1, 4, 1, 2, 2, 3, 2, 12],
        };
        let plan = match self.choices.weighted(weights) {
            0 => self.leaf(),
            1 => self.filter(depth),
            2 => {
                let input = self.plan(depth);
                self.project(input)
            }
            3 => self.join(depth),
            4 => self.outer_join(depth),
            5 => self.semi_join(depth),
            6 => self.union_all(depth),
            7 => self.values(),
            8 => self.expand(depth),
            9 => self.repeat(depth),
            10 => aggregate::grouped(self.plan(depth), self.choices),
            11 => distinct(self.plan(depth)),
            12 => self.set_op(depth),
            13 => {
                let input = self.plan(depth);
                self.top_k(input)
            }
            14 => {
                let input = self.plan(depth);
                window::window(input, &self.outer, self.choices)
            }
            15 => self.recursive(depth),
            _ => self.dependent_join(depth),
        };
        if plan.columns().len() > COLUMNS_MAX { self.project(plan) } else { plan }
    }

    pub(super) fn leaf(&mut self) -> Plan {
        let relation = &self.world.relations[self.choices.below(self.world.relations.len())];
        let plan = relation.plan(self.choices);
        // Inside a dependent join a leaf with a condition on the outer row is what makes it dependent.
        if !self.outer.is_empty() && self.choices.percent(25) {
            return self.filtered(plan);
        }
        plan
    }

    fn filter(&mut self, depth: usize) -> Plan {
        let input = self.plan(depth);
        self.filtered(input)
    }

    pub(super) fn filtered_without_time(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let predicate = ExprScope { columns: &columns, outer: &self.outer }.condition(2, self.choices);
        Plan::Filter(Filter { input: Box::new(input), predicate })
    }

    fn filtered(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let scope = ExprScope { columns: &columns, outer: &self.outer };
        if self.choices.percent(15) {
            let predicate = scope.condition_with_time(self.choices);
            return Plan::Filter(Filter { input: Box::new(input), predicate });
        }
        let correlated =
            if self.choices.percent(60) { scope.equality_with_outer(self.choices) } else { None };
        let predicate = correlated.unwrap_or_else(|| scope.condition(2, self.choices));
        Plan::Filter(Filter { input: Box::new(input), predicate })
    }

    /// Some columns, some expressions.
    fn project(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let count = 1 + self.choices.below(3);
        let exprs = (0..count)
            .map(|index| {
                let column = &columns[self.choices.below(columns.len())];
                let scope = ExprScope { columns: &columns, outer: &self.outer };
                let expr = if self.choices.percent(6) {
                    scope.condition_with_time(self.choices)
                } else if self.choices.percent(50) && is_scalar(&column.ty) {
                    scope.expr(&column.ty, 2, self.choices)
                } else {
                    let position = columns.iter().position(|other| other == column).unwrap_or(0);
                    Expr::column(position, column)
                };
                (expr, format!("p{index}"))
            })
            .collect();
        Plan::Project(Project { input: Box::new(input), exprs })
    }

    fn join(&mut self, depth: usize) -> Plan {
        let count = 2 + self.choices.weighted(&[5, 3, 1]);
        let inputs: Vec<Plan> = (0..count).map(|_| self.plan(depth)).collect();
        let mut columns: Vec<Column> = vec![];
        let mut predicates = vec![];
        for input in &inputs {
            let split = columns.len();
            columns.extend(input.columns());
            if split > 0 {
                predicates.extend(self.conditions(&columns, split));
            }
        }
        Plan::Join(Join { inputs, predicates })
    }

    /// Conditions over the columns of both sides: mostly an equality across, sometimes anything, sometimes none.
    pub(super) fn conditions(&mut self, columns: &[Column], split: usize) -> Vec<Expr> {
        let scope = ExprScope { columns, outer: &self.outer };
        let mut conditions = vec![];
        if self.choices.weighted(&[4, 1]) == 0 {
            conditions.extend(scope.equality_across(split, self.choices));
        }
        if self.choices.percent(30) {
            conditions.push(scope.condition(1, self.choices));
        }
        conditions
    }

    fn sides(&mut self, depth: usize) -> (Box<Plan>, Box<Plan>, Vec<Expr>) {
        let (left, right) = (self.plan(depth), self.plan(depth));
        let split = left.columns().len();
        let columns: Vec<Column> = left.columns().into_iter().chain(right.columns()).collect();
        let on = self.conditions(&columns, split);
        (Box::new(left), Box::new(right), on)
    }

    fn outer_join(&mut self, depth: usize) -> Plan {
        let (left, right, on) = self.sides(depth);
        let kind = self.choices.one_of(&[OuterKind::Left, OuterKind::Full]);
        Plan::OuterJoin(OuterJoin { kind, left, right, on, position: None })
    }

    fn semi_join(&mut self, depth: usize) -> Plan {
        let (left, right, on) = self.sides(depth);
        Plan::SemiJoin(SemiJoin { anti: self.choices.percent(50), left, right, on })
    }

    fn union_all(&mut self, depth: usize) -> Plan {
        let (left, right) = self.alike(depth);
        Plan::UnionAll(UnionAll { inputs: vec![left, right] })
    }

    /// One or two functions in lockstep, now and then outer joined.
    fn expand(&mut self, depth: usize) -> Plan {
        let input = self.plan(depth);
        let mut columns = input.columns();
        let scope = ExprScope { columns: &columns, outer: &self.outer };
        let calls: Vec<Expr> =
            (0..1 + self.choices.below(2)).map(|_| scope.set_returning(self.choices)).collect();
        let mut added: Vec<Column> = calls
            .iter()
            .enumerate()
            .map(|(index, call)| Column {
                name: format!("f{index}"),
                ty: call.ty.clone(),
                nullable: true,
                fixed_scale: None,
            })
            .collect();
        let ordinality = self.choices.percent(30);
        if ordinality {
            let (name, ty) = ("ordinality".to_owned(), TypeRef::int8());
            added.push(Column { name, ty, nullable: false, fixed_scale: None });
        }
        let split = columns.len();
        columns.extend(added.iter().cloned());
        let left = self.choices.percent(30).then(|| self.conditions(&columns, split));
        Plan::Expand(Expand {
            input: Box::new(input),
            rows: RowSource::Functions { calls, ordinality },
            columns: added,
            left,
            position: None,
        })
    }

    fn repeat(&mut self, depth: usize) -> Plan {
        let input = self.plan(depth);
        let columns = input.columns();
        let scope = ExprScope { columns: &columns, outer: &self.outer };
        let count = scope.count_of_copies(self.choices);
        Plan::Repeat(Repeat { input: Box::new(input), count })
    }

    /// Mostly of sides that have rows in common, and some of them more than once.
    fn set_op(&mut self, depth: usize) -> Plan {
        let (mut left, mut right) = self.alike(depth);
        match self.choices.weighted(&[3, 3, 2]) {
            0 => left = Plan::UnionAll(UnionAll { inputs: vec![left, right.clone()] }),
            1 => right = Plan::UnionAll(UnionAll { inputs: vec![right, left.clone()] }),
            _ => {}
        }
        let kind = self.choices.one_of(&[SetOpKind::Union, SetOpKind::Intersect, SetOpKind::Except]);
        let all = kind != SetOpKind::Union && self.choices.percent(50);
        Plan::SetOp(SetOp { kind, all, left: Box::new(left), right: Box::new(right), position: None })
    }

    /// Two plans with equal column types.
    fn alike(&mut self, depth: usize) -> (Plan, Plan) {
        let (left, right) = (self.plan(depth), self.plan(depth));
        let (wanted, columns) = (left.columns(), right.columns());
        let exprs = wanted.iter().map(|column| {
            let position = columns.iter().position(|other| other.ty == column.ty);
            let expr = match position {
                Some(position) => Expr::column(position, &columns[position]),
                None if is_scalar(&column.ty) => constant(&column.ty, self.choices),
                None => literal(&column.ty, &Value::Null),
            };
            (expr, column.name.clone())
        });
        let exprs = exprs.collect();
        (left, Plan::Project(Project { input: Box::new(right), exprs }))
    }

    fn values(&mut self) -> Plan {
        let types: Vec<TypeRef> =
            (0..1 + self.choices.below(2)).map(|_| self.choices.one_of(&column_types()[..3])).collect();
        let scope = ExprScope { columns: &[], outer: &self.outer };
        let count = self.choices.below(3);
        let rows: Vec<Vec<Expr>> =
            (0..count).map(|_| types.iter().map(|ty| scope.expr(ty, 1, self.choices)).collect()).collect();
        let columns = types.into_iter().enumerate().map(|(index, ty)| Column {
            name: format!("v{index}"),
            nullable: rows.iter().any(|row| row[index].nullable),
            fixed_scale: None,
            ty,
        });
        Plan::Values(Values { columns: columns.collect(), rows })
    }

    fn top_k(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let mut partition = vec![];
        if self.choices.percent(35) {
            partition.push(self.choices.below(columns.len()));
        }
        let order = sort_keys(&columns, 1 + self.choices.below(2), self.choices);
        let with_ties = self.choices.percent(15);
        let limit = if with_ties || !self.choices.percent(15) { Some(self.bound(3)) } else { None };
        let offset = if self.choices.percent(25) { Some(self.bound(2)) } else { None };
        Plan::TopK(TopK {
            input: Box::new(input),
            partition,
            order,
            limit,
            offset,
            with_ties,
            position: None,
        })
    }

    /// LIMIT or OFFSET: a constant, or a number of the outer row.
    fn bound(&mut self, below: usize) -> Expr {
        let scope = ExprScope { columns: &[], outer: &self.outer };
        if !self.outer.is_empty() && self.choices.percent(20) {
            return scope.expr(&TypeRef::int8(), 0, self.choices);
        }
        literal(&TypeRef::int8(), &Value::Int(self.choices.below(below) as i64))
    }

    fn dependent_join(&mut self, depth: usize) -> Plan {
        let left = self.plan(depth);
        self.outer.push(left.columns());
        let right = self.plan(depth);
        let kind = self.choices.one_of(&[
            DependentKind::Mark,
            DependentKind::Mark,
            DependentKind::Mark,
            DependentKind::Scalar,
            DependentKind::Scalar,
            DependentKind::Inner,
            DependentKind::Left,
            DependentKind::Array,
        ]);
        // Mostly correlated the way people write it: a filter on an equality with the outer row at the top.
        let right = if self.choices.percent(60) { self.correlated(right) } else { right };
        let right = match kind {
            DependentKind::Scalar => self.single(right),
            DependentKind::Array => self.ordered_column(right),
            _ => right,
        };
        self.outer.pop();
        let (left_columns, right_columns) = (left.columns(), right.columns());
        let split = left_columns.len();
        let columns: Vec<Column> = left_columns.into_iter().chain(right_columns.clone()).collect();
        let on = match kind {
            DependentKind::Scalar | DependentKind::Array => vec![],
            DependentKind::Mark if self.choices.percent(30) => vec![],
            _ => self.conditions(&columns, split),
        };
        let adds = match kind {
            DependentKind::Inner | DependentKind::Left => None,
            DependentKind::Mark => Some(Column {
                name: "mark".into(),
                ty: TypeRef::boolean(),
                nullable: !on.is_empty(),
                fixed_scale: None,
            }),
            DependentKind::Scalar => {
                Some(Column { name: "scalar".into(), nullable: true, ..right_columns[0].clone() })
            }
            DependentKind::Array => Some(Column {
                name: "array".into(),
                ty: aggregate::array_of(&right_columns[0].ty),
                nullable: false,
                fixed_scale: None,
            }),
        };
        let (left, right) = (Box::new(left), Box::new(right));
        Plan::DependentJoin(DependentJoin { kind, left, right, on, adds, position: None })
    }

    /// With an equality with the outer row, if the types allow one.
    fn correlated(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let scope = ExprScope { columns: &columns, outer: &self.outer };
        match scope.equality_with_outer(self.choices) {
            None => input,
            Some(predicate) => Plan::Filter(Filter { input: Box::new(input), predicate }),
        }
    }

    /// A plan of one column that has at most one row, mostly.
    fn single(&mut self, input: Plan) -> Plan {
        let input = match self.choices.below(5) {
            0..=2 => aggregate::global(input, self.choices),
            3 => {
                let order = sort_keys(&input.columns(), 1, self.choices);
                let limit = Some(literal(&TypeRef::int8(), &Value::Int(1)));
                let (input, partition) = (Box::new(input), vec![]);
                Plan::TopK(TopK {
                    input,
                    partition,
                    order,
                    limit,
                    offset: None,
                    with_ties: false,
                    position: None,
                })
            }
            _ => input,
        };
        self.one_column(input)
    }

    fn one_column(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        if columns.len() == 1 {
            return input;
        }
        let position = self.choices.below(columns.len());
        let exprs = vec![(Expr::column(position, &columns[position]), "one".to_owned())];
        Plan::Project(Project { input: Box::new(input), exprs })
    }

    /// One scalar column, ordered by itself.
    fn ordered_column(&mut self, input: Plan) -> Plan {
        let columns = input.columns();
        let position = columns.iter().position(|column| is_scalar(&column.ty));
        let input = match position {
            Some(position) => {
                let exprs = vec![(Expr::column(position, &columns[position]), "one".to_owned())];
                Plan::Project(Project { input: Box::new(input), exprs })
            }
            None => aggregate::global(input, self.choices),
        };
        let order = sort_keys(&input.columns(), 1, self.choices);
        let limit = if self.choices.percent(30) { Some(self.bound(3)) } else { None };
        let (input, partition) = (Box::new(input), vec![]);
        Plan::TopK(TopK { input, partition, order, limit, offset: None, with_ties: false, position: None })
    }
}

/// SELECT DISTINCT.
fn distinct(input: Plan) -> Plan {
    let keys = (0..input.columns().len()).collect();
    Plan::Aggregate(Aggregate { input: Box::new(input), keys, calls: vec![] })
}

pub(super) fn sort_keys(columns: &[Column], count: usize, choices: &mut Choices) -> Vec<SortKey> {
    (0..count)
        .map(|_| SortKey {
            column: choices.below(columns.len()),
            descending: choices.percent(40),
            nulls_first: choices.percent(40),
            using: None,
        })
        .collect()
}
