/** Small pictures of files, fetched when they come into view and kept by content. */

import type { FilesApi } from "./api";
import { isPicture, isStage } from "./names";
import type { Entry } from "./wire";

const AT_ONCE = 3;
const MOST_KEPT = 300;
/** A picture is its own thumbnail up to this size. */
const LARGEST_PICTURE = 4_000_000;

type Address = string | null;

export class Pictures {
  readonly #api: FilesApi;
  readonly #changed: () => void;
  readonly #kept = new Map<string, Address>();
  readonly #asked = new Set<string>();
  #waiting: Entry[] = [];
  #going = 0;

  constructor(api: FilesApi, changed: () => void) {
    this.#api = api;
    this.#changed = changed;
  }

  /** Whether *entry* can have one at all. */
  static has(entry: Entry): boolean {
    if (entry.kind !== "file" || entry.size === 0) return false;
    return isStage(entry.name) || (isPicture(entry.name) && entry.size <= LARGEST_PICTURE);
  }

  /** The address of the picture; null where there is none, undefined while it is not known. */
  of(entry: Entry): Address | undefined {
    return this.#kept.get(entry.hash);
  }

  /** Fetch it, unless that was done before. */
  want(entry: Entry): void {
    if (!Pictures.has(entry) || this.#asked.has(entry.hash)) return;
    this.#asked.add(entry.hash);
    this.#waiting.push(entry);
    this.#next();
  }

  #next(): void {
    while (this.#going < AT_ONCE) {
      const entry = this.#waiting.shift();
      if (!entry) return;
      this.#going += 1;
      void this.#fetch(entry).finally(() => {
        this.#going -= 1;
        this.#changed();
        this.#next();
      });
    }
  }

  async #fetch(entry: Entry): Promise<void> {
    let address: Address = null;
    try {
      const picture = isPicture(entry.name)
        ? await this.#api.bytes(entry.path)
        : await this.#api.thumbnail(entry.path);
      // Its bytes are a person's: as an image they can do nothing, whatever they are.
      if (picture) address = URL.createObjectURL(picture);
    } catch {
      this.#asked.delete(entry.hash); // the network; asked again when it is seen again
      return;
    }
    this.#kept.set(entry.hash, address);
    if (this.#kept.size > MOST_KEPT) this.#drop();
  }

  #drop(): void {
    const [hash, address] = this.#kept.entries().next().value ?? [];
    if (hash === undefined) return;
    this.#kept.delete(hash);
    this.#asked.delete(hash);
    if (address) URL.revokeObjectURL(address);
  }
}
