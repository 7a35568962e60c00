//! Trees of the server: checked down-casts, lists as slices, walks and mutations taking closures.
//!
//! Every pointer that comes in is null or points to a node of a tree that PostgreSQL built in the current memory
//! context; trees outlive the analysis that walks them, because nothing frees a memory context while it runs. That
//! is the contract of all functions here, and the reason they are not marked `unsafe`.

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use std::ffi::{CStr, CString, c_char, c_void};

/// A node of a tree; null where the server says so.
pub type Tree = *mut pg_sys::Node;

/// A node type with its tag.
pub trait Tagged {
    const TAG: NodeTag;
}

macro_rules! tagged {
    ($($node:ident $tag:ident),* $(,)?) => {
        $(impl Tagged for pg_sys::$node { const TAG: NodeTag = NodeTag::$tag; })*
    };
}

tagged! {
    Query T_Query, RangeTblEntry T_RangeTblEntry, RangeTblRef T_RangeTblRef, RTEPermissionInfo T_RTEPermissionInfo,
    JoinExpr T_JoinExpr, FromExpr T_FromExpr, TargetEntry T_TargetEntry, SortGroupClause T_SortGroupClause,
    GroupingSet T_GroupingSet, SetOperationStmt T_SetOperationStmt, CommonTableExpr T_CommonTableExpr,
    RawStmt T_RawStmt, SelectStmt T_SelectStmt, PlannedStmt T_PlannedStmt, Var T_Var, Const T_Const, Param T_Param,
    Aggref T_Aggref, GroupingFunc T_GroupingFunc, WindowFunc T_WindowFunc, WindowClause T_WindowClause, SubLink T_SubLink, FuncExpr T_FuncExpr,
    OpExpr T_OpExpr, ScalarArrayOpExpr T_ScalarArrayOpExpr, BoolExpr T_BoolExpr, RelabelType T_RelabelType,
    CoerceViaIO T_CoerceViaIO, ArrayCoerceExpr T_ArrayCoerceExpr, CaseExpr T_CaseExpr, CaseWhen T_CaseWhen,
    ArrayExpr T_ArrayExpr, RowExpr T_RowExpr, CoalesceExpr T_CoalesceExpr, MinMaxExpr T_MinMaxExpr,
    SQLValueFunction T_SQLValueFunction, NullTest T_NullTest, BooleanTest T_BooleanTest, NextValueExpr T_NextValueExpr,
    FieldSelect T_FieldSelect, CollateExpr T_CollateExpr, RangeTblFunction T_RangeTblFunction,
    TableFunc T_TableFunc, JsonConstructorExpr T_JsonConstructorExpr,
}

/// The node as a `T`, if it is one.
pub fn cast<'t, T: Tagged>(node: Tree) -> Option<&'t T> {
    // SAFETY: a non-null node starts with its tag, and the tag says which struct it is.
    unsafe { if !node.is_null() && (*node).type_ == T::TAG { Some(&*node.cast::<T>()) } else { None } }
}

/// The node's tag; `T_Invalid` for null.
pub fn tag(node: Tree) -> NodeTag {
    // SAFETY: a non-null node starts with its tag.
    if node.is_null() { NodeTag::T_Invalid } else { unsafe { (*node).type_ } }
}

/// The node a reference came from.
pub fn tree<T: Tagged>(node: &T) -> Tree {
    std::ptr::from_ref(node).cast_mut().cast()
}

/// The name of a tag in the server's sources, for messages, e.g. `WindowFunc`.
pub fn tag_name(node: Tree) -> String {
    format!("{:?}", tag(node)).trim_start_matches("T_").to_string()
}

/// The nodes of a list.
pub fn nodes(list: *mut pg_sys::List) -> Vec<Tree> {
    // SAFETY: a non-null list has `length` initialised cells; a node list holds pointers.
    unsafe { cells(list).iter().map(|cell| cell.ptr_value.cast()).collect() }
}

