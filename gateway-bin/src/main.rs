//! The program `gateway`.

use std::process::ExitCode;

use clap::Parser;
use gateway_bin::args::{Cli, Command};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => gateway_bin::program::run(&args),
        Command::Echo(args) => gateway_bin::cli::echo::run(&args),
        Command::Check(args) => gateway_bin::cli::check::run(&args),
        Command::Demo(args) => gateway_bin::cli::demo::run(&args),
        Command::Status(args) => gateway_bin::cli::status::run(&args),
        Command::Explain(args) => gateway_bin::cli::explain::run(&args),
        #[cfg(feature = "kubernetes")]
        Command::Install(args) => gateway_bin::cli::install::run(&args),
    }
}
