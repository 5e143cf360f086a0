/** How often something happens, over the last seconds. */

const WINDOW_MS = 2000;

export class Rate {
  #times: number[] = [];

  count(now: number): void {
    this.#times.push(now);
    if (this.#times.length > 4 && now - (this.#times[0] ?? now) > WINDOW_MS * 2) this.#forget(now);
  }

  /** Times a second; 0 once nothing has happened for a while. */
  get value(): number {
    this.#forget(performance.now());
    const [first, last] = [this.#times[0], this.#times.at(-1)];
    if (first === undefined || last === undefined || last <= first) return 0;
    return ((this.#times.length - 1) * 1000) / (last - first);
  }

  /** In words; empty while nothing happens. */
  words(unit: string): string {
    const value = this.value;
    if (value === 0) return "";
    return `${value < 10 ? value.toFixed(1) : String(Math.round(value))} ${unit}`;
  }

  #forget(now: number): void {
    const keep = this.#times.findIndex((time) => time >= now - WINDOW_MS);
    this.#times = keep < 0 ? [] : this.#times.slice(keep);
  }
}
