/** The documents of a collection, as many as were asked for. */

import { html, nothing, type TemplateResult } from "lit";
import { sizeOf } from "../sizes";
import type { AdminApi } from "./api";
import type { DocumentRow } from "./wire";

const SETTLE_MS = 200;

export interface ListHooks {
  readonly chosen: string | null;
  choose(id: string): void;
}

export class List {
  readonly #api: AdminApi;
  readonly #changed: () => void;
  readonly #failed: (error: unknown) => void;
  collection = "";
  text = "";
  #rows: readonly DocumentRow[] | null = null;
  #next: number | null = null;
  #total = 0;
  #asked = 0;
  #settle: ReturnType<typeof setTimeout> | undefined;

  constructor(api: AdminApi, changed: () => void, failed: (error: unknown) => void) {
    this.#api = api;
    this.#changed = changed;
    this.#failed = failed;
  }

  get total(): number {
    return this.#total;
  }

  /** Show another collection, from its beginning. */
  open(collection: string): void {
    this.collection = collection;
    this.text = "";
    this.#rows = null;
    void this.reload();
  }

  /** The same documents again, as they are now. */
  reload(): Promise<void> {
    return this.#load(this.#rows?.length ?? 0);
  }

  filter(text: string): void {
    this.text = text;
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => void this.#load(0), SETTLE_MS);
  }

  async more(): Promise<void> {
    const after = this.#next;
    if (after === null) return;
    const asked = this.#asked += 1;
    try {
      const page = await this.#api.page(this.collection, this.text, after);
      if (asked !== this.#asked) return;
      this.#rows = [...this.#rows ?? [], ...page.items];
      this.#next = page.next;
      this.#total = page.total;
    } catch (error) {
      this.#failed(error);
    }
    this.#changed();
  }

  /** The first pages, until there are *least* rows. */
  async #load(least: number): Promise<void> {
    if (this.collection === "") return;
    const asked = this.#asked += 1;
    const rows: DocumentRow[] = [];
    let after: number | null = 0;
    try {
      do {
        const page = await this.#api.page(this.collection, this.text, after);
        if (asked !== this.#asked) return;
        rows.push(...page.items);
        after = page.next;
        this.#total = page.total;
      } while (after !== null && rows.length < least);
      this.#rows = rows;
      this.#next = after;
    } catch (error) {
      if (asked === this.#asked) this.#failed(error);
    }
    this.#changed();
  }

  view(hooks: ListHooks): TemplateResult {
    const rows = this.#rows;
    if (rows === null) return html`<p class="soft none">Reading …</p>`;
    if (rows.length === 0) {
      return html`<p class="soft none">${this.text === "" ? "Nothing is here yet." : "No document contains this."}</p>`;
    }
    return html`<ul class="documents" @keydown=${walk}>${rows.map((row) => html`<li>
      <button class="document" aria-pressed=${row.id === hooks.chosen} @click=${() => {
        hooks.choose(row.id);
      }}><span class="line"><b>${row.name || row.id}</b><span class="soft">${sizeOf(row.bytes)}</span></span>
        ${row.name === "" ? nothing : html`<code>${row.id}</code>`}
        <span class="preview">${row.preview}</span></button></li>`)}</ul>
      ${this.#next === null ? nothing : html`<button class="button low more" @click=${() => void this.more()}>Show more</button>`}`;
  }
}

/** Arrow keys go from document to document. */
function walk(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = event.currentTarget as HTMLElement;
  const all = [...list.querySelectorAll<HTMLElement>(".document")];
  const next = step && all[all.indexOf(document.activeElement as HTMLElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
