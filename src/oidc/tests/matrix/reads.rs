//! Whatever the code reads of a provider's answer is in the table.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

use super::AnswerDocument;

/// Members of logout tokens and codes of errors, which are tested where they are read.
const ELSEWHERE: &[&str] = &[
    "events",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
    "access_denied",
];

/// Files that read no answer with such fields: what the gate sends, how it goes there, and error codes; and what API clients send,
/// which has tables of its own (`access_tokens`, `opaque_tokens`).
const WITHOUT_ANSWERS: &[&str] = &[
    "access_token.rs",
    "authorize.rs",
    "client_auth.rs",
    "credential_verifier.rs",
    "fuzz.rs",
    "introspection.rs",
    "proxy.rs",
    "settings.rs",
    "tls.rs",
    "token_answer.rs",
    "transport.rs",
];

/// Structs that are read with `serde`, of which the first that is there counts.
const STRUCTS: &[(&str, &[&str], AnswerDocument)] = &[
    ("token_set.rs", &["RawTokenSet", "TokenSet"], AnswerDocument::TokenResponse),
    ("metadata.rs", &["RawMetadata", "ProviderMetadata"], AnswerDocument::Metadata),
];

fn table(documents: &[AnswerDocument]) -> BTreeSet<&'static str> {
    documents.iter().flat_map(|document| document.fields()).map(|field| field.name).collect()
}

/// Returns the code of a file without its tests.
fn code(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oidc").join(file);
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()
}

fn fields_of(code: &str, names: &[&str]) -> Vec<String> {
    let body = |name: &&str| Regex::new(&format!(r"(?s)struct {name}(?:<'a>)? \{{(.*?)\n\}}")).unwrap().captures(code);
    let body = names.iter().find_map(body).expect("the struct is there");
    let field = Regex::new(r"(?m)^ {4}(?:pub\(super\) )?([a-z_]+):").unwrap();
    field.captures_iter(&body[1]).map(|field| field[1].to_owned()).collect()
}

#[test]
fn every_field_that_the_code_reads_is_in_the_table() {
    let all = [&AnswerDocument::OF_A_PERSON[..], &AnswerDocument::OF_THE_PROVIDER[..]].concat();
    let known: BTreeSet<_> = table(&all).into_iter().chain(ELSEWHERE.iter().copied()).collect();
    let access = Regex::new(
        r#"(?:get|contains_key|needed|needed_endpoint|endpoint|texts|optional|field|numeric_date|identifier|stated|text|claim|member|time|odd|remove)\((?:[^()"]|\(\))*"([A-Za-z0-9_#]+)""#,
    );
    let list = Regex::new(r"(?s)(?:const|let) [A-Za-z_]+: [^=]*str[^=]* =\s+&?\[(.*?)\];").unwrap();
    let (access, word) = (access.unwrap(), Regex::new(r#"[\[(,\n ]"([a-z_0-9]+)""#).unwrap());
    let typed = Regex::new(r#"(?m)^ {4}\("([a-z_]+)", "#).unwrap();
    let (mut missing, mut seen) = (Vec::new(), 0);
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oidc")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_none_or(|extension| extension != "rs")
            || WITHOUT_ANSWERS.contains(&name.as_str())
        {
            continue;
        }
        let code = code(&name);
        let direct = access.captures_iter(&code).map(|found| found[1].to_owned());
        let listed = list.captures_iter(&code).flat_map(|found| {
            let words: Vec<_> = word.captures_iter(&found[1]).map(|found| found[1].to_owned()).collect();
            words
        });
        let typed = typed.captures_iter(&code).map(|found| found[1].to_owned());
        for read in direct.chain(listed).chain(typed) {
            seen += 1;
            if !known.contains(read.as_str()) {
                missing.push(format!("{name}: {read}"));
            }
        }
    }
    assert!(seen > 60, "the code reads {seen} fields: this test does not find them any more");
    assert_eq!(missing, [] as [String; 0], "add a line for each to fields.rs, or to ELSEWHERE");
}

#[test]
fn every_field_of_a_document_that_is_read_as_a_struct_is_in_its_table() {
    for (file, names, document) in STRUCTS {
        let (read, known) = (fields_of(&code(file), names), table(&[*document]));
        assert!(read.len() >= 4, "{file}: {read:?}");
        for field in read {
            // Names of the gate's own for some fields.
            let is_renamed = [
                "signing_algorithms",
                "client_auth_methods",
                "code_challenge_methods",
                "scopes",
                "sends_iss",
                "acr_values",
            ];
            assert!(
                known.contains(field.as_str()) || is_renamed.contains(&field.as_str()),
                "{file} reads {field}: add a line to the table of {document:?} in fields.rs"
            );
        }
    }
}
