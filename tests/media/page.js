// One participant in Chromium, laid out as media/negotiation.py says; the test calls it by `window.person`.
import { cameraEncodings, encodingsFor } from "./encodings.js";

const name = new URLSearchParams(location.search).get("name");

const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
};

class Person {
  revision = 0;
  sources = { 0: "microphone", 1: "camera" };

  /** `configuration`: more of RTCPeerConnection's. */
  async enter(simulcast, configuration = {}) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 480 } });
    const [audio] = stream.getAudioTracks();
    const [video] = stream.getVideoTracks();
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...configuration });
    this.pc.addTransceiver(audio, { direction: "sendonly", streams: [stream] });
    const sendEncodings = simulcast ? cameraEncodings() : [{ maxBitrate: 2_500_000 }];
    this.pc.addTransceiver(video, { direction: "sendonly", streams: [stream], sendEncodings });
    this.pc.addTransceiver("audio", { direction: "recvonly" });
    this.pc.addTransceiver("video", { direction: "recvonly" });
    await post(`/join/${name}`, {});
    await this.offer();
    const play = (kind, mid) => {
      const element = document.createElement(kind);
      element.srcObject = new MediaStream([this.transceiver(mid).receiver.track]);
      element.autoplay = true;
      document.body.append(element);
      return element;
    };
    this.audio = play("audio", "2");
    this.video = play("video", "3");
  }

  transceiver(mid) {
    return this.pc.getTransceivers().find((each) => each.mid === mid);
  }

  async offer() {
    await this.pc.setLocalDescription();
    this.revision += 1;
    const { sdp } = this.pc.localDescription;
    const answer = await post(`/offer/${name}`, { revision: this.revision, sdp, sources: this.sources });
    await this.pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  async setEncodings(mid, rids) {
    const { sender } = this.transceiver(mid);
    const parameters = sender.getParameters();
    const encodings = encodingsFor(parameters.encodings, rids, 640 * 480);
    if (encodings) await sender.setParameters({ ...parameters, encodings });
  }

  async restart() {
    this.pc.restartIce();
    await this.offer();
  }

  async share() {
    const screen = await navigator.mediaDevices.getDisplayMedia({ video: true });
    this.pc.addTransceiver(screen.getVideoTracks()[0], { direction: "sendonly", streams: [screen] });
    this.sources = { ...this.sources, [this.pc.getTransceivers().length - 1]: "screen" };
    await this.offer();
  }

  async addSlots(...kinds) {
    for (const kind of kinds) this.pc.addTransceiver(kind, { direction: "recvonly" });
    await this.offer();
  }

  /** Flat numbers of what is received and sent. */
  async numbers() {
    const found = { state: this.pc.connectionState, decoded: {}, energy: 0, width: 0, target: 0, available: 0, lost: 0, freezes: 0, keyframes: 0, nacks: 0, plis: 0, retransmitted: 0, rtt: null, widths: {}, sent: {}, concealed: 0, samples: 0 };
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") {
        found.decoded[report.mid] = report.framesDecoded;
        found.widths[report.mid] = report.frameWidth ?? 0;
        found.width = Math.max(found.width, report.frameWidth ?? 0);
        found.lost += report.packetsLost;
        found.freezes += report.freezeCount ?? 0;
        found.keyframes += report.keyFramesDecoded ?? 0;
        found.nacks += report.nackCount ?? 0;
        found.plis += report.pliCount ?? 0;
      } else if (report.type === "inbound-rtp") {
        found.energy += report.totalAudioEnergy ?? 0;
        found.lost += report.packetsLost;
        found.concealed += (report.concealedSamples ?? 0) - (report.silentConcealedSamples ?? 0);
        found.samples += report.totalSamplesReceived ?? 0;
      } else if (report.type === "outbound-rtp" && report.kind === "video") {
        found.sent[report.rid ?? ""] = report.framesSent ?? 0;
        found.target = Math.max(found.target, report.targetBitrate ?? 0);
        found.retransmitted += report.retransmittedPacketsSent ?? 0;
      } else if (report.type === "candidate-pair" && report.nominated) {
        found.available = Math.max(found.available, report.availableOutgoingBitrate ?? 0);
        found.rtt = report.currentRoundTripTime ?? found.rtt;
      }
    }
    return found;
  }
}

window.person = new Person();
