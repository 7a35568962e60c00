//! `harness bench`: which workloads run, at which sizes, and where their figures go.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use pg_trickle_corpus::tpch::Scale;

use super::compare::CompareArguments;
use super::ground::Ground;
use super::result::{Case, Run, Summary};
use super::{capture, creation, freshness, graph, growth, operators, tpch, writers};
use crate::cluster::{Cluster, ClusterOptions, private_cluster_of};
use crate::provision::cache::checkout;
use crate::provision::debian;
use crate::replay::{Mode, commit, settings};
use crate::report::{About, machine, write_benchmarks};

/// What to do with benchmarks; without a word, run them.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: BenchOptions,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Compare with earlier figures or with a revision; fails if something is slower than it was.
    Compare(CompareArguments),
    /// Write pages with tables and plots of the figures.
    Report {
        /// A JSON file of benchmarks [default: target/bench/summary.json in the checkout].
        figures: Option<PathBuf>,
        /// Folder of the pages [default: target/bench/report in the checkout].
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Which benchmarks to run, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchOptions {
    /// Only these workloads, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// PostgreSQL major version.
    #[arg(long, default_value_t = 18)]
    pg: u32,
    /// Memory of the server for pages.
    #[arg(long, default_value = "1GB")]
    shared_buffers: String,
    /// Folder for the figures [default: target/bench in the checkout].
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    sizes: Sizes,
}

/// Something that is measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Nothing to do; stream tables on and beside each other.
    Graph,
    /// Statements on captured tables beside bare ones.
    Capture,
    /// The queries of TPC-H after batches of orders.
    Tpch,
    /// Operators one by one.
    Operators,
    /// The same change at growing sizes.
    Growth,
    /// From commit to visible, with the scheduler.
    Freshness,
    /// What concurrent writers notice of refreshes.
    Writers,
    /// Creation, and what writers notice of it.
    Creation,
}

/// How much of everything.
#[derive(Debug, Clone, clap::Args)]
pub struct Sizes {
    /// Turns of each contestant that are measured.
    #[arg(long, default_value_t = 7)]
    pub cycles: u32,
    /// Turns before them.
    #[arg(long, default_value_t = 2)]
    pub warm_up: u32,
    /// Seed of rows and changes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Refresh modes of stream tables, separated by commas; the first is the one that is judged.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, default_value = "differential")]
    pub modes: Vec<Mode>,
    /// Graph: rows of each source.
    #[arg(long, default_value_t = 10_000)]
    pub graph_rows: u64,
    /// Capture: rows of a statement, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,100,100000")]
    pub capture_rows: Vec<u64>,
    /// Capture: rows of a table, besides those that come and go.
    #[arg(long, default_value_t = 10_000)]
    pub capture_base_rows: u64,
    /// Capture: rows that are narrow, medium or wide, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    pub widths: Vec<String>,
    /// Capture: sessions that write at the same time, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,4")]
    pub clients: Vec<usize>,
    /// TPC-H: scale factors, separated by commas.
    #[arg(long = "scale", value_delimiter = ',', default_value = "0.1")]
    pub scales: Vec<Scale>,
    /// TPC-H: orders that come and go with a batch, separated by commas; a tenth as many move, a tenth change.
    #[arg(long, value_delimiter = ',', default_value = "150")]
    pub orders: Vec<i64>,
    /// TPC-H: shares of all orders that a batch touches, separated by commas, such as 0.001,0.01,0.1,0.5.
    #[arg(long, value_delimiter = ',')]
    pub shares: Vec<f64>,
    /// TPC-H: only these queries, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<String>,
    /// Operators: rows of the tables, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub rows: Vec<u64>,
    /// Operators: rows that change in each table, separated by commas; at most half of the table.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    pub changes: Vec<u64>,
    /// Operators and growth: only these, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub operators: Vec<String>,
    /// Growth: rows of the tables, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "10000,40000,160000,640000")]
    pub growth_rows: Vec<u64>,
    /// Growth: rows that change in each table.
    #[arg(long, default_value_t = 100)]
    pub growth_changes: u64,
    /// Freshness: rows per second, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    pub rates: Vec<u64>,
    /// Freshness: seconds.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Writers: how many, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    pub writers: Vec<usize>,
    /// Writers: milliseconds of a turn.
    #[arg(long, default_value_t = 2000)]
    pub phase_ms: u64,
    /// Writers: rows of the table.
    #[arg(long, default_value_t = 100_000)]
    pub account_rows: u64,
    /// Creation: rows of the table, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    pub creation_rows: Vec<u64>,
}

impl Sizes {
    /// Whether rows of this width were asked for.
    pub(super) fn wants_width(&self, name: &str) -> bool {
        self.widths.is_empty() || self.widths.iter().any(|wanted| wanted == name)
    }

