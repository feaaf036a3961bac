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
        _ => {
            use std::io::Write as _;
            // Nobody is left to be told if this fails.
            let _ = writeln!(std::io::stderr(), "this subcommand is not part of this build yet");
            ExitCode::from(2)
        }
    }
}
