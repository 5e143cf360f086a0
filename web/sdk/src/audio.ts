/** Opus packets from the media socket, decoded and played a few hundredths of a second later. */

import type { Sound } from "./transport";

/** Played this much after arrival: enough for the jitter of a TCP stream on a good network. */
const CUSHION_S = 0.04;
/** More than this ahead of the speaker, and the clock is set anew. */
const MOST_AHEAD_S = 0.2;
const RATE = 48_000;

export class OpusPlayer {
  readonly #told: (sound: Sound) => void;
  #context: AudioContext | null = null;
  #gain: GainNode | null = null;
  #out: MediaStreamAudioDestinationNode | null = null;
  #decoder: AudioDecoder | null = null;
  #nextAt = 0;
  #muted = false;
  #isClosed = false;

  constructor(told: (sound: Sound) => void) {
    this.#told = told;
  }

  /** What is heard, as a stream: for recording, or to measure it. */
  get stream(): MediaStream | null {
    if (!this.#context || !this.#gain) return null;
    if (!this.#out) {
      this.#out = this.#context.createMediaStreamDestination();
      this.#gain.connect(this.#out);
    }
    return this.#out.stream;
  }

  push(packet: Uint8Array<ArrayBuffer>, sequence: number): void {
    if (this.#isClosed || typeof AudioDecoder === "undefined") return;
    if (!this.#context) this.#start();
    if (this.#context?.state !== "running") return;
    if (this.#decoder?.state !== "configured") this.#configure();
    this.#decoder?.decode(
      new EncodedAudioChunk({ type: "key", timestamp: sequence * 10_000, data: packet }),
    );
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.#gain) this.#gain.gain.value = muted ? 0 : 1;
    this.#tell();
  }

  gesture(): void {
    if (this.#context?.state === "suspended") void this.#context.resume();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#decoder?.state === "configured") this.#decoder.close();
    void this.#context?.close();
  }

  #start(): void {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.#context = context;
    this.#gain = context.createGain();
    this.#gain.gain.value = this.#muted ? 0 : 1;
    this.#gain.connect(context.destination);
    context.onstatechange = () => {
      this.#tell();
    };
    this.#tell();
  }

  #tell(): void {
    if (this.#isClosed || !this.#context) return;
    if (this.#context.state === "suspended") this.#told("blocked");
    else if (this.#context.state === "running") this.#told(this.#muted ? "muted" : "on");
  }

  #configure(): void {
    this.#decoder = new AudioDecoder({
      output: (data) => {
        this.#play(data);
      },
      // A bad packet ends the decoder; the next packet makes a new one.
      error: () => undefined,
    });
    this.#decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 2 });
  }

  #play(data: AudioData): void {
    const context = this.#context;
    const gain = this.#gain;
    if (!context || !gain || this.#isClosed) {
      data.close();
      return;
    }
    const buffer = context.createBuffer(
      data.numberOfChannels, data.numberOfFrames, data.sampleRate,
    );
    for (let channel = 0; channel < data.numberOfChannels; channel++) {
      data.copyTo(buffer.getChannelData(channel), { planeIndex: channel, format: "f32-planar" });
    }
    data.close();
    const now = context.currentTime;
    if (this.#nextAt < now || this.#nextAt > now + MOST_AHEAD_S) this.#nextAt = now + CUSHION_S;
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(gain);
    source.start(this.#nextAt);
    this.#nextAt += buffer.duration;
  }
}
