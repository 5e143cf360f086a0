/** Sound as a meter, and, when somebody wants to, to listen to. */

import type { Entry } from "../entries";
import { Decoder, type Heard } from "../hearing";
import { box, type Setting, type View } from "./view";

const LEAD_S = 0.08;
/** Sound that would be heard later than that is left out. */
const MOST_AHEAD_S = 0.5;
const FLOOR_DB = -60;
const FALL_DB_S = 30;
const HOLD_MS = 1500;

interface Channel {
  level: number;
  peak: number;
  peakAt: number;
}

export class SoundView implements View {
  readonly element = box("sound");
  readonly #setting: Setting;
  readonly #decoder: Decoder;
  readonly #canvas = document.createElement("canvas");
  readonly #button = document.createElement("button");
  readonly #meters = document.createElement("div");
  #channels: Channel[] = [];
  #form = "";
  #context: AudioContext | null = null;
  #until = 0;
  #isListening = false;
  #ticked = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#decoder = new Decoder(setting.about, (heard) => {
      this.#hear(heard);
    }, setting.trouble);
    this.#meters.className = "meters";
    this.#canvas.setAttribute("role", "meter");
    this.#canvas.setAttribute("aria-label", `Loudness of ${setting.about.name}`);
    this.#canvas.setAttribute("aria-valuemin", String(FLOOR_DB));
    this.#canvas.setAttribute("aria-valuemax", "0");
    this.#button.className = "button low";
    this.#button.addEventListener("click", () => {
      void this.#toggle();
    });
    this.#meters.append(this.#canvas);
    this.element.append(this.#meters, this.#button);
    this.#say();
  }

  get words(): string {
    return this.#form;
  }

  take(entries: readonly Entry[]): void {
    for (const entry of entries) this.#decoder.take(entry.data);
  }

  tick(): void {
    const now = performance.now(), passed = Math.min(0.2, (now - this.#ticked) / 1000);
    this.#ticked = now;
    for (const channel of this.#channels) {
      channel.level = Math.max(FLOOR_DB, channel.level - FALL_DB_S * passed);
      if (now - channel.peakAt > HOLD_MS) channel.peak = Math.max(channel.level, channel.peak - FALL_DB_S * passed);
    }
    this.#draw();
  }

  reset(): void {
    this.#until = 0;
    this.#decoder.reset();
  }

  stop(): void {
    this.#decoder.stop();
    void this.#context?.close();
  }

  #hear({ channels, rate }: Heard): void {
    const count = channels.length;
    this.#form = `${String(rate / 1000)} kHz · ${count === 1 ? "mono" : count === 2 ? "stereo" : `${String(count)} channels`}`;
    const now = performance.now();
    channels.forEach((samples, at) => {
      const channel = (this.#channels[at] ??= { level: FLOOR_DB, peak: FLOOR_DB, peakAt: 0 });
      const level = decibels(samples);
      channel.level = Math.max(channel.level, level);
      if (level >= channel.peak) {
        channel.peak = level;
        channel.peakAt = now;
      }
    });
    this.#channels.length = count;
    this.#play(channels, rate);
  }

  #play(channels: readonly Float32Array<ArrayBuffer>[], rate: number): void {
    const context = this.#context, length = channels[0]?.length ?? 0;
    if (context?.state !== "running" || this.#setting.clock.isPaused || length === 0) return;
    const now = context.currentTime;
    if (this.#until > now + MOST_AHEAD_S) return;
    const buffer = context.createBuffer(channels.length, length, rate);
    channels.forEach((samples, at) => {
      buffer.copyToChannel(samples, at);
    });
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    const start = this.#until < now ? now + LEAD_S : this.#until;
    source.start(start);
    this.#until = start + buffer.duration;
  }

  async #toggle(): Promise<void> {
    this.#isListening = !this.#isListening;
    this.#say();
    this.#until = 0;
    this.#context ??= new AudioContext();
    await (this.#isListening ? this.#context.resume() : this.#context.suspend());
  }

  #say(): void {
    this.#button.textContent = this.#isListening ? "Stop listening" : "Listen";
    this.#button.ariaPressed = String(this.#isListening);
  }

  #draw(): void {
    const canvas = this.#canvas, ratio = devicePixelRatio;
    const width = Math.round(this.#meters.clientWidth * ratio), height = Math.round(this.#meters.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, width, height);
    const count = Math.max(1, this.#channels.length);
    const each = Math.min(28 * ratio, height / count - 4 * ratio);
    const top = (height - count * (each + 6 * ratio)) / 2;
    const share = (db: number): number => Math.min(1, (db - FLOOR_DB) / -FLOOR_DB);
    const colour = context.createLinearGradient(0, 0, width, 0);
    for (const [at, name] of [[0, "#4f9f72"], [0.7, "#7fcf9f"], [0.85, "#f0b35b"], [1, "#f2857a"]] as const) {
      colour.addColorStop(at, name);
    }
    for (let at = 0; at < count; at += 1) {
      const y = top + at * (each + 6 * ratio), channel = this.#channels[at];
      context.fillStyle = "rgb(255 255 255 / 0.08)";
      context.fillRect(0, y, width, each);
      if (!channel) continue;
      context.fillStyle = colour;
      context.fillRect(0, y, width * share(channel.level), each);
      context.fillRect(width * share(channel.peak) - 2 * ratio, y, 2 * ratio, each);
    }
    const loudest = Math.max(FLOOR_DB, ...this.#channels.map((channel) => channel.level));
    canvas.setAttribute("aria-valuenow", String(Math.round(loudest)));
    canvas.setAttribute("aria-valuetext", `${String(Math.round(loudest))} dB`);
  }
}

/** The loudness of *samples* (−1 to 1), by their mean square. */
export function decibels(samples: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < samples.length; at += 1) sum += (samples[at] ?? 0) ** 2;
  return samples.length === 0 ? FLOOR_DB : Math.max(FLOOR_DB, 10 * Math.log10(sum / samples.length + 1e-12) + 3);
}
