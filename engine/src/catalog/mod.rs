//! The catalog as typed rows. One statement per file in `sql/queries`.

pub mod definition;
pub mod known;
pub mod meaning;
pub mod progress;

use crate::pg::fmgr;
use crate::pg::relation;
use crate::pg::security;

/// The OID of the catalog table of definitions, which also tags the claims of stream tables. Raises if the extension
/// is not installed in this database.
pub fn definitions_relation() -> u32 {
    relation::find("pgtrickle", "pgt_definitions").unwrap_or_else(|| {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "extension \"pg_trickle\" is not installed in this database",
            "Run CREATE EXTENSION pg_trickle."
        );
    })
}

/// The role that owns the extension's objects.
pub fn extension_owner() -> u32 {
    let catalog = definitions_relation();
    crate::pg::lock::relation(catalog, crate::pg::lock::Mode::Read);
    relation::facts(catalog).expect("the catalog was just found").owner
}

/// Runs `body` as the extension's owner, restricted: for reading and writing catalog, buffers and state.
pub fn as_extension<T>(body: impl FnOnce() -> T) -> T {
    security::run_as(extension_owner(), &[], body)
}

/// Runs engine-made DDL as the extension's owner.
pub fn ddl_as_extension<T>(body: impl FnOnce() -> T) -> T {
    security::run_ddl_as(extension_owner(), || fmgr::own_ddl(body))
}
