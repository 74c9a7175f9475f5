//! Writes the small journal that `tests/recorder` reads: `cargo run -p holdspace-journal --example sample -- FILE`.
//! Key n is 32 bytes of n + 1.

use holdspace_journal::{codec_number, JournalWriter, Record};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let writer = JournalWriter::start(|notice| eprintln!("{notice:?}"))?;
    writer.open(1, Path::new(&path), &[1; 32], b"{\"recording\": \"sample\"}")?;
    writer.add_key(1, 1, &[2; 32])?;
    writer.add_key(1, 2, &[3; 32])?;
    writer.event(1, 10, b"{\"event\": \"started\"}")?;
    let mut sink = writer.sink();
    let packet = [0x80, 0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0];
    let codec = codec_number("vp8");
    sink.append(1, 1, Record::Rtp { tap: 7, codec, arrival_us: 11, packet: &packet })?;
    let ntp_time = 0x0102_0304_0506_0708;
    sink.append(1, 2, Record::SenderReport { tap: 8, arrival_us: 12, ssrc: 3, ntp_time, rtp_ts: 9 })?;
    drop(sink);
    writer.shutdown();
    Ok(())
}
