//! One function per fuzz target, shared by the fuzzer's binaries (`fuzz_targets/`) and by the test that replays
//! `seeds/` on every `make test`. A target takes any bytes; it panics where our code would, or where what was read
//! contradicts itself: what is parsed must survive being written and parsed again.
//!
//! A new parser gets a function here, a line in [`TARGETS`], a binary, and seeds.

mod engine;
mod port;
mod room;
mod steps;
mod wire;

pub use engine::engine;
pub use port::frame_port;
pub use wire::{framing, payload, red, rtcp, rtp, stun, transport_cc};

pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 9] = [
    ("stun", stun),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("transport_cc", transport_cc),
    ("payload", payload),
    ("red", red),
    ("framing", framing),
    ("engine", engine),
    ("frame_port", frame_port),
];
