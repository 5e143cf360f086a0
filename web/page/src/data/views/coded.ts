/** Coded video of a recording, decoded picture by picture: a slider goes anywhere in it. */

import { codecOf } from "@downstage/viewer/core";
import type { Entry } from "../entries";
import { isKey, unitOf, type Unit } from "../units";
import { box, type Setting, type View } from "./view";

/** As many wait for the decoder as lie between two whole pictures, at most. */
const MOST_WAITING = 2000;

export class CodedView implements View {
  readonly element = box("picture");
  readonly #setting: Setting;
  readonly #canvas = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D | null;
  #decoder: VideoDecoder | null = null;
  #next: VideoFrame | null = null;
  #isBegun = false;
  drawn = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#context = this.#canvas.getContext("2d", { alpha: false });
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", `Video of ${setting.about.name}`);
    this.element.append(this.#canvas);
    if (typeof VideoDecoder === "undefined") {
      setting.trouble("This browser decodes no video by itself. Use a newer one, or download the recording.");
    }
  }

  get words(): string {
    return this.drawn === 0 ? "" : `${String(this.#canvas.width)} × ${String(this.#canvas.height)}`;
  }

  take(entries: readonly Entry[]): void {
    if (typeof VideoDecoder === "undefined") return;
    for (const entry of entries) {
      const unit = unitOf(entry.data);
      if (unit === null) this.#setting.trouble("This entry is no video that is known here. Show it as bytes.");
      else if (unit.data.length > 0) this.#decode(unit);
    }
  }

  tick(): void {
    const frame = this.#next;
    if (frame === null) return;
    this.#next = null;
    if (this.#canvas.width !== frame.displayWidth || this.#canvas.height !== frame.displayHeight) {
      this.#canvas.width = frame.displayWidth;
      this.#canvas.height = frame.displayHeight;
    }
    this.#context?.drawImage(frame, 0, 0);
    frame.close();
    this.drawn += 1;
    this.element.dataset["drawn"] = String(this.drawn);
    this.#setting.trouble("");
  }

  reset(): void {
    this.#isBegun = false;
    if (this.#decoder?.state === "configured") this.#decoder.reset();
  }

  stop(): void {
    if (this.#decoder !== null && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#next?.close();
    this.#next = null;
  }

  #decode(unit: Unit): void {
    const isWhole = isKey(unit);
    if (!this.#isBegun && !isWhole) return; // nothing to build on yet
    if (!this.#isBegun) this.#configure(codecOf(unit.data) ?? "avc1.64002a");
    this.#isBegun = true;
    const decoder = this.#decoder;
    if (decoder === null || decoder.state !== "configured") return;
    if (decoder.decodeQueueSize > MOST_WAITING) {
      this.reset(); // hopelessly late: on with the next whole picture
      return;
    }
    decoder.decode(new EncodedVideoChunk({
      type: isWhole ? "key" : "delta", timestamp: unit.shownAt, data: unit.data,
    }));
  }

  #configure(codec: string): void {
    if (this.#decoder === null || this.#decoder.state === "closed") {
      this.#decoder = new VideoDecoder({
        output: (frame) => {
          this.#next?.close();
          this.#next = frame;
        },
        error: () => {
          this.#isBegun = false;
          this.#setting.trouble("This browser cannot decode this video. Download the recording to play it.");
        },
      });
    }
    this.#decoder.configure({ codec, optimizeForLatency: true });
  }
}
