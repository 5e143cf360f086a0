/** Text, a line for each entry, the newest at the end. */

import type { Entry } from "../entries";
import { box, type Setting, type View } from "./view";

const MOST = 500;
const LONGEST = 2000;
const NEAR_PX = 40;

export class LogView implements View {
  readonly element = box("log");
  readonly words = "";
  readonly #decoder = new TextDecoder();
  #waiting: Entry[] = [];

  constructor(setting: Setting) {
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "log");
    this.element.setAttribute("aria-live", "off"); // whoever listens reads it when they want to
    this.element.setAttribute("aria-label", `Text of ${setting.about.name}`);
  }

  take(entries: readonly Entry[]): void {
    this.#waiting.push(...entries);
    if (this.#waiting.length > MOST) this.#waiting.splice(0, this.#waiting.length - MOST);
  }

  tick(): void {
    if (this.#waiting.length === 0) return;
    const box = this.element;
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    box.append(...this.#waiting.splice(0).map((entry) => this.#line(entry)));
    while (box.childElementCount > MOST) box.firstElementChild?.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  reset(): void {
    this.#waiting = [];
    this.element.replaceChildren();
  }

  stop(): void {
    this.reset();
  }

  #line(entry: Entry): HTMLElement {
    const line = document.createElement("p");
    const time = document.createElement("time");
    time.textContent = new Date(entry.at).toLocaleTimeString();
    const text = this.#decoder.decode(entry.data.subarray(0, LONGEST)).trimEnd();
    line.append(time, ` ${text}${entry.data.length > LONGEST ? " …" : ""}`);
    return line;
  }
}
