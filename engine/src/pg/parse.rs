//! The server's own parser, analyser, rewriter and planner.

use super::node::{self, Tree};
use super::pinned::PinnedSettings;
use pgrx::pg_sys;
use std::ffi::CString;

// The server exports this, but the bindings do not have it (`parser/parse_agg.h`).
unsafe extern "C-unwind" {
    fn expand_grouping_sets(
        sets: *mut pg_sys::List,
        distinct: bool,
        limit: std::ffi::c_int,
    ) -> *mut pg_sys::List;
}

/// The statements of a text. Syntax errors are the server's.
pub fn statements(text: &str) -> Vec<&'static pg_sys::RawStmt> {
    let Some(text) = server_text(text) else { return vec![] };
    // SAFETY: the text is NUL-terminated and in the current memory context, which keeps it as long as the tree.
    node::list(unsafe { pg_sys::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT) })
}

/// The analysed statement: names, types and operators resolved. Errors are the server's. Locks what it mentions.
pub fn analyze(statement: &pg_sys::RawStmt, text: &str) -> Option<&'static mut pg_sys::Query> {
    let text = server_text(text)?;
    // SAFETY: analysis works on a copy of the raw tree; it takes no parameters and no query environment.
    unsafe {
        let raw = node::copy(node::tree(statement)).cast::<pg_sys::RawStmt>();
        pg_sys::parse_analyze_fixedparams(raw, text, std::ptr::null(), 0, std::ptr::null_mut()).as_mut()
    }
}

/// The query with views expanded and row security applied.
pub fn rewrite(query: &pg_sys::Query) -> Option<&'static mut pg_sys::Query> {
    // SAFETY: rewriting a SELECT works on the copy given to it and yields exactly one SELECT.
    unsafe {
        let copy = node::copy(node::tree(query)).cast::<pg_sys::Query>();
        let rewritten = node::nodes(pg_sys::QueryRewrite(copy));
        rewritten.first().and_then(|first| first.cast::<pg_sys::Query>().as_mut())
    }
}

/// Replaces calls of `statement_timestamp()` in the query itself, not in views beneath it, by calls of `now()`.
pub fn statement_time_as_now(query: &mut pg_sys::Query) {
    let mut see = |found: Tree, _: u32| {
        if let Some(call) = node::cast::<pg_sys::FuncExpr>(found)
            && call.funcid == pg_sys::Oid::from(pg_sys::F_STATEMENT_TIMESTAMP)
        {
            // SAFETY: the tree is the analysis's own and no other reference to the node is alive; both functions have
            // no arguments and the same result type.
            unsafe {
                (*found.cast::<pg_sys::FuncExpr>()).funcid = pg_sys::Oid::from(pg_sys::F_NOW);
            }
        }
        node::Walk::Into
    };
    node::walk_query(query, &mut see);
}

/// Plans a rewritten query, so that what the server cannot plan raises its error here. The plan is not a good one.
pub fn plan(query: &pg_sys::Query, text: &str) -> Option<&'static pg_sys::PlannedStmt> {
    let text = server_text(text)?;
    let _pinned = PinnedSettings::for_any_plan();
    // SAFETY: the planner scribbles on the copy; a snapshot is active, because functions may run while planning.
    unsafe {
        let copy = node::copy(node::tree(query)).cast::<pg_sys::Query>();
        let own_snapshot = !pg_sys::ActiveSnapshotSet();
        if own_snapshot {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let planned = pg_sys::pg_plan_query(copy, text, 0, std::ptr::null_mut());
        if own_snapshot {
            pg_sys::PopActiveSnapshot();
        }
        planned.as_ref()
    }
}

/// Raises the server's own error if the current user, or the owner of a view on the way, may not read something the
/// statement reads.
pub fn check_permissions(planned: &pg_sys::PlannedStmt) {
    // SAFETY: as the executor does when it starts the statement.
    unsafe { pg_sys::ExecCheckPermissions(planned.rtable, planned.permInfos, true) };
}

/// The relations beneath views that the current user could not read himself.
pub fn unreadable_relations(planned: &pg_sys::PlannedStmt) -> Vec<pg_sys::Oid> {
    let entries = node::nodes(planned.rtable);
    node::list::<pg_sys::RTEPermissionInfo>(planned.permInfos)
        .into_iter()
        .enumerate()
        .filter(|(index, info)| {
            // Views themselves were checked above; what matters is what remains once they are expanded.
            let is_base = entries.iter().any(|&entry| {
                node::cast::<pg_sys::RangeTblEntry>(entry).is_some_and(|entry| {
                    entry.rtekind == pg_sys::RTEKind::RTE_RELATION
                        && entry.perminfoindex as usize == index + 1
                })
            });
            is_base && info.checkAsUser != pg_sys::InvalidOid
        })
        .filter(|(_, info)| {
            let own = node::copy(node::tree(*info)).cast::<pg_sys::RTEPermissionInfo>();
            // SAFETY: the copy is ours; the range table may be empty, it is only cross-checked in debug builds.
            unsafe {
                (*own).checkAsUser = pg_sys::InvalidOid;
                !pg_sys::ExecCheckPermissions(std::ptr::null_mut(), node::make_list(&[own.cast()]), false)
            }
        })
        .map(|(_, info)| info.relid)
        .collect()
}

