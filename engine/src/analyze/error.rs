//! Why a query is refused as the definition of a stream table, in any mode.

use pg_trickle_core::refusal::Refusal;

/// A refusal. Each carries what its SQLSTATE, detail and hint are made from; syntax and name errors are raised by
/// the server itself and never come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalyzeError {
    /// No statement at all, or more than one.
    StatementCount(usize),
    /// Not a SELECT, VALUES or TABLE; the statement's name.
    NotSelect(String),
    /// `SELECT .. INTO`.
    SelectInto,
    /// INSERT, UPDATE, DELETE or MERGE in a WITH clause.
    ModifyingCte(Option<u32>),
    /// `CYCLE .. SET mark TO value` with a value that the server does not read as it prints it.
    CycleMark { type_name: String, position: Option<u32> },
    /// `FOR UPDATE` and its relatives.
    RowLocking,
    /// `SELECT FROM t`.
    NoColumns,
    /// Two output columns with one name.
    DuplicateColumn(String),
    /// An output column without a name of its own, by position from 1.
    UnnamedColumn(usize),
    /// An output column of a type a table cannot have.
    PseudoTypeColumn { column: String, type_name: String },
    /// A temporary table as source.
    TemporarySource(String),
    /// A system catalog, or a table of the extension, as source.
    SystemSource(String),
    /// A sequence or something else that is neither table nor view.
    NotATable(String),
    /// `ctid`, `tableoid` and the like.
    SystemColumn { column: String, position: Option<u32> },
    /// Row-level security filters the source for the current user.
    RowSecurity(String),
    /// No query of PostgreSQL is shaped like this; a bug worth reporting.
    Internal(String),
}

impl AnalyzeError {
    /// The message, without position.
    pub fn message(&self) -> String {
        match self {
            Self::StatementCount(0) => Refusal::NoStatement.of(&[]),
            Self::StatementCount(count) => Refusal::SeveralStatements.of(&[&count.to_string()]),
            Self::NotSelect(name) => Refusal::NotSelect.of(&[name]),
            Self::SelectInto => Refusal::SelectInto.of(&[]),
            Self::ModifyingCte(_) => Refusal::ModifyingCte.of(&[]),
            Self::CycleMark { type_name, .. } => Refusal::CycleMark.of(&[type_name]),
            Self::RowLocking => Refusal::RowLocking.of(&[]),
            Self::NoColumns => Refusal::NoColumns.of(&[]),
            Self::DuplicateColumn(name) => Refusal::DuplicateColumn.of(&[name]),
            Self::UnnamedColumn(position) => Refusal::UnnamedColumn.of(&[&position.to_string()]),
            Self::PseudoTypeColumn { column, type_name } => {
                Refusal::PseudoTypeColumn.of(&[column, type_name])
            }
            Self::TemporarySource(name) => Refusal::TemporarySource.of(&[name]),
            Self::SystemSource(name) => Refusal::SystemSource.of(&[name]),
            Self::NotATable(name) => Refusal::NotATable.of(&[name]),
            Self::SystemColumn { column, .. } => Refusal::SystemColumn.of(&[column]),
            Self::RowSecurity(name) => Refusal::RowSecurity.of(&[name]),
            Self::Internal(what) => Refusal::UnexpectedForm.of(&[what]),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::StatementCount(_) | Self::NotSelect(_) | Self::ModifyingCte(_) => {
                "A stream table is defined by exactly one SELECT."
            }
            Self::SelectInto => "Leave out INTO: the stream table's name is an argument of its own.",
            Self::CycleMark { .. } => {
                "Leave out TO and DEFAULT: the mark is then a boolean, which CASE turns into anything."
            }
            Self::RowLocking => "Leave out the locking clause.",
            Self::NoColumns => "Select at least one column.",
            Self::DuplicateColumn(_) | Self::UnnamedColumn(_) => {
                "Give every column a name of its own with AS."
            }
            Self::PseudoTypeColumn { .. } => "Cast the expression to a type that a table column can have.",
            Self::TemporarySource(_) => "Use a permanent table: a temporary one exists in one session only.",
            Self::SystemSource(_) => "Only user tables and views can be sources.",
            Self::NotATable(_) => "Only tables and views can be sources.",
            Self::SystemColumn { .. } => "System columns are not captured; use columns of the table.",
            Self::RowSecurity(_) => {
                "Let a role that the policies do not restrict own the stream table, and put policies on the \
                 stream table itself."
            }
            Self::Internal(_) => return None,
        };
        Some(hint.into())
    }

    /// Byte offset in the query text.
    pub fn position(&self) -> Option<u32> {
        match self {
            Self::ModifyingCte(position)
            | Self::SystemColumn { position, .. }
            | Self::CycleMark { position, .. } => *position,
            _ => None,
        }
    }
}
