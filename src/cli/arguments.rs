//! Arguments that several subcommands share.

use std::path::PathBuf;

use clap::Args;

/// The configuration file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The configuration file (else `$DOORWARD_CONFIG`, `./doorward.toml`, `/etc/doorward/doorward.toml`)
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}
