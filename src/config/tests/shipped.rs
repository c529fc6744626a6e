//! The files in `config/` are valid, and `full.toml` has every key.

use super::*;

const SHIPPED: [(&str, &str); 3] = [
    ("config/minimal.toml", include_str!("../../../config/minimal.toml")),
    ("config/full.toml", include_str!("../../../config/full.toml")),
    ("config/demo.toml", include_str!("../../../config/demo.toml")),
];

#[test]
fn the_shipped_files_are_valid() {
    let environment =
        variables(&[("SEALING_SECRET", "0123456789abcdef0123456789abcdef"), ("CLIENT_SECRET", "client-secret")]);
    for (name, text) in SHIPPED {
        let result = load_from(Some(&source(text)), &environment);
        assert!(result.is_ok(), "{name}:\n{}", report_text(&result));
    }
}

#[test]
fn the_full_file_has_every_key_with_its_default() {
    let (_, text) = SHIPPED[1];
    for key in schema::KEYS {
        let (section, name) = key.place();
        let section_name = section.replace("[]", "");
        let header = if section.ends_with("[]") { format!("[[{section_name}]]") } else { format!("[{section_name}]") };
        let plain = |line: &str| line.trim_start_matches("# ").to_owned();
        let mut inside = false;
        let found = text.lines().any(|line| {
            let line = plain(line);
            if line.starts_with('[') {
                inside = line == header;
            }
            let value = line.strip_prefix(&format!("{name} = "));
            inside
                && value.is_some_and(|value| match key.default {
                    schema::DefaultValue::Is(default) => value == default || key.path == "server.trusted_proxies",
                    _ => true,
                })
        });
        assert!(found, "{} is missing in {header}, or its default is another", key.path);
    }
}
