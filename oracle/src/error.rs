//! Why an oracle could not be asked. A wrong result is not an error: it is a [`crate::Verdict`].

use std::fmt;
use std::io;

/// A failure of the machinery round an oracle.
#[derive(Debug)]
pub enum Error {
    /// PostgreSQL refused a statement, or the connection broke; the statement.
    Postgres { sql: String, source: postgres::Error },
    /// DuckDB refused a statement; the statement and its message.
    DuckDb { sql: String, message: String },
    /// DuckDB's library is not where it is looked for, or is not one.
    Library(String),
    /// A table cannot be copied to DuckDB.
    Mirror(String),
    /// A temporary file could not be written.
    Io(io::Error),
}

impl Error {
    pub(crate) fn postgres(sql: &str) -> impl FnOnce(postgres::Error) -> Error + '_ {
        move |source| Error::Postgres { sql: sql.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Postgres { sql, source } => {
                let message = source.as_db_error().map_or_else(|| source.to_string(), ToString::to_string);
                write!(f, "PostgreSQL: {message}\nin: {sql}")
            }
            Error::DuckDb { sql, message } => write!(f, "DuckDB: {message}\nin: {sql}"),
            Error::Library(message) => write!(f, "DuckDB's library: {message}"),
            Error::Mirror(message) => f.write_str(message),
            Error::Io(source) => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Postgres { source, .. } => Some(source),
            Error::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Error::Io(source)
    }
}
