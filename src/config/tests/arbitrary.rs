//! Property test: any text and any variables give a configuration or diagnostics, never a panic.

use proptest::prelude::*;

use super::*;

/// Generates keys, values and punctuation in any order, which reaches deeper than random text.
fn tomlish() -> impl Strategy<Value = String> {
    let words: Vec<String> = schema::KEYS
        .iter()
        .flat_map(|key| [key.place().1.to_owned(), key.path.replace("[]", ""), key.kind.example()])
        .chain(
            ["[", "]", "[[", "]]", "{", "}", "=", ".", ",", "'", "\"", "\n", " ", "1", "true", "''", "é", "\0"]
                .map(str::to_owned),
        )
        .chain(schema::SECTIONS.iter().map(|section| format!("\n[{}]\n", section.path.replace("[]", ""))))
        .chain(schema::SECTIONS.iter().map(|section| format!("\n[[{}]]\n", section.path.replace("[]", ""))))
        .collect();
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat())
}

fn surroundings() -> impl Strategy<Value = Environment> {
    let names: Vec<_> = schema::KEYS.iter().map(|key| variable::name_of(key.path)).collect();
    let name = prop_oneof![
        prop::sample::select(names),
        "DOORWARD_[A-Z0-9_]{0,20}",
        "DOORWARD_(PROVIDERS|APPS)__[0-9]{1,20}__(NAME|HOSTS|SCOPES|RULES)(__[0-9]{1,3}){0,3}",
    ];
    let value = prop_oneof![any::<String>(), tomlish(), Just("x".to_owned())];
    prop::collection::btree_map(name, value, 0..6)
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_diagnostics(text in prop_oneof![any::<String>(), tomlish()], environment in surroundings()) {
        for text in [text.clone(), format!("{GOOD}{text}")] {
            match load_from(Some(&source(&text)), &environment) {
                Ok(config) => prop_assert!(!config.secrets.is_empty() && !config.providers.is_empty()),
                Err(diagnostics) => prop_assert!(!diagnostics.0.is_empty()),
            }
        }
        if let Err(diagnostics) = load_from(None, &environment) {
            prop_assert!(!diagnostics.0.is_empty());
        }
    }
}
