//! Paths of the gate's own endpoints among original paths.

/// Returns the path of one of the gate's own endpoints below `prefix`, or `None` where an original path is the app's.
///
/// Only a path that every server reads the same way counts; any other is the app's and is judged as such.
pub(super) fn endpoint_path<'r>(prefix: &str, path: &'r str) -> Option<&'r str> {
    let endpoint = path.strip_prefix(prefix)?;
    (endpoint.starts_with('/') && !crate::policy::path::is_ambiguous(path)).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unambiguous_path_below_the_prefix_is_ours() {
        for (path, endpoint) in [
            ("/_doorward/start", Some("/start")),
            ("/_doorward", None),
            ("/_doorwardx/start", None),
            ("/_doorward/../admin", None),
            ("/_doorward/%2e%2e/admin", None),
            ("/_doorward//callback", None),
            ("/x/_doorward/start", None),
        ] {
            assert_eq!(endpoint_path("/_doorward", path), endpoint, "{path}");
        }
    }
}
