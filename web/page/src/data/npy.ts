/** Arrays as NumPy writes them (`.npy`), and bare ones whose form the stream tells. */

export type Numbers =
  | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array
  | Float32Array | Float64Array;

export interface Figures {
  readonly shape: readonly number[];
  /** Row by row. */
  readonly data: Numbers;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const;
const MOST = 64 * 1024 * 1024;
/** Kinds of numbers: how they are read, and how many bytes each has. */
const KINDS: Readonly<Record<string, (view: DataView, count: number, little: boolean) => Numbers>> = {
  i1: (view, count) => fill(new Int8Array(count), (i) => view.getInt8(i)),
  u1: (view, count) => fill(new Uint8Array(count), (i) => view.getUint8(i)),
  b1: (view, count) => fill(new Uint8Array(count), (i) => view.getUint8(i)),
  i2: (view, count, le) => fill(new Int16Array(count), (i) => view.getInt16(i * 2, le)),
  u2: (view, count, le) => fill(new Uint16Array(count), (i) => view.getUint16(i * 2, le)),
  i4: (view, count, le) => fill(new Int32Array(count), (i) => view.getInt32(i * 4, le)),
  u4: (view, count, le) => fill(new Uint32Array(count), (i) => view.getUint32(i * 4, le)),
  i8: (view, count, le) => fill(new Float64Array(count), (i) => Number(view.getBigInt64(i * 8, le))),
  u8: (view, count, le) => fill(new Float64Array(count), (i) => Number(view.getBigUint64(i * 8, le))),
  f2: (view, count, le) => fill(new Float32Array(count), (i) => half(view.getUint16(i * 2, le))),
  f4: (view, count, le) => fill(new Float32Array(count), (i) => view.getFloat32(i * 4, le)),
  f8: (view, count, le) => fill(new Float64Array(count), (i) => view.getFloat64(i * 8, le)),
};
const NAMES: Readonly<Record<string, string>> = {
  int8: "i1", uint8: "u1", bool: "b1", int16: "i2", uint16: "u2", int32: "i4", uint32: "u4",
  int64: "i8", uint64: "u8", float16: "f2", float32: "f4", float64: "f8",
};
/** Kinds whose bytes lie as this machine has them. */
const PLAIN: Readonly<Record<string, new (buffer: ArrayBuffer, at: number, count: number) => Numbers>> = {
  i1: Int8Array, u1: Uint8Array, b1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array,
  u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};
const IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export function isNpy(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, at) => bytes[at] === byte);
}

/** Read a `.npy`; throws, with a reason, where it is none that can be shown. */
export function parseNpy(bytes: Uint8Array<ArrayBuffer>): Figures {
  if (!isNpy(bytes) || bytes.length < 12) throw new Error("These bytes are no .npy file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isLong = (bytes[6] ?? 1) > 1;
  const begin = isLong ? 12 : 10;
  const end = begin + (isLong ? view.getUint32(8, true) : view.getUint16(8, true));
  if (end > bytes.length) throw new Error("This .npy file is cut short.");
  const head = new TextDecoder("latin1").decode(bytes.subarray(begin, end));
  const type = /['"]descr['"]\s*:\s*['"]([<>|=]?)([a-z]\d+)['"]/.exec(head);
  const shape = /['"]shape['"]\s*:\s*\(([\d\s,L]*)\)/.exec(head);
  if (!type || !shape) throw new Error("An array of records cannot be shown: send plain numbers.");
  const sizes = (shape[1] ?? "").split(",").map((size) => size.trim()).filter(Boolean)
    .map((size) => Number.parseInt(size, 10));
  const isFortran = /['"]fortran_order['"]\s*:\s*True/.test(head);
  const figures = numbers(bytes.subarray(end), type[2] ?? "", type[1] !== ">", sizes);
  return isFortran ? byRows(figures) : figures;
}

/** Numbers without a head, of the kind and shape that the stream tells. */
export function parseBare(bytes: Uint8Array<ArrayBuffer>, dtype: string, shape: readonly number[]): Figures {
  const plain = /^([<>|=]?)([a-z]\d+)$/.exec(dtype);
  const kind = NAMES[dtype] ?? plain?.[2] ?? "";
  if (!(kind in KINDS)) throw new Error(`Numbers of the kind “${dtype}” cannot be shown.`);
  const width = Number(kind.slice(1));
  // One size may be left open, as in NumPy: -1.
  const known = shape.filter((size) => size >= 0).reduce((a, b) => a * b, 1);
  const whole = Math.floor(bytes.length / width);
  const sizes = shape.length === 0
    ? [whole] : shape.map((size) => (size >= 0 ? size : Math.floor(whole / Math.max(1, known))));
  return numbers(bytes, kind, plain?.[1] !== ">", sizes);
}

function numbers(
  bytes: Uint8Array<ArrayBuffer>, kind: string, little: boolean, shape: readonly number[],
): Figures {
  const make = KINDS[kind];
  if (!make) throw new Error(`Numbers of the kind “${kind}” cannot be shown.`);
  const width = Number(kind.slice(1));
  const count = shape.reduce((a, b) => a * b, 1);
  if (count > MOST || count * width > bytes.length) throw new Error("This array is cut short.");
  const Plain = PLAIN[kind];
  if (Plain && (little === IS_LITTLE || width === 1)) {
    const at = bytes.byteOffset;
    return { shape, data: at % width === 0
      ? new Plain(bytes.buffer, at, count)
      : new Plain(bytes.slice(0, count * width).buffer, 0, count) };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { shape, data: make(view, count, little) };
}

function fill<T extends Numbers>(target: T, value: (at: number) => number): T {
  for (let at = 0; at < target.length; at += 1) target[at] = value(at);
  return target;
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, rest = bits & 0x3ff;
  if (exponent === 0) return sign * rest * 2 ** -24;
  if (exponent === 31) return rest ? NaN : sign * Infinity;
  return sign * (1 + rest / 1024) * 2 ** (exponent - 15);
}

/** The same array, written row by row where it came column by column. */
function byRows({ shape, data }: Figures): Figures {
  if (shape.length < 2) return { shape, data };
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((a, b) => a * b, 1));
  const at = shape.map(() => 0);
  const turned = data.slice();
  for (let to = 0; to < turned.length; to += 1) {
    turned[to] = data[at.reduce((sum, i, axis) => sum + i * (strides[axis] ?? 0), 0)] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      at[axis] = (at[axis] ?? 0) + 1;
      if ((at[axis] ?? 0) < (shape[axis] ?? 0)) break;
      at[axis] = 0;
    }
  }
  return { shape, data: turned };
}
