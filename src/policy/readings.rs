//! Readings of a path: the decoded paths that servers serve for it, and the paths that a file system or a router folds together.
//!
//! Promises: a path that every server reads in one way has one reading; any other has one for each server that reads it
//! differently, so that a rule which closes a path closes it in front of all of them. [`PATH_READERS`] is the list; a server that
//! reads paths in a way of its own is added there.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

use super::path::{PathForm, form};

/// Kind of server: returns the decoded path that it serves for a raw one.
pub(super) type PathReader = fn(&str) -> String;

/// Servers whose readings count. Each is applied twice: directly, and behind a proxy that passes on a decoded path (nginx with a
/// path in `proxy_pass`, Apache without `nocanon`).
pub(super) const PATH_READERS: &[PathReader] =
    &[nginx, nginx_unmerged, whatwg_url, express, go, tomcat, wsgi, rails, iis, reparsed];

/// nginx, Apache: decoded, merged, resolved; a `#` ends the path.
pub(super) fn nginx(raw: &str) -> String {
    remove_dot_segments(&merge_slashes(before(&decode(raw), &['#'])))
}

/// nginx with `merge_slashes off`.
pub(super) fn nginx_unmerged(raw: &str) -> String {
    remove_dot_segments(before(&decode(raw), &['#']))
}

/// Node with `new URL(request.url, base)`: backslashes are slashes, and a host follows two of them.
pub(super) fn whatwg_url(raw: &str) -> String {
    let base = Url::parse("http://base.invalid/").expect("a literal address");
    // No request line holds a space, and the parser would trim one at the end.
    let url = base.join(&raw.replace(' ', "%20"));
    decode(url.as_ref().map_or(raw, Url::path))
}

/// Express, Fastify, Rack: decoded segment by segment, so that an escaped slash stays a character of its segment.
pub(super) fn express(raw: &str) -> String {
    decode_inside_segments(raw)
}

/// Go's `ServeMux` and `path.Clean`.
pub(super) fn go(raw: &str) -> String {
    remove_dot_segments(&merge_slashes(&decode(raw)))
}

/// Tomcat, Jetty, Spring: path parameters are cut before anything is decoded.
pub(super) fn tomcat(raw: &str) -> String {
    remove_dot_segments(&merge_slashes(&turn_backslashes(&decode(&cut_parameters(raw)))))
}

/// WSGI, ASGI, PHP: decoded and nothing else (PEP 3333).
pub(super) fn wsgi(raw: &str) -> String {
    decode(raw)
}

/// Rails, Sinatra, Django with `APPEND_SLASH`: slashes are squeezed.
pub(super) fn rails(raw: &str) -> String {
    merge_slashes(&decode(raw))
}

/// IIS, ASP.NET, and other servers that cut parameters after decoding.
pub(super) fn iis(raw: &str) -> String {
    remove_dot_segments(&merge_slashes(&cut_parameters(&turn_backslashes(&decode(raw)))))
}

/// Servers that parse a decoded path as a URL once more: a query may begin in it.
pub(super) fn reparsed(raw: &str) -> String {
    remove_dot_segments(&merge_slashes(before(&decode(raw), &['?', '#'])))
}

/// Formats that frameworks take for a part of the route: `/users.json` is `/users`.
const FORMATS: &[&str] = &[".json", ".xml", ".html", ".htm", ".csv", ".txt", ".rss", ".atom", ".pdf"];

/// All readings of a path, as served and folded.
pub(super) enum Readings<'r> {
    /// The path as every server reads it.
    One {
        /// Decoded.
        served: Cow<'r, str>,
        /// The same, folded.
        folded: Cow<'r, str>,
    },
    /// The path as different servers read it.
    Several {
        /// Decoded, without repeats.
        served: Vec<Cow<'r, str>>,
        /// The same, folded.
        folded: Vec<Cow<'r, str>>,
    },
}

impl<'r> Readings<'r> {
    /// Returns the readings of a raw path; `None` where no list of them could be complete.
    pub(super) fn of(raw: &'r str) -> Option<Self> {
        match form(raw) {
            PathForm::Plain => Some(Self::One { served: Cow::Borrowed(raw), folded: Cow::Borrowed(raw) }),
            PathForm::Clear => {
                let served = percent_decode_str(raw).decode_utf8_lossy();
                let folded = match &served {
                    Cow::Borrowed(served) => fold(served),
                    Cow::Owned(served) => Cow::Owned(fold(served).into_owned()),
                };
                Some(Self::One { served, folded })
            }
            PathForm::Ambiguous => Some(Self::several(raw)),
            PathForm::Unreadable => None,
        }
    }

