//! A domain whose hosts share cookies.
//!
//! Promises: `notexample.com` is not in `example.com`.

/// Domain whose hosts share cookies (RFC 6265, section 5.1.3).
#[derive(Clone, Debug)]
pub(super) struct SharedDomain {
    /// The name with a dot in front, which no host has.
    suffix: String,
}

impl SharedDomain {
    pub(super) fn new(name: &str) -> Self {
        Self { suffix: format!(".{name}") }
    }

    /// Returns the name, for the attribute `Domain`.
    pub(super) fn name(&self) -> &str {
        self.suffix.get(1..).unwrap_or_default()
    }

    /// Returns the audience of cookies of the domain.
    pub(super) fn audience(&self) -> &str {
        &self.suffix
    }

    /// Returns `true` if a folded host is the domain or below it.
    #[inline]
    pub(super) fn contains(&self, host: &str) -> bool {
        host.ends_with(&self.suffix) || host == self.name()
    }
}
