//! Frontiers: how far a stream table has consumed its sources' changes.
//!
//! A frontier is `(S, x, {source -> c}, tau)`: the snapshot of the refresh, its own top-level transaction id, for each
//! source the highest `change_id` of the rows of x it consumed, and the time the query saw. PostgreSQL leaves a transaction's own id out of its
//! snapshot's list, so x is put there: without that, a transaction would count itself as committed and what it
//! changes after the refresh would be lost.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A transaction snapshot in the terms of `pg_snapshot`: ids below `xmin` are complete, ids from `xmax` on have not
/// begun, of those between exactly `in_progress` were running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionSnapshot {
    pub xmin: u64,
    pub xmax: u64,
    /// Ascending, within `xmin..xmax`.
    pub in_progress: Vec<u64>,
}

/// A text that is not a `pg_snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSnapshot(pub String);

impl FromStr for TransactionSnapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let invalid = || InvalidSnapshot(text.to_owned());
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or_else(invalid);
        let xmin = next()?.parse().map_err(|_| invalid())?;
        let xmax = next()?.parse().map_err(|_| invalid())?;
        let list = next()?;
        let in_progress = list
            .split(',')
            .filter(|id| !id.is_empty())
            .map(|id| id.parse().map_err(|_| invalid()))
            .collect::<Result<Vec<u64>, _>>()?;
        let ordered = in_progress.is_sorted_by(|a, b| a < b);
        let within = in_progress.iter().all(|id| (xmin..xmax).contains(id));
        if parts.next().is_some() || xmin > xmax || !ordered || !within {
            return Err(invalid());
        }
        Ok(TransactionSnapshot { xmin, xmax, in_progress })
    }
}

impl fmt::Display for TransactionSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, id) in self.in_progress.iter().enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl TransactionSnapshot {
    /// The snapshot as every other transaction would see it: with the own id among those in progress.
    pub fn with_own(mut self, own: Option<u64>) -> TransactionSnapshot {
        if let Some(own) = own.filter(|&own| own < self.xmax) {
            if let Err(place) = self.in_progress.binary_search(&own) {
                self.in_progress.insert(place, own);
            }
            self.xmin = self.xmin.min(own);
        }
        self
    }

    /// Whether everything visible in `earlier` is visible here.
    pub fn includes(&self, earlier: &TransactionSnapshot) -> bool {
        earlier.xmax <= self.xmax && !self.in_progress.iter().any(|&xid| earlier.sees(xid))
    }

    /// Whether the transaction's effects are visible.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }
}

/// How far a stream table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// With the own transaction in progress.
    pub snapshot: TransactionSnapshot,
    pub own_xid: u64,
    /// By source relation OID; absent means 0.
    pub consumed: BTreeMap<u32, i64>,
    /// `now()` of the refresh, in microseconds as the server counts them.
    pub time: i64,
}

impl Frontier {
    /// The highest `change_id` of the own transaction's rows consumed from a source.
    pub fn consumed_of(&self, source: u32) -> i64 {
        self.consumed.get(&source).copied().unwrap_or(0)
    }

    /// The same snapshot with nothing consumed of the own transaction.
    pub fn without_positions(&self) -> Frontier {
        Frontier { consumed: BTreeMap::new(), ..self.clone() }
    }

    /// Whether a captured row of `source` is still to be consumed.
    pub fn is_pending(&self, source: u32, xid: u64, change_id: i64) -> bool {
        let is_consumed_own = xid == self.own_xid && change_id <= self.consumed_of(source);
        !self.snapshot.sees(xid) && !is_consumed_own
    }

    /// The same as an SQL condition on a buffer's columns `xid` and `change_id` under the alias `alias`. Both arms
    /// of the disjunction are index conditions.
    pub fn pending_sql(&self, source: u32, alias: &str) -> String {
        let [xmax, running, own, consumed] = self.pending_parameters(source);
        let xid = |value: &str| format!("'{value}'::pg_catalog.xid8");
        let running =
            (!self.snapshot.in_progress.is_empty()).then(|| format!("'{running}'::pg_catalog.xid8[]"));
        let consumed = (self.consumed_of(source) > 0).then(|| (xid(&own), consumed));
        pending_condition(alias, &xid(&xmax), running, consumed)
    }

