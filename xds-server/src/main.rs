//! The `berth` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    berth::cli::run(std::env::args_os()).await
}
