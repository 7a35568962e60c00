//! What the project's own scripts came to on one server.

use serde::{Deserialize, Serialize};

use super::counts::Counts;

/// All scripts on one server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ScriptsRun {
    pub backend: String,
    pub scripts: Vec<ScriptRun>,
}

/// One script.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ScriptRun {
    /// Path in the repository.
    pub path: String,
    /// What it is about: its first comment.
    pub about: String,
    pub tally: ScriptTally,
    pub seconds: f64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What a script did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptTally {
    pub stream_tables: usize,
    pub refreshes: usize,
    /// Comparisons of a stream table with its query.
    pub comparisons: usize,
    /// Comparisons of hidden state and contents with a recomputation, by the extension itself.
    pub verifications: usize,
}

impl ScriptsRun {
    /// What they come to together.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for script in &self.scripts {
            counts.queries += script.tally.stream_tables;
            counts.refreshes += script.tally.refreshes;
            counts.compare("PostgreSQL", script.tally.comparisons);
            counts.wrong += usize::from(script.failure.is_some());
        }
        counts
    }

    /// Failures, one line each and then the details.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.scripts.iter().filter_map(|script| {
            script.failure.as_ref().map(|failure| format!("{}\n{failure}", script.path))
        });
        failed.collect()
    }
}
