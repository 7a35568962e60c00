//! The machine that a report was made on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::process::run;

/// What a reader has to know to judge the times.
pub fn describe() -> BTreeMap<String, String> {
    let field = |path: &str, name: &str, separator: char| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(separator).map(str::to_owned))
            .map(|value| value.trim().trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let memory = field("/proc/meminfo", "MemTotal", ':');
    let kib: f64 = memory.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    BTreeMap::from([
        ("processor".to_owned(), field("/proc/cpuinfo", "model name", ':')),
        ("processors".to_owned(), std::thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("memory".to_owned(), format!("{:.0} GiB", kib / f64::from(1 << 20))),
        ("system".to_owned(), field("/etc/os-release", "PRETTY_NAME", '=')),
        ("DuckDB".to_owned(), pg_trickle_oracle::duckdb::VERSION.to_owned()),
    ])
}

/// The time in words, to the minute.
pub fn now() -> String {
    run(Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M UTC"])).unwrap_or_default().trim().to_owned()
}
