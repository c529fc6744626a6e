//! Tells the binary the commit it was built from, for `--version` and `doorward_build_info`.
//!
//! It runs again when another commit is checked out, and only then.

use std::{path::Path, process::Command};

#[expect(clippy::disallowed_methods, reason = "a build script has no configuration but its environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DOORWARD_COMMIT");
    watch_commit();
    // A package build has no repository: its builder names the commit, or it stays unknown.
    let commit = std::env::var("DOORWARD_COMMIT").ok().or_else(commit_of_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=DOORWARD_COMMIT={commit}");
}

/// Watches the files that name the commit. In a linked worktree `.git` is a file, so git itself is asked for their paths.
/// Cargo takes a file that does not exist for a changed one and would run this script, and compile the crate, every time.
fn watch_commit() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD"].into_iter().chain(branch.as_deref()) {
        let Some(path) = git(&["rev-parse", "--git-path", name]) else { continue };
        // A packed branch has no file until the next commit to it; that changes the folder.
        if let Some(path) = Path::new(&path).ancestors().find(|path| path.exists()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

fn commit_of_git() -> Option<String> {
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The line that a git command prints, or `None` where it fails, as outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !line.trim().is_empty()).then(|| line.trim().to_owned())
}