/// The nodes of a list that holds `T` only.
pub fn list<'t, T: Tagged + 't>(list: *mut pg_sys::List) -> Vec<&'t T> {
    nodes(list).into_iter().filter_map(cast::<T>).collect()
}

/// The numbers of an integer list.
pub fn integers(list: *mut pg_sys::List) -> Vec<i32> {
    // SAFETY: a non-null list has `length` initialised cells; an integer list holds integers.
    unsafe { cells(list).iter().map(|cell| cell.int_value).collect() }
}

/// The OIDs of an OID list.
pub fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    // SAFETY: a non-null list has `length` initialised cells; an OID list holds OIDs.
    unsafe { cells(list).iter().map(|cell| cell.oid_value).collect() }
}

/// # Safety
/// `list` is null or a valid list.
unsafe fn cells<'t>(list: *mut pg_sys::List) -> &'t [pg_sys::ListCell] {
    // SAFETY: by contract; the cells are one array of `length` elements.
    unsafe {
        if list.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts((*list).elements, (*list).length as usize)
        }
    }
}

/// A list of nodes.
pub fn make_list(nodes: &[Tree]) -> *mut pg_sys::List {
    // SAFETY: lappend accepts a null list and copies the pointer.
    nodes.iter().fold(std::ptr::null_mut(), |list, node| unsafe { pg_sys::lappend(list, node.cast()) })
}

/// A zeroed node of a type, allocated in the current memory context.
pub fn make<'t, T: Tagged>() -> &'t mut T {
    // SAFETY: palloc0 returns zeroed memory of the size; every node struct starts with its tag, and all of the
    // structs named above are valid when zeroed (that is what makeNode gives the server itself).
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<pg_sys::Node>();
        (*node).type_ = T::TAG;
        &mut *node.cast::<T>()
    }
}

/// A deep copy.
pub fn copy(node: Tree) -> Tree {
    // SAFETY: copies any node tree, null included.
    unsafe { pg_sys::copyObjectImpl(node.cast()).cast() }
}

/// Structural equality, locations aside.
pub fn equal(a: Tree, b: Tree) -> bool {
    // SAFETY: compares any two node trees, null included.
    unsafe { pg_sys::equal(a.cast(), b.cast()) }
}

/// Text of the server, owned.
pub fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the server's strings end in NUL; database encodings other than UTF-8 are replaced lossily.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// Type, modifier and collation of an expression.
pub fn type_of(node: Tree) -> (pg_sys::Oid, i32, pg_sys::Oid) {
    // SAFETY: these functions accept every expression node.
    unsafe { (pg_sys::exprType(node), pg_sys::exprTypmod(node), pg_sys::exprCollation(node)) }
}

/// Byte offset in the query text, if the node has one.
pub fn position(node: Tree) -> Option<u32> {
    // SAFETY: accepts every expression node, null included.
    u32::try_from(unsafe { pg_sys::exprLocation(node) }).ok()
}

/// The conjuncts of a condition, in order.
pub fn conjuncts(node: Tree) -> Vec<Tree> {
    if node.is_null() {
        return vec![];
    }
    if tag(node) == NodeTag::T_List {
        return nodes(node.cast()).into_iter().flat_map(conjuncts).collect();
    }
    match cast::<pg_sys::BoolExpr>(node) {
        Some(and) if and.boolop == pg_sys::BoolExprType::AND_EXPR => {
            nodes(and.args).into_iter().flat_map(conjuncts).collect()
        }
        _ => vec![node],
    }
}

/// The conjuncts of a condition that rows pass if it is true. What all arms of an OR have in common stands beside it, as
/// the planner will have it: `(a = b AND x) OR (a = b AND y)` is a join by `a = b`. Not for a condition of which NULL and
/// false are told apart.
pub fn qualifying_conjuncts(node: Tree) -> Vec<Tree> {
    if node.is_null() {
        return vec![];
    }
    // SAFETY: accepts a condition as the parser leaves it; builds new lists over the same parts.
    conjuncts(unsafe { pg_sys::canonicalize_qual(node.cast(), false) }.cast())
}

