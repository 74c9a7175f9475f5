//! A long life of one room under every fault of the link: memory stays where the first rounds brought it, and after
//! each fault everybody sees and hears again.
//!
//! A round is one pass over [`FAULTS`]. Memory is looked at where rounds end, in the same calm, with the test's own
//! notes cut down to the newest; so what grows from round to round is the engine's.

mod common;

use common::{Faults, Line, World};
use holdspace_engine::{Command, Kind, SlotId, TapId, Time, TrackId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RIDS: [&str; 3] = ["q", "h", "f"];
const CALM: Faults = Faults { loss: 0, duplicate: 0, delay_ms: 15, jitter_ms: 0 };
/// Nobody lowers their rate here: after a long way or a narrow line the estimate has to be found again.
const BACK_WITHIN_S: u64 = 12;
/// Packets of a stream in a second.
const FLOWING: usize = 25;
/// Caches and histories are as large as their streams' worst second; a byte lost with every twentieth packet of the
/// long run is more than this.
const SETTLING_KB: usize = 384;

type Begin = fn(&mut Room);

/// Name, for how many milliseconds, and how it begins; every fault ends by [`Room::calm`].
const FAULTS: [(&str, u64, Begin); 11] = [
    ("random loss", 2_000, |room| room.world.link.both(Faults { loss: 100, ..CALM })),
    ("heavy loss", 1_500, |room| room.world.link.both(Faults { loss: 500, ..CALM })),
    ("duplicates", 2_000, |room| room.world.link.both(Faults { duplicate: 300, ..CALM })),
    ("packets overtake each other", 2_000, |room| room.world.link.both(Faults { jitter_ms: 60, ..CALM })),
    ("long way", 2_000, |room| room.world.link.both(Faults { delay_ms: 400, jitter_ms: 100, ..CALM })),
    ("damaged datagrams", 2_000, |room| room.world.link.damaged = 200),
    ("feedback lost", 2_000, |room| room.world.link.up = Faults { loss: 400, ..CALM }),
    ("narrow line", 4_000, |room| {
        room.world.link.lines.insert(SUBSCRIBER, Line::new(250_000, 300));
    }),
    ("short cut", 2_000, |room| {
        room.world.link.cut_off.insert(PUBLISHER);
    }),
    ("cut until the connection is given up for now", 9_500, |room| {
        room.world.link.cut_off.insert(SUBSCRIBER);
    }),
    ("another address", 1_000, Room::move_subscriber),
];

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 2;

/// Two who publish, the first in three encodings with temporal layers and RED, recorded; and one who only looks, with
/// one slot without RTX.
struct Room {
    world: World,
    rounds: u64,
    shown: Vec<(usize, u32)>,
}

impl Room {
    fn new(seed: u64) -> Room {
        let mut world = World::new(seed);
        world.link.both(CALM);
        for _ in 0..3 {
            world.join();
        }
        world.browsers[PUBLISHER].red = true;
        for at in world.publish_simulcast(PUBLISHER, 1, &RIDS) {
            let sending = &mut world.browsers[PUBLISHER].sending[at];
            (sending.temporal_layers, sending.packets_per_frame) = (1 + at as u64, 1 + at);
        }
        world.publish(PUBLISHER, 2, Kind::Audio);
        world.publish(1, 3, Kind::Video);
        world.publish(1, 4, Kind::Audio);
        world.apply(Command::GrantRecording { grant: "consent".into(), participant: "person0".into() }).unwrap();
        world.apply(Command::AddTap { tap: TapId(1), track: TrackId(1), grant: "consent".into() }).unwrap();
        let without_rtx = world.add_slot(SUBSCRIBER, 13, Kind::Video, false);
        world.fill(13, Some(3));
        let shown = vec![
            (1, world.subscribe(1, 20, 1, Kind::Video)),
            (1, world.subscribe(1, 21, 2, Kind::Audio)),
            (PUBLISHER, world.subscribe(PUBLISHER, 30, 3, Kind::Video)),
            (SUBSCRIBER, world.subscribe(SUBSCRIBER, 10, 1, Kind::Video)),
            (SUBSCRIBER, world.subscribe(SUBSCRIBER, 11, 2, Kind::Audio)),
            (SUBSCRIBER, world.subscribe(SUBSCRIBER, 12, 4, Kind::Audio)),
            (SUBSCRIBER, without_rtx),
        ];
        Room { world, rounds: 0, shown }
    }

    fn packets(&self) -> u64 {
        let totals = self.world.engine.totals();
        totals.packets_in + totals.packets_out
    }

    fn move_subscriber(&mut self) {
        self.world.browsers[SUBSCRIBER].address.set_port(5_000 + (self.rounds % 5) as u16);
        self.world.check(SUBSCRIBER, true);
    }

    fn play_round(&mut self) {
        self.rounds += 1;
        let rid = Some(RIDS[(self.rounds % 3) as usize].to_owned());
        self.world.apply(Command::SetLayer { slot: SlotId(10), rid, temporal: None }).unwrap();
        for (name, lasts_ms, begin) in FAULTS {
            begin(self);
            self.world.run(lasts_ms);
            self.calm(name);
        }
    }

    /// The link is whole again: soon everybody gets all that they should.
    fn calm(&mut self, after: &str) {
        let link = &mut self.world.link;
        link.both(CALM);
        link.lines.clear();
        link.cut_off.clear();
        link.damaged = 0;
        (0..RIDS.len()).for_each(|layer| self.world.report(PUBLISHER, layer));
        for _ in 0..BACK_WITHIN_S {
            let since = self.world.now;
            self.world.run(1_000);
            if self.least_got(since).0 >= FLOWING {
                break;
            }
        }
        let (least, ssrc) = self.least_got(Time(self.world.now.0 - 1_000_000));
        assert!(least >= FLOWING, "round {}, after {after}: {least} packets of {ssrc:#x} in a second", self.rounds);
        self.world.forget_past();
    }

    /// Of all that is shown, what came least since then, and its SSRC.
    fn least_got(&self, since: Time) -> (usize, u32) {
        let got = |(index, ssrc): &(usize, u32)| {
            let got = self.world.browsers[*index].got(*ssrc).values().rev();
            (got.take_while(|got| got.at > since).count(), *ssrc)
        };
        self.shown.iter().map(got).min().expect("something is shown")
    }

    /// Kilobytes held, after each of `looks` equal parts of `packets`.
    fn live(&mut self, packets: u64, looks: u64) -> Vec<usize> {
        let mut held = Vec::new();
        for look in 1..=looks {
            while self.packets() < packets * look / looks {
                self.play_round();
            }
            held.push(LIVE_BYTES.load(Ordering::Relaxed) / 1_000);
            println!(
                "{:>9} packets, {:>6} s of the room's time, {} rounds: {} kB held, {} kB resident",
                self.packets(),
                self.world.now.0 / 1_000_000,
                self.rounds,
                held[held.len() - 1],
                resident_kb(),
            );
        }
        let undecodable: u64 = self.world.browsers.iter().map(|browser| browser.undecodable).sum();
        assert_eq!((self.world.engine.totals().repeat_refused, undecodable), (0, 0));
        held
    }
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn memory_is_flat_over_a_hundred_thousand_packets_under_every_fault() {
    let held = Room::new(401).live(100_000, 2);
    assert!(held[1] <= held[0] + SETTLING_KB, "{held:?}");
}

/// `make soak`: minutes in a release build.
#[test]
#[ignore = "ten million packets"]
fn memory_is_flat_over_ten_million_packets_under_every_fault() {
    let held = Room::new(402).live(10_000_000, 20);
    let worst = held[2..].iter().max();
    assert!(worst.is_some_and(|worst| *worst <= held[1] + SETTLING_KB), "{held:?}");
}
