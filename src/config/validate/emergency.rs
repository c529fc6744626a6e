//! `[emergency]`: the users file, and the hosts, each of which an app has to have.

use super::{
    super::{
        diagnostic::ValueError,
        reader::{Cursor, Reader, text},
    },
    apps,
};
use crate::{
    emergency::{Settings, Users},
    policy::{App, HostPattern},
};

/// Reads the section. `None` where there is none, or it has a mistake, which is reported.
pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>, apps: Option<&[App]>) -> Option<Settings> {
    let section = root.at("emergency")?;
    let users = users(reader, &section);
    let hosts = hosts(reader, &section, apps);
    let groups = section.at("groups");
    if let Some(list) = &groups {
        reader.refuse_duplicates(&list.items(), None);
    }
    let groups = reader.list(groups.as_ref(), text);
    let realm = reader.parsed(section.at("realm").as_ref(), realm);
    Some(Settings { users: users?, hosts: hosts?, groups, realm: realm? })
}

fn users(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<Users> {
    let cursor = section.at("users_file")?;
    let (path, content) = reader.content(Some(&cursor))?;
    let path = path.display();
    match Users::parse(&content) {
        Err(faults) => {
            for fault in faults {
                let hint = "write lines like `ann:$argon2id$…`, each with what `doorward hash-password` prints";
                reader.error(&cursor, format!("{path}: {fault}"), hint);
            }
            None
        }
        Ok(users) => {
            if let [first, others @ ..] = users.weak().as_slice() {
                let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
                let problem = format!("{path}: the hash of {first}{more} is cheap to guess for whoever gets the file");
                reader.warn(&cursor, problem, "hash the password anew with `doorward hash-password`");
            }
            Some(users)
        }
    }
}

fn hosts(reader: &mut Reader<'_>, section: &Cursor<'_>, apps: Option<&[App]>) -> Option<Vec<HostPattern>> {
    let list = section.at("hosts")?;
    let items = list.items();
    if items.is_empty() && list.is_valid() {
        reader.error(&list, "an emergency sign-in without a host is never open", "name the hosts that it is for");
    }
    reader.refuse_duplicates(&items, None);
    let mut hosts = Vec::new();
    for item in &items {
        let host = reader.parsed(Some(item), apps::host)?;
        // Not reported while an app is in error: the host may be one of its.
        if let Some(apps) = apps
            && !apps.iter().any(|app| app.has_host_among(std::slice::from_ref(&host)))
        {
            reader.error(item, "is no host of any app", "name a host as it stands in `apps[].hosts`");
        }
        hosts.push(host);
    }
    Some(hosts)
}

/// Parses a realm: what can stand in a quoted string of a header without escapes (RFC 9110, section 5.6.4).
fn realm(written: &str) -> Result<String, ValueError> {
    let realm = text(written)?;
    if realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return Ok(realm);
    }
    let problem = format!("`{realm}` cannot stand in a header as it is");
    Err(ValueError::new(problem, "use ASCII without quotation marks and backslashes"))
}
