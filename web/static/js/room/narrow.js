// @ts-check
// The size a camera is encoded in when the line is narrow. Chromium makes it smaller by itself, but only after seconds
// in which it drops nearly every picture. No DOM, no connection: a rate in, a scale out.

/** With fewer bits for each pixel, at so few pictures a second, a smaller picture shows more. */
const BITS_PER_PIXEL = 0.045;
const PICTURES_PER_SECOND = 15;
const SCALES = [1, 2, 4];

/** Smaller after so many looks in a row; larger after more, and only with clearly more than it was given up for. */
const LOOKS_DOWN = 2;
const LOOKS_UP = 6;
const CLEARLY = 1.5;

export const LOOK_MS = 500;

/** @param {number} pixels of the camera @param {number} bps @returns {number} what each side is divided by */
function scaleFor(pixels, bps) {
  const enough = (/** @type {number} */ scale) => bps >= (pixels / scale ** 2) * PICTURES_PER_SECOND * BITS_PER_PIXEL;
  return SCALES.find(enough) ?? SCALES[SCALES.length - 1];
}

export class Narrowness {
  constructor() {
    this.scale = 1;
    this._looks = 0;
  }

  /**
   * The encoder's rate, every LOOK_MS. @param {number} pixels of the camera @param {number} bps
   * @returns {boolean} whether `scale` is another one now
   */
  look(pixels, bps) {
    const least = scaleFor(pixels, bps);
    const wanted = least > this.scale ? least : Math.min(this.scale, scaleFor(pixels, bps / CLEARLY));
    if (wanted === this.scale) {
      this._looks = 0;
      return false;
    }
    this._looks += 1;
    if (this._looks < (wanted > this.scale ? LOOKS_DOWN : LOOKS_UP)) return false;
    this.scale = wanted;
    this._looks = 0;
    return true;
  }
}
