/** JSON as a tree that stays open where it was opened, and marks what changed. */

import type { Entry } from "../entries";
import { jsonOf } from "../kinds";
import { box, type Setting, type View } from "./view";

/** Of one list or object; what is more is counted. */
const MOST_CHILDREN = 100;
const EACH_MS = 100;
const OPEN_DEPTH = 2;

export class TreeView implements View {
  readonly element = box("tree-view");
  readonly words = "";
  readonly #setting: Setting;
  #root: Node | null = null;
  #next: Entry | null = null;
  #drawnAt = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `Newest entry of ${setting.about.name}`);
  }

  take(entries: readonly Entry[]): void {
    this.#next = entries.at(-1) ?? this.#next;
  }

  tick(): void {
    const entry = this.#next, now = performance.now();
    if (entry === null || now - this.#drawnAt < EACH_MS) return;
    this.#next = null;
    this.#drawnAt = now;
    const value = jsonOf(entry.data);
    if (value === undefined) {
      this.#setting.trouble("This entry is no JSON. Show it as text or bytes.");
      return;
    }
    this.#setting.trouble("");
    if (this.#root === null || this.#root.isBranch !== isBranch(value)) {
      this.#root = new Node("", 0);
      this.element.replaceChildren(this.#root.element);
    }
    this.#root.show(value);
  }

  reset(): void {
    this.#next = null;
  }

  stop(): void {
    this.element.replaceChildren();
  }
}

type Branch = Readonly<Record<string, unknown>> | readonly unknown[];

function isBranch(value: unknown): value is Branch {
  return typeof value === "object" && value !== null;
}

/** A value with its name: a line, or, for objects and lists, one that unfolds. */
class Node {
  element: HTMLElement = document.createElement("div");
  readonly #key: string;
  readonly #depth: number;
  readonly #value = document.createElement("span");
  readonly #below = new Map<string, Node>();
  #details: HTMLDetailsElement | null = null;
  #more = document.createElement("p");
  #shown: unknown;
  #text: string | null = null;
  isBranch = false;

  constructor(key: string, depth: number) {
    this.#key = key;
    this.#depth = depth;
    this.#more.className = "soft";
  }

  show(value: unknown): void {
    const previous = this.#shown;
    this.#shown = value;
    if (this.#text === null || this.isBranch !== isBranch(value)) this.#build(isBranch(value));
    const text = isBranch(value) ? summaryOf(value) : JSON.stringify(value);
    if (text !== this.#text) {
      this.#value.textContent = text;
      if (!this.isBranch) this.#value.className = `value ${value === null ? "null" : typeof value}`;
      if (this.#text !== null && previous !== undefined) flash(this.#value);
      this.#text = text;
    }
    if (isBranch(value) && this.#details?.open) this.#showBelow(value);
  }

  #build(isOpenable: boolean): void {
    this.isBranch = isOpenable;
    const key = document.createElement("span");
    key.className = "key";
    key.textContent = this.#key === "" ? "" : `${this.#key}: `;
    this.#below.clear();
    this.#value.className = isOpenable ? "soft" : "value";
    let line: HTMLElement;
    if (isOpenable) {
      const details = this.#details = document.createElement("details");
      details.open = this.#depth < OPEN_DEPTH;
      details.addEventListener("toggle", () => {
        if (details.open && isBranch(this.#shown)) this.#showBelow(this.#shown);
      });
      const summary = document.createElement("summary");
      summary.append(key, this.#value);
      details.append(summary);
      line = details;
    } else {
      this.#details = null;
      line = document.createElement("div");
      line.className = "leaf";
      line.append(key, this.#value);
    }
    this.element.replaceWith(line);
    this.element = line;
  }

  #showBelow(value: Branch): void {
    const all = Object.entries(value), shown = all.slice(0, MOST_CHILDREN);
    const keys = new Set(shown.map(([key]) => key));
    for (const [key, node] of this.#below) {
      if (keys.has(key)) continue;
      node.element.remove();
      this.#below.delete(key);
    }
    for (const [key, item] of shown) {
      const known = this.#below.get(key);
      const node = known ?? new Node(key, this.#depth + 1);
      if (!known) {
        this.#below.set(key, node);
        this.#details?.append(node.element);
      }
      node.show(item);
    }
    const rest = all.length - shown.length;
    this.#more.textContent = rest > 0 ? `… ${String(rest)} more` : "";
    if (rest > 0) this.#details?.append(this.#more);
    else this.#more.remove();
  }
}

function summaryOf(value: Branch): string {
  if (Array.isArray(value)) return `[${String(value.length)}]`;
  return `{${String(Object.keys(value).length)}}`;
}

function flash(element: HTMLElement): void {
  element.getAnimations?.().forEach((animation) => {
    animation.cancel();
  });
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  element.animate([{ backgroundColor: "rgb(240 179 91 / 0.45)" }, { backgroundColor: "transparent" }], 900);
}