    /// The least of everything: to see that it works.
    pub fn smallest() -> Sizes {
        let scale = Scale::new(0.01).expect("a scale");
        Sizes {
            cycles: 1,
            warm_up: 0,
            seed: 1,
            modes: vec![Mode::Differential],
            graph_rows: 100,
            capture_rows: vec![1],
            capture_base_rows: 100,
            widths: vec!["narrow".to_owned()],
            clients: vec![1],
            scales: vec![scale],
            orders: vec![1],
            shares: Vec::new(),
            queries: ["q1", "q3", "q6", "q16"].map(str::to_owned).to_vec(),
            rows: vec![100],
            changes: vec![4],
            operators: Vec::new(),
            growth_rows: vec![100, 200],
            growth_changes: 4,
            rates: vec![100],
            seconds: 1,
            writers: vec![1],
            phase_ms: 50,
            account_rows: 100,
            creation_rows: vec![100],
        }
    }
}

impl BenchArguments {
    /// Does what was asked for.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.action {
            None => {
                let summary = self.options.measure()?;
                let file = self.options.folder().join(Summary::FILE);
                println!("{} workloads: {}", summary.runs.len(), file.display());
            }
            Some(Action::Compare(arguments)) => {
                let comparison = arguments.run(&default_folder().join("compare"))?;
                print!("{comparison}");
                if !comparison.is_acceptable() {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Some(Action::Report { figures, out }) => {
                let figures = figures.clone().unwrap_or_else(|| default_folder().join(Summary::FILE));
                let out = out.clone().unwrap_or_else(|| default_folder().join("report"));
                write_benchmarks(&Summary::read(&figures)?, &out)?;
                println!("report: {}", out.join("index.html").display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn default_folder() -> PathBuf {
    checkout().join("target/bench")
}

impl BenchOptions {
    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(default_folder)
    }

    /// Runs the workloads, each on a server of its own, and writes their figures.
    fn measure(&self) -> Result<Summary> {
        debian::get_build_packages()?;
        let mut summary = Summary::default();
        let all = Workload::value_variants();
        for &workload in all.iter().filter(|one| self.only.is_empty() || self.only.contains(one)) {
            println!("{}:", workload.name());
            let cluster = private_cluster_of(self.pg, &self.cluster_options())?;
            let run = measure(workload, cluster, &self.sizes)
                .with_context(|| format!("workload {}", workload.name()))?;
            summary.runs.push(run);
            // What is interrupted later leaves what there is.
            summary.write_to(&self.folder())?;
        }
        Ok(summary)
    }

    /// Nothing runs by itself meanwhile: no vacuum, no checkpoint for want of WAL.
    fn cluster_options(&self) -> ClusterOptions {
        ClusterOptions::default()
            .set("shared_buffers", &self.shared_buffers)
            .set("autovacuum", "off")
            .set("max_wal_size", "16GB")
            .set("checkpoint_timeout", "1h")
    }
}

impl Workload {
    /// As on a command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// Runs one workload on a server.
pub fn measure(workload: Workload, cluster: Arc<dyn Cluster>, sizes: &Sizes) -> Result<Run> {
    let clock = Instant::now();
    let started = machine::now();
    let mut client = cluster.connect("postgres")?;
    let server_version = client.query_one("SHOW server_version", &[])?.get(0);
    let settings = settings(&mut client)?;
    drop(client);
    let ground = Ground { cluster, sizes: sizes.clone() };
    let cases = cases(workload, &ground)?;
    Ok(Run {
        workload: workload.name(),
        about: About {
            title: "Benchmarks".to_owned(),
            command: std::env::args()
                .skip(1)
                .fold("./harness/run".to_owned(), |line, word| line + " " + &word),
            started,
            seconds: clock.elapsed().as_secs_f64(),
            commit: commit(),
            seed: sizes.seed,
            machine: machine::describe(),
        },
        pg_major: ground.cluster.pg_major(),
        server_version,
        backend: ground.cluster.backend().to_string(),
        settings,
        warm_up: sizes.warm_up,
        cases,
    })
}

/// The cases of one workload.
fn cases(workload: Workload, ground: &Ground) -> Result<Vec<Case>> {
    match workload {
        Workload::Graph => graph::cases(ground),
        Workload::Capture => capture::cases(ground),
        Workload::Tpch => tpch::cases(ground),
        Workload::Operators => operators::cases(ground),
        Workload::Growth => growth::cases(ground),
        Workload::Freshness => freshness::cases(ground),
        Workload::Writers => writers::cases(ground),
        Workload::Creation => creation::cases(ground),
    }
}
