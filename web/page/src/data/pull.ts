/** One stream over a socket, for as long as it is wanted: resumed where it broke off. */

import { Problem } from "@downstage/viewer";
import { wordsOf } from "../forms";
import type { DataApi } from "./api";
import { cut, read, type Entry, type Row } from "./entries";

const AGAIN_MS = [250, 1000, 2000, 5000, 10_000] as const;
/** A socket that lived so long begins to count its failures anew. */
const SETTLED_MS = 5000;
const POLICY = 1008, LAGGED = 1013;

export interface Wish {
  /** `-`: the newest at once, then on; an id: what follows it; `$`: only what comes. */
  readonly from: string;
  /** Entries of one message, at most. */
  readonly count: number;
}

export interface Sink {
  take: (entries: readonly Entry[]) => void;
  /** The server left entries out: this page, or the way to it, was too slow. */
  skipped: (count: number) => void;
  /** How it stands; empty: well. */
  trouble: (words: string) => void;
}

export class Pull {
  readonly #api: DataApi;
  readonly #stream: string;
  readonly #wish: Wish;
  readonly #sink: Sink;
  #socket: WebSocket | null = null;
  #last: string | null = null;
  #rows: readonly Row[] | null = null;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(api: DataApi, stream: string, wish: Wish, sink: Sink) {
    this.#api = api;
    this.#stream = stream;
    this.#wish = wish;
    this.#sink = sink;
    void this.#open();
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  async #open(): Promise<void> {
    let ticket: string;
    try {
      ticket = await this.#api.ticket();
    } catch (error) {
      const isFinal = error instanceof Problem && !error.passing;
      this.#broke(wordsOf(error), isFinal);
      return;
    }
    if (this.#isOver) return;
    const query = new URLSearchParams({
      token: ticket, last_entry_id: this.#last ?? this.#wish.from, latest: "true",
      count: String(this.#wish.count),
    });
    const url = new URL(`/v1/streams/${encodeURIComponent(this.#stream)}/pull?${query.toString()}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = this.#socket = new WebSocket(url);
    const began = performance.now();
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.#sink.trouble("");
    });
    socket.addEventListener("message", (event: MessageEvent<string | ArrayBuffer>) => {
      if (this.#isOver) return;
      try {
        this.#onMessage(event.data);
      } catch (error) {
        socket.close();
        this.#broke(wordsOf(error), true);
      }
    });
    socket.addEventListener("close", (event) => {
      if (performance.now() - began > SETTLED_MS) this.#failures = 0;
      if (event.code === LAGGED) this.#last = null;
      this.#broke(wordsFor(event), event.code === POLICY);
    });
  }

  #onMessage(data: string | ArrayBuffer): void {
    if (typeof data === "string") {
      const said = read(data);
      if ("rows" in said) this.#rows = said.rows;
      else if ("skipped" in said) this.#sink.skipped(said.skipped);
      else this.#sink.skipped(said.lost ?? 1);
      return;
    }
    const entries = cut(this.#rows ?? [], data);
    this.#rows = null;
    this.#last = entries.at(-1)?.id ?? this.#last;
    this.#sink.take(entries);
  }

  #broke(words: string, isFinal: boolean): void {
    if (this.#isOver) return;
    this.#rows = null;
    this.#sink.trouble(words);
    if (isFinal) {
      this.#isOver = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#open();
    }, AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)]);
    this.#failures += 1;
  }
}

function wordsFor(event: CloseEvent): string {
  if (event.code === LAGGED) return "Too slow: some entries are gone. Going on with the newest.";
  if (event.code === POLICY) {
    return event.reason.includes("token")
      ? "Your sign-in no longer counts. Sign out, then sign in again."
      : `The server refused this stream (${event.reason || "no reason"}). Ask who runs it.`;
  }
  return "The connection broke. Connecting again …";
}
