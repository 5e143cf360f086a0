/** The little that must be known of an H.264 byte stream: its codec string. */

/** Constrained Baseline, level 3.2 (720p60): a good first guess, to warm the decoder up. */
export const LIKELY_CODEC = "avc1.42c020";

const SPS = 7;
const LOOK_AT = 256;

/** `avc1.PPCCLL` from the first SPS near the start of an Annex B access unit, or null. */
export function codecOf(unit: Uint8Array): string | null {
  const end = Math.min(unit.length - 6, LOOK_AT);
  for (let at = 0; at <= end; at++) {
    if (unit[at] !== 0 || unit[at + 1] !== 0 || unit[at + 2] !== 1) continue;
    if (((unit[at + 3] ?? 0) & 0x1f) !== SPS) continue;
    const hex = [unit[at + 4], unit[at + 5], unit[at + 6]]
      .map((byte) => (byte ?? 0).toString(16).padStart(2, "0"))
      .join("");
    return `avc1.${hex}`;
  }
  return null;
}

export interface MediaHeader {
  readonly kind: number;
  readonly isKey: boolean;
  readonly sequence: number;
  /** Wall time of capture at the machine, ms. */
  readonly capturedAt: number;
}

export const HEADER_SIZE = 16;
export const VIDEO = 1;
export const AUDIO = 2;

/** The header in front of each binary media message; null when it is too short. */
export function readHeader(buffer: ArrayBuffer): MediaHeader | null {
  if (buffer.byteLength < HEADER_SIZE) return null;
  const view = new DataView(buffer);
  return {
    kind: view.getUint8(0),
    isKey: (view.getUint8(1) & 1) === 1,
    sequence: view.getUint32(4, true),
    capturedAt: view.getFloat64(8, true),
  };
}
