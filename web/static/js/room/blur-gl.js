// @ts-check
// Draws one picture: the person sharp, what is behind them blurred or replaced. WebGL 2, used in blur-worker.js.
// All of it on a quarter of the size except the last pass, because a blur has no detail to lose.

/** @typedef {'light'|'strong'|'colour'|'picture'} Effect */

/** Share of the picture's sides the blur works on. */
const SHRINK = 4;
/** Blur passes, each a Gaussian of RADIUS taps to a side, by effect. */
const PASSES = { light: 2, strong: 6, colour: 0, picture: 0 };
/** Behind a person without a picture: the app's own quiet grey-green. */
const COLOUR = [0.36, 0.42, 0.39];

const WHOLE = `#version 300 es
in vec2 corner; out vec2 at; uniform float flip;
void main() { at = corner * 0.5 + 0.5; if (flip > 0.5) at.y = 1.0 - at.y; gl_Position = vec4(corner, 0.0, 1.0); }`;

// The person's colours must not run into the blur around them: each pixel counts by how much it is background.
const SHRINKING = `#version 300 es
precision mediump float; in vec2 at; out vec4 colour; uniform sampler2D frame, mask; uniform vec2 pixel;
void main() {
  vec3 sum = texture(frame, at + pixel * vec2(-1, -1)).rgb + texture(frame, at + pixel * vec2(1, -1)).rgb
    + texture(frame, at + pixel * vec2(-1, 1)).rgb + texture(frame, at + pixel * vec2(1, 1)).rgb;
  float behind = 1.0 - smoothstep(0.05, 0.4, texture(mask, at).r);
  colour = vec4(sum * 0.25 * behind, behind);
}`;

const BLURRING = `#version 300 es
precision mediump float; in vec2 at; out vec4 colour; uniform sampler2D image; uniform vec2 along;
void main() {
  colour = texture(image, at) * 0.1964
    + (texture(image, at + along * 1.4118) + texture(image, at - along * 1.4118)) * 0.2969
    + (texture(image, at + along * 3.2941) + texture(image, at - along * 3.2941)) * 0.0945
    + (texture(image, at + along * 5.1765) + texture(image, at - along * 5.1765)) * 0.0104;
}`;

// Where there is no background near enough to be known (deep in a person), the blur has no weight and no say.
const JOINING = `#version 300 es
precision mediump float; in vec2 at; out vec4 colour;
uniform sampler2D frame, mask, behind; uniform vec4 plain; uniform float isPicture;
void main() {
  vec3 sharp = texture(frame, at).rgb;
  vec4 soft = texture(behind, at);
  vec3 back = isPicture > 0.5 ? soft.rgb : plain.a > 0.5 ? plain.rgb : soft.rgb / max(soft.a, 0.004);
  float person = smoothstep(0.35, 0.75, texture(mask, at).r);
  colour = vec4(mix(back, sharp, person), 1.0);
}`;

export class Painter {
  /** @param {OffscreenCanvas} canvas Throws where there is no WebGL 2. */
  constructor(canvas) {
    this._canvas = canvas;
    const gl = canvas.getContext('webgl2', { alpha: false, antialias: false, depth: false, desynchronized: true });
    if (!gl) throw new Error('no WebGL 2');
    this._gl = gl;
    this._shrinking = this._program(SHRINKING);
    this._blurring = this._program(BLURRING);
    this._joining = this._program(JOINING);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this._frame = this._texture();
    this._mask = this._texture();
    this._picture = this._texture();
    this._hasPicture = false;
    /** @type {{texture: WebGLTexture, buffer: WebGLFramebuffer}[]} two to draw from one into the other */
    this._small = [];
  }

  /** What stands behind a person for the effect "picture". @param {ImageBitmap} picture */
  setPicture(picture) {
    const gl = this._gl;
    gl.bindTexture(gl.TEXTURE_2D, this._picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    this._hasPicture = true;
  }

  /** @param {Uint8Array} mask 255 where there is a person, a byte a pixel, first row on top @param {number} width @param {number} height */
  setMask(mask, width, height) {
    const gl = this._gl;
    gl.bindTexture(gl.TEXTURE_2D, this._mask);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, mask);
  }

