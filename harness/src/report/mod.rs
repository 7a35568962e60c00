//! What runs found, as data, and its forms: a table on the terminal, a static site, JSON.

mod bench_page;
mod counts;
mod diff;
mod explanation;
mod front_page;
mod html;
pub mod links;
pub mod machine;
mod part_page;
mod plot;
mod query_page;
mod random;
mod random_page;
mod replay_page;
mod run;
mod scripts;
mod scripts_page;
mod site;
mod sqllogictest_page;
mod statistics;
mod table;
mod terminal;
pub mod verdicts;

pub use bench_page::write_benchmarks;
pub use counts::Counts;
pub use diff::Diff;
pub use explanation::{Explanation, How, Translation};
pub use random::{RandomRun, Round};
pub use run::{
    CycleRun, Freshness, Judgement, NoChange, Populated, QueryRun, Refreshed, Report, Scheduled, ServerRun,
};
pub use scripts::{ScriptRun, ScriptTally, ScriptsRun};
pub use site::{About, Content, NotProven, Part, Site};
pub use statistics::{median, percentile};
