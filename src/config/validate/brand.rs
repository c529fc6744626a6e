//! `[brand]`, `[log]` and `[access]`: the small sections.

use bytes::Bytes;

use super::super::{
    diagnostic::ValueError,
    reader::{Cursor, Reader},
    settings::{Log, LogFormat},
};
use crate::{pages, policy};

/// Size limit of the logo in bytes.
const MAX_LOGO_SIZE: usize = 64 * 1024;
/// Length limit of the title in characters.
const MAX_TITLE_LENGTH: usize = 64;

pub(super) fn brand(reader: &mut Reader<'_>, section: &Cursor<'_>) -> pages::Settings {
    let title = section.at("title");
    let title_text = reader.text(title.as_ref());
    if let (Some(cursor), Some(text)) = (&title, &title_text)
        && text.chars().count() > MAX_TITLE_LENGTH
    {
        reader.error(cursor, format!("is longer than {MAX_TITLE_LENGTH} characters"), "write a shorter one");
    }
    let logo = section.at("logo");
    let content = reader.content(logo.as_ref());
    let image = content.and_then(|(_, bytes)| reader.parsed(logo.as_ref(), |path| image(path, bytes)));
    let accent = reader.parsed(section.at("accent").as_ref(), colour);
    pages::Settings { title: title_text, logo: image, accent }
}

pub(super) fn log(root: &Cursor<'_>) -> Log {
    let section = root.at("log");
    let word = |name| section.as_ref().and_then(|section| section.at(name)).and_then(|cursor| cursor.text());
    let format = if word("format") == Some("text") { LogFormat::Text } else { LogFormat::Json };
    Log { level: word("level").unwrap_or("info").to_owned(), format }
}

pub(super) fn default_access(root: &Cursor<'_>) -> policy::DefaultAccess {
    match root.at("access").and_then(|section| section.at("default")).and_then(|cursor| cursor.text()) {
        Some("authenticated") => policy::DefaultAccess::Authenticated,
        _ => policy::DefaultAccess::Deny,
    }
}

/// Returns the media type and the bytes of an image. The type is detected from the bytes, not the file's name.
fn image(path: &str, bytes: Vec<u8>) -> Result<(String, Bytes), ValueError> {
    if bytes.len() > MAX_LOGO_SIZE {
        return Err(ValueError::new(
            format!("{path} is larger than 64 KiB"),
            "use a smaller image: it is part of every page",
        ));
    }
    match media_type(&bytes) {
        Some(media_type) => Ok((media_type.to_owned(), Bytes::from(bytes))),
        None => Err(ValueError::new(format!("{path} is no PNG, JPEG or SVG"), "save the image as one of these")),
    }
}

fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
    let xml = ["<svg", "<?xml", "<!--", "<!DOCTYPE svg"].iter().any(|start| text.starts_with(start));
    (xml && text.contains("<svg")).then_some("image/svg+xml")
}

fn colour(text: &str) -> Result<String, ValueError> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
    if digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ValueError::new(format!("`{text}` is no colour"), "write it as \"#rrggbb\", such as \"#2f6fde\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_of_an_image_is_detected_from_its_bytes() {
        for (bytes, expected) in [
            (b"\x89PNG\r\n\x1a\n....".as_slice(), Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", Some("image/svg+xml")),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<svg/>", Some("image/svg+xml")),
            (b"<?xml version=\"1.0\"?><html/>", None),
            (b"<html><svg/></html>", None),
            (b"GIF89a", None),
            (b"", None),
        ] {
            assert_eq!(media_type(bytes), expected);
        }
    }
}
