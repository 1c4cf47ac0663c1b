//! The program: reads the command line and runs it.

use clap::Parser;
use patchpost::cli::{self, args::Cli};

fn main() -> std::process::ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", cli::pasteable(&format!("patchpost: {error:#}")));
            std::process::ExitCode::FAILURE
        }
    }
}
