//! On whose behalf code runs.

use super::pinned;
use pgrx::pg_sys;
use std::ffi::CString;

/// The current user's OID.
pub fn current_user() -> u32 {
    // SAFETY: reads backend state.
    unsafe { pg_sys::GetUserId() }.to_u32()
}

/// Whether `member` has the privileges of `role` (superusers have everybody's).
pub fn has_privileges_of(member: u32, role: u32) -> bool {
    // SAFETY: syscache lookups.
    unsafe { pg_sys::has_privs_of_role(pg_sys::Oid::from(member), pg_sys::Oid::from(role)) }
}

/// Settings the engine's own SQL relies on, and just-in-time compilation, which costs more than any small change.
const ENGINE_SETTINGS: [(&str, &str); 4] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("jit", "off"),
];

/// Runs `body` as `role`, as REFRESH MATERIALIZED VIEW runs a query: under SECURITY_RESTRICTED_OPERATION, with
/// `search_path` pinned to `pg_catalog, pg_temp`, and with `settings` in force. All of it is undone afterwards; on
/// error by (sub)transaction abort.
pub fn run_as<T>(role: u32, settings: &[(String, String)], body: impl FnOnce() -> T) -> T {
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: user, security context and GUC nest level are restored in reverse order.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let nest_level = pg_sys::NewGUCNestLevel();
        for (name, value) in settings {
            set_locally(name, value);
        }
        for (name, value) in ENGINE_SETTINGS {
            set_locally(name, value);
        }
        pg_sys::SetUserIdAndSecContext(
            pg_sys::Oid::from(role),
            context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32,
        );
        let result = body();
        pg_sys::SetUserIdAndSecContext(user, context);
        pg_sys::AtEOXact_GUC(false, nest_level);
        result
    }
}

/// Runs `body` as `role` without restriction: for DDL of the engine's own text.
pub fn run_ddl_as<T>(role: u32, body: impl FnOnce() -> T) -> T {
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: as in `run_as`.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let nest_level = pg_sys::NewGUCNestLevel();
        set_locally("search_path", "pg_catalog, pg_temp");
        // What the engine's own DDL cascades to is nothing to tell the user.
        set_locally("client_min_messages", "warning");
        pg_sys::SetUserIdAndSecContext(
            pg_sys::Oid::from(role),
            context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
        );
        let result = body();
        pg_sys::SetUserIdAndSecContext(user, context);
        pg_sys::AtEOXact_GUC(false, nest_level);
        result
    }
}

/// The value of a setting, None if there is no such setting.
pub fn setting(name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    // SAFETY: the returned string is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| std::ffi::CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// Sets a GUC for the innermost nest level.
///
/// # Safety
/// Called between `NewGUCNestLevel` and `AtEOXact_GUC`.
unsafe fn set_locally(name: &str, value: &str) {
    let name = CString::new(name).expect("setting names have no NUL");
    let value = CString::new(value).expect("setting values have no NUL");
    // SAFETY: by contract.
    unsafe { pinned::set_locally(&name, &value) }
}

/// Whether row-level security filters the relation for `role`.
pub fn row_security_applies(relid: u32, role: u32) -> bool {
    // SAFETY: syscache lookups.
    let applies =
        unsafe { pg_sys::check_enable_rls(pg_sys::Oid::from(relid), pg_sys::Oid::from(role), true) };
    applies == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// What of a relation `role` may not read, if anything: one of `columns`, or the relation. None if there is no such
/// relation. A query that reads no column still learns how many rows there are.
pub fn unreadable(relid: u32, columns: &[i16], role: u32) -> Option<String> {
    let (relation, role) = (pg_sys::Oid::from(relid), pg_sys::Oid::from(role));
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let granted = |result| result == pg_sys::AclResult::ACLCHECK_OK;
    let name = || super::relation::qualified_name(relid);
    // SAFETY: syscache lookups; what does not exist is reported as missing.
    unsafe {
        let schema = pg_sys::get_rel_namespace(relation);
        if schema == pg_sys::InvalidOid {
            return None;
        }
        let usage = pg_sys::ACL_USAGE as pg_sys::AclMode;
        if !granted(pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, usage)) {
            return name();
        }
        if granted(pg_sys::pg_class_aclcheck(relation, role, select)) {
            return None;
        }
        if columns.is_empty() {
            let any = pg_sys::AclMaskHow::ACLMASK_ANY;
            let is_denied = !granted(pg_sys::pg_attribute_aclcheck_all(relation, role, select, any));
            return if is_denied { name() } else { None };
        }
        let is_denied = |attnum: i16| {
            let mut is_missing = false;
            let result = pg_sys::pg_attribute_aclcheck_ext(relation, attnum, role, select, &mut is_missing);
            !is_missing && !granted(result)
        };
        let denied = columns.iter().copied().find(|&attnum| is_denied(attnum))?;
        let column = pg_sys::get_attname(relation, denied, false);
        let column = std::ffi::CStr::from_ptr(column).to_string_lossy();
        Some(format!("column \"{column}\" of {}", name()?))
    }
}

/// Whether `role` may create triggers on the relation, or belongs to the role that may capture everything.
pub fn may_create_trigger(relid: u32, role: u32) -> bool {
    // SAFETY: syscache lookups.
    unsafe {
        let role = pg_sys::Oid::from(role);
        let result =
            pg_sys::pg_class_aclcheck(pg_sys::Oid::from(relid), role, pg_sys::ACL_TRIGGER as pg_sys::AclMode);
        if result == pg_sys::AclResult::ACLCHECK_OK {
            return true;
        }
        let capture = pg_sys::get_role_oid(c"pgtrickle_capture".as_ptr(), true);
        capture != pg_sys::InvalidOid && pg_sys::has_privs_of_role(role, capture)
    }
}

/// The name of a role.
pub fn role_name(role: u32) -> String {
    // SAFETY: raises if there is no such role; the name is copied.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::Oid::from(role), false);
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}
