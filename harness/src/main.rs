//! The `harness` command. `harness/run` builds and starts it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Provision, run and check pg_trickle.
#[derive(Parser)]
#[command(name = "harness")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server with the extension and wait; Ctrl-C stops it.
    Serve(ServeArguments),
}

/// Arguments of `serve`.
#[derive(clap::Args)]
struct ServeArguments {
    /// PostgreSQL major version.
    #[arg(long, default_value_t = 18)]
    pg: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("harness: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    use pg_trickle_harness::cluster::{ClusterOptions, private_cluster_of};
    let cluster = private_cluster_of(arguments.pg, &ClusterOptions::default())?;
    cluster.connect("postgres")?.batch_execute("CREATE EXTENSION pg_trickle")?;
    println!("{}", cluster.psql_line("postgres"));
    println!("The server runs until this command ends (Ctrl-C).");
    // The server stops with this process; there is nothing else to wait for.
    loop {
        std::thread::park();
    }
}
