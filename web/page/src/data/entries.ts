/** Entries as they come: a row for each that says where it begins, then all bytes at once. */

export interface Entry {
  readonly stream: string;
  readonly id: string;
  /** Milliseconds since 1970, as the id says. */
  readonly at: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

export type Row = readonly [stream: string, id: string, start: number];

/** What a text on the socket says: rows of the bytes that follow, or news about them. */
export type Said =
  | { readonly rows: readonly Row[] }
  | { readonly skipped: number }
  | { readonly lost: number | null };

export function msOf(id: string): number {
  return Number(id.split("-", 1)[0]);
}

/** The id right behind *id*. */
export function next(id: string): string {
  const [ms, seq] = parts(id);
  return `${String(ms)}-${String(seq + 1n)}`;
}

/** The id right before *id*; null where there is none. */
export function previous(id: string): string | null {
  const [ms, seq] = parts(id);
  if (seq > 0n) return `${String(ms)}-${String(seq - 1n)}`;
  return ms > 0n ? `${String(ms - 1n)}-18446744073709551615` : null;
}

function parts(id: string): [bigint, bigint] {
  const [ms, seq] = id.split("-");
  return [BigInt(ms ?? 0), BigInt(seq ?? 0)];
}

/** Read a text; throws where it is none of what a server of ours says. */
export function read(text: string): Said {
  const said: unknown = JSON.parse(text);
  if (Array.isArray(said)) return { rows: said.map(rowOf) };
  const fields = said as { skipped?: unknown; gap?: { lost?: unknown } } | null;
  if (typeof fields?.skipped === "number") return { skipped: fields.skipped };
  if (fields?.gap !== undefined) {
    return { lost: typeof fields.gap.lost === "number" ? fields.gap.lost : null };
  }
  throw new Error("The server said something that this page does not know. Reload it.");
}

function rowOf(row: unknown): Row {
  const [stream, id, start] = Array.isArray(row) ? (row as unknown[]) : [];
  if (typeof stream !== "string" || typeof id !== "string" || !Number.isInteger(start)) {
    throw new Error("The server told of an entry in a way that this page does not know. Reload it.");
  }
  return [stream, id, start as number];
}

/** Cut *body* at the starts of *rows*: views of it, nothing is copied. */
export function cut(rows: readonly Row[], body: ArrayBuffer): Entry[] {
  return rows.map(([stream, id, start], number) => {
    const end = rows[number + 1]?.[2] ?? body.byteLength;
    if (start < 0 || start > end || end > body.byteLength) {
      throw new Error("The bytes of an entry do not fit. Reload the page.");
    }
    return { stream, id, at: msOf(id), data: new Uint8Array(body, start, end - start) };
  });
}
