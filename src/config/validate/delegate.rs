//! `apps[].delegate`: outposts that answer for apps.

use std::time::Duration;

use url::Url;

use super::super::{
    diagnostic::ValueError,
    reader::{Cursor, Reader},
};
use crate::{edge::Edge, flow::DelegateSettings, upstream};

/// Keys that have no effect where an outpost answers.
const REPLACED: &[&str] = &[
    "allow",
    "rules",
    "provider",
    "lifetime",
    "idle_timeout",
    "reauthorize",
    "cross_site",
    "resource_metadata",
    "pass_access_token",
    "pass_id_token",
];

/// The longest `delegate_cache`.
const MAX_CACHE: Duration = Duration::from_mins(1);

/// Deadlines of an outpost, well under those of the edges that ask the gate.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// Reads the outposts of all apps, by their place.
pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<Vec<Option<DelegateSettings>>> {
    let apps = root.at("apps").map(|list| list.items()).unwrap_or_default();
    // All of them, so that every mistake is reported.
    let read: Vec<_> = apps.iter().map(|app| of_app(reader, app)).collect();
    read.into_iter().collect::<Result<_, _>>().ok()
}

/// A mistake, which is reported.
struct ReportedMistake;

fn of_app(reader: &mut Reader<'_>, app: &Cursor<'_>) -> Result<Option<DelegateSettings>, ReportedMistake> {
    let (address, cache) = (app.at("delegate"), app.at("delegate_cache"));
    let time = cache.as_ref().map(|cache| reader.parsed(Some(cache), cache_time));
    let Some(address) = address else {
        if let Some(cache) = cache {
            reader.error(&cache, "has no effect: no outpost answers for the app", "remove it, or add `delegate`");
        }
        return Ok(None);
    };
    for key in REPLACED.iter().filter_map(|name| app.at(name)).filter(is_written) {
        let hint = "remove it, or remove `delegate`, so that the gate decides";
        reader.error(&key, "has no effect: an outpost answers for the app", hint);
    }
    let (url, dialect) = reader.parsed(Some(&address), outpost).ok_or(ReportedMistake)?;
    let path = url.path().to_owned();
    let mut origin = url;
    origin.set_path("/");
    let upstream = upstream::Settings {
        connect_timeout: CONNECT_TIMEOUT,
        first_byte_timeout: ANSWER_TIMEOUT,
        silence_timeout: ANSWER_TIMEOUT,
        ..upstream::Settings::new(origin)
    };
    let cache = time.unwrap_or(Some(Duration::ZERO)).ok_or(ReportedMistake)?;
    Ok(Some(DelegateSettings { upstream, path, dialect, cache: (!cache.is_zero()).then_some(cache) }))
}

fn is_written(key: &Cursor<'_>) -> bool {
    let (items, entries) = (key.items(), key.entries());
    let is_empty = items.is_empty() && entries.is_empty() && key.text().is_none() && key.flag().is_none();
    (key.is_written() && !is_empty) || entries.iter().any(|(_, inner)| is_written(inner))
}

/// Parses the address at which an outpost answers.
pub(super) fn outpost(text: &str) -> Result<(Url, Edge), ValueError> {
    let hint = "write it as \"http://outpost:9000/outpost.goauthentik.io/auth/traefik\"";
    let url = Url::parse(text).map_err(|error| ValueError::new(format!("`{text}` is no address: {error}"), hint))?;
    let problem = match &url {
        url if !matches!(url.scheme(), "http" | "https") => "is neither http nor https",
        url if !url.username().is_empty() || url.password().is_some() => "has a user name or a password",
        url if url.query().is_some() || url.fragment().is_some() => "has a query or a fragment",
        _ => "",
    };
    if !problem.is_empty() {
        return Err(ValueError::new(format!("`{text}` {problem}"), hint));
    }
    let outposts = Edge::ALL.iter().filter(|edge| **edge != Edge::OAuth2Proxy);
    let dialect = outposts.into_iter().find(|edge| url.path().ends_with(&format!("/auth/{}", edge.label())));
    match dialect {
        Some(dialect) => Ok((url, *dialect)),
        None => Err(ValueError::new(
            format!("`{text}` does not say in which dialect the outpost is asked"),
            "end it in /auth/traefik, /auth/caddy, /auth/nginx or /auth/envoy",
        )),
    }
}

fn cache_time(text: &str) -> Result<Duration, ValueError> {
    let hint = "write it as \"5s\", at most \"1m\"; \"0s\" asks every time";
    let time = humantime::parse_duration(text)
        .map_err(|error| ValueError::new(format!("`{text}` is no duration: {error}"), hint))?;
    if time > MAX_CACHE {
        return Err(ValueError::new(format!("`{text}` is longer than a minute"), hint));
    }
    Ok(time)
}
