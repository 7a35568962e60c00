//! Subqueries in expressions: each becomes a column that a dependent join adds beneath the expression.

use super::from::has_subquery;
use super::scalar::{Allowed, TestColumns};
use super::scope::{Computed, Env, Scope};
use super::select::{Need, project};
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::parse;
use pg_trickle_core::expr::Expr;
use pg_trickle_core::plan::{DependentJoin, DependentKind, Filter, Plan};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::Column;
use pgrx::pg_sys::{self, SubLinkType};

impl Analysis {
    /// Adds a column to the plan for every subquery in the expressions that is not one yet.
    pub fn lift(&mut self, plan: Plan, scope: &mut Scope, env: &Env, expressions: &[Tree]) -> Walked<Plan> {
        let mut plan = plan;
        for expression in expressions {
            for Guarded { link, guards } in subqueries(*expression, scope) {
                if scope.find(node::tree(link)).is_none() {
                    plan = self.lift_one(plan, scope, env, link, &guards)?;
                }
            }
        }
        Ok(plan)
    }

    fn lift_one(
        &mut self,
        plan: Plan,
        scope: &mut Scope,
        env: &Env,
        link: &pg_sys::SubLink,
        guards: &[Tree],
    ) -> Walked<Plan> {
        // Subqueries within the left operand come first.
        let plan = self.lift(plan, scope, env, &[link.testexpr])?;
        let query = node::cast::<pg_sys::Query>(link.subselect).ok_or_else(|| Stop::internal("subquery"))?;
        let position = u32::try_from(link.location).ok();
        let inside = env.inside(scope);
        let mut negated = false;
        let (kind, right, on) = match link.subLinkType {
            SubLinkType::EXISTS_SUBLINK => {
                (DependentKind::Mark, self.query(query, &inside, &Need::Existence)?, vec![])
            }
            SubLinkType::ANY_SUBLINK => {
                let right = self.query(query, &inside, &Need::All)?;
                let on = self.test(&node::conjuncts(link.testexpr), scope, &right.columns(), env)?;
                (DependentKind::Mark, right, on)
            }
            SubLinkType::ALL_SUBLINK => {
                // True for all rows is: not so that it is false for any. The mark is true if the test is false for
                // some row, NULL if it is NULL for some and false for none; its negation is ALL.
                negated = true;
                let right = self.query(query, &inside, &Need::All)?;
                let on = self.test(&[parse::negate(link.testexpr)], scope, &right.columns(), env)?;
                (DependentKind::Mark, right, on)
            }
            SubLinkType::EXPR_SUBLINK => {
                (DependentKind::Scalar, self.query(query, &inside, &Need::All)?, vec![])
            }
            SubLinkType::ROWCOMPARE_SUBLINK => {
                (DependentKind::Scalar, self.row_comparison(query, link, scope, env, &inside)?, vec![])
            }
            SubLinkType::ARRAY_SUBLINK => {
                (DependentKind::Array, self.query(query, &inside, &Need::InOrder)?, vec![])
            }
            _ => {
                return Err(Stop::unsupported("subquery", position, Refusal::NotOfQueries));
            }
        };
        // A subquery in a branch of CASE is asked only for rows that come to the branch.
        let mut right = right;
        let mut guarded = false;
        for guard in guards {
            if has_subquery(*guard) {
                continue;
            }
            if let Ok(condition) = self.expr(*guard, scope, env) {
                let predicate = condition.outward(scope.columns.len());
                right = Plan::Filter(Filter { input: Box::new(right), predicate });
                guarded = true;
            }
        }
        let added = self.added_column(link, &kind, &right, &on);
        let join = Plan::DependentJoin(DependentJoin {
            kind,
            left: Box::new(plan),
            right: Box::new(right),
            on,
            adds: Some(added.clone()),
            position,
        });
        scope.computed.push(Computed {
            expression: node::tree(link),
            position: scope.columns.len(),
            negated,
            guarded,
        });
        scope.columns.push(added);
        Ok(join)
    }