/// Converts an expression to a type as the planner does for the columns of UNION, INTERSECT and EXCEPT.
pub fn coerce_to_common(expression: Tree, oid: pg_sys::Oid) -> Tree {
    // SAFETY: analysis has checked that the conversion exists.
    unsafe { pg_sys::coerce_to_common_type(std::ptr::null_mut(), expression, oid, c"UNION".as_ptr()) }
}

/// The expression under another modifier and collation, value unchanged.
pub fn relabel(expression: Tree, oid: pg_sys::Oid, typmod: i32, collation: pg_sys::Oid) -> Tree {
    // SAFETY: allocates a node over the expression.
    unsafe {
        pg_sys::makeRelabelType(
            expression.cast(),
            oid,
            typmod,
            collation,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
        )
        .cast()
    }
}

/// What `CURRENT_DATE` and its relatives are of the time `now`.
pub fn of_standard(value: &pg_sys::SQLValueFunction, now: Tree) -> Option<Tree> {
    // SAFETY: the casts exist; the input expression stays valid.
    let cast = unsafe {
        pg_sys::coerce_to_target_type(
            std::ptr::null_mut(),
            now,
            pg_sys::TIMESTAMPTZOID,
            value.type_,
            value.typmod,
            pg_sys::CoercionContext::COERCION_EXPLICIT,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
            -1,
        )
    };
    (!cast.is_null()).then_some(cast)
}

/// A copy of a call of an operator with other operands of the same types.
pub fn with_operands(call: Tree, operands: &[Tree]) -> Tree {
    let copy = node::copy(call);
    if node::cast::<pg_sys::OpExpr>(copy).is_some() {
        // SAFETY: the copy is ours alone, and the tag says what it is.
        unsafe { (*copy.cast::<pg_sys::OpExpr>()).args = node::make_list(operands) };
    }
    copy
}

/// `NOT expression`.
pub fn negate(expression: Tree) -> Tree {
    // SAFETY: allocates a node over the expression.
    unsafe { pg_sys::makeBoolExpr(pg_sys::BoolExprType::NOT_EXPR, node::make_list(&[expression]), -1).cast() }
}

/// The text in the server's memory, where trees may point to it; None if it holds a NUL.
fn server_text(text: &str) -> Option<*mut std::ffi::c_char> {
    let text = CString::new(text).ok()?;
    // SAFETY: copies the string into the current memory context.
    Some(unsafe { pg_sys::pstrdup(text.as_ptr()) })
}

/// The columns of a whole-row reference to a relation, NULLs for dropped ones, and its row type.
pub fn whole_row(var: &pg_sys::Var, entry: &pg_sys::RangeTblEntry) -> (Vec<Tree>, pg_sys::Oid) {
    let mut columns: *mut pg_sys::List = std::ptr::null_mut();
    // SAFETY: expands the relation's columns as the planner does; the entry is only read.
    unsafe {
        crate::pg::compat::expand_relation(std::ptr::from_ref(entry).cast_mut(), var, &mut columns);
    }
    (node::nodes(columns), var.vartype)
}

/// `ROW(columns)::type`.
pub fn row(oid: pg_sys::Oid, columns: &[Tree]) -> Tree {
    let row = node::make::<pg_sys::RowExpr>();
    row.args = node::make_list(columns);
    row.row_typeid = oid;
    row.row_format = pg_sys::CoercionForm::COERCE_EXPLICIT_CAST;
    row.location = -1;
    node::tree(row)
}

/// The text of a string node.
pub fn string(node: Tree) -> Option<String> {
    // SAFETY: the tag says that the node is a string.
    (node::tag(node) == pg_sys::NodeTag::T_String)
        .then(|| node::text(unsafe { (*node.cast::<pg_sys::String>()).sval }))
}

/// The grouping sets of a query, each as references of its grouping clauses; ROLLUP and CUBE expanded.
pub fn grouping_sets(query: &pg_sys::Query) -> Vec<Vec<i32>> {
    // SAFETY: the parser has checked that there are not too many; a negative limit means none.
    let sets = unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            expand_grouping_sets(query.groupingSets, query.groupDistinct, -1)
        })
    };
    node::nodes(sets).into_iter().map(|set| node::integers(set.cast())).collect()
}

/// The query as a subquery of an expression.
pub fn scalar_subquery(query: Tree) -> Tree {
    let link = node::make::<pg_sys::SubLink>();
    link.subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
    link.subselect = query;
    link.location = -1;
    node::tree(link)
}

/// The same kind of subquery over another test and query.
pub fn with_subquery(link: &pg_sys::SubLink, test: Tree, query: Tree) -> Tree {
    let changed = node::make::<pg_sys::SubLink>();
    *changed = *link;
    changed.testexpr = test;
    changed.subselect = query;
    node::tree(changed)
}
