//! Registration of settings with the server.
//!
//! A setting that tunes a mechanism this product does not have is accepted, so that existing configurations load, and
//! says when it is set that it has no effect.

use pgrx::guc::{GucContext, GucEnum, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// What every kind of setting has.
pub struct Declaration {
    /// With the prefix.
    pub name: &'static CStr,
    pub description: &'static CStr,
    /// What follows the description; for a setting without effect, why it has none.
    pub detail: &'static CStr,
    pub context: GucContext,
    pub flags: GucFlags,
}

/// Registers a boolean setting.
pub fn define_bool(it: Declaration, value: &'static GucSetting<bool>, check: pg_sys::GucBoolCheckHook) {
    // SAFETY: check hooks are made by `inert_hook!`, which guards them.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            it.name,
            it.description,
            it.detail,
            value,
            it.context,
            it.flags,
            check,
            None,
            None,
        );
    }
}

/// Registers an integer setting.
pub fn define_int(
    it: Declaration,
    value: &'static GucSetting<i32>,
    range: std::ops::RangeInclusive<i32>,
    check: pg_sys::GucIntCheckHook,
) {
    // SAFETY: as in `define_bool`.
    unsafe {
        GucRegistry::define_int_guc_with_hooks(
            it.name,
            it.description,
            it.detail,
            value,
            *range.start(),
            *range.end(),
            it.context,
            it.flags,
            check,
            None,
            None,
        );
    }
}

/// Registers a setting that is a real number.
pub fn define_float(
    it: Declaration,
    value: &'static GucSetting<f64>,
    range: std::ops::RangeInclusive<f64>,
    check: pg_sys::GucRealCheckHook,
) {
    GucRegistry::define_float_guc_with_hooks(
        it.name,
        it.description,
        it.detail,
        value,
        *range.start(),
        *range.end(),
        it.context,
        it.flags,
        check,
        None,
        None,
    );
}

/// Registers a setting that is one of a list of words.
pub fn define_choice<T: GucEnum>(
    it: Declaration,
    value: &'static GucSetting<T>,
    check: pg_sys::GucEnumCheckHook,
) {
    // SAFETY: as in `define_bool`.
    unsafe {
        GucRegistry::define_enum_guc_with_hooks(
            it.name,
            it.description,
            it.detail,
            value,
            it.context,
            it.flags,
            check,
            None,
            None,
        );
    }
}

/// Registers a text setting.
pub fn define_text(
    it: Declaration,
    value: &'static GucSetting<Option<CString>>,
    check: pg_sys::GucStringCheckHook,
) {
    // SAFETY: as in `define_bool`.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            it.name,
            it.description,
            it.detail,
            value,
            it.context,
            it.flags,
            check,
            None,
            None,
        );
    }
}

/// Refuses names under `prefix` that are not registered. Called after the last registration.
pub fn reserve_prefix(prefix: &'static CStr) {
    // SAFETY: the name is static.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// A check hook that accepts every value and tells who sets it that the setting has no effect. `$raw` is the
/// server's type of the value.
macro_rules! inert_hook {
    ($raw:ty, $name:expr, $reason:expr) => {{
        #[pgrx::pg_guard]
        extern "C-unwind" fn check(
            _value: *mut $raw,
            _extra: *mut *mut std::ffi::c_void,
            source: pgrx::pg_sys::GucSource::Type,
        ) -> bool {
            $crate::pg::setting::announce($name, source, "has no effect", $reason);
            true
        }
        Some(check)
    }};
}
pub(crate) use inert_hook;

/// Tells whoever sets `name` something about it. Only a statement is answered: while the server or a worker starts
/// and while configuration files are read again, nobody is listening.
pub fn announce(name: &CStr, source: pg_sys::GucSource::Type, message: &str, detail: &CStr) {
    use pg_sys::GucSource::{PGC_S_FILE, PGC_S_SESSION, PGC_S_TEST};
    // SAFETY: reads variables of the backend.
    let is_statement = unsafe { pg_sys::IsTransactionState() && pg_sys::ParallelWorkerNumber < 0 };
    if is_statement && matches!(source, PGC_S_FILE | PGC_S_SESSION | PGC_S_TEST) {
        ereport!(
            PgLogLevel::NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("setting \"{}\" {message}", name.to_string_lossy()),
            detail.to_string_lossy()
        );
    }
}