    fn several(raw: &str) -> Self {
        let mut served: Vec<_> = served_by_any(raw).map(Cow::Owned).collect();
        served.sort_unstable();
        served.dedup();
        let mut folded: Vec<_> = served.iter().map(|path| Cow::Owned(fold(path).into_owned())).collect();
        folded.sort_unstable();
        folded.dedup();
        Self::Several { served, folded }
    }

    /// Returns the path that every server serves, where there is one.
    pub(super) fn only(&self) -> Option<&str> {
        match self {
            Self::One { served, .. } => Some(served),
            Self::Several { .. } => None,
        }
    }

    /// Returns the paths that servers serve.
    pub(super) fn served(&self) -> &[Cow<'r, str>] {
        match self {
            Self::One { served, .. } => std::slice::from_ref(served),
            Self::Several { served, .. } => served,
        }
    }

    /// Returns the same, folded.
    pub(super) fn folded(&self) -> &[Cow<'r, str>] {
        match self {
            Self::One { folded, .. } => std::slice::from_ref(folded),
            Self::Several { folded, .. } => folded,
        }
    }
}

/// Returns the paths that any of [`PATH_READERS`] serves for a raw one.
pub(super) fn served_by_any(raw: &str) -> impl Iterator<Item = String> {
    let passed_on = decode(raw);
    PATH_READERS.iter().flat_map(move |serve| [serve(raw), serve(&passed_on)])
}

/// Folds a decoded path as file systems and routers do to which case, empty segments, and slashes, dots and spaces at the end of a
/// segment make no difference: NTFS, APFS, routers that are not strict. `/` is the root; no other ends with a slash.
pub(super) fn fold(path: &str) -> Cow<'_, str> {
    let bare = path.trim_end_matches('/');
    if bare.is_empty() {
        return Cow::Borrowed("/");
    }
    let is_trimmed = |segment: &str| !segment.is_empty() && !segment.ends_with(['.', ' ']);
    let is_folded = bare.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
        && bare.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_trimmed));
    if is_folded {
        return Cow::Borrowed(bare);
    }
    let names = path.split('/').map(|segment| segment.trim_end_matches(['.', ' '])).filter(|name| !name.is_empty());
    let folded = names.fold(String::with_capacity(path.len()), |mut folded, name| {
        folded.push('/');
        // To upper case and back: letters such as `ſ` and `K` have a lower case of their own and the upper case of another.
        folded.extend(name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
        folded
    });
    if folded.is_empty() { Cow::Borrowed("/") } else { Cow::Owned(folded) }
}

/// Returns a folded path without the format at its end, and the dots and spaces that Windows drops before it: `/users` for
/// `/users.json`.
pub(super) fn without_format(folded: &str) -> Option<&str> {
    let name = FORMATS.iter().find_map(|format| folded.strip_suffix(format))?;
    Some(name.trim_end_matches(['.', ' ']))
}

/// Decodes every escape.
fn decode(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// Decodes every escape but that of a slash, which stays a character of its segment.
fn decode_inside_segments(raw: &str) -> String {
    let slash = |at: usize| raw.get(at..at + 3).is_some_and(|escape| escape.eq_ignore_ascii_case("%2f"));
    let (mut decoded, mut begin) = (String::with_capacity(raw.len()), 0);
    for at in memchr::memchr_iter(b'%', raw.as_bytes()).filter(|at| slash(*at)) {
        decoded.push_str(&decode(raw.get(begin..at).unwrap_or_default()));
        decoded.push_str("%2F");
        begin = at + 3;
    }
    decoded.push_str(&decode(raw.get(begin..).unwrap_or_default()));
    decoded
}

/// Returns the path up to the first of some characters.
fn before<'p>(path: &'p str, ends: &[char]) -> &'p str {
    path.split(ends).next().unwrap_or_default()
}

/// Turns backslashes into slashes.
fn turn_backslashes(path: &str) -> String {
    path.replace('\\', "/")
}

/// Cuts the parameters (`;…`) of each segment (RFC 3986, section 3.3).
fn cut_parameters(path: &str) -> String {
    let names = path.split('/').map(|segment| before(segment, &[';']));
    names.collect::<Vec<_>>().join("/")
}

/// Merges slashes: removes empty segments but the last.
fn merge_slashes(path: &str) -> String {
    path.chars().fold(String::with_capacity(path.len()), |mut merged, letter| {
        if letter != '/' || !merged.ends_with('/') {
            merged.push(letter);
        }
        merged
    })
}

/// Removes dot segments (RFC 3986, section 5.2.4).
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let rest = path.strip_prefix('/').unwrap_or(path);
    for segment in rest.split('/') {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let is_folder = matches!(rest.rsplit('/').next(), Some("." | ".."));
    format!("/{}{}", kept.join("/"), if is_folder && !kept.is_empty() { "/" } else { "" })
}
