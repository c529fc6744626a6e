//! `doorward sessions`: lists and revokes sessions. It works on the store; running replicas are notified.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
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
    session::admin::{PageCursor, SessionAdmin, SessionEntry, SessionFilter},
};

/// Digits of an id in the table: enough to identify one among millions.
const ID_DIGITS: usize = 12;

/// Headings of the table.
const HEADINGS: [&str; 6] = ["ID", "USER", "E-MAIL", "PROVIDER", "SIGNED IN", "LAST SEEN"];

/// Subcommands of `doorward sessions`.
#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// List who is signed in
    List {
        /// Only sessions of the person with this user name, e-mail address or subject
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// The format of the list
        #[arg(long, value_enum, default_value_t)]
        format: SessionsFormat,
        #[command(flatten)]
        file: FileArgs,
    },
    /// Show one session
    Show {
        /// The first digits of its id
        #[arg(value_name = "ID_PREFIX")]
        id: String,
        /// The format of the output
        #[arg(long, value_enum, default_value_t)]
        format: SessionsFormat,
        #[command(flatten)]
        file: FileArgs,
    },
    /// End sessions; they are refused by every replica within seconds
    Revoke {
        #[command(flatten)]
        selection: RevokeArgs,
        #[command(flatten)]
        file: FileArgs,
    },
}

/// Format of the output.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum SessionsFormat {
    /// Human-readable table.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// Sessions to revoke.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct RevokeArgs {
    /// All sessions of the person with this user name, e-mail address or subject
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The session whose id begins with these digits
    #[arg(long, value_name = "PREFIX")]
    id: Option<String>,
    /// All sessions
    #[arg(long)]
    all: bool,
}

/// Runs the subcommand.
pub(super) fn run(command: SessionsCommand) -> ExitCode {
    serve::report(serve::block_on(async {
        match command {
            SessionsCommand::List { user, format, file } => {
                let search = user.map_or(SessionFilter::All, SessionFilter::User);
                list(&open(file.config.as_deref()).await?, &search, format).await
            }
            SessionsCommand::Show { id, format, file } => show(&open(file.config.as_deref()).await?, &id, format).await,
            SessionsCommand::Revoke { selection, file } => {
                revoke(&open(file.config.as_deref()).await?, selection).await
            }
        }
    }))
}

async fn open(file: Option<&Path>) -> anyhow::Result<SessionAdmin> {
    register(config::load(file)?).await
}

/// Opens the register of the sessions in the configured store, which has to be available.
pub(super) async fn register(config: Config) -> anyhow::Result<SessionAdmin> {
    let StoreAccess { keyring, metrics } = StoreAccess::of(&config)?;
    SessionAdmin::open(config.session, keyring, Clock::System, metrics).await.context("store.url")
}

async fn list(register: &SessionAdmin, search: &SessionFilter, format: SessionsFormat) -> anyhow::Result<()> {
    let mut cursor = PageCursor::first();
    let mut first = true;
    match format {
        SessionsFormat::Table => print(&row(HEADINGS.map(ToOwned::to_owned))),
        SessionsFormat::Json => print("["),
    }?;
    while let Some(entries) = register.next_page(search, &mut cursor).await? {
        let mut text = String::new();
        for entry in &entries {
            match format {
                SessionsFormat::Table => text.push_str(&table_row(entry)),
                SessionsFormat::Json => {
                    text.extend([if first { "\n  " } else { ",\n  " }, &escaped_json(&json(entry).to_string())]);
                }
            }
            first = false;
        }
        print(&text)?;
    }
    match format {
        SessionsFormat::Table => Ok(()),
        SessionsFormat::Json => print("\n]\n"),
    }
}

async fn show(register: &SessionAdmin, id: &str, format: SessionsFormat) -> anyhow::Result<()> {
    let entry = json(&register.find(id).await?);
    let SessionsFormat::Table = format else { return print(&escaped_json(&format!("{entry:#}\n"))) };
    let Value::Object(fields) = entry else { return Ok(()) };
    let line = |(name, value): (&String, &Value)| {
        let value =
            value.as_str().map_or_else(|| escaped(&value.to_string()).into_owned(), |text| escaped(text).into_owned());
        format!("{name:<14} {value}\n")
    };
    print(&fields.iter().map(line).collect::<String>())
}

async fn revoke(register: &SessionAdmin, selection: RevokeArgs) -> anyhow::Result<()> {
    let ended = match selection {
        RevokeArgs { id: Some(prefix), .. } => register.revoke(&prefix).await?,
        RevokeArgs { user: Some(user), .. } => register.revoke_all(&SessionFilter::User(user)).await?,
        RevokeArgs { .. } => register.revoke_all(&SessionFilter::All).await?,
    };
    print(&format!("ended {ended} session{}\n", if ended == 1 { "" } else { "s" }))
}

fn json(entry: &SessionEntry) -> Value {
    let person = entry.owner.as_ref();
    json!({
        "id": entry.id,
        "user": person.map(|person| &person.user),
        "email": person.map(|person| &person.email),
        "name": person.map(|person| &person.name),
        "groups": person.map(|person| &person.groups),
        "provider": entry.provider,
        "subject": entry.subject,
        "sid": entry.sid,
        "signed_in": entry.created.to_string(),
        "last_seen": entry.last_seen.to_string(),
        "ends": entry.ends.to_string(),
        "adopted": entry.adopted,
        "refresh_token": person.map(|person| person.has_refresh_token),
    })
}

fn table_row(entry: &SessionEntry) -> String {
    let sealed = || format!("(sealed) {}", entry.subject);
    row([
        entry.id.chars().take(ID_DIGITS).collect(),
        printable(&entry.owner.as_ref().map_or_else(sealed, |person| person.user.clone())),
        printable(entry.owner.as_ref().map_or("", |person| &person.email)),
        printable(&if entry.adopted { format!("{} (adopted)", entry.provider) } else { entry.provider.clone() }),
        entry.created.to_string(),
        entry.last_seen.to_string(),
    ])
}

fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

fn row([id, user, email, provider, created, seen]: [String; 6]) -> String {
    format!("{id:<12}  {user:<24}  {email:<32}  {provider:<16}  {created:<20}  {seen}\n")
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(output::print(text)?)
}
