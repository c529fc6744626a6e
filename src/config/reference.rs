//! The reference page, written from the schema so that it cannot say anything else.

use std::fmt::Write as _;

use super::{
    schema::{self, Change, Child, Default, Key, Kind, SECTIONS},
    suggest,
};

const HEAD: &str = "\
# Configuration

<!-- Written by `make docs` from src/config/schema/table.rs; edit that. -->

The file is TOML: `--config`, else `$DOORWARD_CONFIG`, else `./doorward.toml`, else `/etc/doorward/doorward.toml`.
`doorward check` validates it and prints every value in force and where it came from. An unknown key, a key that has no
effect where it stands, and a variable that is named and not set are errors, all reported at once.

- **Environment.** Every key can be set by a variable, which wins over the file: `DOORWARD_` and the key's path in
  capitals, joined by `__`. Numbers are places in a list, from 0: `DOORWARD_PROVIDERS__0__CLIENT_SECRET`. Texts are written
  as they are; lists, tables and `true` or `false` as in the file: `DOORWARD_APPS__0__HOSTS='[\"a.example.com\"]'`. A
  variable that was meant for a key and sets none is an error (`DOORWARD_SERVER__LISTN`, `DOORWARD_LOG_LEVEL`). Others
  without `__`, such as those that Kubernetes makes for a Service called `doorward`, are passed over. Where the
  environment sets a key there need not be a file.
- **Secrets** are a text, `{ file = \"/run/secrets/name\" }` (without the newline at its end) or `{ env = \"NAME\" }`.
- **Durations** are written `500ms`, `30s`, `15m`, `12h`, `28d`, and are never zero.
- **Networks** are written `10.0.0.0/8`, or as a single address.
- **Files** with a relative path begin in the working directory.
- **Changes** of the file, and of every file that it names, are noticed within two seconds, also where a volume of Kubernetes
  is swapped; SIGHUP has everything read again at once. A change applies to the next request and drops no connection. One with a
  mistake in it is refused whole and logged with all its mistakes, and what was in force stays. Keys that need a restart
  say so below, and in the log when they change; the rest of such a change applies.

`config/minimal.toml` is what one host needs, `config/full.toml` has every key.
";

/// The whole page, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let brackets = if section.path.ends_with("[]") { ("[[", "]]") } else { ("[", "]") };
        let name = section.path.replace("[]", "");
        let _ = write!(page, "\n## `{}{name}{}`\n\n{}\n", brackets.0, brackets.1, section.doc);
        for (name, child) in schema::children(section.path) {
            if let Child::Key(key) = child {
                entry(&mut page, name, key);
            }
        }
    }
    page
}

fn entry(page: &mut String, name: &str, key: &Key) {
    let default = match key.default {
        Default::Is(toml) => format!("default `{toml}`"),
        Default::Absent(meaning) => format!("absent: {meaning}"),
        Default::Required => "required".to_owned(),
    };
    let change = match key.change {
        Change::Reload => "",
        Change::Restart => "; a change needs a restart",
    };
    let kind = match key.kind {
        Kind::List(element) => format!("a list, each element {}", element.describe()),
        kind => kind.describe(),
    };
    let variable = suggest::variable_of(key.path);
    let _ = write!(page, "\n### `{name}`\n\n{}\n\n- {kind}; {default}{change}\n- `{variable}`\n", key.doc);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Asks for the page to be written instead of compared.
    const WRITE: &str = "DOORWARD_WRITE_DOCS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "whether to write the page is no business of the configuration")]
    fn the_reference_page_says_what_the_schema_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        if std::env::var(WRITE).is_ok() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, reference()).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/configuration.md is stale: run `make docs`, which is `{WRITE}=1 cargo test --lib reference`"
        );
    }

    #[test]
    fn every_key_is_in_the_reference() {
        let page = reference();
        for key in schema::KEYS {
            assert!(
                page.contains(key.doc) && page.contains(&format!("`{}`", suggest::variable_of(key.path))),
                "{}",
                key.path
            );
        }
    }
}