    /// The conditions of a mark over left columns then the subquery's columns.
    fn test(&mut self, conditions: &[Tree], scope: &Scope, right: &[Column], env: &Env) -> Walked<Vec<Expr>> {
        let offset = scope.columns.len();
        let test = TestColumns { offset, columns: right };
        let mut on = vec![];
        for condition in conditions {
            on.push(self.expr_with(*condition, scope, env, Allowed { test: Some(test), sets: false })?);
        }
        Ok(on)
    }

    /// `(a, b) op (SELECT x, y ..)` is the scalar subquery of the comparison, evaluated on the subquery's side: NULL
    /// without a row, an error with more than one.
    fn row_comparison(
        &mut self,
        query: &pg_sys::Query,
        link: &pg_sys::SubLink,
        scope: &Scope,
        env: &Env,
        inside: &Env,
    ) -> Walked<Plan> {
        let right = self.query(query, inside, &Need::All)?;
        let columns = right.columns();
        let comparison = self.test(&[link.testexpr], scope, &columns, env)?.remove(0);
        let left = scope.columns.len();
        let moved = comparison.outward(left);
        Ok(project(right, vec![(moved, "comparison".into())]))
    }

    fn added_column(
        &mut self,
        link: &pg_sys::SubLink,
        kind: &DependentKind,
        right: &Plan,
        on: &[Expr],
    ) -> Column {
        let (oid, typmod, collation) = node::type_of(node::tree(link));
        let ty = self.type_ref(oid, typmod, collation);
        let (name, nullable, fixed_scale) = match kind {
            DependentKind::Mark => ("matched", on.iter().any(|condition| condition.nullable), None),
            DependentKind::Array => ("array", false, None),
            _ => {
                let value = right.columns().into_iter().next();
                // Exactly one row, as from an aggregate without GROUP BY, can still hold NULL.
                let nullable =
                    !(always_one_row(right) && value.as_ref().is_some_and(|value| !value.nullable));
                ("value", nullable, value.and_then(|value| value.fixed_scale))
            }
        };
        Column { name: name.into(), ty, nullable, fixed_scale }
    }
}

/// True if the plan provably yields exactly one row.
fn always_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Project(project) => always_one_row(&project.input),
        Plan::Aggregate(aggregate) => aggregate.keys.is_empty(),
        _ => false,
    }
}

/// A subquery with the conditions of the CASE branches it stands in.
struct Guarded<'t> {
    link: &'t pg_sys::SubLink,
    guards: Vec<Tree>,
}

/// The outermost subqueries of an expression that read tables, those inside of columns already computed aside.
fn subqueries<'t>(expression: Tree, scope: &Scope) -> Vec<Guarded<'t>> {
    let mut found = vec![];
    collect(expression, scope, &[], &mut found);
    found
}

fn collect(expression: Tree, scope: &Scope, guards: &[Tree], found: &mut Vec<Guarded<'_>>) {
    node::walk(expression, &mut |part, _| {
        if scope.find(part).is_some() {
            return node::Walk::Skip;
        }
        if let Some(link) = super::as_subquery(part) {
            found.push(Guarded { link, guards: guards.to_vec() });
            return node::Walk::Skip;
        }
        // In `CASE value WHEN ..` the conditions are not whole expressions.
        let Some(case) = node::cast::<pg_sys::CaseExpr>(part).filter(|case| case.arg.is_null()) else {
            return node::Walk::Into;
        };
        for when in node::list::<pg_sys::CaseWhen>(case.args) {
            collect(when.expr.cast(), scope, guards, found);
            let inner: Vec<Tree> = guards.iter().copied().chain([when.expr.cast()]).collect();
            collect(when.result.cast(), scope, &inner, found);
        }
        collect(case.defresult.cast(), scope, guards, found);
        node::Walk::Skip
    });
}
