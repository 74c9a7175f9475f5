//! A room of two as the whole product plays it: a camera whose encoder obeys REMB, a microphone, and Python's part
//! (the estimate becomes the publisher's cap, too little pauses the picture). Tells what the subscriber saw and heard.

use super::payload::picture_of;
use super::{Line, World};
use holdspace_engine::{Command, Event, Kind, SlotId, Time};

/// What sound is given first, and what a picture needs at least.
const SOUND_BPS: u64 = 64_000;
const LEAST_PICTURE_BPS: u64 = 60_000;
const FRAMES_PER_S: u64 = 30;

pub struct Call {
    pub world: World,
    pub publisher: usize,
    pub subscriber: usize,
    pub video: u32,
    pub audio: u32,
    pub most_bps: u64,
    pub estimates: Vec<(Time, u64, bool)>,
    cap_bps: Option<u64>,
    paused: bool,
    pub pauses: u32,
    asked_at: Time,
}

/// Like Chromium's: without any picture it asks this often, without a new one after so long.
const FIRST_PICTURE_MS: u64 = 200;
const NEXT_PICTURE_MS: u64 = 3_000;

impl Call {
    pub fn new(seed: u64, most_bps: u64) -> Call {
        let mut world = World::new(seed);
        world.link.both(super::Faults { delay_ms: 20, ..super::Faults::default() });
        let publisher = world.join();
        world.publish(publisher, 1, Kind::Video);
        world.publish(publisher, 2, Kind::Audio);
        world.browsers[publisher].sending[0].keyframe_factor = 4;
        let subscriber = world.join();
        let video = world.subscribe(subscriber, 10, 1, Kind::Video);
        let audio = world.subscribe(subscriber, 11, 2, Kind::Audio);
        let (estimates, cap_bps) = (Vec::new(), None);
        let mut call = Call {
            world,
            publisher,
            subscriber,
            video,
            audio,
            most_bps,
            estimates,
            cap_bps,
            paused: false,
            pauses: 0,
            asked_at: Time(0),
        };
        call.obey();
        call
    }

