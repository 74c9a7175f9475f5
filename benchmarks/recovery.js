// Put into both measured pages: when pictures of the other person were decoded, and what getStats counts, on the wall
// clock, five times a second. It changes nothing that the page does.
(() => {
  const SAMPLE_MS = 200;
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };

  const open = () => connections.filter((connection) => connection.connectionState === "connected");
  const wall = () => performance.timeOrigin + performance.now();
  const frames = [];
  const samples = [];
  const watched = new WeakSet();

  /** Every decoded picture of a track, by its time; not what the compositor makes of it. */
  async function watch(track) {
    watched.add(track);
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) return;
      frames.push(wall());
      frame.close();
    }
  }

  async function sample() {
    const sum = { at: wall(), videoBytesIn: 0, videoBytesOut: 0, audioBytesIn: 0, framesDecoded: 0, framesSent: 0,
      freezes: 0, frozenS: 0, heard: 0, concealed: 0, silent: 0, nacks: 0, plis: 0, packetsIn: 0, packetsLost: 0, targetBps: 0,
      rttMs: null };
    for (const connection of open()) {
      for (const each of (await connection.getStats()).values()) {
        if (each.type === "inbound-rtp" && each.kind === "video") {
          sum.videoBytesIn += each.bytesReceived + each.headerBytesReceived;
          sum.framesDecoded += each.framesDecoded ?? 0;
          sum.freezes += each.freezeCount ?? 0;
          sum.frozenS += each.totalFreezesDuration ?? 0;
          sum.nacks += each.nackCount ?? 0;
          sum.plis += each.pliCount ?? 0;
          sum.packetsIn += each.packetsReceived ?? 0;
          sum.packetsLost += each.packetsLost ?? 0;
        } else if (each.type === "inbound-rtp" && each.kind === "audio") {
          sum.audioBytesIn += each.bytesReceived + each.headerBytesReceived;
          sum.heard += each.totalSamplesReceived ?? 0;
          sum.concealed += each.concealedSamples ?? 0;
          sum.silent += each.silentConcealedSamples ?? 0;
        } else if (each.type === "outbound-rtp" && each.kind === "video") {
          sum.videoBytesOut += each.bytesSent + each.headerBytesSent;
          sum.framesSent += each.framesSent ?? 0;
          sum.targetBps += each.targetBitrate ?? 0;
        } else if (each.type === "candidate-pair" && each.nominated && each.currentRoundTripTime !== undefined) {
          sum.rttMs = each.currentRoundTripTime * 1000;
        }
      }
    }
    return sum;
  }

  setInterval(async () => {
    for (const connection of open()) {
      for (const { track } of connection.getReceivers()) {
        if (track.kind === "video" && !track.muted && track.readyState === "live" && !watched.has(track)) void watch(track);
      }
    }
    if (open().length) samples.push(await sample());
  }, SAMPLE_MS);

  window.recovery = {
    decoded: () => frames.length,
    /** All since the last call. */
    take: () => ({ frames: frames.splice(0), samples: samples.splice(0) }),
  };
})();
