//! What one journalled packet costs in CPU, sealing, writing and syncing included:
//! `cargo run --release -p holdspace-journal --example cost -- FOLDER`.
//! 100 streams of 1,100-byte packets at 110 packets per second each, as fast as the disk takes them.

use holdspace_journal::{JournalNotice, JournalWriter, Record};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const STREAMS: u64 = 100;
const SECONDS: u64 = 20;
const PACKETS_PER_S: u64 = 110;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let lost = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lost);
    let writer = JournalWriter::start(move |notice| {
        if let JournalNotice::Overflowed { records, .. } = notice {
            counter.fetch_add(records, Ordering::Relaxed);
        }
    })?;
    for journal in 0..STREAMS {
        let path = Path::new(&folder).join(format!("cost-{journal}.journal"));
        writer.open(journal, &path, &[1; 32], b"")?;
        writer.add_key(journal, 1, &[2; 32])?;
    }
    let mut sink = writer.sink();
    let packet = [7u8; 1100];
    let (started, before) = (Instant::now(), cpu_seconds());
    for at in 0..SECONDS * PACKETS_PER_S {
        let arrival_us = at * 1_000_000 / PACKETS_PER_S;
        for journal in 0..STREAMS {
            sink.append(journal, 1, Record::Rtp { tap: 1, codec: 1, arrival_us, packet: &packet })?;
        }
        // Four times real time, so that the disk and not the queue decides.
        let due = started + Duration::from_micros(arrival_us / 4);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    drop(sink);
    writer.shutdown();
    let packets = STREAMS * SECONDS * PACKETS_PER_S;
    let cost_us = (cpu_seconds() - before) * 1e6 / packets as f64;
    println!("{packets} packets, {cost_us:.2} µs CPU each, {} lost", lost.load(Ordering::Relaxed));
    for journal in 0..STREAMS {
        std::fs::remove_file(Path::new(&folder).join(format!("cost-{journal}.journal")))?;
    }
    Ok(())
}
