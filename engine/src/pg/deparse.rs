//! Expressions and queries to SQL text under pinned settings, with columns as numbered slots.

use super::node::{self, Tree};
use pgrx::pg_sys;
use std::ffi::CString;

/// The query as SQL text under the current settings.
pub fn query(query: *mut pg_sys::Query) -> String {
    // SAFETY: prints a copy, so the tree is not changed.
    unsafe { node::text(pg_sys::pg_get_querydef(node::copy(query.cast()).cast(), false)) }
}

/// A reference to slot `number` (from 1) of the type.
pub fn slot(number: usize, (oid, typmod, collation): (pg_sys::Oid, i32, pg_sys::Oid)) -> Tree {
    // SAFETY: allocates a node; the printer finds the slot's name in the range table made by `expression`.
    unsafe { pg_sys::makeVar(1, number as i16, oid, typmod, collation, 0).cast() }
}

/// The name of the relation whose columns slots are, where the printer qualifies them.
pub fn slots_alias(prefix: &str) -> String {
    format!("{prefix}_")
}

/// Prints an expression whose only columns are slots 1 to `slots`, named `prefix` and the number.
pub fn expression(expression: Tree, slots: usize, prefix: &str) -> String {
    let names: Vec<Tree> = (1..=slots)
        .map(|number| {
            let name = CString::new(format!("{prefix}{number}")).unwrap_or_default();
            // SAFETY: pstrdup copies the name; makeString keeps the copy.
            unsafe { pg_sys::makeString(pg_sys::pstrdup(name.as_ptr())).cast() }
        })
        .collect();
    // The printer wants a range table: one VALUES entry, whose column names it takes from the alias as they are.
    let entry = node::make::<pg_sys::RangeTblEntry>();
    entry.rtekind = pg_sys::RTEKind::RTE_VALUES;
    let alias = CString::new(slots_alias(prefix)).unwrap_or_default();
    // SAFETY: makeAlias copies the name and keeps the list; the statement and the lists live in the current context.
    unsafe {
        entry.eref = pg_sys::makeAlias(alias.as_ptr(), node::make_list(&names));
        let statement = node::make::<pg_sys::PlannedStmt>();
        statement.rtable = node::make_list(&[node::tree(entry)]);
        let alias = pg_sys::pstrdup(alias.as_ptr());
        let context = pg_sys::deparse_context_for_plan_tree(
            statement,
            pg_sys::lappend(std::ptr::null_mut(), alias.cast()),
        );
        node::text(pg_sys::deparse_expression(expression, context, false, true))
    }
}
