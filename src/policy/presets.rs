//! Presets of paths: files that many apps have and that are the same for everybody.

use std::iter;

/// Files that operating systems and browsers fetch without cookies to install an app or to show its icon.
///
/// Only names that stand for nothing else: no service worker, which is fetched with cookies, no `robots.txt`, which is part of an
/// app's content.
const PWA_FILES: &[&str] = &[
    "/favicon.ico",
    "/favicon.png",
    "/favicon.svg",
    "/apple-touch-icon.png",
    "/apple-touch-icon-precomposed.png",
    "/safari-pinned-tab.svg",
    "/manifest.webmanifest",
    "/site.webmanifest",
    "/app.webmanifest",
    "/manifest.json",
    "/browserconfig.xml",
    "/mstile-310x150.png",
    "/maskable-icon.png",
    "/maskable-icon-192x192.png",
    "/maskable-icon-512x512.png",
];

/// Names of icons that occur in several sizes, and their sizes.
const PWA_ICONS: &[(&str, &[u16])] = &[
    ("/favicon-", &[16, 32, 48, 64, 96, 128, 192, 196]),
    ("/apple-touch-icon-", &[57, 60, 72, 76, 114, 120, 144, 152, 167, 180]),
    ("/android-chrome-", &[36, 48, 72, 96, 144, 192, 256, 384, 512]),
    ("/web-app-manifest-", &[192, 512]),
    ("/pwa-", &[64, 192, 512]),
    ("/icon-", &[48, 72, 96, 128, 144, 152, 192, 256, 384, 512]),
    ("/mstile-", &[70, 144, 150, 310]),
];

/// Returns the paths of the preset `pwa-assets`.
pub(super) fn pwa_assets() -> impl Iterator<Item = String> {
    let sized = PWA_ICONS.iter().flat_map(|(name, sizes)| {
        let of_size = move |suffix: &'static str| sizes.iter().map(move |size| format!("{name}{size}x{size}{suffix}"));
        let precomposed = iter::once("-precomposed.png").filter(|_| *name == "/apple-touch-icon-");
        iter::once(".png").chain(precomposed).flat_map(of_size)
    });
    PWA_FILES.iter().map(|&path| path.to_owned()).chain(sized)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = include_str!("../../docs/rules.md");

    #[test]
    fn every_file_of_a_preset_is_documented() {
        for path in PWA_FILES.iter().filter(|path| !path.contains("192x192") && !path.contains("512x512")) {
            assert!(DOCUMENTATION.contains(&format!("`{path}`")), "{path}");
        }
        for (name, sizes) in PWA_ICONS {
            let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let row = DOCUMENTATION.lines().find(|line| line.contains(&format!("`{name}SIZE.png`")));
            assert!(row.is_some_and(|row| row.ends_with(&format!("| {sizes} |"))), "{name}: {sizes}");
        }
    }
}
