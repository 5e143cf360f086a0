/** Where a document is typed: plain text with line numbers, and what is wrong with it. */

import { scan, type Scanned } from "./json";

/** Typing is looked at when it pauses. */
const PAUSE_MS = 120;

export class Editor {
  readonly element = document.createElement("div");
  readonly #area = document.createElement("textarea");
  readonly #sheet = document.createElement("div");
  readonly #numbers = document.createElement("pre");
  readonly #mark = document.createElement("i");
  readonly #changed: () => void;
  #lines = 0;
  #found: Scanned = { pretty: "" };
  #foundIn = "";
  #pause: ReturnType<typeof setTimeout> | undefined;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.element.className = "editor";
    this.#sheet.className = "sheet";
    this.#sheet.setAttribute("aria-hidden", "true");
    this.#mark.hidden = true;
    this.#sheet.append(this.#mark, this.#numbers);
    this.#area.spellcheck = false;
    this.#area.wrap = "off";
    this.#area.autocapitalize = "off";
    this.#area.setAttribute("autocomplete", "off");
    this.#area.setAttribute("aria-label", "The document as JSON");
    this.#area.setAttribute("aria-describedby", "verdict");
    this.#area.addEventListener("input", () => {
      this.#number();
      clearTimeout(this.#pause);
      this.#pause = setTimeout(() => {
        this.#judge();
      }, PAUSE_MS);
      this.#changed();
    });
    this.#area.addEventListener("scroll", () => {
      this.#follow();
    });
    this.element.append(this.#sheet, this.#area);
  }

  get text(): string {
    return this.#area.value;
  }

  set text(text: string) {
    this.#area.value = text;
    this.#area.setSelectionRange(0, 0);
    this.#area.scrollTo(0, 0);
    this.#number();
    this.#judge();
  }

  /** What was found in the text as it is now. */
  get found(): Scanned {
    if (this.#foundIn !== this.text) {
      this.#found = scan(this.text);
      this.#foundIn = this.text;
    }
    return this.#found;
  }

  /** The same, as it was when the typing last paused. */
  get lately(): Scanned {
    return this.#found;
  }

  set isLocked(isLocked: boolean) {
    this.#area.readOnly = isLocked;
  }

  focus(at = 0): void {
    this.#area.focus();
    this.#area.setSelectionRange(at, at);
    const line = this.text.slice(0, at).split("\n").length - 1;
    const high = this.#area.scrollHeight / Math.max(this.#lines, 1);
    const top = line * high;
    if (top < this.#area.scrollTop || top > this.#area.scrollTop + this.#area.clientHeight - 2 * high) {
      this.#area.scrollTop = Math.max(0, top - this.#area.clientHeight / 3);
    }
  }

  /** Lay the text out well, where it is right. */
  format(): void {
    const { found } = this;
    if (!("pretty" in found) || found.pretty === this.text) return;
    this.#area.focus();
    this.#area.setSelectionRange(0, this.text.length);
    // The one way that the person can undo.
    if (!document.execCommand("insertText", false, found.pretty)) this.text = found.pretty;
    this.#area.setSelectionRange(0, 0);
    this.#area.scrollTo(0, 0);
  }

  #judge(): void {
    const { found } = this;
    const isWrong = "fault" in found;
    this.#area.setAttribute("aria-invalid", String(isWrong));
    this.#mark.hidden = !isWrong;
    if (isWrong) this.#mark.style.setProperty("--line", String(found.fault.line - 1));
    this.#changed();
  }

  #number(): void {
    const lines = this.text.split("\n").length;
    if (lines !== this.#lines) {
      this.#lines = lines;
      this.#numbers.textContent = Array.from({ length: lines }, (_, at) => String(at + 1)).join("\n");
      this.element.style.setProperty("--digits", String(Math.max(2, String(lines).length)));
    }
    this.#follow();
  }

  #follow(): void {
    this.#sheet.style.transform = `translateY(${String(-this.#area.scrollTop)}px)`;
  }
}