/// What a walk does below a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    Into,
    Skip,
}

struct WalkState<'a> {
    see: &'a mut dyn FnMut(Tree, u32) -> Walk,
    level: u32,
}

/// Calls `see` for every node of an expression or a list of them, parents first, with the number of queries entered.
/// Subqueries, CTEs and range tables of queries met on the way are entered unless `see` skips the query.
pub fn walk(node: Tree, see: &mut dyn FnMut(Tree, u32) -> Walk) {
    let mut state = WalkState { see, level: 0 };
    // SAFETY: the callback takes the state it is given here, which outlives the walk.
    unsafe { visit(node, std::ptr::from_mut(&mut state).cast()) };
}

/// Range table entries are shown before what they hold; joins do not show what their columns stand for.
const WALK_FLAGS: i32 = (pg_sys::QTW_EXAMINE_RTES_BEFORE | pg_sys::QTW_IGNORE_JOINALIASES) as i32;

/// Calls `see` for every node of the query, its own parts being level 0. What merged join columns stand for is left
/// out: references to them are flattened before anything is looked for.
pub fn walk_query(query: *mut pg_sys::Query, see: &mut dyn FnMut(Tree, u32) -> Walk) {
    let mut state = WalkState { see, level: 0 };
    // SAFETY: the callback takes the state it is given here, which outlives the walk. The flag makes the walker
    // hand over range table entries, so that `see` meets relations too.
    unsafe {
        pg_sys::query_tree_walker_impl(query, Some(visit), std::ptr::from_mut(&mut state).cast(), WALK_FLAGS);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: Tree, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: `walk` and `walk_query` pass the state; no other reference to it is alive during the call.
    let state = unsafe { &mut *context.cast::<WalkState>() };
    if (state.see)(node, state.level) == Walk::Skip {
        return false;
    }
    // SAFETY: the node is one the server's walkers know; range table entries are entered by the range table walker.
    unsafe {
        match tag(node) {
            NodeTag::T_RangeTblEntry => false,
            NodeTag::T_Query => {
                (*context.cast::<WalkState>()).level += 1;
                pg_sys::query_tree_walker_impl(node.cast(), Some(visit), context, WALK_FLAGS);
                (*context.cast::<WalkState>()).level -= 1;
                false
            }
            _ => pg_sys::expression_tree_walker_impl(node, Some(visit), context),
        }
    }
}

struct MutateState<'a> {
    replace: &'a mut dyn FnMut(Tree) -> Option<Tree>,
}

/// A copy of an expression in which every node that `replace` answers is replaced, parents first. Subqueries are
/// not entered.
pub fn mutate(node: Tree, replace: &mut dyn FnMut(Tree) -> Option<Tree>) -> Tree {
    let mut state = MutateState { replace };
    // SAFETY: the callback takes the state it is given here, which outlives the mutation.
    unsafe { transform(node, std::ptr::from_mut(&mut state).cast()) }
}

#[pg_guard]
unsafe extern "C-unwind" fn transform(node: Tree, context: *mut c_void) -> Tree {
    if node.is_null() {
        return node;
    }
    // SAFETY: `mutate` passes the state; no other reference to it is alive during the call.
    let state = unsafe { &mut *context.cast::<MutateState>() };
    match (state.replace)(node) {
        Some(replaced) => replaced,
        // SAFETY: copies the node and calls back for its children.
        None => unsafe { pg_sys::expression_tree_mutator_impl(node, Some(transform), context) },
    }
}

struct QueryMutateState<'a> {
    replace: &'a mut dyn FnMut(Tree, u32) -> Option<Tree>,
    level: u32,
}