    /// The values of `$1` to `$4` in [`pending_by_parameters`], as text: `xmax` of the snapshot, the transactions it saw
    /// running, the own transaction, and the highest `change_id` of it that was consumed.
    pub fn pending_parameters(&self, source: u32) -> [String; 4] {
        let running: Vec<String> = self.snapshot.in_progress.iter().map(u64::to_string).collect();
        [
            self.snapshot.xmax.to_string(),
            format!("{{{}}}", running.join(",")),
            self.own_xid.to_string(),
            self.consumed_of(source).to_string(),
        ]
    }
}

/// [`Frontier::pending_sql`] of any frontier, whose [`Frontier::pending_parameters`] are `$1` to `$4`.
pub fn pending_by_parameters(alias: &str) -> String {
    let xid = |parameter: &str| format!("{parameter}::pg_catalog.xid8");
    let running = "$2::pg_catalog.xid8[]".to_owned();
    pending_condition(alias, &xid("$1"), Some(running), Some((xid("$3"), "$4::pg_catalog.int8".to_owned())))
}

fn pending_condition(
    alias: &str,
    xmax: &str,
    running: Option<String>,
    consumed: Option<(String, String)>,
) -> String {
    let mut sql = format!("({alias}.xid OPERATOR(pg_catalog.>=) {xmax}");
    if let Some(running) = running {
        sql += &format!(" OR {alias}.xid OPERATOR(pg_catalog.=) ANY ({running})");
    }
    sql += ")";
    if let Some((own, consumed)) = consumed {
        sql += &format!(
            " AND NOT ({alias}.xid OPERATOR(pg_catalog.=) {own} AND {alias}.change_id \
             OPERATOR(pg_catalog.<=) {consumed})"
        );
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> TransactionSnapshot {
        text.parse().expect("a valid snapshot")
    }

    #[test]
    fn text_round_trip() {
        for text in ["10:10:", "10:20:10,15", "118712:118714:118712"] {
            assert_eq!(snapshot(text).to_string(), text);
        }
    }

    #[test]
    fn malformed_snapshots_are_refused() {
        for text in ["", "1:2", "a:b:", "20:10:", "10:20:9", "10:20:12,11", "1:2:1:"] {
            assert!(text.parse::<TransactionSnapshot>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn own_transaction_is_not_visible_to_itself() {
        let taken = snapshot("118713:118714:");
        assert!(taken.sees(118_712));
        let stored = taken.with_own(Some(118_712));
        assert_eq!(stored.to_string(), "118712:118714:118712");
        assert!(!stored.sees(118_712));
        assert_eq!(snapshot("10:20:12").with_own(Some(25)), snapshot("10:20:12"));
        assert_eq!(snapshot("10:20:12").with_own(None), snapshot("10:20:12"));
    }

    #[test]
    fn a_later_snapshot_includes_an_earlier_one() {
        let earlier = snapshot("10:20:12,15");
        assert!(snapshot("12:25:12").includes(&earlier));
        assert!(earlier.includes(&earlier));
        assert!(!snapshot("10:19:12,15").includes(&earlier));
        assert!(!snapshot("10:25:11,12").includes(&earlier), "11 was complete and is running again");
    }

    #[test]
    fn rows_written_after_the_refresh_by_its_own_transaction_stay_pending() {
        let frontier = Frontier {
            snapshot: snapshot("118712:118714:118712"),
            own_xid: 118_712,
            consumed: BTreeMap::from([(1, 1)]),
            time: 0,
        };
        assert!(!frontier.is_pending(1, 118_712, 1));
        assert!(frontier.is_pending(1, 118_712, 2));
        assert!(frontier.is_pending(2, 118_712, 1), "consumed positions are per source");
        assert!(!frontier.is_pending(1, 118_713, 9));
        assert!(frontier.is_pending(1, 118_714, 1));
    }
}
