/** Entries of sound into samples: PCM and WAV here, Opus and AAC by the browser. */

import { mediaType } from "./kinds";
import { HEAD } from "./units";
import type { About } from "./wire";

export interface Heard {
  /** Samples of each channel, −1 to 1. */
  readonly channels: readonly Float32Array<ArrayBuffer>[];
  readonly rate: number;
}

export interface PcmForm {
  readonly rate: number;
  readonly channels: number;
  readonly width: 1 | 2 | 4;
  readonly isFloat: boolean;
  readonly isBig: boolean;
}

const US = 1_000_000;
const MOST_WAITING = 64;
const CODECS: Readonly<Record<string, string>> = { "audio/opus": "opus", "audio/aac": "mp4a.40.2" };

export class Decoder {
  readonly #tell: (heard: Heard) => void;
  readonly #trouble: (words: string) => void;
  readonly #pcm: PcmForm | null;
  readonly #codec: string | null;
  readonly #isFramed: boolean;
  #coded: AudioDecoder | null = null;
  #at = 0;

  constructor(about: About, tell: (heard: Heard) => void, trouble: (words: string) => void) {
    const { type, parameters } = mediaType(about.content_type);
    this.#tell = tell;
    this.#trouble = trouble;
    this.#pcm = formOf(type, parameters);
    this.#codec = CODECS[type] ?? null;
    this.#isFramed = parameters["framing"] === "1";
  }

  take(data: Uint8Array<ArrayBuffer>): void {
    if (this.#codec !== null) {
      this.#decode(this.#codec, this.#isFramed ? data.subarray(HEAD) : data);
      return;
    }
    const wave = parseWave(data);
    if (wave !== null) this.#tell(samplesOf(wave.data, wave.form));
    else if (this.#pcm !== null) this.#tell(samplesOf(data, this.#pcm));
    else this.#trouble("This kind of sound is not known here. Send audio/pcm, WAV, Opus or AAC.");
  }

  reset(): void {
    if (this.#coded?.state === "configured") this.#coded.reset();
    this.#coded = null;
  }

  stop(): void {
    if (this.#coded !== null && this.#coded.state !== "closed") this.#coded.close();
    this.#coded = null;
  }

  #decode(codec: string, data: Uint8Array<ArrayBuffer>): void {
    if (data.length === 0) return; // the end of the source
    if (typeof AudioDecoder === "undefined") {
      this.#trouble("This browser decodes no Opus or AAC by itself. Use a newer one.");
      return;
    }
    if (this.#coded === null || this.#coded.state === "closed") {
      this.#coded = new AudioDecoder({
        output: (sound) => {
          this.#out(sound);
        },
        error: () => {
          this.#trouble("A packet of this sound cannot be decoded. Going on with the next ones.");
        },
      });
      this.#coded.configure({ codec, sampleRate: 48_000, numberOfChannels: 2 });
    }
    if (this.#coded.decodeQueueSize > MOST_WAITING) return;
    this.#coded.decode(new EncodedAudioChunk({ type: "key", timestamp: this.#at, data }));
    this.#at += US / 50;
  }

  #out(sound: AudioData): void {
    const channels = Array.from({ length: sound.numberOfChannels }, (_, planeIndex) => {
      const samples = new Float32Array(sound.numberOfFrames);
      sound.copyTo(samples, { planeIndex, format: "f32-planar" });
      return samples;
    });
    const rate = sound.sampleRate;
    sound.close();
    this.#trouble("");
    this.#tell({ channels, rate });
  }
}

/** How samples lie whose type is *type*; null: they are no plain ones. */
export function formOf(type: string, parameters: Readonly<Record<string, string>>): PcmForm | null {
  const number = (name: string, usual: number, most: number): number => {
    const value = Number(parameters[name]);
    return Number.isInteger(value) && value > 0 && value <= most ? value : usual;
  };
  const format = parameters["format"] ?? parameters["encoding"] ?? "";
  const isFloat = format.startsWith("f");
  if (!["audio/pcm", "audio/x-pcm", "audio/raw", "audio/l16"].includes(type)) return null;
  return {
    rate: number("rate", 48_000, 384_000), channels: number("channels", 1, 64),
    width: isFloat ? 4 : format === "u8" ? 1 : 2, isFloat, isBig: type === "audio/l16",
  };
}

/** Samples, channel by channel, of bytes in which channels take turns. */
export function samplesOf(data: Uint8Array, form: PcmForm): Heard {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const each = form.width * form.channels;
  const count = Math.floor(data.length / each);
  const read = readerOf(view, form);
  const channels = Array.from({ length: form.channels }, (_, channel) => {
    const samples = new Float32Array(count);
    for (let at = 0; at < count; at += 1) samples[at] = read(at * each + channel * form.width);
    return samples;
  });
  return { channels, rate: form.rate };
}

function readerOf(view: DataView, form: PcmForm): (at: number) => number {
  const little = !form.isBig;
  if (form.isFloat) return (at) => view.getFloat32(at, little);
  if (form.width === 1) return (at) => (view.getUint8(at) - 128) / 128;
  if (form.width === 4) return (at) => view.getInt32(at, little) / 2 ** 31;
  return (at) => view.getInt16(at, little) / 32768;
}

/** A WAV file's form and samples; null where it is none, or of a kind that is not plain. */
export function parseWave(bytes: Uint8Array<ArrayBuffer>): { form: PcmForm; data: Uint8Array<ArrayBuffer> } | null {
  const word = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let form: PcmForm | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true), body = at + 8;
    if (word(at) === "fmt " && body + 16 <= bytes.length) form = waveForm(view, body);
    if (word(at) === "data" && form !== null) return { form, data: bytes.subarray(body, body + size) };
    at = body + size + (size % 2);
  }
  return null;
}

function waveForm(view: DataView, at: number): PcmForm | null {
  const kind = view.getUint16(at, true), bits = view.getUint16(at + 14, true);
  const channels = view.getUint16(at + 2, true);
  const isFloat = kind === 3;
  if ((kind !== 1 && !isFloat) || ![8, 16, 32].includes(bits) || channels === 0) return null;
  const width = (bits / 8) as 1 | 2 | 4;
  return { rate: view.getUint32(at + 4, true), channels, width, isFloat, isBig: false };
}
