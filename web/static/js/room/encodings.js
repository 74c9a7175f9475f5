// @ts-check
// A camera's simulcast encodings in a group, smallest first. The server says which are wanted (PROTOCOL.md,
// `encodings`); until then the largest alone. No DOM, no connection: parameters in, parameters out.

/** @type {Record<string, {scaleResolutionDownBy: number, maxBitrate: number}>} */
const SIZES = {
  q: { scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  h: { scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  f: { scaleResolutionDownBy: 1, maxBitrate: 2_500_000 },
};
const LARGEST = 'f';

/** Chromium encodes three sizes from so many pixels on, two from the second figure on, and drops the last ones. */
const PIXELS_FOR_THREE = 960 * 540;
const PIXELS_FOR_TWO = 480 * 270;

/** @returns {RTCRtpEncodingParameters[]} */
export function cameraEncodings() {
  return Object.entries(SIZES).map(([rid, size]) => ({ rid, active: rid === LARGEST, ...size }));
}

/**
 * What is to be sent for a camera of so many pixels. Of a small one the second encoding stands for the largest as soon
 * as a smaller one is wanted too; of a tiny one the largest serves everybody.
 * @param {RTCRtpEncodingParameters[]} encodings as the sender has them @param {string[]} rids wanted @param {number} pixels
 * @returns {RTCRtpEncodingParameters[]|null} null: that is what is being sent
 */
export function encodingsFor(encodings, rids, pixels) {
  const several = rids.length > 1 && rids.includes(LARGEST);
  const standsIn = several && pixels < PIXELS_FOR_THREE && pixels >= PIXELS_FOR_TWO;
  const sent = new Set(rids.length > 1 && pixels < PIXELS_FOR_TWO ? [LARGEST] : rids);
  if (standsIn) sent.delete(LARGEST);
  if (standsIn) sent.add('h');
  const wanted = encodings.map((one) => ({
    ...one,
    ...SIZES[standsIn && one.rid === 'h' ? LARGEST : one.rid || LARGEST],
    active: sent.has(one.rid || LARGEST),
  }));
  const same = wanted.every((one, at) => one.active === encodings[at].active
    && one.scaleResolutionDownBy === encodings[at].scaleResolutionDownBy && one.maxBitrate === encodings[at].maxBitrate);
  return same ? null : wanted;
}