    pub fn line(&mut self, bps: u64, queue_ms: u64) {
        self.world.link.lines.insert(self.subscriber, Line::new(bps, queue_ms));
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.world.step();
            let events = std::mem::take(&mut self.world.events);
            for event in events {
                let Event::Estimate { transport, bps, is_limit } = event else { continue };
                if transport == self.world.browsers[self.subscriber].transport {
                    self.estimates.push((self.world.now, bps, is_limit));
                    self.share(bps, is_limit);
                }
            }
            self.obey();
            if self.world.now.since_ms(self.asked_at) >= FIRST_PICTURE_MS {
                self.ask_for_keyframe();
            }
        }
    }

    fn ask_for_keyframe(&mut self) {
        self.asked_at = self.world.now;
        let last = self.decoded_at().last().copied();
        if last.is_none_or(|last| self.world.now.since_ms(last) >= NEXT_PICTURE_MS) {
            let video = self.video;
            let pli = self.world.browsers[self.subscriber].rtcp(|writer| writer.pli(2, video).unwrap());
            self.world.send_up(self.subscriber, pli);
        }
    }

    fn share(&mut self, bps: u64, is_limit: bool) {
        let picture = bps.saturating_sub(SOUND_BPS);
        let needed = if self.paused { LEAST_PICTURE_BPS * 3 / 2 } else { LEAST_PICTURE_BPS };
        let paused = is_limit && picture < needed;
        if paused != self.paused {
            self.pauses += u32::from(paused);
            self.paused = paused;
            let share = paused.then_some(0);
            self.world.apply(Command::SetSlotShare { slot: SlotId(10), bps: share }).expect("a slot");
        }
        let cap = is_limit.then_some(bps.max(LEAST_PICTURE_BPS + SOUND_BPS));
        let grows = match (self.cap_bps, cap) {
            (Some(before), Some(cap)) => cap > before && cap < before * 11 / 10,
            (None, None) => true,
            _ => false,
        };
        if !grows {
            self.cap_bps = cap;
            let transport = self.world.browsers[self.publisher].transport;
            self.world.apply(Command::SetMaxBitrate { transport, bps: cap }).expect("a transport");
        }
    }

    /// The encoder follows the last REMB at the next frame.
    fn obey(&mut self) {
        let browser = &mut self.world.browsers[self.publisher];
        let cap = browser.rembs.last().copied().unwrap_or(u64::MAX).saturating_sub(SOUND_BPS);
        let bps = self.most_bps.min(cap).max(30_000);
        let frame_bytes = (bps / 8 / FRAMES_PER_S) as usize;
        let sending = &mut browser.sending[0];
        sending.packets_per_frame = frame_bytes.div_ceil(1_150).max(1);
        sending.payload_bytes = (frame_bytes / sending.packets_per_frame).saturating_sub(50).max(20);
    }

    /// When each frame that could be decoded was complete.
    pub fn decoded_at(&self) -> Vec<Time> {
        let mut decoded: Vec<Time> = Vec::new();
        let (mut picture, mut next_seq, mut frame): (Option<u16>, u64, Option<(bool, u16, Time)>) = (None, 0, None);
        for got in self.world.browsers[self.subscriber].got(self.video).values() {
            let begins = got.payload[0] & 0x10 != 0;
            let broken = got.ext_seq != next_seq;
            next_seq = got.ext_seq + 1;
            let id = picture_of(&got.payload).0;
            frame = match frame {
                _ if begins => Some((got.payload[6] & 1 == 0, id, got.at)),
                Some((key, of, at)) if !broken && of == id => Some((key, of, at.max(got.at))),
                _ => None,
            };
            let Some((key, _, at)) = frame.filter(|_| got.marker) else { continue };
            if key || picture.is_some_and(|before| (before + 1) & 0x7fff == id) {
                picture = Some(id);
                decoded.push(decoded.last().map_or(at, |before| at.max(*before)));
            }
        }
        decoded
    }

    /// The longest time without a new frame between two times.
    pub fn longest_freeze_ms(&self, from: Time, to: Time) -> u64 {
        let decoded = self.decoded_at();
        let inside: Vec<Time> = decoded.into_iter().filter(|at| (from..=to).contains(at)).collect();
        let times: Vec<Time> = [from].into_iter().chain(inside).chain([to]).collect();
        times.windows(2).map(|pair| pair[1].since_ms(pair[0])).max().unwrap_or(0)
    }

    /// (longest pause between sounds, share that never came), since `from`.
    pub fn sound(&self, from: Time) -> (u64, f64) {
        let got = self.world.browsers[self.subscriber].got(self.audio);
        let mut times: Vec<Time> = got.values().map(|got| got.at).filter(|at| *at >= from).collect();
        times.sort_unstable();
        let pause = times.windows(2).map(|pair| pair[1].since_ms(pair[0])).max().unwrap_or(u64::MAX);
        let seqs: Vec<u64> = got.values().filter(|got| got.at >= from).map(|got| got.ext_seq).collect();
        let expected = seqs.last().copied().unwrap_or(0) - seqs.first().copied().unwrap_or(0) + 1;
        (pause, 1.0 - seqs.len() as f64 / expected as f64)
    }

    /// Of video received in the last `ms`.
    pub fn video_bps(&self, ms: u64) -> u64 {
        let since = Time(self.world.now.0 - ms * 1_000);
        let got = self.world.browsers[self.subscriber].got(self.video).values();
        got.filter(|got| got.at >= since).map(|got| got.payload.len() as u64 * 8_000).sum::<u64>() / ms
    }

    pub fn estimate(&self) -> u64 {
        self.world.counts(self.subscriber).estimate_bps.unwrap_or(0)
    }
}
