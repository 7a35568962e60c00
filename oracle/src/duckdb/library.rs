//! DuckDB's C interface, bound at run time: the functions that are needed and no others.
//!
//! The library is the one inside DuckDB's Python wheel. It leaves Python's symbols undefined; none of them is reached
//! through the C interface, and a stub library beside it defines them so that the loader is content.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

use crate::Error;

/// The version whose dialect the translation knows.
pub const VERSION: &str = "2.0.0";

type Handle = *mut c_void;

/// `duckdb_result`: six words, private to the library.
#[repr(C)]
struct RawResult {
    words: [u64; 6],
}

const SUCCESS: i32 = 0;

/// The bound functions, and the libraries that keep them valid.
pub(super) struct Functions {
    open: unsafe extern "C" fn(*const c_char, *mut Handle) -> i32,
    close: unsafe extern "C" fn(*mut Handle),
    connect: unsafe extern "C" fn(Handle, *mut Handle) -> i32,
    disconnect: unsafe extern "C" fn(*mut Handle),
    query: unsafe extern "C" fn(Handle, *const c_char, *mut RawResult) -> i32,
    result_error: unsafe extern "C" fn(*mut RawResult) -> *const c_char,
    destroy_result: unsafe extern "C" fn(*mut RawResult),
    column_count: unsafe extern "C" fn(*mut RawResult) -> u64,
    column_name: unsafe extern "C" fn(*mut RawResult, u64) -> *const c_char,
    row_count: unsafe extern "C" fn(*mut RawResult) -> u64,
    value_varchar: unsafe extern "C" fn(*mut RawResult, u64, u64) -> *mut c_char,
    free: unsafe extern "C" fn(*mut c_void),
    _library: Library,
    _stub: Option<Library>,
}

/// Where the library is looked for: `$PG_TRICKLE_DUCKDB`, then the cache that provisioning fills.
pub fn default_folder() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(folder) = from("PG_TRICKLE_DUCKDB") {
        return Some(folder);
    }
    let cache = from("PG_TRICKLE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|folder| folder.join("pg_trickle")))
        .or_else(|| from("HOME").map(|folder| folder.join(".cache/pg_trickle")))?;
    Some(cache.join("duckdb").join(VERSION))
}

impl Functions {
    /// Loads `libduckdb.so` from `folder`, after `libpystub.so` if there is one.
    pub(super) fn load(folder: &Path) -> Result<Self, Error> {
        let file = folder.join("libduckdb.so");
        if !file.is_file() {
            return Err(Error::Library(format!("{} is not there", file.display())));
        }
        let failed = |error: libloading::Error| Error::Library(format!("{}: {error}", file.display()));
        let stub = folder.join("libpystub.so");
        // SAFETY: both files are libraries whose initialisers only set up their own state; the stub has none.
        let (stub, library) = unsafe {
            let stub = match stub.is_file() {
                true => Some(Library::open(Some(&stub), RTLD_LAZY | RTLD_GLOBAL).map_err(failed)?),
                false => None,
            };
            (stub, Library::open(Some(&file), RTLD_LAZY).map_err(failed)?)
        };
        // SAFETY: the signatures are those of the C header of this version. Each symbol is copied out of its guard; the
        // library it points into lives in the same struct.
        unsafe {
            Ok(Self {
                open: *library.get(b"duckdb_open\0").map_err(failed)?,
                close: *library.get(b"duckdb_close\0").map_err(failed)?,
                connect: *library.get(b"duckdb_connect\0").map_err(failed)?,
                disconnect: *library.get(b"duckdb_disconnect\0").map_err(failed)?,
                query: *library.get(b"duckdb_query\0").map_err(failed)?,
                result_error: *library.get(b"duckdb_result_error\0").map_err(failed)?,
                destroy_result: *library.get(b"duckdb_destroy_result\0").map_err(failed)?,
                column_count: *library.get(b"duckdb_column_count\0").map_err(failed)?,
                column_name: *library.get(b"duckdb_column_name\0").map_err(failed)?,
                row_count: *library.get(b"duckdb_row_count\0").map_err(failed)?,
                value_varchar: *library.get(b"duckdb_value_varchar\0").map_err(failed)?,
                free: *library.get(b"duckdb_free\0").map_err(failed)?,
                _library: library,
                _stub: stub,
            })
        }
    }
}

