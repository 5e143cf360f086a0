/** Asks several gateways for the same: one that is cut off keeps nobody from asking the next. */

/** How soon one that names a silent home is asked again: it may have taken over since. */
const AGAIN_MS = 200;
const AGAIN_MOST_MS = 1000;
/** Homes that are named, and were not known. */
const MOST_FOLLOWED = 3;
const LONGEST_MS = 12_000;

export interface Asking<T> {
  /** In the order in which they are asked. */
  readonly places: readonly string[];
  /** How long one may say nothing until the next is asked beside it. */
  readonly patienceMs: number;
  ask(place: string, signal: AbortSignal): Promise<T>;
  /** The gateway that a refusal names in its place. */
  homeOf(error: unknown): string | null;
  /** Of two refusals, what it came to. */
  worse(before: unknown, now: unknown): unknown;
}

/** The first answer of any of them; where all refuse, the refusal that says most. */
export function askRound<T>(asking: Asking<T>): Promise<T> {
  return new Round(asking).run();
}

class Round<T> {
  readonly #asking: Asking<T>;
  readonly #stop = new AbortController();
  readonly #left: string[];
  readonly #pending = new Set<string>();
  readonly #asked = new Set<string>();
  #followed = 0;
  #refusal: unknown = null;
  #next: ReturnType<typeof setTimeout> | undefined;
  #resolve: (answer: T) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  constructor(asking: Asking<T>) {
    this.#asking = asking;
    this.#left = [...asking.places];
  }

  async run(): Promise<T> {
    const late = setTimeout(() => {
      this.#stop.abort();
    }, LONGEST_MS);
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        this.#askNext();
      });
    } finally {
      clearTimeout(late);
      clearTimeout(this.#next);
      this.#stop.abort();
    }
  }

  #askNext(): void {
    clearTimeout(this.#next);
    const place = this.#left.shift();
    if (place === undefined) return;
    void this.#ask(place);
    this.#next = setTimeout(() => {
      this.#askNext();
    }, this.#asking.patienceMs);
  }

  async #ask(place: string): Promise<void> {
    this.#asked.add(place);
    this.#pending.add(place);
    for (let pause = AGAIN_MS; ; pause = Math.min(AGAIN_MOST_MS, pause * 1.5)) {
      try {
        this.#resolve(await this.#asking.ask(place, this.#stop.signal));
        return;
      } catch (error) {
        const home = this.#asking.homeOf(error);
        if (home !== null && home !== place) this.#follow(home);
        if (home === place || home === null || !this.#pending.has(home) || this.#isOver) {
          this.#refused(place, error);
          return;
        }
      }
      await this.#pause(pause);
      if (this.#isOver) {
        this.#refused(place, this.#refusal);
        return;
      }
    }
  }

  get #isOver(): boolean {
    return this.#stop.signal.aborted;
  }

  #follow(home: string): void {
    if (this.#asked.has(home) || this.#isOver) return;
    const at = this.#left.indexOf(home);
    if (at >= 0) this.#left.splice(at, 1);
    else if ((this.#followed += 1) > MOST_FOLLOWED) return;
    void this.#ask(home);
  }

  #refused(place: string, error: unknown): void {
    this.#pending.delete(place);
    this.#refusal = this.#refusal === null ? error : this.#asking.worse(this.#refusal, error);
    if (this.#left.length > 0 && !this.#isOver) this.#askNext();
    else if (this.#pending.size === 0) this.#reject(this.#refusal);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#stop.signal.addEventListener("abort", done, { once: true });
    });
  }
}
