//! Every saved input of every fuzz target, on the stable toolchain.

use holdspace_fuzz::TARGETS;
use std::path::PathBuf;

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut files: Vec<PathBuf> =
        folder.read_dir().expect("a folder of seeds").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_saved_input_of_every_target_passes() {
    for (name, run) in TARGETS {
        let files = seeds(name);
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            println!("{}", file.display()); // shown only when the target panics: which seed it was
            run(&std::fs::read(&file).expect("a seed"));
        }
    }
}

/// Cheap neighbours of the seeds: cut short at every length, and with each byte changed.
#[test]
fn what_lies_next_to_a_saved_input_passes_too() {
    for (name, run) in TARGETS.into_iter().filter(|(name, _)| *name != "engine") {
        for file in seeds(name) {
            println!("{}", file.display());
            let bytes = std::fs::read(&file).expect("a seed");
            for at in 0..bytes.len().min(200) {
                run(&bytes[..at]);
                for change in [0x01, 0x10, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    run(&changed);
                }
            }
        }
    }
}
