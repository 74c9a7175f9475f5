"""Offer and answer: the browser always offers, this ICE-lite server always answers (RFC 8829, RFC 8839, RFC 8843).

The layout a page is expected to offer, one `RTCPeerConnection` per participant, `bundlePolicy: "max-bundle"`:

    m0  audio  sendonly   microphone. Section 0 carries the bundle: it lives as long as the connection
    m1  video  sendonly   camera
    m2  audio  recvonly   first audio slot
    m3  video  recvonly   first video slot: the second person needs no new offer
    m4… audio or video, recvonly (more slots, when `SlotsNeeded` says so) or sendonly (screen, screen audio)

- A sending section is published when `Offer.sources` names its source, the source's kind fits and the participant may
  publish it; it is answered `recvonly`. Else it is answered `inactive`. Its device may be switched off and on by
  `replaceTrack` without an offer; name its source from the first offer on.
- A receiving section is a slot, answered `sendonly` at once, filled or not: which track fills it is the message
  `SlotsChanged`, never SDP. `sendrecv` is both a slot and a published section.
- Transceivers are never `stop()`ped: what is not needed any more is offered `inactive` and may be used again for the
  same kind. An old slot used again gets new SSRCs.
- MIDs never move. Remote candidates are ignored: send the offer as soon as `setLocalDescription` returns.
- An ICE restart (`restartIce()`) is just another offer. A new `RTCPeerConnection` needs another `join`, which restarts
  revisions at 1.
- Slots of the same column share a stream id (`msid`), so that the browser plays a person's microphone and camera in
  step: the first audio with the first video slot, and so on.

No data channels: an `application` section is a BadOffer.
"""
