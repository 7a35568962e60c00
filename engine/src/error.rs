//! Everything that can go wrong above the server, with one table to SQLSTATE, DETAIL and HINT.
//!
//! Errors the server itself raises pass through unchanged.

use crate::analyze::AnalyzeError;
use crate::pg::xact::Failure;
use pg_trickle_core::schedule::InvalidSchedule;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

pub type Result<T> = std::result::Result<T, Error>;

/// An error of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A required argument is NULL.
    NullArgument { argument: &'static str },
    /// An option has a value that is not one of those listed.
    InvalidOption { option: &'static str, value: String, valid: &'static [&'static str] },
    /// A value that is not a duration, or too short.
    InvalidSchedule { value: String, reason: String },
    /// The option is known but this version does not do it.
    NotSupportedOption { option: &'static str, reason: String },
    /// No relation of that name.
    NoSuchStreamTable { name: String },
    /// A relation of that name that is no stream table.
    NotAStreamTable { name: String },
    /// A relation of the new stream table's name exists.
    NameTaken { name: String },
    /// Not the owner.
    NotOwner { name: String },
    /// Others read it.
    HasDependents { name: String, dependents: Vec<String> },
    /// The defining query is not a single SELECT, or has a part no mode can maintain.
    InvalidQuery { reason: String, hint: Option<String> },
    /// The front end refuses the query in any mode.
    Analyze(AnalyzeError),
    /// DIFFERENTIAL was asked for and the query cannot be maintained so.
    NotDifferential { construct: String, position: Option<String>, reason: String },
    /// A source that cannot be captured.
    UnsupportedSource { source: String, reason: String, hint: String },
    /// A right is missing.
    InsufficientPrivilege { message: String, hint: String },
    /// A direct write to a stream table.
    DirectWrite { name: String },
    /// The stream table's status does not allow the operation.
    NotRefreshable { name: String, reason: String, hint: String },
    /// An object on the stream table that changes what the engine's statements do.
    HostileObject { name: String, object: String },
    /// The snapshot cannot be used; the same transaction run again can succeed.
    Serialization { message: String, detail: String },
    /// A trigger on a stream table changed what the same refresh reads.
    SourceChangedByTrigger { source: String },
    /// A recursive query takes more rounds than the user allows.
    RecursionTooDeep { name: String, limit: i64 },
    /// A claimed fact does not hold: a bug in this product, or the stream table was tampered with.
    Inconsistent { message: String, detail: String },
    /// What a subtransaction or a worker raised, handed on.
    Raised { code: PgSqlErrorCode, message: String, detail: Option<String>, hint: Option<String> },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Raised {
            code: failure.code,
            message: failure.message,
            detail: failure.detail,
            hint: failure.hint,
        }
    }
}

impl From<InvalidSchedule> for Error {
    fn from(error: InvalidSchedule) -> Error {
        Error::InvalidSchedule { value: error.value, reason: error.reason }
    }
}

impl From<AnalyzeError> for Error {
    fn from(error: AnalyzeError) -> Error {
        Error::Analyze(error)
    }
}

/// What the user sees of an error.
struct Presentation {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Error {
    fn presentation(&self) -> Presentation {
        use PgSqlErrorCode as Code;
        let (code, message, detail, hint) = match self.clone() {
            Error::NullArgument { argument } => (
                Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("argument \"{argument}\" must not be NULL"),
                None,
                None,
            ),
            Error::InvalidOption { option, value, valid } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid value for \"{option}\": \"{value}\""),
                None,
                Some(format!("Valid values are: {}.", valid.join(", "))),
            ),
            Error::InvalidSchedule { value, reason } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid schedule: \"{value}\""),
                Some(reason),
                Some("Give a duration such as '30s', '5m' or '1h 30m', a cron expression, or 'calculated'.".to_owned()),
            ),
            Error::NotSupportedOption { option, reason } => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("option \"{option}\" is not supported here"),
                Some(reason),
                None,
            ),
            Error::NoSuchStreamTable { name } => (
                Code::ERRCODE_UNDEFINED_TABLE,
                format!("stream table \"{name}\" does not exist"),
                None,
                Some("pgtrickle.pgt_status() lists the stream tables of this database.".to_owned()),
            ),
            Error::NotAStreamTable { name } => (
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a stream table"),
                None,
                Some("pgtrickle.pgt_status() lists the stream tables of this database.".to_owned()),
            ),
            Error::NameTaken { name } => (
                Code::ERRCODE_DUPLICATE_TABLE,
                format!("relation \"{name}\" already exists"),
                None,
                Some("Choose another name, or use pgtrickle.create_stream_table_if_not_exists.".to_owned()),
            ),
            Error::NotOwner { name } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of stream table \"{name}\""),
                None,
                None,
            ),
            Error::HasDependents { name, dependents } => (
                Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop stream table \"{name}\" because other stream tables depend on it"),
                Some(format!("Depending on it: {}.", dependents.join(", "))),
                Some("Use cascade => true to drop the dependent stream tables too.".to_owned()),
            ),
            Error::InvalidQuery { reason, hint } => {
                (Code::ERRCODE_FEATURE_NOT_SUPPORTED, reason, None, hint)
            }
            Error::Analyze(error) => (
                match error {
                    AnalyzeError::DuplicateColumn(_) => Code::ERRCODE_DUPLICATE_COLUMN,
                    AnalyzeError::UnnamedColumn(_) | AnalyzeError::NoColumns => {
                        Code::ERRCODE_INVALID_COLUMN_DEFINITION
                    }
                    AnalyzeError::PseudoTypeColumn { .. } => Code::ERRCODE_INVALID_TABLE_DEFINITION,
                    AnalyzeError::NotATable(_) => Code::ERRCODE_WRONG_OBJECT_TYPE,
                    AnalyzeError::StatementCount(_) | AnalyzeError::NotSelect(_) => Code::ERRCODE_SYNTAX_ERROR,
                    AnalyzeError::Internal(_) => Code::ERRCODE_INTERNAL_ERROR,
                    _ => Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                },
                error.message(),
                error.position().map(|position| format!("At byte {position} of the query.")),
                error.hint(),
            ),
            Error::NotDifferential { construct, position, reason } => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "query cannot be maintained in DIFFERENTIAL mode: {construct}{}",
                    position.map_or_else(String::new, |position| format!(" at {position}"))
                ),
                Some(reason),
                Some("Use refresh_mode => 'AUTO' or 'FULL'.".to_owned()),
            ),
            Error::UnsupportedSource { source, reason, hint } => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot use \"{source}\" as a source of a stream table"),
                Some(reason),
                Some(hint),
            ),
            Error::InsufficientPrivilege { message, hint } => {
                (Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message, None, Some(hint))
            }
            Error::DirectWrite { name } => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("cannot change stream table \"{name}\" directly"),
                Some("Its rows are the result of its defining query and are written by refreshes only.".to_owned()),
                Some("Change the source tables, or drop the stream table with pgtrickle.drop_stream_table.".to_owned()),
            ),
            Error::NotRefreshable { name, reason, hint } => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("cannot refresh stream table \"{name}\": {reason}"),
                None,
                Some(hint),
            ),
            Error::HostileObject { name, object } => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{object} on stream table \"{name}\" would change what a refresh writes"),
                None,
                Some(
                    "BEFORE ROW triggers, rules, FORCE ROW LEVEL SECURITY, added columns and inheritance children are \
                     not allowed on stream tables; remove it."
                        .to_owned(),
                ),
            ),
            Error::Serialization { message, detail } => (
                Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
                message,
                Some(detail),
                Some("Run the transaction again.".to_owned()),
            ),
            Error::SourceChangedByTrigger { source } => (
                Code::ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION,
                format!("a trigger on a stream table changed source {source} of the same refresh"),
                Some("The refresh was rolled back: its members would have seen different contents.".to_owned()),
                Some("Let the trigger write to tables that the stream tables do not read.".to_owned()),
            ),
            Error::RecursionTooDeep { name, limit } => (
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("the recursive query of stream table \"{name}\" takes more than {limit} rounds"),
                Some("Nothing was changed: a recursion is never cut short.".to_owned()),
                Some(
                    "If the recursion comes to an end, raise pg_trickle.ivm_recursive_max_depth (0 is no limit); if not, \
                     bound it by a condition, UNION or CYCLE."
                        .to_owned(),
                ),
            ),
            Error::Inconsistent { message, detail } => (
                Code::ERRCODE_INTERNAL_ERROR,
                message,
                Some(detail),
                Some("pgtrickle.verify_stream_table(name, repair => true) rebuilds the stream table.".to_owned()),
            ),
            Error::Raised { code, message, detail, hint } => (code, message, detail, hint),
        };
        Presentation { code, message, detail, hint }
    }

    /// Raises the error.
    pub fn report(&self) -> ! {
        let presentation = self.presentation();
        let mut report = ErrorReport::new(presentation.code, presentation.message, "pg_trickle");
        if let Some(detail) = presentation.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = presentation.hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("reporting at level ERROR does not return")
    }
}

/// Raises an error at the edge to SQL.
pub trait OrReport<T> {
    fn or_report(self) -> T;
}

impl<T> OrReport<T> for Result<T> {
    fn or_report(self) -> T {
        self.unwrap_or_else(|error| error.report())
    }
}
