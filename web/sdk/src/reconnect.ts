/** When to try again: exponential back-off with jitter, and never past the resume lease. */

export interface BackoffOptions {
  readonly firstMs: number;
  readonly mostMs: number;
  readonly factor: number;
  /** Share of each pause that is random, so that a thousand viewers do not return at once. */
  readonly jitter: number;
  readonly random: () => number;
}

const DEFAULTS: BackoffOptions = {
  firstMs: 200,
  mostMs: 5000,
  factor: 2,
  jitter: 0.3,
  random: Math.random,
};

export class Backoff {
  readonly #options: BackoffOptions;
  #tries = 0;

  constructor(options: Partial<BackoffOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  get tries(): number {
    return this.#tries;
  }

  /** The pause before the next try. */
  next(): number {
    const { firstMs, mostMs, factor, jitter, random } = this.#options;
    const full = Math.min(mostMs, firstMs * factor ** this.#tries);
    this.#tries += 1;
    return Math.round(full * (1 - jitter * random()));
  }

  reset(): void {
    this.#tries = 0;
  }
}

/** Whether a try at *now* still makes sense; a minute of grace when no lease is known. */
export function mayResume(leaseEndsAt: string | null, brokenAt: number, now: number): boolean {
  const lease = leaseEndsAt === null ? Number.NaN : Date.parse(leaseEndsAt);
  const end = Number.isNaN(lease) ? brokenAt + 60_000 : Math.max(lease, brokenAt + 60_000);
  return now < end + 15_000;
}
