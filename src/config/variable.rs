//! Names of environment variables: how a key's path is spelled in one.
//!
//! The one place that knows the spelling; overlaying, suggestions and the reference page all ask here.

/// Beginning of the names of our variables.
pub(super) const PREFIX: &str = "DOORWARD_";

/// Separator between the segments of a key's path.
pub(super) const SEPARATOR: &str = "__";

/// Variable that names the configuration file; it sets no key.
pub(super) const CONFIG_FILE: &str = "DOORWARD_CONFIG";

/// Returns the name of the variable that sets a key. Index 0 stands for every element of a list.
pub(super) fn name_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace("[]", ".0").replace('.', SEPARATOR).to_ascii_uppercase())
}
