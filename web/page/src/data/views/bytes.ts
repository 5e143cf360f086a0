/** The beginning of the newest entry as numbers and letters, for what nothing else is known of. */

import { sizeOf } from "../../sizes";
import type { Entry } from "../entries";
import { box, type Setting, type View } from "./view";

const MOST = 1024;
const WIDTH = 16;
const EACH_MS = 200;

export class BytesView implements View {
  readonly element = box("bytes");
  #next: Entry | null = null;
  #size = -1;
  #drawnAt = 0;

  constructor(setting: Setting) {
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `Bytes of ${setting.about.name}`);
  }

  get words(): string {
    return this.#size < 0 ? "" : `${sizeOf(this.#size)} each`;
  }

  take(entries: readonly Entry[]): void {
    this.#next = entries.at(-1) ?? this.#next;
  }

  tick(): void {
    const now = performance.now();
    if (this.#next === null || now - this.#drawnAt < EACH_MS) return;
    this.#drawnAt = now;
    this.#size = this.#next.data.length;
    this.element.textContent = dump(this.#next.data);
    this.#next = null;
  }

  reset(): void {
    this.#next = null;
  }

  stop(): void {
    this.element.textContent = "";
  }
}

export function dump(data: Uint8Array): string {
  const lines = [];
  for (let at = 0; at < Math.min(data.length, MOST); at += WIDTH) {
    const row = [...data.subarray(at, Math.min(at + WIDTH, MOST))];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(WIDTH * 3)} ${text}`);
  }
  if (data.length > MOST) lines.push(`… ${String(data.length - MOST)} bytes more`);
  return lines.join("\n");
}
