/** Pictures at full rate: each entry is one, decoded beside the page's own work. */

import type { Entry } from "../entries";
import { figuresOf, mediaType, sniff } from "../kinds";
import type { Figures } from "../npy";
import { Rate } from "../rate";
import { box, joined, type Setting, type View } from "./view";

/** Pictures that are being decoded, and those that wait: newer ones take the place of older. */
const MOST_DECODING = 2, MOST_WAITING = 2;

export class PictureView implements View {
  readonly element = box("picture");
  readonly #canvas = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D | null;
  readonly #setting: Setting;
  readonly #shown = new Rate();
  #waiting: Entry[] = [];
  #decoding = 0;
  #turn = 0;
  #drawn = 0;
  #generation = 0;
  /** Left out because newer ones came before they could be drawn. */
  dropped = 0;
  drawn = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#context = this.#canvas.getContext("2d", { alpha: false });
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", `Pictures of ${setting.about.name}`);
    this.element.append(this.#canvas);
  }

  get words(): string {
    const size = `${String(this.#canvas.width)} × ${String(this.#canvas.height)}`;
    return this.drawn === 0 ? "" : joined(this.#setting.clock.isPaused ? "" : this.#shown.words("fps"), size);
  }

  get fps(): number {
    return this.#shown.value;
  }

  take(entries: readonly Entry[]): void {
    this.#waiting.push(...entries);
    const over = this.#waiting.length - MOST_WAITING;
    if (over > 0) {
      this.dropped += over;
      this.#waiting.splice(0, over);
    }
    this.#decodeNext();
  }

  tick(): void {
    // Drawn when decoded: waiting for the screen would only make it older.
  }

  reset(): void {
    this.#waiting = [];
    this.#generation += 1;
  }

  stop(): void {
    this.reset();
    this.#canvas.remove();
  }

  #decodeNext(): void {
    while (this.#decoding < MOST_DECODING) {
      const entry = this.#waiting.shift();
      if (entry === undefined) return;
      void this.#decode(entry, (this.#turn += 1), this.#generation);
    }
  }

  async #decode(entry: Entry, turn: number, generation: number): Promise<void> {
    this.#decoding += 1;
    try {
      const bitmap = await createImageBitmap(this.#source(entry));
      if (turn > this.#drawn && generation === this.#generation) this.#draw(bitmap, turn);
      bitmap.close();
    } catch {
      this.#setting.trouble("This entry is no picture that this browser can decode. Show it as bytes.");
    }
    this.#decoding -= 1;
    this.#decodeNext();
  }

  #source(entry: Entry): ImageBitmapSource {
    const figures = sniff(entry.data)?.startsWith("image/") ? null : figuresOf(this.#setting.about, entry.data);
    if (figures !== null) return paint(figures);
    return new Blob([entry.data], { type: mediaType(this.#setting.about.content_type).type });
  }

  #draw(bitmap: ImageBitmap, turn: number): void {
    const canvas = this.#canvas;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    this.#context?.drawImage(bitmap, 0, 0);
    this.#drawn = turn;
    this.drawn += 1;
    this.#shown.count(performance.now());
    this.element.dataset["drawn"] = String(this.drawn);
    this.#setting.trouble("");
  }
}

/** An array (rows, columns[, channels]) as a picture: bytes as they are, others from least to most. */
export function paint({ shape, data }: Figures): ImageData {
  const [height = 1, width = 1, channels = 1] = shape;
  const isByte = data instanceof Uint8Array;
  const [low, high] = isByte ? [0, 255] : bounds(data);
  const scale = high > low ? 255 / (high - low) : 0;
  const [green, blue] = channels < 3 ? [0, 0] : [1, 2];
  const pixels = new Uint8ClampedArray(width * height * 4);
  const value = (at: number): number => (Number(data[at]) - low) * scale;
  for (let to = 0, from = 0; to < pixels.length; to += 4, from += channels) {
    pixels[to] = value(from);
    pixels[to + 1] = value(from + green);
    pixels[to + 2] = value(from + blue);
    pixels[to + 3] = channels === 4 ? value(from + 3) : 255;
  }
  return new ImageData(pixels, width, height);
}

function bounds(data: ArrayLike<number>): [number, number] {
  let low = Infinity, high = -Infinity;
  for (let at = 0; at < data.length; at += 1) {
    const value = data[at] ?? 0;
    if (value < low) low = value;
    if (value > high && value < Infinity) high = value;
  }
  return [low, high];
}
