//! Paths that every server reads the same way, and those that two could read differently.

/// Whether two servers could read this raw path differently (contract C4).
#[must_use]
pub fn is_ambiguous(path: &str) -> bool {
    let _ = path;
    true
}
