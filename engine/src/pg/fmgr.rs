//! Functions called by the server's function manager directly: row identity, hashing, and the write guard.
//!
//! They take arguments of any type, which pgrx's function macro cannot express well; their SQL declarations are in
//! `sql/functions.sql`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;

/// Exports the call-convention record of a C-language function.
macro_rules! finfo {
    ($name:ident) => {
        #[unsafe(no_mangle)]
        #[doc(hidden)]
        pub extern "C-unwind" fn $name() -> &'static pg_sys::Pg_finfo_record {
            const V1_API: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &V1_API
        }
    };
}
pub(crate) use finfo;

finfo!(pg_finfo_pgt_image);
finfo!(pg_finfo_pgt_hash_v1);
finfo!(pg_finfo_pgt_single_row);
finfo!(pg_finfo_pgt_row_count);
finfo!(pg_finfo_pgt_frontier_time);
finfo!(pg_finfo_pgt_guard);

/// The arguments of a call.
///
/// # Safety
/// `fcinfo` is the server's call information.
unsafe fn arguments<'a>(fcinfo: pg_sys::FunctionCallInfo) -> &'a [pg_sys::NullableDatum] {
    // SAFETY: `args` has `nargs` entries.
    unsafe { (*fcinfo).args.as_slice((*fcinfo).nargs as usize) }
}

/// What the trigger manager says of the event for which it calls `pgtrickle.<name>()`; an error if nobody does.
///
/// # Safety
/// `fcinfo` is the server's call information.
pub unsafe fn trigger_data<'a>(fcinfo: pg_sys::FunctionCallInfo, name: &str) -> &'a pg_sys::TriggerData {
    // SAFETY: the node tag is checked before the cast; the node lives as long as the call.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                format!("pgtrickle.{name}() must be called as a trigger")
            );
        }
        &*context.cast::<pg_sys::TriggerData>()
    }
}

/// `pgtrickle.image(anyelement) returns bytea`: the bytes of the detoasted value. Strict.
///
/// Two values of one type are the same for this product iff their images are equal (`design-review.md` 12.1).
///
/// # Safety
/// Called by the function manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_image(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the declared type of the argument tells how to read it; the result is palloc'd.
    unsafe {
        let value = arguments(fcinfo)[0].value;
        let type_oid = pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, 0);
        let mut length = 0i16;
        let mut by_value = false;
        pg_sys::get_typlenbyval(type_oid, &mut length, &mut by_value);
        if by_value {
            let bytes = (value.value() as u64).to_ne_bytes();
            return bytea(&bytes[..length as usize]);
        }
        match length {
            -1 => {
                let flat = pg_sys::pg_detoast_datum(value.cast_mut_ptr());
                bytea(pgrx::varlena::varlena_to_byte_slice(flat))
            }
            -2 => bytea(std::ffi::CStr::from_ptr(value.cast_mut_ptr()).to_bytes()),
            fixed => bytea(std::slice::from_raw_parts(value.cast_mut_ptr(), fixed as usize)),
        }
    }
}

/// A new `bytea` in the current context.
fn bytea(bytes: &[u8]) -> pg_sys::Datum {
    bytes.into_datum().expect("a byte slice is never NULL")
}

/// How one argument of a `hash_v1` call site is hashed.
struct HashedArgument {
    /// Null if the type has no extended hash function.
    entry: *mut pg_sys::TypeCacheEntry,
    collation: pg_sys::Oid,
}

