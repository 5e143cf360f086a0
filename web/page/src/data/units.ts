/** Coded pictures and sound as entries hold them: a head of 20 bytes, then one unit. */

export const HEAD = 20;
const VERSION = 1, KEY = 1;

export interface Unit {
  readonly flags: number;
  /** Microseconds of the source's own clock, at which it is shown. */
  readonly shownAt: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Read an entry; null where it is none of these. */
export function unitOf(entry: Uint8Array<ArrayBuffer>): Unit | null {
  if (entry.length < HEAD || entry[0] !== VERSION) return null;
  const view = new DataView(entry.buffer, entry.byteOffset, HEAD);
  return {
    flags: view.getUint8(1),
    shownAt: Number(view.getBigInt64(8, true)) + view.getInt32(16, true),
    data: entry.subarray(HEAD),
  };
}

/** Whether it decodes on its own. */
export function isKey(unit: { readonly flags: number } | null): boolean {
  return unit !== null && (unit.flags & KEY) !== 0;
}
