//! Tells apart what shares one UDP port (RFC 7983 §7, RFC 5761 §4). First step for every datagram; looks at two
//! bytes only and believes nothing.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// ZRTP, TURN channels, noise, or nothing at all: dropped and counted.
    Other,
}

/// Classifies by the first byte, and RTP from RTCP by the packet type 192–223 in the second.
pub fn classify(datagram: &[u8]) -> Datagram {
    match datagram {
        [0..=3, ..] => Datagram::Stun,
        [20..=63, ..] => Datagram::Dtls,
        [128..=191, 192..=223, ..] => Datagram::Rtcp,
        [128..=191, _, ..] => Datagram::Rtp,
        _ => Datagram::Other,
    }
}
