//! x
use std::path::Path;
use std::process::ExitCode;
/// x
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum Format {
    /// x
    #[default]
    Text,
    /// x
    Json,
}
/// x
#[must_use]
pub fn run(_f: Option<&Path>, _o: Format) -> ExitCode {
    ExitCode::SUCCESS
}
