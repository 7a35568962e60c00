//! What names mean while a query is walked: the columns of the plan built so far, and of enclosing queries.

use crate::pg::node::{self, Tree};
use pg_trickle_core::types::Column;
use pgrx::pg_sys;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The columns of a plan under construction, by what the analysed query calls them.
#[derive(Clone, Default)]
pub struct Scope {
    /// Range table index and attribute number to position.
    pub vars: BTreeMap<(i32, i16), usize>,
    /// Expressions already computed, such as grouping expressions, aggregates and subqueries.
    pub computed: Vec<Computed>,
    pub columns: Vec<Column>,
}

/// An expression whose value is a column of the plan.
#[derive(Clone)]
pub struct Computed {
    pub expression: Tree,
    pub position: usize,
    /// The expression's value is the negation of the column.
    pub negated: bool,
    /// The column has the value only where conditions around the expression hold, so it stands for this one occurrence
    /// and not for equal ones elsewhere.
    pub guarded: bool,
}

impl Scope {
    pub fn find(&self, expression: Tree) -> Option<&Computed> {
        self.computed.iter().find(|computed| {
            computed.expression == expression
                || (!computed.guarded && node::equal(computed.expression, expression))
        })
    }

    /// The same scope for a plan whose columns all moved up by `shift`.
    pub fn shifted(mut self, shift: usize) -> Scope {
        self.vars.values_mut().for_each(|position| *position += shift);
        self.computed.iter_mut().for_each(|computed| computed.position += shift);
        self
    }

    /// This plan's columns followed by another's.
    pub fn concat(mut self, other: Scope) -> Scope {
        let other = other.shifted(self.columns.len());
        self.vars.extend(other.vars);
        self.computed.extend(other.computed);
        self.columns.extend(other.columns);
        self
    }

    /// Range table entries that have columns here.
    pub fn entries(&self) -> BTreeSet<i32> {
        self.vars.keys().map(|(entry, _)| *entry).collect()
    }
}

/// The left side of an enclosing dependent join.
pub struct Frame {
    /// The query level (0 is the whole query) whose names the scope binds.
    pub level: usize,
    pub scope: Scope,
}

/// One query on the path from the whole query to the one being walked.
#[derive(Clone)]
pub struct Level {
    pub query: *mut pg_sys::Query,
    /// Columns used of each range table entry; attribute number 0 is the whole row.
    pub used: Rc<BTreeMap<i32, BTreeSet<i16>>>,
}

/// Where the walk is.
#[derive(Clone, Default)]
pub struct Env {
    pub path: Vec<Level>,
    pub frames: Vec<Rc<Frame>>,
}

impl Env {
    /// The current query's level.
    pub fn level(&self) -> usize {
        self.path.len().saturating_sub(1)
    }

    /// The environment on the right side of a dependent join whose left side is `scope` of the current query.
    pub fn inside(&self, scope: &Scope) -> Env {
        let mut inside = self.clone();
        inside.frames.push(Rc::new(Frame { level: self.level(), scope: scope.clone() }));
        inside
    }

    /// Frames of a query level from the nearest out, each with its depth from 1.
    pub fn frames_of(&self, level: usize) -> impl Iterator<Item = (u32, &Frame)> {
        let numbered = self.frames.iter().rev().enumerate();
        numbered
            .filter(move |(_, frame)| frame.level == level)
            .map(|(index, frame)| (index as u32 + 1, &**frame))
    }
}

/// For each range table entry of a query, the columns that anything in it, at any depth, refers to.
pub fn used_columns(query: *mut pg_sys::Query) -> BTreeMap<i32, BTreeSet<i16>> {
    let mut used: BTreeMap<i32, BTreeSet<i16>> = BTreeMap::new();
    node::walk_query(query, &mut |found, level| {
        if let Some(var) = node::cast::<pg_sys::Var>(found)
            && var.varlevelsup == level
        {
            used.entry(var.varno).or_default().insert(var.varattno);
        }
        node::Walk::Into
    });
    used
}

/// True if the node, part of a query's own FROM, refers to one of these entries of the same query.
pub fn refers_to(query: &pg_sys::Query, from_item: Tree, entries: &BTreeSet<i32>) -> bool {
    let mut found = false;
    let mut see = |candidate: Tree, level: u32| {
        if let Some(var) = node::cast::<pg_sys::Var>(candidate)
            && var.varlevelsup == level
            && entries.contains(&var.varno)
        {
            found = true;
        }
        node::Walk::Into
    };
    for index in entries_of(from_item) {
        let Some(entry) = entry(query, index) else { continue };
        if entry.lateral {
            node::walk(entry.subquery.cast(), &mut see);
            node::walk(entry.values_lists.cast(), &mut see);
            node::walk(entry.functions.cast(), &mut see);
            node::walk(entry.tablefunc.cast(), &mut see);
        }
    }
    found
}

/// Range table indexes of the leaves of a FROM item.
fn entries_of(from_item: Tree) -> Vec<i32> {
    if let Some(reference) = node::cast::<pg_sys::RangeTblRef>(from_item) {
        return vec![reference.rtindex];
    }
    match node::cast::<pg_sys::JoinExpr>(from_item) {
        Some(join) => [entries_of(join.larg), entries_of(join.rarg)].concat(),
        None => vec![],
    }
}

/// Entry `index` (from 1) of a query's range table.
pub fn entry<'t>(query: &pg_sys::Query, index: i32) -> Option<&'t pg_sys::RangeTblEntry> {
    let index = usize::try_from(index).ok()?.checked_sub(1)?;
    node::cast(*node::nodes(query.rtable).get(index)?)
}
