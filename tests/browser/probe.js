// Put into every page of the browser tests before its own scripts: keeps the page's RTCPeerConnections within reach
// and reads what a person would see and hear. It changes nothing that the page does.
(() => {
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      connections.push(this);
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

  /** Listen to tracks for `seconds`: the strongest level (dB) seen near `pitch`, and near `other`. */
  async function listen(tracks, seconds, pitch, other) {
    const audio = new AudioContext();
    await audio.resume();
    const analyser = audio.createAnalyser();
    analyser.fftSize = 4096;
    analyser.smoothingTimeConstant = 0;
    audio.createMediaStreamSource(new MediaStream(tracks)).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const near = (hz) => {
      const middle = Math.round(hz / audio.sampleRate * analyser.fftSize);
      return Math.max(...bins.slice(middle - 2, middle + 3));
    };
    const found = { pitch: -200, other: -200 };
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      analyser.getFloatFrequencyData(bins);
      found.pitch = Math.max(found.pitch, near(pitch));
      found.other = Math.max(found.other, near(other));
      await new Promise((done) => setTimeout(done, 50));
    }
    await audio.close();
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

  window.probe = {
    connections,
    remoteVideos,
    stats,
    watchRemote: (seconds) => {
      const video = remoteVideos().find((each) => each.videoWidth > 0);
      if (!video) throw new Error("no <video> of the page shows somebody else");
      return watch(video, seconds);
    },
    listenRemote: (seconds, pitch, other) =>
      listen(remoteTracks().filter((track) => track.kind === "audio" && track.readyState === "live"), seconds, pitch, other),
  };
})();
