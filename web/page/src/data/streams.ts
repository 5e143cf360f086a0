/** The streams that are there, with their figures: listed often, and at once when one comes or goes. */

import { Problem } from "@downstage/viewer";
import { wordsOf } from "../forms";
import type { DataApi } from "./api";
import type { StreamView } from "./wire";

/** Points of a sparkline. */
const HISTORY = 60;
const EACH_MS = 1000;
/** A long list is asked for less often: its answer may take as much as a tenth of the time. */
const SHARE = 10;
const SETTLE_MS = 100;
const AGAIN_MS = 3000;

export interface Listed {
  view: StreamView;
  /** Entries a second, the oldest first. */
  readonly rates: number[];
}

export class Streams {
  readonly #api: DataApi;
  readonly #changed: () => void;
  readonly #refused: (error: Problem) => void;
  readonly #listed = new Map<string, Listed>();
  #pattern = "*";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: AbortController | null = null;
  #isLoading = false;
  trouble = "";
  /** Whether the list was read at all. */
  isKnown = false;

  constructor(api: DataApi, changed: () => void, refused: (error: Problem) => void) {
    this.#api = api;
    this.#changed = changed;
    this.#refused = refused;
  }

  get all(): readonly Listed[] {
    return [...this.#listed.values()];
  }

  find(name: string): StreamView | undefined {
    return this.#listed.get(name)?.view;
  }

  get pattern(): string {
    return this.#pattern;
  }

  /** Only names that hold *text*, or that fit it where it has a star. */
  filter(text: string): void {
    const plain = text.trim().replaceAll(/[^A-Za-z0-9_.:@=*-]/g, "");
    this.#pattern = plain === "" ? "*" : plain.includes("*") ? plain : `*${plain}*`;
    this.#soon(SETTLE_MS);
  }

  start(): void {
    this.#end = new AbortController();
    void this.#load();
    void this.#watch(this.#end.signal);
  }

  stop(): void {
    this.#end?.abort();
    this.#end = null;
    clearTimeout(this.#timer);
  }

  #soon(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#end !== null) {
      this.#timer = setTimeout(() => {
        void this.#load();
      }, ms);
    }
  }

  async #load(): Promise<void> {
    if (this.#isLoading || document.hidden) {
      this.#soon(EACH_MS);
      return;
    }
    this.#isLoading = true;
    const began = performance.now(), pattern = this.#pattern;
    try {
      const views = await this.#api.streams(pattern);
      if (pattern === this.#pattern) this.#learn(views);
      this.trouble = "";
    } catch (error) {
      this.trouble = wordsOf(error);
      if (error instanceof Problem && !error.passing) this.#refused(error);
    }
    this.#isLoading = false;
    this.#changed();
    const isSame = pattern === this.#pattern;
    this.#soon(isSame ? Math.max(EACH_MS, (performance.now() - began) * SHARE) : 0);
  }

  #learn(views: readonly StreamView[]): void {
    const before = new Map(this.#listed);
    this.#listed.clear();
    for (const view of views) {
      const listed = before.get(view.name) ?? { view, rates: [] };
      listed.view = view;
      listed.rates.push(view.rate);
      if (listed.rates.length > HISTORY) listed.rates.shift();
      this.#listed.set(view.name, listed);
    }
    this.isKnown = true;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const change of this.#api.changes(signal)) {
          if (change?.what === "gone") this.#listed.delete(change.stream);
          if (change !== null) this.#soon(SETTLE_MS);
        }
      } catch {
        // The list itself says what is wrong; it is read all the same.
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