  /** Draws onto the canvas, in the picture's size. @param {VideoFrame|ImageBitmap} frame @param {number} width @param {number} height @param {Effect} effect */
  draw(frame, width, height, effect) {
    const gl = this._gl;
    if (this._canvas.width !== width || this._canvas.height !== height) this._resize(width, height);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this._frame);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, /** @type {TexImageSource} */ (frame));
    const soft = PASSES[effect] > 0 ? this._soften(width, height, PASSES[effect]) : this._picture;
    this._into(null, width, height);
    this._use(this._joining, { frame: this._frame, mask: this._mask, behind: soft }, (name) => {
      gl.uniform1f(name('flip'), 1);
      gl.uniform1f(name('isPicture'), effect === 'picture' && this._hasPicture ? 1 : 0);
      gl.uniform4f(name('plain'), COLOUR[0], COLOUR[1], COLOUR[2], PASSES[effect] > 0 ? 0 : 1);
    });
  }

  /** @param {number} width @param {number} height @param {number} passes @returns {WebGLTexture} */
  _soften(width, height, passes) {
    const gl = this._gl;
    const [w, h] = [Math.ceil(width / SHRINK), Math.ceil(height / SHRINK)];
    const [first, second] = this._small;
    this._into(first.buffer, w, h);
    this._use(this._shrinking, { frame: this._frame, mask: this._mask }, (name) => gl.uniform2f(name('pixel'), 1 / width, 1 / height));
    for (let pass = 0; pass < passes; pass += 1) {
      this._into(second.buffer, w, h);
      this._use(this._blurring, { image: first.texture }, (name) => gl.uniform2f(name('along'), 1 / w, 0));
      this._into(first.buffer, w, h);
      this._use(this._blurring, { image: second.texture }, (name) => gl.uniform2f(name('along'), 0, 1 / h));
    }
    return first.texture;
  }

  /** @param {number} width @param {number} height */
  _resize(width, height) {
    const gl = this._gl;
    this._canvas.width = width;
    this._canvas.height = height;
    for (const { texture, buffer } of this._small) {
      gl.deleteTexture(texture);
      gl.deleteFramebuffer(buffer);
    }
    this._small = [0, 1].map(() => {
      const texture = this._texture();
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, Math.ceil(width / SHRINK), Math.ceil(height / SHRINK), 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      const buffer = gl.createFramebuffer();
      gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
      return { texture, buffer };
    });
  }

  /** @param {WebGLFramebuffer|null} buffer @param {number} width @param {number} height */
  _into(buffer, width, height) {
    this._gl.bindFramebuffer(this._gl.FRAMEBUFFER, buffer);
    this._gl.viewport(0, 0, width, height);
  }

  /**
   * @param {WebGLProgram} program @param {Record<string, WebGLTexture>} textures
   * @param {(name: (uniform: string) => WebGLUniformLocation|null) => void} set
   */
  _use(program, textures, set) {
    const gl = this._gl;
    const name = (/** @type {string} */ uniform) => gl.getUniformLocation(program, uniform);
    gl.useProgram(program);
    Object.entries(textures).forEach(([uniform, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(name(uniform), unit);
    });
    gl.uniform1f(name('flip'), 0);
    set(name);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.activeTexture(gl.TEXTURE0);
  }

  /** @returns {WebGLTexture} */
  _texture() {
    const gl = this._gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [what, value] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE]]) gl.texParameteri(gl.TEXTURE_2D, what, value);
    return texture;
  }

  /** @param {string} fragment @returns {WebGLProgram} */
  _program(fragment) {
    const gl = this._gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, WHOLE], [gl.FRAGMENT_SHADER, fragment]])) {
      const shader = gl.createShader(kind);
      if (!shader) throw new Error('the graphics context is gone');
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, 'corner');
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || 'a shader was refused');
    return program;
  }
}
