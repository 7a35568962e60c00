//! The `harness` command. `harness/run` builds and starts it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pg_trickle_harness::bench::BenchArguments;
use pg_trickle_harness::corpus::CorpusArguments;
use pg_trickle_harness::demo::DemoOptions;
use pg_trickle_harness::fuzz::FuzzArguments;
use pg_trickle_harness::lint::LintArguments;
use pg_trickle_harness::mutants::MutantsArguments;
use pg_trickle_harness::provision::command::ProvisionArguments;
use pg_trickle_harness::publish::ReportArguments;
use pg_trickle_harness::replay::{AnswersOptions, ReplayArguments};
use pg_trickle_harness::serve::ServeArguments;
use pg_trickle_harness::test_run::TestArguments;

/// Provision, run and check pg_trickle.
#[derive(Parser)]
#[command(name = "harness")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get what the machine lacks: build tools, PostgreSQL servers, DuckDB; and package the extension.
    Provision(ProvisionArguments),
    /// Run every test.
    Test(TestArguments),
    /// Check formatting and run clippy.
    Lint(LintArguments),
    /// Measure refreshes and capture beside recomputing and beside what one would write by hand.
    Bench(Box<BenchArguments>),
    /// Check both engines against the published TPC-H answers at scale 1 (a gigabyte, some minutes).
    Answers(AnswersOptions),
    /// List, fetch or verify the files that replays read.
    Corpus(CorpusArguments),
    /// Keep 22 stream tables over TPC-H fresh while orders stream in, verify them, and write a report.
    Demo(DemoOptions),
    /// Random queries and random histories against real servers, for as long as asked.
    Fuzz(FuzzArguments),
    /// Put mistakes into the rules of the core, one at a time, and count those that the tests notice.
    Mutants(MutantsArguments),
    /// Replay a corpus under change and let two oracles judge every stream table after every refresh.
    Replay(ReplayArguments),
    /// Run a selection of everything and publish what was compared: a static site with its figures as JSON.
    Report(ReportArguments),
    /// Start a server with the extension and print how to connect; Ctrl-C stops it.
    Serve(ServeArguments),
}

fn main() -> ExitCode {
    let outcome: Result<ExitCode> = match Arguments::parse().command {
        Command::Provision(arguments) => arguments.run(),
        Command::Test(arguments) => arguments.run(),
        Command::Lint(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::Answers(options) => options.run(),
        Command::Corpus(arguments) => arguments.run(),
        Command::Demo(options) => options.run(),
        Command::Fuzz(arguments) => arguments.run(),
        Command::Mutants(arguments) => arguments.run(),
        Command::Replay(arguments) => arguments.run(),
        Command::Report(arguments) => arguments.run(),
        Command::Serve(arguments) => arguments.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("harness: {error:#}");
        ExitCode::FAILURE
    })
}
