//! `[adopt]`: the old outpost, and for how long its sessions are honoured.

use std::{num::NonZeroU32, time::Duration};

use url::{Host, Url};

use super::{
    super::reader::{Cursor, Reader},
    delegate,
};
use crate::{
    flow::{AdoptSettings, RateLimit},
    oidc,
    policy::App,
    upstream,
};

/// Deadlines of a question to the old outpost: edges wait for longer than both.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Endings of names that no public resolver knows.
const PRIVATE_ENDINGS: [&str; 5] = [".internal", ".local", ".localhost", ".svc", ".home.arpa"];

/// Values of the section.
pub(super) struct AdoptSection {
    pub(super) settings: AdoptSettings,
    pub(super) lifetime: Duration,
}

/// Reads the section. `None` where there is none, or it has a mistake, which is reported.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Cursor<'_>,
    providers: Option<&[oidc::Settings]>,
    apps: Option<&[App]>,
) -> Option<AdoptSection> {
    let section = root.at("adopt")?;
    let cursor = section.at("url");
    let url = reader.parsed(cursor.as_ref(), delegate::outpost);
    if let (Some(cursor), Some((url, _))) = (&cursor, &url)
        && url.scheme() == "http"
        && !is_private(url)
    {
        let problem = "is http to a host that may not be in a private network: whoever can answer in its place signs in as anybody";
        reader.warn(cursor, problem, "use https, or an address that only this network reaches");
    }
    let lifetime = lifetime(reader, &section, root);
    let number = reader.number(section.at("per_minute").as_ref(), 1, RateLimit::MAX);
    let per_minute = number.and_then(|number| NonZeroU32::new(u32::try_from(number).ok()?));
    let place = match section.at("provider") {
        Some(named) => Some(provider(reader, &named, providers?, apps?)?),
        None => None,
    };
    if let Some(providers) = providers {
        let is_meant = |at: usize| place.is_none_or(|only| only == at);
        let public =
            providers.iter().enumerate().find(|(at, provider)| is_meant(*at) && provider.client_secret.is_none());
        if let Some((_, provider)) = public {
            let problem =
                format!("is believed by its headers alone: the provider `{}` has no client_secret", provider.name);
            reader.warn(
                &section,
                problem,
                "set client_secret, by which the old outpost's X-authentik-jwt can be verified",
            );
        }
    }
    let (url, dialect) = url?;
    let path = url.path().to_owned();
    let mut origin = url;
    origin.set_path("/");
    let upstream = upstream::Settings {
        connect_timeout: CONNECT_TIMEOUT,
        first_byte_timeout: ANSWER_TIMEOUT,
        silence_timeout: ANSWER_TIMEOUT,
        ..upstream::Settings::new(origin)
    };
    let settings = AdoptSettings { upstream, path, dialect, provider: place, per_minute: per_minute? };
    Some(AdoptSection { settings, lifetime: lifetime? })
}

fn lifetime(reader: &mut Reader<'_>, section: &Cursor<'_>, root: &Cursor<'_>) -> Option<Duration> {
    let cursor = section.at("lifetime")?;
    let lifetime = reader.duration(Some(&cursor))?;
    let longest = root.at("session").and_then(|session| reader.duration(session.at("lifetime").as_ref()));
    if longest.is_some_and(|longest| lifetime > longest) {
        reader.error(
            &cursor,
            "is longer than session.lifetime",
            "shorten it: adopted sessions are for the time of a move",
        );
    }
    Some(lifetime)
}

fn provider(reader: &mut Reader<'_>, cursor: &Cursor<'_>, providers: &[oidc::Settings], apps: &[App]) -> Option<usize> {
    let name = reader.text(Some(cursor))?;
    let Some(place) = providers.iter().position(|provider| provider.name == name) else {
        let known: Vec<_> = providers.iter().map(|provider| format!("`{}`", provider.name)).collect();
        reader.error(cursor, format!("there is no provider `{name}`"), format!("name one of {}", known.join(", ")));
        return None;
    };
    if !apps.iter().any(|app| app.provider == place) {
        let hint = "name the provider of the apps whose people are to stay signed in";
        reader.error(cursor, format!("has no effect: no app has the provider `{name}`"), hint);
        return None;
    }
    Some(place)
}

/// Returns `true` if a host is on this machine or in a private network, by its address, or by a name that only such networks have.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => {
            !name.contains('.') || name.contains(".svc.") || PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
        }
        None => false,
    }
}
