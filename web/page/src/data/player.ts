/** The clock of a recording: it reads ahead of where it plays, and hands entries out in time. */

import { wordsOf } from "../forms";
import type { DataApi } from "./api";
import { msOf, next, previous, type Entry } from "./entries";
import { advance, clamp, type Span } from "./scrub";
import { isKey, unitOf } from "./units";
import { WINDOW_MS } from "./views/plot";
import type { Clock } from "./views/view";
import type { RecordingView, Ticks } from "./wire";

/** Of our time, by which it reads ahead. */
const AHEAD_MS = 1500;
const MOST_AHEAD_BYTES = 64 << 20;
const COUNT = 256;
/** Points of a plot that are read for what was before: more would not be seen. */
const BEFORE = 150;
const MOST_SEQ = "18446744073709551615";
const BUCKETS = 600;
const MOST_SINCE = 2000;
const BEGINNING_MS = 500;

/** What a view needs besides the last entry: what its window shows, or all since a whole picture. */
export type Past = "none" | "window" | "picture";

/** What is shown of the recording. */
export interface Shown {
  readonly name: string;
  readonly past: Past;
}

export class Player implements Clock {
  readonly isLive = false;
  readonly recording: RecordingView;
  readonly span: Span;
  readonly #api: DataApi;
  readonly #deliver: (entries: readonly Entry[]) => void;
  readonly #reset: () => void;
  readonly #changed: () => void;
  #shown: readonly Shown[] = [];
  #ahead: Entry[] = [];
  #from = "0";
  #isReading = false;
  #isWhole = false;
  #sought: number | null = null;
  #isSeeking = false;
  #end = new AbortController();
  #ticked = performance.now();
  ticks: Ticks | null = null;
  now: number;
  speed = 1;
  isLoop = false;
  isPaused = true;
  trouble = "";

  constructor(
    api: DataApi, recording: RecordingView,
    hooks: { deliver: (entries: readonly Entry[]) => void; reset: () => void; changed: () => void },
  ) {
    this.#api = api;
    this.recording = recording;
    this.#deliver = hooks.deliver;
    this.#reset = hooks.reset;
    this.#changed = hooks.changed;
    const start = msOf(recording.first_id ?? String(recording.started_at));
    this.span = { start, stop: Math.max(start, msOf(recording.last_id ?? String(start))) };
    this.now = start;
    void this.#count();
  }

