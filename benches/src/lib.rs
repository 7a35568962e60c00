//! What the benchmarks of the core work on: the plans that the front end makes of the 22 TPC-H queries and of the widest
//! query of the Join Order Benchmark, kept as files, so that no server is needed. `harness/tests/server/plans.rs` asks a
//! server whether they are still what it makes of the queries.

use std::path::{Path, PathBuf};

use pg_trickle_core::delta::{Changed, Sharing, differentiate};
use pg_trickle_core::maintain::Names;
use pg_trickle_core::plan::Plan;
use pg_trickle_core::plan::text::{ParseError, parse};
use pg_trickle_core::query::{SourceInfo, Unsupported};
use pg_trickle_core::stage::Staged;
use pg_trickle_core::types::SourceId;
use serde::{Deserialize, Serialize};

/// An analysed query: one file of `benches/plans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzedQuery {
    /// The plan as text, by lines.
    pub plan: Vec<String>,
    /// What the plan knows of its sources. Their OIDs, which are others in each database, are 0.
    pub sources: Vec<SourceInfo>,
}

impl AnalyzedQuery {
    /// The text of the plan.
    pub fn text(&self) -> String {
        self.plan.join("\n")
    }

    /// The plan.
    pub fn plan(&self) -> Result<Plan, ParseError> {
        parse(&self.text())
    }
}

/// Folder of the plans.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plans")
}

/// Every query with its name, by name.
pub fn queries() -> std::io::Result<Vec<(String, AnalyzedQuery)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        found.push((name, serde_json::from_str(&std::fs::read_to_string(&path)?)?));
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found)
}

/// Names as those of a stream table in use.
pub fn names() -> Names {
    Names { stream_table: "public.st".to_owned(), state_prefix: "pgtrickle_state.s_1_".to_owned() }
}

/// The changes of all stages and of the result when every source changed, as plans.
pub fn changes(staged: &Staged, sources: usize) -> Result<Vec<Plan>, Unsupported> {
    let mut changed = Changed::sources((0..sources as u32).map(SourceId));
    let (mut sharing, mut plans) = (Sharing::default(), Vec::new());
    for stage in &staged.stages {
        if let Some(change) = differentiate(&stage.input, &changed, &mut sharing)? {
            plans.push(change);
            changed.stages.insert(stage.id);
        }
    }
    plans.extend(differentiate(&staged.result, &changed, &mut sharing)?);
    plans.extend(sharing.plans);
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_trickle_core::maintain;
    use pg_trickle_core::normalize::normalize;
    use pg_trickle_core::stage::cut;

    /// What the benchmarks do is possible for every query.
    #[test]
    fn every_plan_is_read_normalised_differentiated_and_maintained() {
        let queries = queries().expect("the plans are there");
        assert_eq!(queries.len(), 23, "22 of TPC-H and one of JOB");
        for (name, query) in queries {
            let plan = query.plan().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(plan.to_string(), query.text(), "{name}");
            let staged = cut(&normalize(&plan).expect("normalises")).expect("is cut");
            let changes = changes(&staged, query.sources.len()).expect("is differentiated");
            assert!(!changes.is_empty(), "{name}: no change");
            maintain::plan(&plan, &query.sources, &names(), &[])
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
}
