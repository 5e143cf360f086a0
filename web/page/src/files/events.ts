/** What changes in a folder, as it changes: server-sent events, resumed where they broke off. */

import { eventsOf } from "../events";
import type { FilesApi } from "./api";

const AGAIN_MS = [1000, 2000, 5000, 10_000] as const;

/** One event as the page needs it: where, and whether events were lost. */
export interface Change {
  readonly kind: string;
  readonly path: string;
  readonly old_path: string;
}

/** Tells every change below *path* from *since* on, until it is stopped. */
export class Watch {
  readonly #api: FilesApi;
  readonly #path: string;
  readonly #tell: (change: Change) => void;
  readonly #stop = new AbortController();
  #since: string;

  constructor(api: FilesApi, path: string, since: number, tell: (change: Change) => void) {
    this.#api = api;
    this.#path = path;
    this.#since = String(since);
    this.#tell = tell;
  }

  async run(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted;) {
      const before = this.#since;
      try {
        await this.#read();
      } catch {
        // The network; the next round says whether it came back.
      }
      failures = this.#since === before ? failures + 1 : 1;
      const wait = AGAIN_MS[Math.min(failures, AGAIN_MS.length) - 1];
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #read(): Promise<void> {
    const query = new URLSearchParams({ path: this.#path, scope: "list", since: this.#since });
    const answer = await fetch(`/v1/files-events?${query.toString()}`, {
      headers: { ...this.#api.headers(), Accept: "text/event-stream" },
      cache: "no-store",
      signal: this.#stop.signal,
    });
    if (!answer.ok) return;
    for await (const event of eventsOf(answer)) {
      if (event.id) this.#since = event.id;
      const change = JSON.parse(event.data) as Partial<Change>;
      if (change.kind !== undefined) this.#tell(change as Change); // the first only says: ready
    }
  }
}
