//! The command line of `doorward`.

pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
mod logging;
mod printable;
mod serve;
mod sessions;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::crypto;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DOORWARD_COMMIT"), ")");

/// A forward-auth gate: OpenID Connect sign-in for Traefik, nginx, Caddy and Envoy.
#[derive(Debug, Parser)]
#[command(name = "doorward", version = VERSION, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The configuration file (else `$DOORWARD_CONFIG`, `./doorward.toml`, `/etc/doorward/doorward.toml`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gate; the default without a subcommand
    Serve {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Show the gate on this machine with a built-in provider and sample apps; nothing to install
    #[cfg(feature = "demo")]
    Demo(demo::Options),
    /// Check the configuration and print every value in force with its origin
    Check {
        #[command(flatten)]
        file: FileArgs,
        /// The format of the report
        #[arg(long, value_enum, default_value_t)]
        format: check::ReportFormat,
    },
    /// See who is signed in, and end sessions
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Print a new sealing secret
    Secret,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Parses the arguments and runs the command. Exit status: 0 success, 1 failure, 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve { file: arguments.file }) {
        Command::Serve { file } => serve::run(file.config.as_deref()),
        #[cfg(feature = "demo")]
        Command::Demo(options) => serve::report(serve::block_on(demo::run(options))),
        Command::Check { file, format } => check::run(file.config.as_deref(), format),
        Command::Sessions(command) => sessions::run(command),
        Command::Secret => print(&format!("{}\n", crypto::encode(&crypto::random::<32>()))),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "doorward", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Writes to standard output. A broken pipe is no failure; any other error is.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_serve() {
        let arguments = Arguments::try_parse_from(["doorward", "--config", "x.toml"]).unwrap();
        assert!(arguments.command.is_none());
        assert_eq!(arguments.file.config, Some(PathBuf::from("x.toml")));
        assert!(Arguments::try_parse_from(["doorward", "--config", "x.toml", "secret"]).is_err());
    }
}
