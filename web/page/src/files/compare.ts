/** Two texts side by side: which lines went, came, or stayed. */

export interface Line {
  readonly mark: " " | "-" | "+" | "…";
  readonly text: string;
}

const MOST_CELLS = 4_000_000;
const AROUND = 2;

/**
 * Lines of *before* and *after* in one list; null where they are too large to compare here.
 * Equal beginnings and ends are taken off first; the rest is a longest common subsequence.
 */
export function compare(before: string, after: string): Line[] | null {
  const a = before.split("\n"), b = after.split("\n");
  let head = 0, tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  while (
    tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]
  ) tail += 1;
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  if (middle === null) return null;
  const same = (lines: string[]): Line[] => lines.map((text) => ({ mark: " ", text }));
  return [...same(a.slice(0, head)), ...middle, ...same(a.slice(a.length - tail))];
}

function between(a: string[], b: string[]): Line[] | null {
  const wide = b.length + 1;
  if ((a.length + 1) * wide > MOST_CELLS) return null;
  const longest = new Uint32Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * wide + j] = a[i] === b[j]
        ? longest[(i + 1) * wide + j + 1]! + 1
        : Math.max(longest[(i + 1) * wide + j]!, longest[i * wide + j + 1]!);
    }
  }
  const lines: Line[] = [];
  let i = 0, j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ mark: " ", text: a[i]! });
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * wide + j]! >= longest[i * wide + j + 1]!) {
      lines.push({ mark: "-", text: a[i]! });
      i += 1;
    } else {
      lines.push({ mark: "+", text: b[j]! });
      j += 1;
    }
  }
  for (; i < a.length; i += 1) lines.push({ mark: "-", text: a[i]! });
  for (; j < b.length; j += 1) lines.push({ mark: "+", text: b[j]! });
  return lines;
}

/** *lines* without long stretches of what stayed; empty where nothing changed. */
export function folded(lines: readonly Line[]): Line[] {
  const near = lines.map((_, at) =>
    lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((line) => line.mark !== " "));
  const found: Line[] = [];
  lines.forEach((line, at) => {
    if (near[at]) found.push(line);
    else if (found.length > 0 && found.at(-1)?.mark !== "…") found.push({ mark: "…", text: "" });
  });
  while (found.at(-1)?.mark === "…") found.pop();
  return found;
}
