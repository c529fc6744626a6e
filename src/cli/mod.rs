//! The command line of `doorward`.

mod arguments;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
mod hash_password;
mod import;
mod logging;
mod output;
mod printable;
mod serve;
mod sessions;
mod store_access;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::{arguments::FileArgs, output::print_status};
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
    /// Write a configuration from that of another gate
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// See who is signed in, and end sessions
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Make, list and revoke service tokens, for programs that can send one fixed header
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print a new sealing secret
    Secret,
    /// Read a password on standard input and print its hash, for the users file of the emergency sign-in
    HashPassword,
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
        Command::Import(command) => import::run(&command),
        Command::Sessions(command) => sessions::run(command),
        Command::Token(command) => token::run(command),
        Command::Secret => print_status(&format!("{}\n", crypto::encode(&crypto::random::<32>()))),
        Command::HashPassword => hash_password::run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "doorward", &mut script);
            print_status(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
