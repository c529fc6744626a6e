//! `doorward sessions`: who is signed in, and ending it. Speaks to the store; running replicas hear of it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    File,
    printable::{escaped, escaped_json},
    serve,
};
use crate::{
    clock::Clock,
    config::{self, Config},
    crypto::Keyring,
    metrics::{self, Metrics},
    session::admin::{PageCursor, SessionAdmin, SessionEntry, SessionFilter},
};

/// Digits of an id in the table: enough to name one among millions.
const DIGITS: usize = 12;

/// The first line of the table.
const HEADINGS: [&str; 6] = ["ID", "USER", "E-MAIL", "PROVIDER", "SIGNED IN", "LAST SEEN"];

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List who is signed in
    List {
        /// Only sessions of whoever has this user name, e-mail address or subject
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// The form of the list
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        file: File,
    },
    /// Show one session
    Show {
        /// The first digits of its id
        #[arg(value_name = "ID_PREFIX")]
        id: String,
        /// The form of the answer
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        file: File,
    },
    /// End sessions; they are refused by every replica within seconds
    Revoke {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        file: File,
    },
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Whose sessions to end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// All of whoever has this user name, e-mail address or subject
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The one whose id begins with these digits
    #[arg(long, value_name = "PREFIX")]
    id: Option<String>,
    /// Everybody's
    #[arg(long)]
    all: bool,
}

/// Does it.
pub(super) fn run(command: Command) -> ExitCode {
    serve::report(serve::block_on(async {
        match command {
            Command::List { user, format, file } => {
                let search = user.map_or(SessionFilter::All, SessionFilter::User);
                list(&open(file.config.as_deref()).await?, &search, format).await
            }
            Command::Show { id, format, file } => show(&open(file.config.as_deref()).await?, &id, format).await,
            Command::Revoke { whose, file } => revoke(&open(file.config.as_deref()).await?, whose).await,
        }
    }))
}

async fn open(file: Option<&Path>) -> anyhow::Result<SessionAdmin> {
    register(config::load(file)?).await
}

/// The register of the sessions in a configuration's store, which has to be there.
pub(super) async fn register(config: Config) -> anyhow::Result<SessionAdmin> {
    let keyring = Arc::new(Keyring::new(&config.secrets).context("session.secrets")?);
    // Nobody scrapes a program that ends at once.
    let backend = config.session.backend.kind();
    let metrics = Metrics::new(&metrics::Settings { backend, version: "", commit: "" });
    SessionAdmin::open(config.session, keyring, Clock::System, metrics.store).await.context("store.url")
}

async fn list(register: &SessionAdmin, search: &SessionFilter, format: Format) -> anyhow::Result<()> {
    let mut cursor = PageCursor::first();
    let mut first = true;
    match format {
        Format::Table => print(&row(HEADINGS.map(ToOwned::to_owned))),
        Format::Json => print("["),
    }?;
    while let Some(entries) = register.next_page(search, &mut cursor).await? {
        let mut text = String::new();
        for entry in &entries {
            match format {
                Format::Table => text.push_str(&table_row(entry)),
                Format::Json => {
                    text.extend([if first { "\n  " } else { ",\n  " }, &escaped_json(&json(entry).to_string())]);
                }
            }
            first = false;
        }
        print(&text)?;
    }
    match format {
        Format::Table => Ok(()),
        Format::Json => print("\n]\n"),
    }
}

async fn show(register: &SessionAdmin, id: &str, format: Format) -> anyhow::Result<()> {
    let entry = json(&register.find(id).await?);
    let Format::Table = format else { return print(&escaped_json(&format!("{entry:#}\n"))) };
    let Value::Object(fields) = entry else { return Ok(()) };
    let line = |(name, value): (&String, &Value)| {
        let value =
            value.as_str().map_or_else(|| escaped(&value.to_string()).into_owned(), |text| escaped(text).into_owned());
        format!("{name:<14} {value}\n")
    };
    print(&fields.iter().map(line).collect::<String>())
}

async fn revoke(register: &SessionAdmin, whose: Whose) -> anyhow::Result<()> {
    let ended = match whose {
        Whose { id: Some(prefix), .. } => register.revoke(&prefix).await?,
        Whose { user: Some(user), .. } => register.revoke_all(&SessionFilter::User(user)).await?,
        Whose { .. } => register.revoke_all(&SessionFilter::All).await?,
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
        "refresh_token": person.map(|person| person.has_refresh_token),
    })
}

fn table_row(entry: &SessionEntry) -> String {
    let sealed = || format!("(sealed) {}", entry.subject);
    row([
        entry.id.chars().take(DIGITS).collect(),
        printable(&entry.owner.as_ref().map_or_else(sealed, |person| person.user.clone())),
        printable(entry.owner.as_ref().map_or("", |person| &person.email)),
        printable(&entry.provider),
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

/// A reader that went away is no failure of ours.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
