//! What a world remembers for its assertions, cut down to the newest: so that a very long life holds no more than a
//! short one, and what grows is the engine's.

use super::browser::{Browser, Receiving, Sending};
use super::World;
use std::collections::HashSet;

/// Further back no browser asks, and no index is checked.
const KEPT: u64 = 128;

impl World {
    pub fn forget_past(&mut self) {
        (self.events, self.routes, self.taped, self.left) = Default::default();
        let announced = self.browsers.iter().flat_map(|browser| &browser.receiving);
        let ssrcs: HashSet<u32> =
            announced.flat_map(|(ssrc, receiving)| [Some(*ssrc), receiving.rtx_ssrc]).flatten().collect();
        self.newest.retain(|(_, ssrc), _| ssrcs.contains(ssrc));
        let newest = &self.newest;
        self.used.retain(|(to, ssrc, index), _| newest.get(&(*to, *ssrc)).is_some_and(|n| index + KEPT > *n));
        self.newest.shrink_to_fit();
        self.used.shrink_to_fit();
        self.browsers.iter_mut().for_each(forget_of_browser);
    }
}

fn forget_of_browser(browser: &mut Browser) {
    browser.sending.iter_mut().for_each(forget_of_sending);
    browser.receiving.values_mut().for_each(forget_of_receiving);
    let last_remb = browser.rembs.last().copied();
    browser.rembs = last_remb.into_iter().collect();
    (browser.plis_got, browser.blocks, browser.told, browser.stun_answers, browser.transport_seqs) = Default::default();
}

fn forget_of_sending(sending: &mut Sending) {
    sending.history = sending.history.split_off(&sending.ext_seq.saturating_sub(KEPT));
}

fn forget_of_receiving(receiving: &mut Receiving) {
    let from = receiving.newest.unwrap_or(0).saturating_sub(KEPT);
    receiving.got = receiving.got.split_off(&from);
    receiving.asked.retain(|seq, _| *seq >= from);
    receiving.asked.shrink_to_fit();
    receiving.reports = Vec::new();
}
