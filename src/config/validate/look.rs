//! `[brand]`, `[log]` and `[access]`: the small sections.

use bytes::Bytes;

use super::{
    super::{
        LogFormat,
        complaint::Fault,
        reader::{Reader, Spot},
    },
    Log, pages, policy,
};

const LARGEST_LOGO: usize = 64 * 1024;
const LONGEST_TITLE: usize = 64;

pub(super) fn brand(reader: &mut Reader<'_>, section: &Spot<'_>) -> pages::Settings {
    let title = section.at("title");
    let title_text = reader.text(title.as_ref());
    if let (Some(spot), Some(text)) = (&title, &title_text)
        && text.chars().count() > LONGEST_TITLE
    {
        reader.complain(spot, format!("is longer than {LONGEST_TITLE} characters"), "write a shorter one");
    }
    let logo = section.at("logo");
    let content = reader.content(logo.as_ref());
    let image = content.and_then(|(_, bytes)| reader.parsed(logo.as_ref(), |path| image(path, bytes)));
    let accent = reader.parsed(section.at("accent").as_ref(), colour);
    pages::Settings { title: title_text, logo: image, accent }
}

pub(super) fn log(root: &Spot<'_>) -> Log {
    let section = root.at("log");
    let word = |name| section.as_ref().and_then(|section| section.at(name)).and_then(|spot| spot.text());
    let format = if word("format") == Some("text") { LogFormat::Text } else { LogFormat::Json };
    Log { level: word("level").unwrap_or("info").to_owned(), format }
}

pub(super) fn default_access(root: &Spot<'_>) -> policy::DefaultAccess {
    match root.at("access").and_then(|section| section.at("default")).and_then(|spot| spot.text()) {
        Some("authenticated") => policy::DefaultAccess::Authenticated,
        _ => policy::DefaultAccess::Deny,
    }
}

/// The media type and the bytes of an image. The type is what the bytes say, whatever the file is called.
fn image(path: &str, bytes: Vec<u8>) -> Result<(String, Bytes), Fault> {
    if bytes.len() > LARGEST_LOGO {
        return Err(Fault::new(
            format!("{path} is larger than 64 KiB"),
            "use a smaller image: it is part of every page",
        ));
    }
    match media_type(&bytes) {
        Some(media_type) => Ok((media_type.to_owned(), Bytes::from(bytes))),
        None => Err(Fault::new(format!("{path} is no PNG, JPEG or SVG"), "save the image as one of these")),
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

fn colour(text: &str) -> Result<String, Fault> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
    if digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Fault::new(format!("`{text}` is no colour"), "write it as \"#rrggbb\", such as \"#2f6fde\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_bytes_say() {
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
