//! Differences between PostgreSQL 16, 17 and 18 behind one signature.

use super::node::Tree;
use pgrx::pg_sys;

/// Replaces references to grouping columns by the expressions they stand for, as in releases before 18, where the
/// parser made no grouping range table entry. In place.
pub fn flatten_groups(query: &mut pg_sys::Query) {
    #[cfg(feature = "pg18")]
    if query.hasGroupRTE {
        let this = std::ptr::from_mut(query);
        // SAFETY: what ruleutils does; without a planner root the function needs only the query and the expression.
        unsafe {
            query.targetList =
                pg_sys::flatten_group_exprs(std::ptr::null_mut(), this, query.targetList.cast()).cast();
            query.havingQual = pg_sys::flatten_group_exprs(std::ptr::null_mut(), this, query.havingQual);
        }
    }
    #[cfg(not(feature = "pg18"))]
    let _ = query;
}

/// True if an attribute marked NOT NULL really holds no NULL: since 18 the constraint may be NOT VALID.
///
/// # Safety
/// `descriptor` is a valid tuple descriptor of a relation with more than `index` attributes.
pub unsafe fn not_null_is_valid(descriptor: pg_sys::TupleDesc, index: usize) -> bool {
    #[cfg(feature = "pg18")]
    // SAFETY: by contract; the compact attributes are an array as long as the descriptor says.
    return unsafe {
        let attributes = (*descriptor).compact_attrs.as_ptr();
        (*attributes.add(index)).attnullability as u8 != pg_sys::ATTNULLABLE_INVALID
    };
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (descriptor, index);
        true
    }
}

/// What a column is computed from when it is read, as an expression over columns of entry 1; None for columns that
/// are stored. Virtual generated columns exist since 18.
///
/// # Safety
/// `relation` is open and has the attribute.
pub unsafe fn generation(
    relation: pg_sys::Relation,
    attribute: &pg_sys::FormData_pg_attribute,
) -> Option<Tree> {
    #[cfg(feature = "pg18")]
    // SAFETY: by contract; the expression is built in the current memory context.
    return is_virtual(attribute)
        .then(|| unsafe { pg_sys::build_generation_expression(relation, i32::from(attribute.attnum)) });
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (relation, attribute);
        None
    }
}

/// A column that is computed when it is read.
pub fn is_virtual(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    attribute.attgenerated as u8 == b'v'
}

/// Copies an expression with references to join columns replaced by what they stand for.
pub fn flatten_joins(query: &mut pg_sys::Query, node: Tree) -> Tree {
    // SAFETY: without a planner root the function needs only the query's range table; the parser itself calls it so.
    unsafe { pg_sys::flatten_join_alias_vars(std::ptr::null_mut(), query, node) }
}

/// Attribute `index` (from 0) of a tuple descriptor.
///
/// # Safety
/// `descriptor` is valid and has more than `index` attributes; the result lives as long as it does.
pub unsafe fn attribute(descriptor: pg_sys::TupleDesc, index: usize) -> *const pg_sys::FormData_pg_attribute {
    #[cfg(feature = "pg18")]
    // SAFETY: by contract; since 18 the full attributes follow the compact ones in the same allocation.
    return unsafe {
        let compact = (*descriptor).compact_attrs.as_ptr();
        compact.add((*descriptor).natts as usize).cast::<pg_sys::FormData_pg_attribute>().add(index)
    };
    #[cfg(not(feature = "pg18"))]
    // SAFETY: by contract.
    return unsafe { (*descriptor).attrs.as_ptr().add(index) };
}

/// Expands a relation's columns, dropped ones as NULLs, into references like `var`.
///
/// # Safety
/// `entry` is a range table entry of a relation.
pub unsafe fn expand_relation(
    entry: *mut pg_sys::RangeTblEntry,
    var: &pg_sys::Var,
    columns: &mut *mut pg_sys::List,
) {
    // SAFETY: by contract; column names are not asked for.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::expandRTE(
            entry,
            var.varno,
            var.varlevelsup as i32,
            var.varreturningtype,
            var.location,
            true,
            std::ptr::null_mut(),
            columns,
        );
        #[cfg(not(feature = "pg18"))]
        pg_sys::expandRTE(
            entry,
            var.varno,
            var.varlevelsup as i32,
            var.location,
            true,
            std::ptr::null_mut(),
            columns,
        );
    }
}

/// References to the columns of range table entry `index`, dropped ones left out.
pub fn expand_entry(entry: &pg_sys::RangeTblEntry, index: i32) -> Vec<Tree> {
    let mut columns: *mut pg_sys::List = std::ptr::null_mut();
    // SAFETY: the entry is only read; column names are not asked for.
    unsafe {
        let entry = std::ptr::from_ref(entry).cast_mut();
        #[cfg(feature = "pg18")]
        pg_sys::expandRTE(
            entry,
            index,
            0,
            pg_sys::VarReturningType::VAR_RETURNING_DEFAULT,
            -1,
            false,
            std::ptr::null_mut(),
            &mut columns,
        );
        #[cfg(not(feature = "pg18"))]
        pg_sys::expandRTE(entry, index, 0, -1, false, std::ptr::null_mut(), &mut columns);
    }
    super::node::nodes(columns)
}

/// Ends a series of insertions into an index; needed since 17.
///
/// # Safety
/// `info` belongs to the open index `relation`.
pub unsafe fn index_insert_done(relation: pg_sys::Relation, info: *mut pg_sys::IndexInfo) {
    #[cfg(not(feature = "pg16"))]
    // SAFETY: by contract.
    unsafe {
        pg_sys::index_insert_cleanup(relation, info);
    }
    #[cfg(feature = "pg16")]
    let _ = (relation, info);
}
