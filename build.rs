//! Tells the binary which commit it was built from, for `--version` and `doorward_build_info`.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script has no configuration but its environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-env-changed=DOORWARD_COMMIT");
    // A package build has no repository: whoever builds it says what it is, or it stays unknown.
    let commit = std::env::var("DOORWARD_COMMIT").ok().or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=DOORWARD_COMMIT={commit}");
}

fn from_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !commit.trim().is_empty()).then(|| commit.trim().to_owned())
}
