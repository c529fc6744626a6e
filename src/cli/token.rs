//! `doorward token`: makes, lists and revokes service tokens. It works on the store; running replicas are notified.

use std::{collections::BTreeSet, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    arguments::FileArgs,
    output,
    printable::{escaped, escaped_json},
    serve,
    store_access::StoreAccess,
};
use crate::{
    clock::Clock,
    config::{self, Config},
    session::service_tokens::admin::{NewServiceToken, ServiceTokenAdmin, ServiceTokenEntry},
};

/// Longest time until a token expires: as the configuration's durations.
const MAX_LIFETIME: Duration = Duration::from_hours(24 * 3_660);

/// Headings of the table.
const HEADINGS: [&str; 6] = ["NAME", "APPS", "GROUPS", "CREATED", "EXPIRES", "LAST USE"];

/// Subcommands of `doorward token`.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for programs that can send one fixed header, and print it once
    New {
        /// Its name, which no other token has; apps see it as the user `token:NAME`
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The apps that it is for, by name
        #[arg(long = "app", value_name = "APP", required = true, num_args = 1..)]
        apps: Vec<String>,
        /// The groups that rules judge and apps are told
        #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
        groups: Vec<String>,
        /// The time after which it expires, such as 90d [default: never]
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<Duration>,
        #[command(flatten)]
        file: FileArgs,
    },
    /// List the tokens; none of them can be shown again
    List {
        /// The format of the list
        #[arg(long, value_enum, default_value_t)]
        format: TokenListFormat,
        #[command(flatten)]
        file: FileArgs,
    },
    /// Revoke tokens; they are refused by every replica within seconds
    Revoke {
        #[command(flatten)]
        selection: TokenSelection,
        #[command(flatten)]
        file: FileArgs,
    },
}

/// Format of the list.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum TokenListFormat {
    /// Human-readable table.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// Tokens to revoke.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct TokenSelection {
    /// The token of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// All tokens
    #[arg(long)]
    all: bool,
}

/// Runs the subcommand.
pub(super) fn run(command: TokenCommand) -> ExitCode {
    serve::report(serve::block_on(async {
        match command {
            TokenCommand::New { name, apps, groups, expires, file } => {
                create(NewServiceToken { name, apps, groups, lifetime: expires }, file.config.as_deref()).await
            }
            TokenCommand::List { format, file } => {
                list(&open(config::load(file.config.as_deref())?).await?, format).await
            }
            TokenCommand::Revoke { selection, file } => {
                revoke(&open(config::load(file.config.as_deref())?).await?, selection).await
            }
        }
    }))
}

async fn open(config: Config) -> anyhow::Result<ServiceTokenAdmin> {
    let StoreAccess { keyring, metrics } = StoreAccess::of(&config)?;
    ServiceTokenAdmin::open(&config.session.backend, keyring, Clock::System, metrics).await.context("store.url")
}

async fn create(new: NewServiceToken, file: Option<&Path>) -> anyhow::Result<()> {
    let config = config::load(file)?;
    let new = NewServiceToken { apps: known_apps(new.apps, &config)?, groups: without_repeats(new.groups), ..new };
    let header = config.gate.service_token_header.clone();
    let token = open(config).await?.create(new).await?;
    output::print(&format!("{token}\n"))?;
    match header {
        Some(header) => eprintln!("This is the only time that the token is shown. Send it in the header `{header}`."),
        None => eprintln!(
            "This is the only time that the token is shown. It does not count yet: the configuration has no section `[tokens]`."
        ),
    }
    Ok(())
}

/// Returns the names of apps, once each, or an error that names those that the configuration does not have.
fn known_apps(names: Vec<String>, config: &Config) -> anyhow::Result<Vec<String>> {
    let names = without_repeats(names);
    let is_known = |name: &String| config.policy.apps.iter().any(|app| app.name == *name);
    let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).map(|name| format!("`{name}`")).collect();
    if !unknown.is_empty() {
        let known: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
        bail!(
            "the configuration has no app called {}; its apps are: {}",
            unknown.join(" or "),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    }
    Ok(names)
}

fn without_repeats(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| !name.is_empty() && seen.insert(name.clone())).collect()
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Err(error) => Err(format!("{error}; write it as 12h or 90d")),
        Ok(short) if short < Duration::from_secs(1) => Err("the shortest is 1s".to_owned()),
        Ok(long) if long > MAX_LIFETIME => Err("the longest is ten years; without it a token never expires".to_owned()),
        Ok(lifetime) => Ok(lifetime),
    }
}

async fn list(register: &ServiceTokenAdmin, format: TokenListFormat) -> anyhow::Result<()> {
    let entries = register.list().await?;
    let text = match format {
        TokenListFormat::Table => {
            let rows = entries.iter().map(table_row);
            std::iter::once(row(HEADINGS.map(ToOwned::to_owned))).chain(rows).collect()
        }
        TokenListFormat::Json => {
            let entries: Value = entries.iter().map(json).collect();
            escaped_json(&format!("{entries:#}\n")).into_owned()
        }
    };
    Ok(output::print(&text)?)
}

async fn revoke(register: &ServiceTokenAdmin, selection: TokenSelection) -> anyhow::Result<()> {
    let revoked = match selection.name {
        Some(name) => register.revoke(&name).await.map(|()| 1)?,
        None => register.revoke_all().await?,
    };
    Ok(output::print(&format!("revoked {revoked} service token{}\n", if revoked == 1 { "" } else { "s" }))?)
}

fn json(entry: &ServiceTokenEntry) -> Value {
    let scope = entry.scope.as_ref();
    json!({
        "name": entry.name,
        "apps": scope.map(|scope| &scope.apps),
        "groups": scope.map(|scope| &scope.groups),
        "created": entry.created.to_string(),
        "expires": scope.and_then(|scope| scope.expires).map(|expires| expires.to_string()),
        "last_used": entry.last_used.map(|used| used.to_string()),
    })
}

fn table_row(entry: &ServiceTokenEntry) -> String {
    let list = |names: &[String]| escaped(&names.join(",")).into_owned();
    let scope = entry.scope.as_ref();
    let sealed = || "(sealed)".to_owned();
    let expires =
        |expires: Option<_>| expires.map_or_else(|| "never".to_owned(), |at: crate::clock::Timestamp| at.to_string());
    row([
        escaped(&entry.name).into_owned(),
        scope.map_or_else(sealed, |scope| list(&scope.apps)),
        scope.map_or_else(sealed, |scope| list(&scope.groups)),
        entry.created.to_string(),
        scope.map_or_else(sealed, |scope| expires(scope.expires)),
        entry.last_used.map_or_else(|| "never".to_owned(), |used| used.to_string()),
    ])
}

fn row([name, apps, groups, created, expires, used]: [String; 6]) -> String {
    format!("{name:<24}  {apps:<24}  {groups:<24}  {created:<20}  {expires:<20}  {used}\n")
}