/// An open in-memory database with one connection.
pub(super) struct Connection {
    functions: Functions,
    database: Handle,
    connection: Handle,
}

/// Column names, and rows of cells that are text or NULL.
pub(super) type Table = (Vec<String>, Vec<Vec<Option<String>>>);

impl Connection {
    pub(super) fn open(functions: Functions) -> Result<Self, Error> {
        let mut opened = Self { functions, database: ptr::null_mut(), connection: ptr::null_mut() };
        // SAFETY: a null path means an in-memory database; both handles are written before they are read, and closed
        // when the value is dropped, also after a failure half way.
        let is_open = unsafe {
            (opened.functions.open)(ptr::null(), &raw mut opened.database) == SUCCESS
                && (opened.functions.connect)(opened.database, &raw mut opened.connection) == SUCCESS
        };
        if is_open { Ok(opened) } else { Err(Error::Library("no database could be opened".to_owned())) }
    }

    /// Runs one statement. Every column of its result has to be text: this reads no other type.
    pub(super) fn run(&mut self, sql: &str) -> Result<Table, Error> {
        let failed = |message: String| Error::DuckDb { sql: sql.to_owned(), message };
        let text = CString::new(sql).map_err(|_| failed("a NUL byte in a statement".to_owned()))?;
        let mut result = RawResult { words: [0; 6] };
        // SAFETY: connection and text are valid; the result is initialised by the call whatever its outcome, read only
        // through the library, and destroyed once on every path.
        unsafe {
            let status = (self.functions.query)(self.connection, text.as_ptr(), &raw mut result);
            let outcome = match status {
                SUCCESS => Ok(self.read(&mut result)),
                _ => Err(failed(self.message(&mut result))),
            };
            (self.functions.destroy_result)(&raw mut result);
            outcome
        }
    }

    /// # Safety
    /// `result` comes from a failed query and is not destroyed.
    unsafe fn message(&self, result: &mut RawResult) -> String {
        // SAFETY: by the caller; the message belongs to the result and is copied.
        unsafe {
            let message = (self.functions.result_error)(result);
            match message.is_null() {
                true => "no message".to_owned(),
                false => CStr::from_ptr(message).to_string_lossy().into_owned(),
            }
        }
    }

    /// # Safety
    /// `result` comes from a successful query and is not destroyed.
    unsafe fn read(&self, result: &mut RawResult) -> Table {
        // SAFETY: by the caller; names belong to the result and are copied, values are ours to free and are, indexes
        // stay below the counts.
        unsafe {
            let columns = (self.functions.column_count)(result);
            let rows = (self.functions.row_count)(result);
            let names = (0..columns)
                .map(|column| {
                    let name = (self.functions.column_name)(result, column);
                    CStr::from_ptr(name).to_string_lossy().into_owned()
                })
                .collect();
            let cells = (0..rows)
                .map(|row| (0..columns).map(|column| self.cell(result, column, row)).collect())
                .collect();
            (names, cells)
        }
    }

    /// # Safety
    /// As for `read`; `column` and `row` are below the result's counts.
    unsafe fn cell(&self, result: &mut RawResult, column: u64, row: u64) -> Option<String> {
        // SAFETY: by the caller; NULL comes back as a null pointer, everything else is freed after copying.
        unsafe {
            let value = (self.functions.value_varchar)(result, column, row);
            if value.is_null() {
                return None;
            }
            let text = CStr::from_ptr(value).to_string_lossy().into_owned();
            (self.functions.free)(value.cast());
            Some(text)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handles are ours; the library ignores those that are null.
        unsafe {
            (self.functions.disconnect)(&raw mut self.connection);
            (self.functions.close)(&raw mut self.database);
        }
    }
}
