//! The reference page, generated from the schema. A test fails where `docs/configuration.md` is stale.

use std::fmt::Write as _;

use super::{
    schema::{self, AppliesOn, Child, DefaultValue, KeySpec, SECTIONS, ValueKind},
    variable,
};

const HEAD: &str = "\
# Configuration

<!-- Written by `make docs` from src/config/schema/table.rs; edit that. -->

The file is TOML: `--config`, else `$DOORWARD_CONFIG`, else `./doorward.toml`, else `/etc/doorward/doorward.toml`.
`doorward check` validates it and prints every value in force with its origin, the addresses to register at each provider,
and warnings. An unknown key, a key without effect in its place, and a variable that is named and not set are errors, all
reported at once. Warnings are of what is valid and probably not intended; they are logged at start and after a reload too.

- **Environment.** Every key can be set by a variable, which takes precedence over the file: `DOORWARD_` and the key's
  path in capitals, joined by `__`. Numbers are indices of a list, from 0: `DOORWARD_PROVIDERS__0__CLIENT_SECRET`. Texts
  are written as they are; lists, tables and `true` or `false` as in the file:
  `DOORWARD_APPS__0__HOSTS='[\"a.example.com\"]'`. A variable that looks like a key's and sets none is an error
  (`DOORWARD_SERVER__LISTN`, `DOORWARD_LOG_LEVEL`). Others without `__` are ignored, and so are those that Kubernetes sets
  for a Service called `doorward` or `doorward-…`. If the environment sets a key, no file is needed.
- **Secrets** are a text, `{ file = \"/run/secrets/name\" }` or `{ env = \"NAME\" }`. Line ends behind one are no part of it,
  wherever it is kept. Blanks, quotes or a byte order mark around it, control characters, and a `${NAME}`, `$(…)` or
  `{{ … }}` that nothing has replaced are errors.
- **Durations** are written `500ms`, `30s`, `15m`, `12h`, `28d`, and are never zero.
- **Networks** are written `10.0.0.0/8`, or as a single address.
- **Files** with a relative path begin in the working directory.
- **Changes** of the file, and of every file that it names, are noticed within two seconds, including the swap of a
  Kubernetes volume; SIGHUP reloads everything at once. A change applies to the next request and drops no connection. A
  configuration with an error is refused as a whole and logged with all its errors; the one in force stays. Keys that need
  a restart say so below, and in the log when they change; the rest of such a change applies.

`config/minimal.toml` is enough for one host; `config/full.toml` has every key.
";

/// Returns the whole page as Markdown.
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

fn entry(page: &mut String, name: &str, key: &KeySpec) {
    let default = match key.default {
        DefaultValue::Is(toml) => format!("default `{toml}`"),
        DefaultValue::Absent(meaning) => format!("absent: {meaning}"),
        DefaultValue::Required => "required".to_owned(),
    };
    let change = match key.applies_on {
        AppliesOn::Reload => "",
        AppliesOn::Restart => "; a change needs a restart",
    };
    let kind = match key.kind {
        ValueKind::List(element) => format!("a list, each element {}", element.describe()),
        kind => kind.describe(),
    };
    let variable = variable::name_of(key.path);
    let _ = write!(page, "\n### `{name}`\n\n{}\n\n- {kind}; {default}{change}\n- `{variable}`\n", key.doc);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Variable that has the test write the page instead of comparing it.
    const WRITE: &str = "DOORWARD_WRITE_DOCS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch of a test is not part of the configuration")]
    fn the_reference_page_is_up_to_date_with_the_schema() {
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
                page.contains(key.doc) && page.contains(&format!("`{}`", variable::name_of(key.path))),
                "{}",
                key.path
            );
        }
    }
}
