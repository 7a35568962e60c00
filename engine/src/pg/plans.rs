//! Cached plans: a worker refreshes the same stream tables again and again, and planning is most of what a small change
//! costs.
//!
//! The numbers of rows enter a plan when it is made, and a plan made for one row must not meet a million
//! (`design-review.md` 4.3). So a plan is kept with the sizes of the in-memory relations it was made for, and used again
//! for the same text over relations of the same shape and of sizes not far from those. The server's own plan cache keeps
//! track of what a plan depends on.

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

/// An in-memory relation as far as a plan depends on it. One text over relations of different shape needs different
/// plans.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelationShape {
    pub name: String,
    pub columns: Vec<ColumnShape>,
}

/// A column of an in-memory relation as far as a plan depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnShape {
    pub type_oid: u32,
    pub typmod: i32,
    pub collation: u32,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: String,
    relations: Vec<RelationShape>,
}

/// A plan, and how many rows it expects of each relation.
struct Kept {
    rows: Vec<u64>,
    source: *mut pg_sys::CachedPlanSource,
    /// When it was used last, in uses of any plan.
    used: u64,
    /// What it takes, as far as is known.
    bytes: usize,
}

/// Plans by what they can be used for.
#[derive(Default)]
struct Plans {
    kept: HashMap<Key, Vec<Kept>>,
    bytes: usize,
    uses: u64,
}

/// How far off the number of rows of a relation may be, as a factor. Limits of fixed size classes would do worse: with a
/// dozen relations one of them is always on the other side of a limit.
const DISTANCE_MAX: u64 = 8;

/// When all plans take more than this, the ones that were not used for longest go. A plan takes 0.2 MB as a rule, and
/// more than 10 MB if it joins thirty tables.
const BYTES_MAX: usize = 256 << 20;

impl Plans {
    /// A plan for relations of about these sizes.
    fn find(&mut self, key: &Key, rows: &[u64]) -> Option<*mut pg_sys::CachedPlanSource> {
        self.uses += 1;
        let kept = self.kept.get_mut(key)?.iter_mut().find(|kept| are_near(&kept.rows, rows))?;
        kept.used = self.uses;
        Some(kept.source)
    }

    /// Keeps a plan that is in use.
    fn keep(&mut self, key: Key, rows: Vec<u64>, source: *mut pg_sys::CachedPlanSource) {
        self.kept.entry(key).or_default().push(Kept { rows, source, used: self.uses, bytes: 0 });
    }

    /// Notes what a plan takes that is in use; returns those that have to go for it.
    fn note_bytes(
        &mut self,
        in_use: *mut pg_sys::CachedPlanSource,
        bytes: usize,
    ) -> Vec<*mut pg_sys::CachedPlanSource> {
        if let Some(kept) = self.kept.values_mut().flatten().find(|kept| kept.source == in_use) {
            self.bytes = self.bytes + bytes - kept.bytes;
            kept.bytes = bytes;
        }
        let mut gone = vec![];
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.forget_oldest(in_use)
        {
            gone.push(oldest);
        }
        gone
    }

    /// Forgets the plan that was not used for longest.
    fn forget_oldest(
        &mut self,
        in_use: *mut pg_sys::CachedPlanSource,
    ) -> Option<*mut pg_sys::CachedPlanSource> {
        let others = self.kept.values().flatten().filter(|kept| kept.source != in_use);
        let oldest = others.map(|kept| kept.used).min()?;
        let mut gone = None;
        self.kept.retain(|_, variants| {
            if let Some(found) = variants.iter().position(|kept| kept.used == oldest && kept.source != in_use)
            {
                gone = Some(variants.swap_remove(found));
            }
            !variants.is_empty()
        });
        let gone = gone?;
        self.bytes -= gone.bytes;
        Some(gone.source)
    }
}

fn are_near(planned: &[u64], now: &[u64]) -> bool {
    let is_near =
        |planned: u64, now: u64| planned.max(now) <= planned.min(now).max(1).saturating_mul(DISTANCE_MAX);
    planned.iter().zip(now).all(|(&planned, &now)| is_near(planned, now))
}

thread_local! {
    static PLANS: RefCell<Plans> = RefCell::default();
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

/// The plan for `sql`, also given as `text`, over relations with so many rows, made by `analyze` and kept if there is
/// none yet. `analyze` returns the raw statement and its rewritten queries.
///
/// # Safety
/// A snapshot is active, `bound` and `environment` are those of the statement, and `types` are the types of its
/// parameters.
pub(super) unsafe fn fetch(
    sql: &str,
    text: &CStr,
    relations: Vec<(RelationShape, u64)>,
    types: &mut [pg_sys::Oid],
    bound: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    analyze: impl FnOnce() -> (*mut pg_sys::RawStmt, *mut pg_sys::List),
) -> Fetched {
    let (relations, rows): (Vec<RelationShape>, Vec<u64>) = relations.into_iter().unzip();
    let key = Key { text: sql.to_owned(), relations };
    let known = PLANS.with_borrow_mut(|plans| plans.find(&key, &rows));
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
            PLANS.with_borrow_mut(|plans| plans.keep(key, rows, source));
            source
        });
        let owner = pg_sys::CurrentResourceOwner;
        let generation = (*source).generation;
        let plan = pg_sys::GetCachedPlan(source, bound, owner, environment);
        if known.is_none() || (*source).generation != generation {
            // Neither is a part of the other.
            let bytes = pg_sys::MemoryContextMemAllocated((*source).context, true)
                + pg_sys::MemoryContextMemAllocated((*plan).context, true);
            for gone in PLANS.with_borrow_mut(|plans| plans.note_bytes(source, bytes)) {
                pg_sys::DropCachedPlan(gone);
            }
        }
        Fetched { plan, owner }
    }
}
