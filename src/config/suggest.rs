//! What somebody probably meant: names that are close to one that does not exist.

use super::{environment, schema};

/// How alike two names have to be to be taken for each other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The one of `names` that is most like `written`.
pub(super) fn closest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let alike = |name: &str| strsim::normalized_damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
    let scored = names.into_iter().map(|name| (alike(name), name)).filter(|(score, _)| *score >= ALIKE);
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// `did you mean …?` with the closest name, or the list of all.
pub(super) fn among<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match closest(written, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there is {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// What to do about a key that the section does not have.
pub(super) fn key(section: &str, written: &str) -> String {
    let path = if section.is_empty() { written.to_owned() } else { format!("{section}.{written}") };
    if let Some(hint) = absent_here(&path) {
        return hint.to_owned();
    }
    let siblings = || schema::children(section).map(|(name, _)| name);
    let elsewhere = schema::KEYS.iter().find(|key| key.place().1 == written);
    match (closest(written, siblings()), elsewhere) {
        (None, Some(key)) => format!("did you mean `{}`?", key.path),
        _ => among(written, siblings()),
    }
}

/// What to do about a variable that sets no key.
pub(super) fn variable(written: &str) -> String {
    let names: Vec<_> = schema::KEYS.iter().map(|key| variable_of(key.path)).collect();
    let plain = |name: &str| name.replace("__", "_");
    let same = names.iter().find(|name| plain(name) == plain(written));
    let ending = || {
        names
            .iter()
            .find(|name| Some(name.rsplit("__").next().unwrap_or(name)) == written.strip_prefix(environment::PREFIX))
    };
    match same.or_else(ending).map(String::as_str).or_else(|| closest(written, names.iter().map(String::as_str))) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("join the key's path with `__`, such as `{}SERVER__LISTEN`", environment::PREFIX),
    }
}

/// The variable that sets a key; the first element stands for every place in a list.
pub(super) fn variable_of(path: &str) -> String {
    format!("{}{}", environment::PREFIX, path.replace("[]", ".0").replace('.', "__").to_ascii_uppercase())
}

/// What to do about a key that other versions or gates have.
pub(super) fn absent_here(path: &str) -> Option<&'static str> {
    schema::ABSENT_HERE.iter().find(|(absent, _)| *absent == path).map(|(_, hint)| *hint)
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
        assert!(key("", "bearer").contains("this version"));
        assert!(key("apps[]", "upstream").contains("this version"));
    }

    #[test]
    fn a_variable_that_does_not_exist_gets_the_one_that_was_meant() {
        for (written, expected) in [
            ("DOORWARD_LISTEN", "DOORWARD_SERVER__LISTEN"),
            ("DOORWARD_LOG_LEVEL", "DOORWARD_LOG__LEVEL"),
            ("DOORWARD_STORE__URI", "DOORWARD_STORE__URL"),
        ] {
            assert!(variable(written).contains(expected), "{written}: {}", variable(written));
        }
    }
}