/// A copy of a query in which every node that `replace` answers is replaced, parents first, at any depth. `replace` is
/// told how many queries it is in: the query's own parts are in 1.
pub fn mutate_query(query: Tree, replace: &mut dyn FnMut(Tree, u32) -> Option<Tree>) -> Tree {
    let mut state = QueryMutateState { replace, level: 0 };
    // SAFETY: the callback takes the state it is given here, which outlives the mutation.
    unsafe { transform_query(query, std::ptr::from_mut(&mut state).cast()) }
}

#[pg_guard]
unsafe extern "C-unwind" fn transform_query(node: Tree, context: *mut c_void) -> Tree {
    if node.is_null() {
        return node;
    }
    // SAFETY: `mutate_query` passes the state; no other reference to it is alive during the calls.
    unsafe {
        let state = context.cast::<QueryMutateState>();
        if tag(node) == NodeTag::T_Query {
            (*state).level += 1;
            let mutated = pg_sys::query_tree_mutator_impl(node.cast(), Some(transform_query), context, 0);
            (*state).level -= 1;
            return mutated.cast();
        }
        match ((*state).replace)(node, (*state).level) {
            Some(replaced) => replaced,
            None => pg_sys::expression_tree_mutator_impl(node, Some(transform_query), context),
        }
    }
}

/// A copy of a query whose range table entries, at any depth, have names of their own that start with `prefix`, so
/// that no reference put into its text is taken for one of theirs.
pub fn rename_entries(query: Tree, prefix: &str) -> Tree {
    let renamed = copy(query);
    let mut count = 0;
    walk(renamed, &mut |found, _| {
        if tag(found) == NodeTag::T_RangeTblEntry {
            count += 1;
            let name = CString::new(format!("{prefix}q{count}")).unwrap_or_default();
            // SAFETY: the entry belongs to the copy, whose aliases nothing else refers to.
            unsafe {
                let entry = found.cast::<pg_sys::RangeTblEntry>();
                for alias in [(*entry).alias, (*entry).eref] {
                    if !alias.is_null() {
                        (*alias).aliasname = pg_sys::pstrdup(name.as_ptr());
                    }
                }
            }
        }
        Walk::Into
    });
    renamed
}

struct FunctionState<'a> {
    see: &'a mut dyn FnMut(pg_sys::Oid),
}

/// Calls `see` for the functions this one node calls: operators' functions and the functions of casts included.
pub fn functions_in(node: Tree, see: &mut dyn FnMut(pg_sys::Oid)) {
    let mut state = FunctionState { see };
    // SAFETY: the callback takes the state it is given here, which outlives the call.
    unsafe { pg_sys::check_functions_in_node(node, Some(check), std::ptr::from_mut(&mut state).cast()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn check(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: `functions_in` passes the state; no other reference to it is alive during the call.
    let state = unsafe { &mut *context.cast::<FunctionState>() };
    (state.see)(function);
    false
}

/// The members of a bitmap set, ascending.
pub fn members(set: *const pg_sys::Bitmapset) -> Vec<i32> {
    let mut found = vec![];
    let mut last = -1;
    loop {
        // SAFETY: accepts null; returns the next member or a negative number.
        last = unsafe { pg_sys::bms_next_member(set, last) };
        if last < 0 {
            return found;
        }
        found.push(last);
    }
}

/// A copy of an expression whose outer references lie `levels` queries less far out.
pub fn lift(node: Tree, levels: u32) -> Tree {
    let lifted = copy(node);
    // SAFETY: works on the copy; only references that point at least `levels` out are changed.
    unsafe { pg_sys::IncrementVarSublevelsUp(lifted, -(levels as i32), levels as i32) };
    lifted
}

/// A copy of an expression without references beyond it, moved into `levels` subqueries: its references lie that much
/// further out.
pub fn lower(node: Tree, levels: u32) -> Tree {
    let lowered = copy(node);
    // SAFETY: works on the copy.
    unsafe { pg_sys::IncrementVarSublevelsUp(lowered, levels as i32, 0) };
    lowered
}