/// `pgtrickle.hash_v1(VARIADIC "any") returns int8`: hash of a row, NULL-safe, under grouping equality.
///
/// Each argument contributes its type's default extended hash under its collation; a type without one contributes
/// nothing. Frozen: its results are in users' indexes.
///
/// # Safety
/// Called by the function manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_hash_v1(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the call site's record is made for exactly these arguments and lives as long as `flinfo`.
    unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            (*flinfo).fn_extra = resolve_hashes(flinfo, (*fcinfo).nargs as usize).cast();
        }
        let resolved = (*flinfo).fn_extra.cast::<HashedArgument>();
        let mut hash: u64 = 0x243f_6a88_85a3_08d3;
        for (index, argument) in arguments(fcinfo).iter().enumerate() {
            let how = &*resolved.add(index);
            if how.entry.is_null() {
                continue;
            }
            let own = if argument.isnull {
                0x1319_8a2e_0370_7344
            } else {
                let function = &raw mut (*how.entry).hash_extended_proc_finfo;
                let seed = pg_sys::Datum::from(0u64);
                pg_sys::FunctionCall2Coll(function, how.collation, argument.value, seed).value() as u64
            };
            hash ^= own.wrapping_add(0x49a0_f4dd_15e5_a8e3).wrapping_add(hash << 54).wrapping_add(hash >> 7);
        }
        pg_sys::Datum::from(hash as i64)
    }
}

/// Looks up the hash function of each argument of a call site.
///
/// # Safety
/// `flinfo` is the call site's lookup record.
unsafe fn resolve_hashes(flinfo: *mut pg_sys::FmgrInfo, count: usize) -> *mut HashedArgument {
    // SAFETY: the array lives in the call site's context; type cache entries live as long as the backend.
    unsafe {
        if pg_sys::get_fn_expr_variadic(flinfo) {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "pgtrickle.hash_v1 takes its arguments one by one, not as a VARIADIC array"
            );
        }
        let resolved =
            pg_sys::MemoryContextAlloc((*flinfo).fn_mcxt, count.max(1) * size_of::<HashedArgument>())
                .cast::<HashedArgument>();
        for index in 0..count {
            let type_oid = pg_sys::get_fn_expr_argtype(flinfo, index as i32);
            let flags = pg_sys::TYPECACHE_HASH_EXTENDED_PROC | pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO;
            let entry = if type_oid == pg_sys::InvalidOid {
                std::ptr::null_mut()
            } else {
                pg_sys::lookup_type_cache(type_oid, flags as i32)
            };
            let usable = !entry.is_null() && (*entry).hash_extended_proc != pg_sys::InvalidOid;
            let collation =
                if usable { argument_collation(flinfo, index, entry) } else { pg_sys::InvalidOid };
            resolved.add(index).write(HashedArgument {
                entry: if usable { entry } else { std::ptr::null_mut() },
                collation,
            });
        }
        resolved
    }
}

/// The collation of one argument of a call: its expression's own, since arguments of one call may differ.
///
/// # Safety
/// `flinfo` is a call site's lookup record and `entry` its argument's type.
unsafe fn argument_collation(
    flinfo: *mut pg_sys::FmgrInfo,
    index: usize,
    entry: *mut pg_sys::TypeCacheEntry,
) -> pg_sys::Oid {
    // SAFETY: the node tag is checked before the cast.
    unsafe {
        let node = (*flinfo).fn_expr.cast::<pg_sys::Node>();
        if !node.is_null() && (*node).type_ == pg_sys::NodeTag::T_FuncExpr {
            let call = node.cast::<pg_sys::FuncExpr>();
            let argument = (*(*(*call).args).elements.add(index)).ptr_value.cast::<pg_sys::Node>();
            let collation = pg_sys::exprCollation(argument);
            if collation != pg_sys::InvalidOid {
                return collation;
            }
        }
        (*entry).typcollation
    }
}

/// `pgtrickle.single_row(n int8, value anyelement) returns anyelement`: `value`, unless the scalar subquery it stands
/// for had more than one row (`design-review.md` 7.2).
///
/// # Safety
/// Called by the function manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_single_row(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: two arguments by declaration.
    unsafe {
        let arguments = arguments(fcinfo);
        if !arguments[0].isnull && arguments[0].value.value() as i64 > 1 {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
                "more than one row returned by a subquery used as an expression"
            );
        }
        (*fcinfo).isnull = arguments[1].isnull;
        arguments[1].value
    }
}

