//! Puts the commit that is built into `BATCHKV_COMMIT`, for result files: `unknown` outside a git
//! checkout, with `-dirty` behind it when tracked files differ from the commit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-env=BATCHKV_COMMIT={}", commit());
    println!("cargo::rerun-if-changed=build.rs");
    for sources in ["src", "../client/src", "../protocol/src", "../workload/src"] {
        println!("cargo::rerun-if-changed={sources}");
    }
    // A path that does not exist would run this script in every build.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    // Without the optional lock, asking does not touch the index.
    let status = [
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--untracked-files=no",
    ];
    match git(&status) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "-dirty",
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
