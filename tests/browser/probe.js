// Put into every page of the browser tests before its own scripts: keeps the page's RTCPeerConnections and sockets within
// reach and reads what a person would see and hear. It changes nothing that the page does.
(() => {
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };

  const sockets = [];
  const NativeSocket = window.WebSocket;
  window.WebSocket = class extends NativeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
      this.addEventListener("message", ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "people") window.probe.people = message.people;
        if (message.type === "snapshot") window.probe.snapshot = message.snapshot;
        if (message.type === "slots") window.probe.slots = message.slots;
      });
    }
  };

  const BITS = 16, SQUARE = 32, ROW_TOP = 400, WIDTH = 640, HEIGHT = 480;
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const context = canvas.getContext("2d", { willReadFrequently: true });

  /** The number drawn in the picture (tests/helpers/fake_media.py), and whether its top band is white. */
  function readPicture(video) {
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const row = context.getImageData(0, ROW_TOP + SQUARE / 2, WIDTH, 1).data;
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) {
      const x = 64 + bit * SQUARE + SQUARE / 2;
      number = (number << 1) | (row[x * 4 + 1] > 125 ? 1 : 0);
    }
    const top = context.getImageData(WIDTH / 2, 20, 1, 1).data;
    return { number, marked: top[1] > 125 };
  }

  const remoteTracks = () => connections
    .filter((pc) => pc.connectionState !== "closed")
    .flatMap((pc) => pc.getReceivers().map((receiver) => receiver.track));

  /** The page's own <video> elements that show somebody else. */
  const remoteVideos = () => {
    const tracks = new Set(remoteTracks());
    return [...document.querySelectorAll("video")].filter((video) =>
      video.srcObject instanceof MediaStream && video.srcObject.getVideoTracks().some((track) => tracks.has(track)));
  };

  /** Watch a <video> for `seconds`: every picture presented, with its number and time. */
  async function watch(video, seconds) {
    const pictures = [];
    let going = true;
    const step = (now, meta) => {
      pictures.push({ at: meta.expectedDisplayTime, ...readPicture(video), width: meta.width, height: meta.height });
      if (going) video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
    const decodedBefore = video.getVideoPlaybackQuality().totalVideoFrames;
    await new Promise((done) => setTimeout(done, seconds * 1000));
    going = false;
    return { pictures, decoded: video.getVideoPlaybackQuality().totalVideoFrames - decodedBefore };
  }

  /** The power of one frequency in samples, in dB below a full-scale sine (Goertzel). */
  function power(samples, hz, rate) {
    const k = 2 * Math.cos(2 * Math.PI * hz / rate);
    let a = 0, b = 0;
    for (const x of samples) [a, b] = [x + k * a - b, a];
    const energy = a * a + b * b - k * a * b;
    return 10 * Math.log10(Math.max(4 * energy / samples.length ** 2, 1e-12));
  }

  /** Listen to a track for `seconds`: the strongest level (dB) seen at `pitch`, and at `other`, in 100 ms windows. */
  async function listen(track, seconds, pitch, other) {
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    const found = { pitch: -200, other: -200, seconds: 0 };
    let heap = [];
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      const { value: data, done } = await reader.read();
      if (done) break;
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const rate = data.sampleRate;
      data.close();
      heap.push(...samples);
      if (heap.length < rate / 10) continue;
      found.pitch = Math.max(found.pitch, power(heap, pitch, rate));
      found.other = Math.max(found.other, power(heap, other, rate));
      found.seconds += heap.length / rate;
      heap = [];
    }
    await reader.cancel();
    return found;
  }

  /** Sums of getStats over all connections. */
  async function stats() {
    const sum = { framesSent: 0, framesEncoded: 0, framesDecoded: 0, bytesSent: 0, targetBitrate: 0, packetsLost: 0, concealed: 0 };
    for (const pc of connections) {
      if (pc.connectionState === "closed") continue;
      for (const report of (await pc.getStats()).values()) {
        if (report.type === "outbound-rtp" && report.kind === "video") {
          sum.framesSent += report.framesSent ?? 0;
          sum.framesEncoded += report.framesEncoded ?? 0;
          sum.bytesSent += report.bytesSent ?? 0;
          sum.targetBitrate = Math.max(sum.targetBitrate, report.targetBitrate ?? 0);
        } else if (report.type === "inbound-rtp") {
          sum.framesDecoded += report.framesDecoded ?? 0;
          sum.packetsLost += report.packetsLost ?? 0;
          sum.concealed += report.concealedSamples ?? 0;
        }
      }
    }
    return sum;
  }

  const sentTrack = (kind) => connections
    .filter((pc) => pc.connectionState !== "closed")
    .flatMap((pc) => pc.getSenders())
    .map((sender) => sender.track)
    .find((track) => track?.kind === kind && track.readyState === "live");

  /** What this page has sent so far, and the number of the picture its camera shows now. */
  async function sent() {
    const reader = new MediaStreamTrackProcessor({ track: sentTrack("video").clone() }).readable.getReader();
    const { value: frame } = await reader.read();
    const number = readPicture(frame).number;
    frame.close();
    await reader.cancel();
    return { number, framesSent: (await stats()).framesSent };
  }

  /** By how much the pictures being shown are ahead of the sound being played, by the sender's clock; NaN until known. */
  async function playoutGapMs() {
    const at = {};
    for (const pc of connections.filter((one) => one.connectionState === "connected")) {
      for (const report of (await pc.getStats()).values()) {
        if (report.type === "inbound-rtp" && report.estimatedPlayoutTimestamp) at[report.kind] = report.estimatedPlayoutTimestamp;
      }
    }
    return at.video - at.audio;
  }

  /** How long after the mark appears in the camera's picture the beep begins in the microphone: ms by picture number. */
  async function sentOffsets(seconds, pitch) {
    const end = performance.now() + seconds * 1000;
    const marks = [], beeps = [];
    const pictures = async () => {
      const reader = new MediaStreamTrackProcessor({ track: sentTrack("video").clone() }).readable.getReader();
      let before = true;
      while (performance.now() < end) {
        const { value: frame } = await reader.read();
        const at = performance.now();
        const { marked, number } = readPicture(frame);
        frame.close();
        if (marked && !before) marks.push({ at, number });
        before = marked;
      }
      await reader.cancel();
    };
    const sound = async () => {
      const reader = new MediaStreamTrackProcessor({ track: sentTrack("audio").clone() }).readable.getReader();
      let before = true;
      while (performance.now() < end) {
        const { value: data } = await reader.read();
        const at = performance.now() - data.duration / 1000;
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        const loud = power(samples, pitch, data.sampleRate) > -40;
        data.close();
        if (loud && !before) beeps.push(at);
        before = loud;
      }
      await reader.cancel();
    };
    await Promise.all([pictures(), sound()]);
    const near = (at) => beeps.map((beep) => beep - at).sort((a, b) => Math.abs(a) - Math.abs(b))[0];
    return Object.fromEntries(marks.map(({ at, number }) => [number, near(at)]).filter(([, offset]) => offset !== undefined));
  }

  window.probe = {
    connections,
    /** As if the server had said it on the room's socket. */
    hear: (message) => sockets.findLast((one) => one.url.endsWith("/signaling"))
      .dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) })),
    /** Who is in the room, as the server said last. */
    people: [],
    snapshot: null,
    slots: [],
    remoteVideos,
    /** What is known of the pictures of others, for a test that waits for one in vain. */
    pictures: async () => {
      const shown = remoteVideos().map((video) => [video.videoWidth, video.getVideoPlaybackQuality().totalVideoFrames,
        video.paused, video.hidden, video.srcObject.getVideoTracks().map((track) => track.muted)]);
      const came = (await Promise.all(connections.map(async (pc) => [...(await pc.getStats()).values()]))).flat()
        .filter((one) => one.type === "inbound-rtp" && one.kind === "video")
        .map((one) => [one.mid, one.packetsReceived, one.framesReceived, one.framesDecoded, one.keyFramesDecoded, one.pliCount]);
      return { shown, came };
    },
    stats,
    sent,
    receivedBytes: async (kind) => (await Promise.all(connections.filter((pc) => pc.connectionState !== "closed").map(
      async (pc) => [...(await pc.getStats()).values()].filter((one) => one.type === "inbound-rtp" && one.kind === kind)
        .reduce((sum, one) => sum + one.bytesReceived, 0)))).reduce((sum, bytes) => sum + bytes, 0),
    sentOffsets,
    playoutGapMs,
    /** How blue each picture is, by whose it is said to be: which camera it shows (tests/helpers/fake_media.py). */
    tints: () => Object.fromEntries([...document.querySelectorAll(".picture")].map((tile) => {
      context.clearRect(0, 0, WIDTH, HEIGHT);
      context.drawImage(tile.querySelector("video"), 0, 0, WIDTH, HEIGHT);
      const [red, , blue] = context.getImageData(WIDTH / 2, HEIGHT / 2, 1, 1).data;
      return [tile.getAttribute("aria-label"), blue - red];
    })),
    /** In how many sizes the own camera can be sent. Which are, the server says, by the lines and tiles of the others. */
    cameraSizes: () => Math.max(0, ...connections.filter((pc) => pc.connectionState === "connected").flatMap((pc) => pc.getSenders())
      .filter((sender) => sender.track?.kind === "video").map((sender) => sender.getParameters().encodings.length)),
    /** Everybody's sound at once: the strongest level of each of two pitches. */
    listenToBoth: async (seconds, one, other) => {
      const tracks = remoteTracks().filter((each) => each.kind === "audio" && each.readyState === "live" && !each.muted);
      const found = await Promise.all(tracks.map((track) => listen(track, seconds, one, other)));
      return [Math.max(...found.map((each) => each.pitch)), Math.max(...found.map((each) => each.other))];
    },
    watchRemote: (seconds) => {
      const video = remoteVideos().find((each) => each.videoWidth > 0);
      if (!video) throw new Error("no <video> of the page shows somebody else");
      return watch(video, seconds);
    },
    listenRemote: (seconds, pitch, other) => {
      const track = remoteTracks().find((each) => each.kind === "audio" && each.readyState === "live" && !each.muted);
      if (!track) throw new Error("no live audio track from anybody else");
      return listen(track, seconds, pitch, other);
    },
  };
})();
