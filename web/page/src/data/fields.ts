/** Which numbers of an entry are worth a line in a plot. */

export type Found = ReadonlyMap<string, number>;

export const MOST_LINES = 12;
const DEPTH = 4;
/** Numbers that say when, or which one: a line of them only ever climbs. */
const NO_LINE = /(^|[._])(t|ts|time|times?tamp(_?[mun]?s)?|seq|sequence|id|index|frame(_?(id|no|number))?)$/i;

/** Each number in *value*, by where it stands: `pose.x`, `joints[2]`. */
export function numbersIn(value: unknown, most = 64): Found {
  const found = new Map<string, number>();
  collect(value, "", 0, found, most);
  return found;
}

function collect(value: unknown, path: string, depth: number, found: Map<string, number>, most: number): void {
  if (found.size >= most) return;
  if (typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) {
    found.set(path || "value", Number(value));
  }
  if (typeof value !== "object" || value === null || depth >= DEPTH) return;
  const isList = Array.isArray(value);
  for (const [key, item] of Object.entries(value)) {
    const below = isList ? `${path}[${key}]` : path ? `${path}.${key}` : key;
    collect(item, below, depth + 1, found, most);
  }
}

/** Those that a plot begins with; a person may choose others. */
export function pick(found: Iterable<string>): string[] {
  const all = [...found];
  const lines = all.filter((path) => !NO_LINE.test(path));
  return (lines.length > 0 ? lines : all).slice(0, MOST_LINES);
}

/** Whether *value* is rather a plot than a tree: half of what it says is numbers, and not too many. */
export function isPlot(value: unknown): boolean {
  if (typeof value === "number") return true;
  if (typeof value !== "object" || value === null) return false;
  const count = numbersIn(value, 200).size;
  return count > 0 && count <= 32 && count * 2 >= leaves(value, 200);
}

function leaves(value: unknown, most: number): number {
  if (typeof value !== "object" || value === null) return 1;
  let count = 0;
  for (const one of Object.values(value)) {
    count += leaves(one, most);
    if (count > most) break;
  }
  return count;
}

/** Lines of numbers over time, as long as they are in the window. */
export class Lines {
  readonly #window: number;
  readonly #most: number;
  #times: number[] = [];
  #lines = new Map<string, (number | null)[]>();

  /** *window* in ms; at most *most* points of each line are kept. */
  constructor(window: number, most = 20_000) {
    this.#window = window;
    this.#most = most;
  }

  get names(): string[] {
    return [...this.#lines.keys()];
  }

  get length(): number {
    return this.#times.length;
  }

  add(at: number, values: Found): void {
    const last = this.#times.at(-1);
    if (last !== undefined && at < last) return; // an axis has one direction
    this.#times.push(at);
    for (const [name, value] of values) {
      let line = this.#lines.get(name);
      if (line === undefined) {
        line = new Array<number | null>(this.#times.length - 1).fill(null);
        this.#lines.set(name, line);
      }
      line.push(value);
    }
    for (const line of this.#lines.values()) if (line.length < this.#times.length) line.push(null);
    // Rarely, and many at once: cutting an array costs as much as it is long.
    if (this.#times.length > this.#most * 1.25) this.#drop(this.#times.length - this.#most);
    else if ((this.#times[0] ?? at) < at - this.#window * 1.5) this.forget(at - this.#window);
  }

  /** Drop what is older than *before*. */
  forget(before: number): void {
    const keep = this.#times.findIndex((time) => time >= before);
    this.#drop(keep < 0 ? this.#times.length : keep);
  }

  clear(): void {
    this.#times = [];
    this.#lines = new Map();
  }

  /** Seconds, then the values of each of *names*, as uPlot wants them. */
  columns(names: readonly string[]): [number[], ...(number | null)[][]] {
    const none = new Array<null>(this.#times.length).fill(null);
    return [this.#times.map((ms) => ms / 1000), ...names.map((name) => this.#lines.get(name) ?? none)];
  }

  #drop(count: number): void {
    if (count <= 0) return;
    this.#times = this.#times.slice(count);
    for (const [name, line] of this.#lines) {
      const rest = line.slice(count);
      if (rest.every((value) => value === null)) this.#lines.delete(name);
      else this.#lines.set(name, rest);
    }
  }
}
