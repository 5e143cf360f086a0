/** From counters that only grow to figures a person can read. */

import type { TransportKind } from "./transport";

export interface RawStats {
  readonly decodedFrames: number;
  readonly droppedFrames: number;
  readonly bytes: number;
  readonly packets: number;
  readonly packetsLost: number;
  readonly rttMs: number | null;
  readonly width: number;
  readonly height: number;
  readonly decoder: string | null;
  /** From capture to the screen, where both clocks are one. */
  readonly glassMs: number | null;
  readonly jitterMs: number | null;
}

export interface ViewerStats {
  readonly transport: TransportKind | null;
  readonly decodedFrames: number;
  readonly droppedFrames: number;
  readonly fps: number;
  readonly kbps: number;
  readonly rttMs: number | null;
  readonly lossPct: number;
  readonly width: number;
  readonly height: number;
  readonly audio: string;
  readonly codec: string | null;
  readonly decoder: string | null;
  readonly encoder: string | null;
  readonly glassMs: number | null;
  readonly jitterMs: number | null;
}

/** The figures before any picture. */
export const NO_STATS: ViewerStats = {
  transport: null, decodedFrames: 0, droppedFrames: 0, fps: 0, kbps: 0, rttMs: null, lossPct: 0,
  width: 0, height: 0, audio: "none", codec: null, decoder: null, encoder: null, glassMs: null,
  jitterMs: null,
};

export interface Rates {
  readonly fps: number;
  readonly kbps: number;
  readonly lossPct: number;
}

const WINDOW_MS = 1000;

interface Sample {
  readonly at: number;
  readonly raw: RawStats;
}

/** Rates over about the last second, however often it is asked. */
export class Meter {
  #samples: Sample[] = [];

  add(raw: RawStats, now: number): Rates {
    const newest = this.#samples.at(-1);
    if (newest && raw.decodedFrames < newest.raw.decodedFrames) this.#samples = [];
    this.#samples.push({ at: now, raw });
    while (this.#samples.length > 2 && (this.#samples[1]?.at ?? now) <= now - WINDOW_MS) {
      this.#samples.shift();
    }
    return rates(this.#samples[0] as Sample, { at: now, raw });
  }

  reset(): void {
    this.#samples = [];
  }
}

function rates(from: Sample, to: Sample): Rates {
  const seconds = (to.at - from.at) / 1000;
  if (seconds <= 0) return { fps: 0, kbps: 0, lossPct: 0 };
  const lost = Math.max(0, to.raw.packetsLost - from.raw.packetsLost);
  const got = Math.max(0, to.raw.packets - from.raw.packets);
  return {
    fps: round1((to.raw.decodedFrames - from.raw.decodedFrames) / seconds),
    kbps: Math.round(((to.raw.bytes - from.raw.bytes) * 8) / 1000 / seconds),
    lossPct: lost + got === 0 ? 0 : round1((100 * lost) / (lost + got)),
  };
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Wall clock in ms with fractions, on the same scale as the streamer's. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

/** A clock difference is only known to be none when the machine is this one. */
export function isSameClock(hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|::1|.*\.localhost)$/.test(hostname);
}

/** A running middle value of the last few latencies. */
export class Latency {
  #values: number[] = [];

  add(ms: number): void {
    if (ms < -5 || ms > 5000) return;
    this.#values.push(Math.max(0, ms));
    if (this.#values.length > 60) this.#values.shift();
  }

  get p50(): number | null {
    if (this.#values.length === 0) return null;
    const sorted = [...this.#values].sort((a, b) => a - b);
    return round1(sorted[sorted.length >> 1] ?? 0);
  }
}