  /** Whether it waits for what it is to play next. */
  get isStalled(): boolean {
    return !this.isPaused && (this.#isSeeking || (this.#ahead.length === 0 && !this.#isWhole));
  }

  show(shown: readonly Shown[]): void {
    this.#shown = shown;
    this.seek(this.now);
  }

  play(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.#ticked = performance.now();
    if (this.now >= this.span.stop) this.seek(this.span.start);
    this.#changed();
  }

  pause(): void {
    this.isPaused = true;
    this.#changed();
  }

  /** Show *at*; while one place is being read, only the last that was asked for is kept. */
  seek(at: number): void {
    this.now = clamp(at, this.span);
    this.#sought = this.now;
    this.#ahead = [];
    this.#changed();
    if (!this.#isSeeking) void this.#seek();
  }

  /** To the next entry of what is shown, or the one before. */
  async step(way: 1 | -1): Promise<void> {
    this.pause();
    const names = this.#names;
    if (names.length === 0) return;
    const here = Math.floor(this.now);
    const wish = way > 0
      ? { start: String(here + 1), count: 1 }
      : { stop: previous(String(here)) ?? "0", count: 1, reverse: true };
    try {
      const [entry] = await this.#api.range(this.recording.name, names, wish, this.#end.signal);
      this.seek(entry?.at ?? (way > 0 ? this.span.stop : this.span.start));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Once for each picture of the screen. */
  tick(): void {
    const now = performance.now(), passed = now - this.#ticked;
    this.#ticked = now;
    if (this.isPaused || this.#isSeeking) return;
    const moved = advance(this.now, passed, this.speed, this.span, this.isLoop);
    if (this.#isWhole && moved.isRound) {
      this.#handOut(Infinity);
      this.seek(moved.at);
      return;
    }
    this.now = this.#isWhole ? moved.at : Math.min(moved.isRound ? this.span.stop : moved.at, this.#known);
    this.#handOut(this.now);
    if (moved.isOver && this.#isWhole) this.pause();
    else void this.#read();
  }

  stop(): void {
    this.isPaused = true;
    this.#end.abort();
    this.#shown = [];
  }

  /** It never runs past what it has read: entries would be missing, and nobody would see that. */
  get #known(): number {
    return Math.max(this.now, this.#ahead.at(-1)?.at ?? this.now);
  }

  get #names(): string[] {
    return this.#shown.map(({ name }) => name);
  }

  #handOut(until: number): void {
    const count = this.#ahead.findIndex((entry) => entry.at > until);
    const due = this.#ahead.splice(0, count < 0 ? this.#ahead.length : count);
    if (due.length > 0) this.#deliver(due);
  }

  async #seek(): Promise<void> {
    this.#isSeeking = true;
    this.#end.abort(); // what is being read ahead belongs to another place
    while (this.#sought !== null) {
      const at = Math.floor(this.#sought);
      this.#sought = null;
      this.#end = new AbortController();
      try {
        const entries = await this.#moment(at, this.#end.signal);
        if (this.#sought !== null) continue;
        this.#reset();
        this.#deliver(entries);
        this.trouble = "";
      } catch (error) {
        this.#fail(error);
      }
      this.#from = String(at + 1);
      this.#isWhole = this.#shown.length === 0;
      this.#ahead = [];
    }
    this.#isSeeking = false;
    this.#ticked = performance.now();
    this.#changed();
  }

  /** What is to be seen at *at*: the last entry of each stream, or all of a window. */
  async #moment(at: number, signal: AbortSignal): Promise<Entry[]> {
    const named = (past: Past): string[] => this.#shown.filter((one) => one.past === past).map(({ name }) => name);
    const newest = named("none");
    const parts = [
      ...named("window").map((name) => this.#window(name, at, signal)),
      ...named("picture").map((name) => this.#sinceWhole(name, at, signal)),
    ];
    // The last one of its millisecond; at the very beginning some have nothing before it.
    const stop = `${String(at)}-${MOST_SEQ}`;
    const how = at - this.span.start < BEGINNING_MS ? "nearest" : "previous";
    if (newest.length > 0) parts.push(this.#api.at(this.recording.name, newest, stop, how, signal));
    return (await Promise.all(parts)).flat();
  }

  async #window(name: string, at: number, signal: AbortSignal): Promise<Entry[]> {
    const start = Math.max(this.span.start, at - WINDOW_MS);
    const every = Math.max(1, Math.ceil(this.#countIn(name, start, at) / BEFORE));
    const wish = { start: String(start), stop: String(at), count: BEFORE * 2, every };
    return this.#api.range(this.recording.name, [name], wish, signal);
  }

  /** Everything since the last picture that decodes on its own, the oldest first. */
  async #sinceWhole(name: string, at: number, signal: AbortSignal): Promise<Entry[]> {
    const found: Entry[] = [];
    let stop: string | null = `${String(at)}-${MOST_SEQ}`;
    while (stop !== null && found.length < MOST_SINCE) {
      const wish = { stop, count: COUNT, reverse: true };
      const part = await this.#api.range(this.recording.name, [name], wish, signal);
      const whole = part.findIndex((entry) => isKey(unitOf(entry.data)));
      found.push(...(whole < 0 ? part : part.slice(0, whole + 1)));
      const oldest = part.at(-1);
      if (whole >= 0 || oldest === undefined) break;
      stop = previous(oldest.id);
    }
    return found.reverse();
  }

  #countIn(name: string, start: number, stop: number): number {
    const counts = this.ticks?.counts[name];
    if (this.ticks === null || counts === undefined) {
      const held = this.recording.streams.find((stream) => stream.name === name);
      const share = (stop - start) / Math.max(1, this.span.stop - this.span.start);
      return (held?.entries ?? 0) * Math.min(1, share);
    }
    const length = Math.max(1, this.ticks.stop_ms - this.ticks.start_ms);
    const place = (at: number): number => ((at - (this.ticks?.start_ms ?? 0)) / length) * counts.length;
    return counts.slice(Math.floor(place(start)), Math.ceil(place(stop)) + 1).reduce((a, b) => a + b, 0);
  }

  async #read(): Promise<void> {
    const last = this.#ahead.at(-1);
    const isEnough = last !== undefined && last.at - this.now > AHEAD_MS * this.speed;
    if (this.#isReading || this.#isWhole || this.#isSeeking || isEnough) return;
    if (this.#ahead.reduce((sum, entry) => sum + entry.data.length, 0) > MOST_AHEAD_BYTES) return;
    this.#isReading = true;
    const { signal } = this.#end;
    try {
      const wish = { start: this.#from, count: COUNT };
      const entries = await this.#api.range(this.recording.name, this.#names, wish, signal);
      if (!signal.aborted) {
        const end = entries.at(-1);
        if (end === undefined) this.#isWhole = true;
        else this.#from = next(end.id);
        this.#ahead.push(...entries);
      }
    } catch (error) {
      if (!signal.aborted) {
        this.pause();
        this.#fail(error);
      }
    }
    this.#isReading = false;
  }

  async #count(): Promise<void> {
    const names = this.recording.streams.map(({ name }) => name).slice(0, 32);
    if (names.length === 0) return;
    try {
      this.ticks = await this.#api.ticks(this.recording.name, names, BUCKETS);
      this.#changed();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#end.signal.aborted) return;
    this.trouble = wordsOf(error);
    this.#changed();
  }
}
