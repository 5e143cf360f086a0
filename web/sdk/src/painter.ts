/**
 * Put decoded frames on a canvas, by whichever of two ways is faster here.
 *
 * `put` copies the frame to memory (`copyTo` as RGBA) and puts it on a canvas made for that: in a
 * browser that draws in software it takes a third of the time of `drawImage`. `draw` leaves the
 * frame on the GPU. The first frames go by `put` and a few are also drawn to a canvas that nobody
 * sees; then the faster way stays.
 */

import type { Size } from "./parameters";

const TRIALS = 5;
/** `draw` must be this much faster: a measured trial is noisy, and `put` never spirals. */
const CLEARLY = 0.7;

export type Way = "put" | "draw";

/** Which way wins, from the times in ms of the same frames; the first trial warms up. */
export function fasterWay(put: readonly number[], draw: readonly number[]): Way {
  const middle = (times: readonly number[]): number => {
    const sorted = [...times].slice(1).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? Infinity;
  };
  return middle(draw) < CLEARLY * middle(put) ? "draw" : "put";
}

export interface PainterHooks {
  /** Told of each frame, still open, right after it is on the canvas. */
  painted(frame: VideoFrame): void;
  resized(size: Size): void;
}

export class Painter {
  /** Holds the canvas in use; the canvas may be exchanged once. */
  readonly box: HTMLElement;
  #canvas: HTMLCanvasElement;
  #pen: CanvasRenderingContext2D;
  #way: Way = "put";
  #image: ImageData | null = null;
  #isDecided = false;
  #putTimes: number[] = [];
  #drawTimes: number[] = [];
  #isBusy = false;
  #waiting: VideoFrame | null = null;
  readonly #hooks: PainterHooks;
  #dropped = 0;

  constructor(box: HTMLElement, hooks: PainterHooks) {
    this.box = box;
    this.#hooks = hooks;
    [this.#canvas, this.#pen] = canvasFor("put");
    box.replaceChildren(this.#canvas);
  }

  get way(): Way {
    return this.#way;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get size(): { width: number; height: number } {
    return { width: this.#canvas.width, height: this.#canvas.height };
  }

  /** Take *frame* and close it in the end; when one is still being copied the newest waits. */
  paint(frame: VideoFrame): void {
    if (this.#isBusy) {
      if (this.#waiting) this.#dropped += 1;
      this.#waiting?.close();
      this.#waiting = frame;
      return;
    }
    if (this.#way === "draw") {
      this.#draw(frame);
      return;
    }
    void this.#put(frame);
  }

  close(): void {
    this.#waiting?.close();
    this.#waiting = null;
  }

  #draw(frame: VideoFrame): void {
    this.#fit(frame);
    this.#pen.drawImage(frame, 0, 0);
    this.#hooks.painted(frame);
    frame.close();
  }

  async #put(frame: VideoFrame): Promise<void> {
    this.#isBusy = true;
    const start = performance.now();
    try {
      const image = this.#fit(frame);
      await frame.copyTo(image.data, { format: "RGBA" } as VideoFrameCopyToOptions);
      this.#pen.putImageData(image, 0, 0);
      this.#hooks.painted(frame);
      if (!this.#isDecided) this.#try(frame, performance.now() - start);
    } catch {
      // This browser cannot copy to RGBA: only the other way is left.
      this.#choose("draw", frame);
    }
    frame.close();
    this.#isBusy = false;
    const next = this.#waiting;
    this.#waiting = null;
    if (next) this.paint(next);
  }

  #try(frame: VideoFrame, putMs: number): void {
    const { width, height } = this.#canvas;
    const pen = new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
    if (!pen) {
      this.#isDecided = true;
      return;
    }
    const start = performance.now();
    pen.drawImage(frame, 0, 0);
    pen.getImageData(0, 0, 1, 1);
    this.#drawTimes.push(performance.now() - start);
    this.#putTimes.push(putMs);
    if (this.#drawTimes.length < TRIALS) return;
    this.#isDecided = true;
    if (fasterWay(this.#putTimes, this.#drawTimes) === "draw") this.#choose("draw", frame);
  }

  #choose(way: Way, frame: VideoFrame): void {
    this.#isDecided = true;
    this.#way = way;
    this.#image = null;
    [this.#canvas, this.#pen] = canvasFor(way);
    this.#fit(frame);
    this.#pen.drawImage(frame, 0, 0);
    this.box.replaceChildren(this.#canvas);
  }

  #fit(frame: VideoFrame): ImageData {
    const width = frame.visibleRect?.width ?? frame.codedWidth;
    const height = frame.visibleRect?.height ?? frame.codedHeight;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
      this.#hooks.resized({ width, height });
    }
    if (this.#image?.width !== width || this.#image.height !== height) {
      this.#image = this.#way === "put" ? new ImageData(width, height) : null;
    }
    return this.#image ?? new ImageData(1, 1);
  }
}

function canvasFor(way: Way): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  canvas.setAttribute("part", "video");
  const pen = canvas.getContext("2d", { alpha: false, willReadFrequently: way === "put" });
  if (!pen) throw new Error("this browser gives no 2D canvas");
  return [canvas, pen];
}
