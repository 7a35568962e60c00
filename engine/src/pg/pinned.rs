//! Settings that are in force for a while, whatever the session's are.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Settings in force until dropped.
pub struct PinnedSettings {
    nest_level: i32,
}

impl PinnedSettings {
    /// Those that decide how the server prints names and constants, as `pg_dump` pins them. Names that are not of
    /// `pg_catalog` print with their schema.
    pub fn for_printing() -> PinnedSettings {
        PinnedSettings::pin(&[
            (c"search_path", c"pg_catalog, pg_temp"),
            (c"quote_all_identifiers", c"off"),
            (c"datestyle", c"ISO, YMD"),
            (c"intervalstyle", c"postgres"),
            (c"extra_float_digits", c"3"),
            (c"bytea_output", c"hex"),
        ])
    }

    /// Those under which the server takes the first join order that comes to its mind: for plans that are never run.
    /// A good order of a dozen tables takes it a tenth of a second.
    pub fn for_any_plan() -> PinnedSettings {
        PinnedSettings::pin(&[
            (c"join_collapse_limit", c"1"),
            (c"from_collapse_limit", c"1"),
            (c"geqo", c"on"),
            (c"geqo_threshold", c"2"),
            (c"geqo_pool_size", c"2"),
            (c"geqo_generations", c"1"),
        ])
    }

    /// Those under which the server looks rows up by an index where it can, for plans that are kept while the table grows.
    pub fn for_looking_up() -> PinnedSettings {
        PinnedSettings::pin(&[(c"enable_seqscan", c"off")])
    }

    fn pin(settings: &[(&CStr, &CStr)]) -> PinnedSettings {
        // SAFETY: opens a nest level that drop, or the abort of the transaction, closes.
        let nest_level = unsafe { pg_sys::NewGUCNestLevel() };
        let pinned = PinnedSettings { nest_level };
        for (name, value) in settings {
            // SAFETY: the settings exist in every supported version; the nest level was just opened.
            unsafe { set_locally(name, value) };
        }
        pinned
    }
}

impl Drop for PinnedSettings {
    fn drop(&mut self) {
        // While a server error unwinds, the abort of the transaction restores the settings.
        if !std::thread::panicking() {
            // SAFETY: closes the nest level opened by `pin`.
            unsafe { pg_sys::AtEOXact_GUC(true, self.nest_level) };
        }
    }
}

/// Sets a GUC for the innermost nest level.
///
/// # Safety
/// Called between `NewGUCNestLevel` and `AtEOXact_GUC`.
pub(super) unsafe fn set_locally(name: &CStr, value: &CStr) {
    // SAFETY: the server copies both strings. The settings used here are all ordinary user settings or, like
    // lc_monetary, are restored to what the owner could set when the stream table was created.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}
