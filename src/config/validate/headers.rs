//! `headers`, `additional_headers`, `basic_auth`, `pass_access_token` and `pass_id_token` of an app, compiled to the policy's plan of headers.

use super::super::{
    reader::{self, Cursor, Reader},
    suggest,
};
use crate::policy::headers::{BasicCredential, HeaderPlan, HeaderSpec, PassedToken, PlanContext, Preset, plan};

/// Keys that pass a token to the app, and the preset with the header for it.
const TOKENS: [(&str, PassedToken, Preset); 2] = [
    ("pass_access_token", PassedToken::AccessToken, Preset::OAuth2Proxy),
    ("pass_id_token", PassedToken::IdToken, Preset::Authentik),
];

pub(super) fn read(reader: &mut Reader<'_>, section: &Cursor<'_>, about: &PlanContext<'_>) -> Option<HeaderPlan> {
    let list = section.at("headers")?;
    let items = list.items();
    reader.refuse_duplicates(&items, None);
    let mut specs = specs(reader, &items);
    let additional = section.at("additional_headers");
    reader.refuse_duplicates(&additional.as_ref().map(Cursor::items).unwrap_or_default(), None);
    specs.extend(reader.list(additional.as_ref(), reader::text).into_iter().map(HeaderSpec::Additional));
    if let Some(basic) = section.at("basic_auth") {
        let user = basic.at("user_attribute");
        let user_attribute = reader.text(user.as_ref());
        let password_attribute = reader.text(basic.at("password_attribute").as_ref())?;
        (user.is_some() == user_attribute.is_some()).then_some(())?;
        specs.push(HeaderSpec::Basic(BasicCredential { user_attribute, password_attribute }));
    }
    let passed = passed(reader, section, &specs);
    plan(&specs, &PlanContext { passed: &passed, ..*about })
        .map_err(|faults| {
            for fault in faults {
                let text = fault.to_string();
                let (problem, hint) = text.split_once("; ").unwrap_or((&text, "use another name"));
                reader.error(&list, problem, hint);
            }
        })
        .ok()
}

fn specs(reader: &mut Reader<'_>, items: &[Cursor<'_>]) -> Vec<HeaderSpec> {
    let mut specs = Vec::new();
    for item in items {
        if let Some(name) = item.text() {
            match Preset::named(name).map(HeaderSpec::Preset) {
                // A duplicate is reported by `refuse_duplicates`, rather than as a clash of every single header.
                Some(preset) if specs.contains(&preset) => {}
                Some(preset) => specs.push(preset),
                None => {
                    let hint = suggest::among(name, Preset::ALL.iter().map(|preset| preset.name()));
                    reader.error(item, format!("there is no preset called `{name}`"), hint);
                }
            }
        } else if item.is_valid() {
            let own = item.entries();
            if own.is_empty() {
                reader.error(item, "has no effect: it names no header", "remove it");
            }
            specs.extend(
                own.iter()
                    .filter_map(|(name, value)| Some(HeaderSpec::Own((*name).to_owned(), value.text()?.to_owned()))),
            );
        }
    }
    specs
}

fn passed(reader: &mut Reader<'_>, section: &Cursor<'_>, specs: &[HeaderSpec]) -> Vec<PassedToken> {
    let mut passed = Vec::new();
    for (key, token, preset) in TOKENS {
        let Some(cursor) = section.at(key).filter(|cursor| cursor.flag() == Some(true)) else { continue };
        if specs.contains(&HeaderSpec::Preset(preset)) {
            passed.push(token);
        } else {
            let hint = format!("add \"{}\" to `headers`, or remove the key", preset.name());
            reader.error(&cursor, "has no effect: none of the app's headers carries the token", hint);
        }
    }
    passed
}
