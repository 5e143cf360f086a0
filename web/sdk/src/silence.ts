/** Who speaks at a beat and says nothing any more is gone, whatever TCP still believes. */

/** After an alarm silence is borne for longer, until it has been quiet for so long. */
const CALM_MS = 30_000;
const MOST_MS = 5000;
/** A timer that is later than this part of the limit tells of a page that slept, not of silence. */
const LATE_PART = 4;

/** How long silence is borne: a busy machine must not be called dead again and again. */
export class Patience {
  #alarms = 0;
  #alarmedAt = Number.NEGATIVE_INFINITY;

  /** *ms* at first; twice that after each alarm that was not long ago. */
  limit(ms: number): number {
    if (performance.now() - this.#alarmedAt > CALM_MS) this.#alarms = 0;
    return Math.max(ms, Math.min(MOST_MS, ms * 2 ** this.#alarms));
  }

  alarm(): void {
    this.#alarms += 1;
    this.#alarmedAt = performance.now();
  }
}

/** Tells once that nothing was heard for so long; again only after something was heard. */
export class Silence {
  readonly #limit: () => number;
  readonly #tell: () => void;
  #heardAt = performance.now();
  #due = 0;
  #isSuspect = false;
  #isTold = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** *limit* gives the milliseconds of now, which may change. */
  constructor(limit: () => number, tell: () => void) {
    this.#limit = limit;
    this.#tell = tell;
    this.#wait(limit());
  }

  /** Something came; true where its silence had been told. */
  heard(): boolean {
    this.#heardAt = performance.now();
    if (!this.#isTold) return false;
    this.#isTold = this.#isSuspect = false;
    this.#wait(this.#limit());
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#isTold = true;
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => {
      this.#look();
    }, ms);
  }

  #look(): void {
    const now = performance.now();
    const limit = this.#limit();
    const left = this.#heardAt + limit - now;
    if (left > 0) {
      this.#isSuspect = false;
      this.#wait(left);
    } else if (!this.#isSuspect && now - this.#due > limit / LATE_PART) {
      // A hidden or busy page: what has come meanwhile may wait behind this very timer.
      this.#isSuspect = true;
      this.#wait(limit / LATE_PART);
    } else {
      this.#isTold = true;
      this.#tell();
    }
  }
}
