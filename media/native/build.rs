//! Puts the compiler's version where `BUILD_INFO` finds it.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let words: Vec<&str> = version.split_whitespace().take(2).collect();
    println!("cargo:rustc-env=HOLDSPACE_RUSTC_VERSION={}", words.join(" "));
    println!("cargo:rerun-if-changed=build.rs");
}
