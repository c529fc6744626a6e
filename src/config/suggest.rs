//! What somebody probably meant: names that are close to one that does not exist.

use super::{
    environment::{self, JOINT},
    schema,
};

/// How alike two names have to be to be taken for each other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// How long a key's own name has to be to tell that it was meant: anybody may have a variable that ends in `URL`.
const TELLING: usize = 6;

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

/// The variable that was probably meant by one that sets no key: the same letters, a key without its section, or one that
/// is alike.
pub(super) fn variable(written: &str) -> Option<String> {
    let letters = |name: &str| name.trim_start_matches(environment::PREFIX).replace('_', "");
    let written = letters(written);
    let names: Vec<_> = schema::KEYS.iter().map(|key| variable_of(key.path)).collect();
    let ends =
        |name: &str| name.rsplit(JOINT).next().is_some_and(|end| end.len() >= TELLING && letters(end) == written);
    let found = names.iter().find(|name| ends(name)).cloned();
    found.or_else(|| {
        let plain: Vec<_> = names.iter().map(|name| letters(name)).collect();
        let meant = closest(&written, plain.iter().map(String::as_str))?;
        names.into_iter().find(|name| letters(name) == meant)
    })
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
            ("DOORWARD_SESSION_COOKIE_NAME", "DOORWARD_SESSION__COOKIE_NAME"),
            ("DOORWARD_PROVIDER_CLIENT_SECRET", "DOORWARD_PROVIDERS__0__CLIENT_SECRET"),
            ("DOORWARD_CLIENT_SECRET", "DOORWARD_PROVIDERS__0__CLIENT_SECRET"),
        ] {
            assert_eq!(variable(written).as_deref(), Some(expected), "{written}");
        }
    }
}
