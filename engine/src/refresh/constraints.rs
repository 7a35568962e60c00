//! Users' constraints on a stream table.

use crate::catalog::definition::StreamTable;
use crate::pg::attached;
use crate::pg::exec::Executor;
use crate::pg::spi;
use crate::pg::value::Param;
use pg_trickle_core::maintain::ApplyOptions;

/// What an apply must respect.
pub struct Constraints {
    pub options: ApplyOptions,
    /// Qualified names of the deferrable constraints, separated by commas.
    deferrable: Option<String>,
    /// Those that are deferred unless somebody says otherwise.
    deferred: Option<String>,
}

impl Constraints {
    pub fn load(executor: &Executor, stream_table: &StreamTable) -> Constraints {
        let sql = include_str!("../../../sql/queries/deferrable_constraints.sql");
        let row = attached::has_deferrable(stream_table.relid).then(|| {
            executor.fixed_row(sql, &[Param::Oid(stream_table.relid)]).expect("an aggregate returns a row")
        });
        let names = |column| row.as_ref().and_then(|row| row.optional_text(column));
        // The engine's own unique index exists for some keys only; one more than that is the user's. Taking the safe
        // path when in doubt only costs an update in place.
        let own = usize::from(stream_table.key.as_ref().is_some_and(|key| !key.is_empty()));
        Constraints {
            options: ApplyOptions {
                has_extra_unique: attached::exclusive_indexes(stream_table.relid) > own,
                is_foreign: false,
            },
            deferrable: names(0),
            deferred: names(1),
        }
    }

    /// Runs `body` with the stream table's deferrable constraints checked at once. A trigger left for COMMIT would run
    /// outside the owner's restricted context (`design-review.md` 14.3). Only these constraints are touched: the
    /// transaction may be the user's.
    pub fn checked_at_once<T>(&self, body: impl FnOnce() -> T) -> T {
        if let Some(names) = &self.deferrable {
            spi::ddl(&format!("SET CONSTRAINTS {names} IMMEDIATE"));
        }
        let result = body();
        if let Some(names) = &self.deferred {
            spi::ddl(&format!("SET CONSTRAINTS {names} DEFERRED"));
        }
        result
    }
}
