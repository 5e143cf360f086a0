/** What shows one stream, whatever it holds. */

import type { Entry } from "../entries";
import type { Kind } from "../kinds";
import type { About } from "../wire";

/** Where all views of a page stand in time. */
export interface Clock {
  /** Milliseconds since 1970, by the server; in a recording, where it is being read. */
  readonly now: number;
  readonly isLive: boolean;
  readonly isPaused: boolean;
}

export interface Setting {
  readonly about: About;
  readonly clock: Clock;
  /** The recording that is being read; null: live. */
  readonly recording: string | null;
  /** Something cannot be shown, in words; empty: it can. */
  readonly trouble: (words: string) => void;
}

export interface View {
  readonly element: HTMLElement;
  /** Take entries, the oldest first. */
  take(entries: readonly Entry[]): void;
  /** Once for each picture of the screen. */
  tick(): void;
  /** The clock has jumped: forget what was. */
  reset(): void;
  /** A few words about how it goes, for the foot. */
  readonly words: string;
  stop(): void;
}

/** Views that want every entry; others are content with the newest. */
export const WANTS_ALL: ReadonlySet<Kind> = new Set<Kind>(["plot", "log", "sound"]);

export function box(name: string): HTMLElement {
  const element = document.createElement("div");
  element.className = `view ${name}`;
  return element;
}

/** What there is to say, with dots between. */
export function joined(...words: readonly string[]): string {
  return words.filter(Boolean).join(" · ");
}
