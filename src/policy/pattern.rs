//! Patterns of paths: what a rule says about the path of a request.
//!
//! Promises: a rule that opens matches byte for byte; one that closes matches every reading of a path.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::{
    expression::Expression,
    presets,
    readings::{Readings, fold, without_format},
};

/// Paths that a rule matches. They are compared decoded, so it makes no difference how pattern and path are escaped.
/// A pattern such as `/a//b` never matches, because no unambiguous path looks like it ([`super::path::is_ambiguous`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Every path.
    Any,
    /// This path and no other.
    Exact(Pattern),
    /// These paths and no others.
    Files(Arc<[Pattern]>),
    /// Paths below this folder, which ends with a slash; where the rule closes, the folder without its slash as well.
    Prefix(Pattern),
    /// Paths that this expression matches from end to end.
    Regex(Arc<Expression>),
}

/// Path of the configuration, ready to be compared with those of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    decoded: String,
    /// Without a slash at the end.
    folded: String,
}

/// Extent to which a rule applies to a request, over all readings of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Applies {
    /// Under none of them.
    No,
    /// Under some.
    Perhaps,
    /// Under every one.
    Surely,
}

impl Applies {
    pub(super) fn when(is_so: bool) -> Self {
        if is_so { Self::Surely } else { Self::No }
    }
}

impl PathPattern {
    /// This path and no other.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        Self::Exact(Pattern::new(path))
    }

    /// Paths below this folder, which ends with a slash.
    #[must_use]
    pub fn prefix(folder: &str) -> Self {
        Self::Prefix(Pattern::new(folder))
    }

    /// Icons and manifests of apps that can be installed.
    #[must_use]
    pub fn pwa_assets() -> Self {
        Self::files(presets::pwa_assets())
    }

    /// These paths and no others.
    pub(super) fn files(paths: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::Files(paths.into_iter().map(|path| Pattern::new(path.as_ref())).collect())
    }

    /// Returns the exact paths that it names.
    #[must_use]
    pub fn exact_paths(&self) -> &[Pattern] {
        match self {
            Self::Exact(own) => std::slice::from_ref(own),
            Self::Files(files) => files,
            Self::Any | Self::Prefix(_) | Self::Regex(_) => &[],
        }
    }

    /// Returns `true` if it names this very path.
    pub(super) fn names(&self, served: &str) -> bool {
        self.exact_paths().iter().any(|own| own.decoded == served)
    }

    /// Matches byte for byte.
    #[inline]
    pub(super) fn opens(&self, served: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => served == own.decoded,
            Self::Files(_) => self.names(served),
            Self::Prefix(folder) => served.starts_with(&folder.decoded),
            Self::Regex(expression) => expression.matches(served),
        }
    }

    /// Matches generously: under every reading as it is served, or under any, folded.
    pub(super) fn closes(&self, readings: &Readings<'_>, is_named: impl Fn(&str) -> bool + Copy) -> Applies {
        if readings.served().iter().all(|served| self.opens(served) || self.is_folder_of(served)) {
            return Applies::Surely;
        }
        let is_named = || readings.only().is_some_and(is_named);
        let is_close = match self {
            Self::Any => true,
            Self::Exact(own) => readings
                .folded()
                .iter()
                .any(|folded| own.is_folded_to(folded) || own.is_formatted_as(folded) && !is_named()),
            Self::Files(files) => readings.folded().iter().any(|folded| {
                let is_close = |own: &Pattern| own.is_folded_to(folded) || own.is_formatted_as(folded) && !is_named();
                files.iter().any(is_close)
            }),
            Self::Prefix(own) => readings.folded().iter().any(|folded| {
                own.is_folded_to(folded) || own.holds(folded) || own.is_formatted_as(folded) && !is_named()
            }),
            Self::Regex(expression) => {
                let is_formatted = |folded| without_format(folded).is_some_and(|name| expression.matches_folded(name));
                let mut all = readings.served().iter().chain(readings.folded());
                all.any(|path| expression.matches_folded(path))
                    || readings.folded().iter().any(|folded| is_formatted(folded) && !is_named())
            }
        };
        if is_close { Applies::Perhaps } else { Applies::No }
    }

    /// Returns `true` if a path is the folder of a prefix, without its slash.
    fn is_folder_of(&self, served: &str) -> bool {
        matches!(self, Self::Prefix(folder) if folder.decoded.strip_suffix('/') == Some(served))
    }
}

impl Pattern {
    fn new(path: &str) -> Self {
        let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let folded = fold(&decoded).trim_end_matches('/').to_owned();
        Self { decoded, folded }
    }

    /// The path, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.decoded
    }

    /// The path, folded; without a slash at the end, so that the root is empty.
    pub(super) fn folded(&self) -> &str {
        &self.folded
    }

    fn is_folded_to(&self, folded: &str) -> bool {
        self.folded == folded.strip_suffix('/').unwrap_or(folded)
    }

    /// Returns `true` for `/users.json`, where this is `/users`.
    fn is_formatted_as(&self, folded: &str) -> bool {
        !self.folded.is_empty() && folded.starts_with(&self.folded) && without_format(folded) == Some(&self.folded)
    }

    fn holds(&self, folded: &str) -> bool {
        folded.strip_prefix(&self.folded).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}