/// `pgtrickle.row_count(n int8, is_offset bool) returns int8`: `n`, which the server would refuse as a LIMIT or OFFSET
/// if it is negative. Strict.
///
/// # Safety
/// Called by the function manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_row_count(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: two arguments by declaration, none of them NULL.
    let arguments = unsafe { arguments(fcinfo) };
    if (arguments[0].value.value() as i64) < 0 {
        if arguments[1].value.value() != 0 {
            let code = PgSqlErrorCode::ERRCODE_INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE;
            ereport!(ERROR, code, "OFFSET must not be negative");
        }
        let code = PgSqlErrorCode::ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
        ereport!(ERROR, code, "LIMIT must not be negative");
    }
    arguments[0].value
}

thread_local! {
    /// The time of the frontier the running refresh starts from.
    static FRONTIER_TIME: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Runs `body`, whose programs compute the change since `time`.
pub fn since<T>(time: i64, body: impl FnOnce() -> T) -> T {
    struct Reset(Option<i64>);
    impl Drop for Reset {
        fn drop(&mut self) {
            FRONTIER_TIME.set(self.0);
        }
    }
    let _reset = Reset(FRONTIER_TIME.replace(Some(time)));
    body()
}

/// `pgtrickle.frontier_time() returns timestamptz`: the time that the last refresh saw, in a refresh.
///
/// # Safety
/// Called by the function manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_frontier_time(_fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let Some(time) = FRONTIER_TIME.get() else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pgtrickle.frontier_time() has a value only within a refresh"
        );
    };
    pg_sys::Datum::from(time)
}

thread_local! {
    /// The stream table this backend is applying a change to, and how deep in triggers the refresh runs. Not a setting:
    /// users must not be able to set it.
    static APPLYING: Cell<(u32, i32)> = const { Cell::new((0, 0)) };
}

thread_local! {
    /// How many scopes of the engine's own DDL are open; event triggers leave that alone.
    static OWN_DDL: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body`, whose DDL is the engine's own.
pub fn own_ddl<T>(body: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            OWN_DDL.set(OWN_DDL.get() - 1);
        }
    }
    OWN_DDL.set(OWN_DDL.get() + 1);
    let _leave = Leave;
    body()
}

/// Whether the running DDL is the engine's own.
pub fn is_own_ddl() -> bool {
    OWN_DDL.get() > 0
}

/// Lets data-modifying statements of `body` through the guard of stream table `relid`.
pub fn applying_to<T>(relid: u32, body: impl FnOnce() -> T) -> T {
    struct Reset((u32, i32));
    impl Drop for Reset {
        fn drop(&mut self) {
            // Also while an error unwinds: the guard must be closed again.
            APPLYING.set(self.0);
        }
    }
    let _reset = Reset(APPLYING.replace((relid, trigger_depth())));
    body()
}

/// How many triggers are running inside each other.
fn trigger_depth() -> i32 {
    // SAFETY: the function only reads a variable of the backend and does not look at its call information.
    unsafe { pg_sys::pg_trigger_depth(std::ptr::null_mut()).value() as i32 }
}

/// `pgtrickle.guard()`: BEFORE STATEMENT trigger of stream tables that refuses writes by anyone but a refresh.
///
/// # Safety
/// Called by the trigger manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_guard(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server calls it so; a trigger's relation is open.
    unsafe {
        let relation = trigger_data(fcinfo, "guard").tg_relation;
        let relid = (*relation).rd_id.to_u32();
        // A statement of a user's trigger on the stream table runs one level deeper than the refresh's own.
        if APPLYING.get() != (relid, trigger_depth() - 1) {
            let name =
                std::ffi::CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()).to_string_lossy();
            crate::error::Error::DirectWrite { name: name.into_owned() }.report();
        }
        pg_sys::Datum::from(0usize)
    }
}
