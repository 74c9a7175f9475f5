// @ts-check
// One picture on the stage: a person's camera or screen, with what is said instead while there is none.

import { element } from '../page.js';
import { chosenDevices, playThrough } from './devices.js';

export class Tile {
  /** @param {string} key @param {boolean} isScreen */
  constructor(key, isScreen) {
    this.key = key;
    this.video = element('video', { playsinline: true, autoplay: true });
    this.avatar = element('span', { class: 'avatar avatar--l', 'aria-hidden': 'true' });
    this.words = element('p', { class: 'small' });
    this.nameTag = element('span', { class: 'tile__name' });
    this.instead = element('div', { class: 'picture__instead' }, this.avatar, this.words);
    this.root = element('div', { class: `tile picture${isScreen ? ' picture--screen' : ''}`, role: 'group', 'data-person': key },
      this.video, this.instead, this.nameTag);
    this.stream = new MediaStream();
    this.video.srcObject = this.stream;
    // Words stand on the tile until there is something to see.
    for (const event of ['loadeddata', 'resize', 'emptied']) this.video.addEventListener(event, () => this.onPicture());
    // Until it plays, a new track sends the choice of a speaker back to the system's own.
    this.video.addEventListener('playing', () => void playThrough(this.video, chosenDevices().speaker));
    this.onPicture = () => {};
  }

  get hasFrames() {
    return this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && this.video.videoWidth > 0;
  }

  /** @param {MediaStreamTrack[]} tracks */
  setTracks(tracks) {
    const wanted = new Set(tracks);
    for (const track of this.stream.getTracks()) if (!wanted.has(track)) this.stream.removeTrack(track);
    for (const track of wanted) if (!this.stream.getTracks().includes(track)) this.stream.addTrack(track);
  }
}
