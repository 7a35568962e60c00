//! Cached plans: a worker refreshes the same stream tables again and again, and planning is most of what a small change
//! costs.
//!
//! A plan is made once per statement text, shape of the in-memory relations it reads, and size class of each: the
//! number of rows enters a plan when it is made, and a plan made for one row must not meet a million
//! (`design-review.md` 4.3). The server's own plan cache keeps track of what a plan depends on.

use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

/// Whether a statement's plan is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// Its text is never seen again, or it is rare and its estimates matter.
    Once,
    Cached,
}

/// An in-memory relation as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelationClass {
    pub name: String,
    /// One text over relations of different shape needs different plans.
    pub columns: Vec<ColumnClass>,
    /// 0 for no rows, else one more than the number of octal digits of their count.
    pub size_class: u32,
}

/// A column of an in-memory relation as far as a plan depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnClass {
    pub type_oid: u32,
    pub typmod: i32,
    pub collation: u32,
}

/// The size class of a number of rows.
pub fn size_class(rows: u64) -> u32 {
    if rows == 0 { 0 } else { 2 + rows.ilog2() / 3 }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: String,
    relations: Vec<RelationClass>,
}

/// When there are more plans than this, all are forgotten: bounded memory without bookkeeping per use.
const PLANS_MAX: usize = 1_000;

thread_local! {
    static PLANS: RefCell<HashMap<Key, *mut pg_sys::CachedPlanSource>> = RefCell::default();
}

/// A plan in use; released with the resource owner that was current when it was fetched.
pub struct Fetched {
    plan: *mut pg_sys::CachedPlan,
    owner: pg_sys::ResourceOwner,
}

impl Fetched {
    /// The only statement of the plan.
    pub(super) fn statement(&self) -> *mut pg_sys::PlannedStmt {
        // SAFETY: plans are made for exactly one plannable statement.
        unsafe { (*(*(*self.plan).stmt_list).elements).ptr_value.cast() }
    }

    /// Gives the plan back. Not a destructor: on error the resource owner does it.
    pub(super) fn release(self) {
        // SAFETY: fetched with this owner and not released before.
        unsafe { pg_sys::ReleaseCachedPlan(self.plan, self.owner) }
    }
}

/// The plan for `text`, made by `analyze` and kept if there is none yet. `analyze` returns the raw statement and its
/// rewritten queries.
///
/// # Safety
/// A snapshot is active, `bound` and `environment` are those of the statement, and `types` are the types of its
/// parameters.
pub(super) unsafe fn fetch(
    text: &CStr,
    relations: Vec<RelationClass>,
    types: &mut [pg_sys::Oid],
    bound: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    analyze: impl FnOnce() -> (*mut pg_sys::RawStmt, *mut pg_sys::List),
) -> Fetched {
    let key = Key { text: text.to_string_lossy().into_owned(), relations };
    let known = PLANS.with_borrow(|plans| plans.get(&key).copied());
    // SAFETY: sources in the map were saved and live until dropped here; the rest follows the plan cache's protocol.
    unsafe {
        let source = known.unwrap_or_else(|| {
            let (raw, queries) = analyze();
            let tag = pg_sys::CreateCommandTag((*raw).stmt);
            let source = pg_sys::CreateCachedPlan(raw, text.as_ptr(), tag);
            pg_sys::CompleteCachedPlan(
                source,
                queries,
                std::ptr::null_mut(),
                types.as_mut_ptr(),
                types.len() as i32,
                None,
                std::ptr::null_mut(),
                // Parameters are keys of catalog look-ups: the generic plan is the right one.
                pg_sys::CURSOR_OPT_GENERIC_PLAN as i32,
                false,
            );
            pg_sys::SaveCachedPlan(source);
            PLANS.with_borrow_mut(|plans| {
                if plans.len() >= PLANS_MAX {
                    for (_, old) in plans.drain() {
                        pg_sys::DropCachedPlan(old);
                    }
                }
                plans.insert(key, source);
            });
            source
        });
        let owner = pg_sys::CurrentResourceOwner;
        Fetched { plan: pg_sys::GetCachedPlan(source, bound, owner, environment), owner }
    }
}
