// Put into the measured page: when the first decoded picture of somebody else was there, on the wall clock.
(() => {
  const received = new Set();
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", (event) => received.add(event.track));
    }
  };
  const seen = new WeakSet();
  const look = () => {
    for (const video of document.querySelectorAll("video")) {
      const stream = video.srcObject;
      if (seen.has(video) || !(stream instanceof MediaStream)) continue;
      if (!stream.getVideoTracks().some((track) => received.has(track))) continue;
      seen.add(video);
      video.requestVideoFrameCallback((now) => {
        window.firstPictureAt ??= performance.timeOrigin + now;
      });
    }
    if (window.firstPictureAt === undefined) setTimeout(look, 4);
  };
  look();
})();
