//! What to do after a refresh failed, by SQLSTATE and never by message.

/// What a failure says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another transaction was in the way; the same refresh can succeed at once. Not counted as an error.
    Soon,
    /// The data, a constraint or a resource was the cause, and may change. Counted; too many in a row suspend.
    Later,
    /// The definition no longer fits the database: no refresh will succeed until somebody acts.
    Never,
}

impl Retry {
    /// Classifies a five-character SQLSTATE.
    pub fn after(sqlstate: &str) -> Retry {
        let class = sqlstate.get(..2).unwrap_or_default();
        match (class, sqlstate) {
            // Transaction rollback, lock not available, object in use, cancelled.
            ("40", _) | (_, "55P03" | "55006" | "57014") => Retry::Soon,
            // Feature not supported, syntax error or access rule violation, WITH CHECK OPTION violation, unknown
            // catalog or schema, object state of a kind a refresh never waits for, dependent objects.
            ("0A" | "42" | "44" | "3D" | "3F" | "55" | "2B", _) => Retry::Never,
            _ => Retry::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (sqlstate, expected) in [
            ("40001", Retry::Soon),
            ("40P01", Retry::Soon),
            ("55P03", Retry::Soon),
            ("57014", Retry::Soon),
            ("22012", Retry::Later),
            ("23505", Retry::Later),
            ("53100", Retry::Later),
            ("XX000", Retry::Later),
            ("P0001", Retry::Later),
            ("42P01", Retry::Never),
            ("42501", Retry::Never),
            ("0A000", Retry::Never),
            ("55000", Retry::Never),
            ("", Retry::Later),
        ] {
            assert_eq!(Retry::after(sqlstate), expected, "{sqlstate}");
        }
    }
}
