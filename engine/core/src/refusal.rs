//! Every reason for which a query defines no stream table, or one that is not maintained from its changes.
//!
//! The classifier can give no other: the front end and the rules name a [`Refusal`], never a text of their own. So the
//! list in `docs/limits.md` is this one (a test says so), and each refusal that a query can provoke has one in the corpus
//! that does.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a refusal forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The query defines no stream table, whatever the mode.
    EveryMode,
    /// The query is recomputed at each refresh: AUTO says so, DIFFERENTIAL is an error.
    Differential,
    /// No query is known that comes here: the server, or an earlier check, refuses what would. Were there one, it would
    /// be recomputed.
    Guard,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident, $scope:ident, $text:literal;)*) => {
        /// A reason. In its text `{}` stands for a name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),*];

            /// The text with `{}` where names belong.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Refusal::$name => $text,)*
                }
            }

            /// What it forbids.
            pub const fn scope(self) -> Scope {
                match self {
                    $(Refusal::$name => Scope::$scope,)*
                }
            }
        }
    };
}

refusals! {
    NoStatement, EveryMode, "the defining query is empty";
    SeveralStatements, EveryMode, "the defining query consists of {} statements";
    NotSelect, EveryMode, "{} cannot define a stream table";
    SelectInto, EveryMode, "SELECT INTO cannot define a stream table";
    /// INSERT, UPDATE, DELETE or MERGE in a WITH clause.
    ModifyingCte, EveryMode, "a data-modifying statement in WITH cannot define a stream table";
    RowLocking, EveryMode, "FOR UPDATE, FOR SHARE and the like cannot be used in a defining query";
    NoColumns, EveryMode, "the defining query has no columns";
    DuplicateColumn, EveryMode, "column name \"{}\" appears more than once";
    /// By position from 1.
    UnnamedColumn, EveryMode, "column {} of the defining query has no name";
    PseudoTypeColumn, EveryMode, "column \"{}\" has pseudo-type {}";
    /// A value that the server does not read as it prints it.
    CycleMark, EveryMode, "a CYCLE mark of type {} cannot be used in a defining query";
    TemporarySource, EveryMode, "{} is a temporary table";
    SystemSource, EveryMode, "{} is a system table";
    NotATable, EveryMode, "{} is not a table or view";
    SystemColumn, EveryMode, "system column \"{}\" cannot be used";
    RowSecurity, EveryMode, "row-level security applies to {}";
    VolatileQuery, EveryMode, "{} is volatile and cannot be used in a defining query";
    /// The same, of a construct.
    Volatile, EveryMode, "it is VOLATILE: its result cannot be retracted";
    /// A function that is STABLE for other reasons than settings and the time.
    Stable, Differential, "it is STABLE and may depend on more than its arguments and settings";
    TimeOfEveryRow, Differential,
        "its result changes with time for every row; only comparisons with the time are maintained";
    TimeElsewhere, Differential,
        "comparisons with the time are maintained in WHERE, HAVING and the SELECT list, not in this place";
    RecursionOutward, Differential, "it is a recursive query with UNION that depends on a value of the enclosing query that has no equality to group by";
    /// Over the recursive query in its recursive term, like the next ones.
    RecursionGroups, Differential, "its recursive term has DISTINCT, GROUP BY or an aggregate over the recursive query";
    RecursionLimits, Differential, "its recursive term has LIMIT or DISTINCT ON over the recursive query";
    RecursionWindow, Differential, "its recursive term has a window function over the recursive query";
    RecursionSetOperation, Differential,
        "its recursive term has UNION, INTERSECT or EXCEPT over the recursive query";
    /// A branch of UNION ALL.
    RecursionBranch, Differential, "a part of its recursive term gives rows without the recursive query";
    /// Evaluated for the distinct values of a round.
    RecursionSubquery, Differential,
        "a subquery in its recursive term depends on the recursive query otherwise than by an equality";
    /// The column of SEARCH BREADTH FIRST.
    RecursionRecord, Differential, "a column of it that is read is a record, which no table can have";
    RecursionPath, Differential, "SEARCH or CYCLE goes by a column that is an array or a row itself";
    RecordKept, Differential, "a state would keep a record, which no table can have";
    UnreadableView, Differential,
        "the owner may read the view but not what is beneath it, which a change of the view is computed from";
    MaterializedView, Differential,
        "its changes are not captured; they are found by comparing it with a copy where pg_trickle.matview_polling is on";
    /// Or a table with foreign partitions or children.
    ForeignTable, Differential,
        "its changes are not captured; they are found by comparing it with a copy where pg_trickle.foreign_table_polling \
         is on";
    OnlyParent, Differential, "the table has partitions or inheritance children, whose changes are its own";
    RowWithoutType, Differential, "its rows have no named type";
    AbsentRow, Differential, "the row can be absent in an outer join, which differs from a row of NULLs";
    NoEquality, Differential, "the type has no equality to group by";
    VariadicWindow, Differential,
        "the server prints the call of a variadic window function as one that it does not find again";
    TooManyCopies, Differential, "its common table expressions expand to too many subqueries";
    /// Tables, columns and types of an analysed query that no query of the server's has.
    UnexpectedForm, Guard, "the analysed query has an unexpected form: {}";
    /// WITH TIES of a limit that is not there.
    TiesOfNoNumber, Guard, "the number of rows cannot be NULL";
    Parameter, Guard, "a definition has no parameters";
    TransitionTable, Guard, "it exists in a trigger only";
    NotOfQueries, Guard, "it does not belong in a query";
    Unprintable, Guard, "it cannot be printed as text";
    SetReturningPlace, Guard, "a set-returning function has no place here";
    WindowPlace, Guard, "it stands where a window function has no value";
    SubqueryPlace, Guard, "subqueries in this place are not yet maintained incrementally";
    OuterRowPlace, Guard, "an outer row is referred to where a plan has no place for it";
    NotUnnested, Guard, "this form is not unnested yet";
    /// The server allows one recursive reference, and none without one.
    RecursionReferences, Guard, "its recursive term does not have exactly one reference to the recursive query";
    RecursionOperator, Guard, "its recursive term has an operator that does not keep the rows of a round apart";
    RecursionWithin, Guard, "it is referred to from within another recursive query";
    RecursionColumns, Guard, "a recursive query without columns";
    /// A plan that should have been cut into stages before.
    NotAFragment, Guard, "it is not part of a linear or bilinear fragment";
    NotLowerable, Guard, "it has no form in SQL at this place";
}

impl Refusal {
    /// The text with names in their places.
    pub fn of(self, names: &[&str]) -> String {
        let mut parts = self.text().split("{}");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for (part, name) in parts.zip(names) {
            text.push_str(name);
            text.push_str(part);
        }
        text
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn names_stand_in_their_places() {
        assert_eq!(Refusal::PseudoTypeColumn.of(&["r", "record"]), "column \"r\" has pseudo-type record");
        assert_eq!(Refusal::NotATable.of(&["public.s"]), "public.s is not a table or view");
        assert_eq!(Refusal::NoColumns.of(&[]), "the defining query has no columns");
    }
}
