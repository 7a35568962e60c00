//! Utility statements (DDL). Queries and data-modifying statements go through [`crate::pg::exec`] instead.

use pgrx::pg_sys;
use std::ffi::CString;

/// Runs one or more utility statements as the current user.
pub fn ddl(sql: &str) {
    let text = CString::new(sql).expect("SQL text has no NUL");
    // SAFETY: connect and finish, push and pop pair up; on error abort undoes both.
    unsafe {
        // In a worker there is no portal whose snapshot SPI could lean on.
        let own_snapshot = !pg_sys::ActiveSnapshotSet();
        if own_snapshot {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let connected = pg_sys::SPI_connect();
        assert!(connected == pg_sys::SPI_OK_CONNECT as i32, "SPI_connect returned {connected}");
        let code = pg_sys::SPI_execute(text.as_ptr(), false, 0);
        assert!(code >= 0, "SPI_execute returned {code} for: {sql}");
        pg_sys::SPI_finish();
        if own_snapshot {
            pg_sys::PopActiveSnapshot();
        }
    }
}

/// Runs statements in order, see [`ddl`].
pub fn ddl_all<S: AsRef<str>>(statements: impl IntoIterator<Item = S>) {
    for statement in statements {
        ddl(statement.as_ref());
    }
}
