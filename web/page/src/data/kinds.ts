/** What a stream holds, and so how it is shown: by its content type, else by its first bytes. */

import { isPlot } from "./fields";
import { isNpy, parseBare, parseNpy, type Figures } from "./npy";
import type { About } from "./wire";

export type Kind = "picture" | "film" | "plot" | "tree" | "sound" | "points" | "log" | "bytes";

export const TITLES: Readonly<Record<Kind, string>> = {
  picture: "Pictures", film: "Video", plot: "Plot", tree: "Tree", sound: "Sound",
  points: "Points", log: "Text", bytes: "Bytes",
};

export interface MediaType {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export function mediaType(text: string | null): MediaType {
  const [type = "", ...rest] = (text ?? "").toLowerCase().split(";");
  const pairs = rest.map((part) => part.trim().split("=", 2) as [string, string?]);
  return { type: type.trim(), parameters: Object.fromEntries(pairs.map(([name, value]) => [name, value ?? ""])) };
}

const FIRST: readonly (readonly [string, RegExp])[] = [
  ["image/jpeg", /^\xff\xd8\xff/], ["image/png", /^\x89PNG/], ["image/gif", /^GIF8/],
  ["image/webp", /^RIFF[^]{4}WEBP/], ["audio/wav", /^RIFF[^]{4}WAVE/],
];
const ARRAYS = new Set(["application/x-npy", "application/npy", "application/vnd.downstage.ndarray"]);
const SAMPLE = 4096;

/** The type of *bytes*, where they say it themselves. */
export function sniff(bytes: Uint8Array): string | null {
  if (isNpy(bytes)) return "application/x-npy";
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  return FIRST.find(([, mark]) => mark.test(head))?.[0] ?? null;
}

/** How a stream is shown before anything of it came; null: its entries have to say. */
export function kindOfType(about: About): Kind | null {
  const { type } = mediaType(about.content_type);
  if (type.startsWith("image/")) return "picture";
  if (type.startsWith("video/")) return "film";
  if (type.startsWith("audio/")) return "sound";
  if (type.startsWith("text/") && type !== "text/json") return "log";
  return null;
}

/** How a stream is shown whose entries are like *bytes*. */
export function kindOf(about: About, bytes: Uint8Array<ArrayBuffer>): Kind {
  const told = kindOfType(about);
  if (told !== null) return told;
  const found = sniff(bytes);
  if (found?.startsWith("image/")) return "picture";
  if (found?.startsWith("audio/")) return "sound";
  const figures = figuresOf(about, bytes);
  if (figures !== null) return kindOfArray(figures);
  const value = jsonOf(bytes);
  if (value !== undefined) return isPlot(value) ? "plot" : "tree";
  return isText(bytes) ? "log" : "bytes";
}

/** The other ways in which a stream of this kind can be shown, itself among them. */
export function choices(kind: Kind, about: About, isLive: boolean): Kind[] {
  const { type } = mediaType(about.content_type);
  if (kind === "picture" || kind === "film") {
    const isCoded = type.startsWith("video/");
    return isCoded ? ["film", "bytes"] : isLive ? ["picture", "film", "bytes"] : ["picture", "bytes"];
  }
  if (kind === "plot" || kind === "tree") return ["plot", "tree", "log", "bytes"];
  if (kind === "points") return ["points", "plot", "bytes"];
  return kind === "bytes" ? ["bytes", "log"] : [kind, "bytes"];
}

/** The array that an entry is; null where it is none. */
export function figuresOf(about: About, bytes: Uint8Array<ArrayBuffer>): Figures | null {
  const { type, parameters } = mediaType(about.content_type);
  const dtype = parameters["dtype"] ?? about.meta["dtype"];
  try {
    if (isNpy(bytes)) return parseNpy(bytes);
    if (typeof dtype === "string") {
      const shape = parameters["shape"]?.split(/[x,]/).map(Number) ?? about.meta["shape"];
      return parseBare(bytes, dtype, Array.isArray(shape) ? shape.map(Number) : []);
    }
    // The data server's arrays: 32-bit floats, and nothing that says their shape.
    return ARRAYS.has(type) ? parseBare(bytes, "float32", []) : null;
  } catch {
    return null;
  }
}

export function kindOfArray({ shape, data }: Figures): Kind {
  if (shape.length < 2) return "plot";
  const isByte = data instanceof Uint8Array;
  if (isPicture(shape, isByte ? 8 : 32)) return "picture"; // a small table of floats is a matrix
  return !isByte && isCloud(shape) ? "points" : "plot";
}

function isPicture([rows = 1, columns = 1, depth = 1]: readonly number[], least: number): boolean {
  return rows >= least && columns >= least && depth <= 4;
}

function isCloud([rows = 1, columns = 1, ...more]: readonly number[]): boolean {
  return more.length === 0 && columns >= 3 && columns <= 7 && rows > 16;
}

export function jsonOf(bytes: Uint8Array): unknown {
  const first = bytes.find((byte) => byte > 32);
  // An object, a list, a text, a number or a word: nothing else begins so.
  if (first === undefined || !/[[{"\-0-9tfn]/.test(String.fromCharCode(first))) return undefined;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

function isText(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, SAMPLE);
  if (head.some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27))) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return true;
  } catch {
    return false;
  }
}
