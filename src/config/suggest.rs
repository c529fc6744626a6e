//! Suggestions for misspelled names: `did you mean …?` for keys and environment variables that do not exist.

use super::{
    schema,
    variable::{self, SEPARATOR},
};

/// Least similarity at which a name is suggested, from 0 to 1 (normalised Damerau–Levenshtein).
const MIN_SIMILARITY: f64 = 0.7;

/// Least length of a key's own name at which a variable without its section is taken for it. Shorter ones are too common:
/// many programs have a variable that ends in `URL`.
const MIN_KEY_LENGTH: usize = 6;

/// Returns the name that is most similar to `written`, or `None` where none is similar enough.
pub(super) fn closest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let similarity = |name: &str| strsim::normalized_damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
    let scored = names.into_iter().map(|name| (similarity(name), name)).filter(|(score, _)| *score >= MIN_SIMILARITY);
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// Returns `did you mean …?` with the closest name, or else the list of all names.
pub(super) fn among<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match closest(written, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there is {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Returns a hint for a key that the section does not have.
pub(super) fn key(section: &str, written: &str) -> String {
    let siblings = || schema::children(section).map(|(name, _)| name);
    let elsewhere = schema::KEYS.iter().find(|key| key.place().1 == written);
    match (closest(written, siblings()), elsewhere) {
        (None, Some(key)) => format!("did you mean `{}`?", key.path),
        _ => among(written, siblings()),
    }
}

/// Returns the variable that was probably meant by one that sets no key: the same letters, a key without its section, or
/// a similar name.
pub(super) fn variable(written: &str) -> Option<String> {
    let letters = |name: &str| name.trim_start_matches(variable::PREFIX).replace('_', "");
    let written = letters(written);
    let names: Vec<_> = schema::KEYS.iter().map(|key| variable::name_of(key.path)).collect();
    let ends = |name: &str| {
        name.rsplit(SEPARATOR).next().is_some_and(|end| end.len() >= MIN_KEY_LENGTH && letters(end) == written)
    };
    let found = names.iter().find(|name| ends(name)).cloned();
    found.or_else(|| {
        let plain: Vec<_> = names.iter().map(|name| letters(name)).collect();
        let meant = closest(&written, plain.iter().map(String::as_str))?;
        names.into_iter().find(|name| letters(name) == meant)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_does_not_exist_gets_the_one_that_was_meant() {
        for (section, written, expected) in [
            ("server", "listn", "did you mean `listen`?"),
            ("server", "trusted_proxy", "did you mean `trusted_proxies`?"),
            ("server", "lifetime", "did you mean `session.lifetime`?"),
            ("", "provider", "did you mean `providers`?"),
            ("", "listen", "did you mean `server.listen`?"),
            ("apps[]", "host", "did you mean `hosts`?"),
            ("log", "xyzzy", "there is `level`, `format`"),
        ] {
            assert_eq!(key(section, written), expected);
        }
    }

    #[test]
    fn a_variable_that_does_not_exist_gets_the_one_that_was_meant() {
        for (written, expected) in [
            ("DOORWARD_LISTEN", "DOORWARD_SERVER__LISTEN"),
            ("DOORWARD_LOG_LEVEL", "DOORWARD_LOG__LEVEL"),
            ("DOORWARD_STORE__URI", "DOORWARD_STORE__URL"),
            ("DOORWARD_SESSION_COOKIE_NAME", "DOORWARD_SESSION__COOKIE_NAME"),
            ("DOORWARD_PROVIDER_CLIENT_SECRET", "DOORWARD_PROVIDERS__0__CLIENT_SECRET"),
            ("DOORWARD_CLIENT_SECRET", "DOORWARD_PROVIDERS__0__CLIENT_SECRET"),
        ] {
            assert_eq!(variable(written).as_deref(), Some(expected), "{written}");
        }
    }
}
