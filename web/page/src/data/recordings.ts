/** The recordings that are there: begun, stopped, opened, taken out and in, deleted. */

import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { ago } from "../ago";
import { ask } from "../dialog";
import { wordsOf } from "../forms";
import { sizeOf } from "../sizes";
import type { DataApi } from "./api";
import { duration } from "./scrub";
import type { RecordingView } from "./wire";

const EACH_MS = 3000, RUNNING_MS = 1000;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:@=-]{0,127}$/;

export interface RecordingHooks {
  /** Streams that are open on the page. */
  readonly shown: () => readonly string[];
  readonly open: (name: string) => void;
  /** One is gone, or has another name. */
  readonly gone: (name: string, to: string | null) => void;
  readonly changed: () => void;
}

export class Recordings {
  readonly #api: DataApi;
  readonly #hooks: RecordingHooks;
  #items: readonly RecordingView[] | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;
  #busy = "";
  #trouble = "";

  constructor(api: DataApi, hooks: RecordingHooks) {
    this.#api = api;
    this.#hooks = hooks;
  }

  get running(): readonly RecordingView[] {
    return (this.#items ?? []).filter(({ state }) => state === "recording");
  }

  start(): void {
    this.#isOver = false;
    void this.load();
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async load(): Promise<void> {
    clearTimeout(this.#timer);
    if (!document.hidden || this.#items === null) {
      try {
        this.#items = [...await this.#api.recordings()].reverse();
        if (this.#busy === "") this.#trouble = "";
      } catch (error) {
        this.#trouble = wordsOf(error);
      }
      this.#hooks.changed();
    }
    if (!this.#isOver) {
      this.#timer = setTimeout(() => {
        void this.load();
      }, this.running.length > 0 ? RUNNING_MS : EACH_MS);
    }
  }

  /** Ask for a name and for which streams, then begin. */
  record(): void {
    const shown = this.#hooks.shown();
    const some = shown.length === 1 ? `Only ${shown[0] ?? ""}` : `Only the ${String(shown.length)} that are open`;
    ask({
      title: "Record", label: "Name (may stay empty: date and time)", action: "Start recording",
      fault: (name) => (name === "" ? "" : faultOf(name)),
      more: html`<label>Streams<select name="which">
        <option value="all">All streams, new ones too</option>
        ${shown.length > 0 ? html`<option value="shown">${some}</option>` : nothing}</select></label>`,
    }, async (name, fields) => {
      const streams = fields.get("which") === "shown" ? [...shown] : ["*"];
      await this.#api.record(name, streams);
      await this.load();
    });
  }

  view(current: string | null, now: number): TemplateResult {
    const items = this.#items;
    return html`<section class="recordings"><header><h2>Recordings</h2>
      <label class="button low" title="A .mcap file, or a .zip as the data server makes them">Import
        <input type="file" accept=".mcap,.zip" @change=${(event: Event) => {
          const input = event.target as HTMLInputElement;
          this.#import(input.files?.[0]);
          input.value = "";
        }}></label></header>
      <p class="alarm" role="alert">${this.#trouble}</p>
      <p class="soft" role="status">${this.#busy}</p>
      ${items === null ? html`<p class="soft">Reading …</p>`
        : items.length === 0 ? html`<p class="soft">None yet. Press <b>Record</b> while something is pushed.</p>`
        : html`<ul>${repeat(items, ({ name }) => name, (item) => this.#row(item, current, now))}</ul>`}</section>`;
  }

  #row(item: RecordingView, current: string | null, now: number): TemplateResult {
    const isRunning = item.state === "recording" || item.state === "stopping";
    const length = isRunning ? now - item.started_at : item.duration_s * 1000;
    return html`<li class=${item.name === current ? "chosen" : ""}>
      <button class="open" aria-current=${item.name === current ? "true" : nothing} @click=${() => {
        this.#hooks.open(item.name);
      }}><span class="line">${isRunning ? html`<span class="dot rec"></span>` : nothing}<span class="name">${item.name}</span></span>
        <span class="facts"><span>${duration(length)}</span><span>${sizeOf(item.size)}</span>
          <span>${item.streams.length} ${item.streams.length === 1 ? "stream" : "streams"}</span>
          <span>${isRunning ? "recording" : ago(new Date(item.ended_at ?? item.started_at).toISOString(), now)}</span>
          ${item.gaps > 0 ? html`<span class="bad">${item.gaps} gaps</span>` : nothing}
          ${item.state === "failed" ? html`<span class="bad">broke off: ${item.reason}</span>` : nothing}</span></button>
      ${isRunning ? html`<button class="button low" ?disabled=${item.state === "stopping"} @click=${() => {
        void this.#act(`Stopping ${item.name} …`, () => this.#api.stopRecording(item.name));
      }}>Stop</button>` : this.#menu(item)}</li>`;
  }

  #menu(item: RecordingView): TemplateResult {
    return html`<details class="menu" name="recording" @toggle=${(event: Event) => {
      const menu = event.target as HTMLDetailsElement;
      if (menu.open) menu.lastElementChild?.scrollIntoView({ block: "nearest" });
    }} @keydown=${(event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      const menu = event.currentTarget as HTMLDetailsElement;
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }}><summary aria-label=${`More for ${item.name}`}>⋯</summary><div
      @click=${(event: Event) => {
        (event.currentTarget as HTMLElement).closest("details")?.removeAttribute("open");
      }}>
      <button class="plain" @click=${() => void this.#take(item, "mcap")}>Download .mcap</button>
      <button class="plain" @click=${() => void this.#take(item, "zip")}>Download .zip</button>
      <button class="plain" @click=${() => {
        this.#rename(item);
      }}>Rename</button>
      <button class="plain bad" @click=${() => {
        this.#remove(item);
      }}>Delete</button></div></details>`;
  }

  async #take(item: RecordingView, form: "mcap" | "zip"): Promise<void> {
    await this.#act(`Fetching ${item.name}.${form} …`, async () => {
      const url = URL.createObjectURL(await this.#api.file(item.name, form));
      const link = document.createElement("a");
      link.href = url;
      link.download = `${item.name}.${form}`;
      link.click();
      setTimeout(() => {
        URL.revokeObjectURL(url);
      }, 60_000);
    });
  }

  #import(file: File | undefined): void {
    if (file === undefined) return;
    ask({ title: `Take in ${file.name}`, label: "Name of the recording", value: nameFor(file.name),
      text: `${sizeOf(file.size)}. It is read where it arrives; nothing in it is run.`, action: "Take in", fault: faultOf },
    async (name) => {
      await this.#api.importRecording(name, file);
      await this.load();
    });
  }

  #rename(item: RecordingView): void {
    ask({ title: `Rename ${item.name}`, label: "New name", value: item.name, action: "Rename", fault: faultOf },
      async (name) => {
        await this.#api.renameRecording(item.name, name);
        this.#hooks.gone(item.name, name);
        await this.load();
      });
  }

  #remove(item: RecordingView): void {
    ask({ title: `Delete ${item.name}?`, action: "Delete", isDangerous: true,
      text: `${sizeOf(item.size)} are gone for good. Download it first, if you may want it again.` },
    async () => {
      await this.#api.removeRecording(item.name);
      this.#hooks.gone(item.name, null);
      await this.load();
    });
  }

  async #act(words: string, work: () => Promise<unknown>): Promise<void> {
    this.#busy = words;
    this.#trouble = "";
    this.#hooks.changed();
    try {
      await work();
    } catch (error) {
      this.#trouble = wordsOf(error);
    }
    const trouble = this.#trouble;
    this.#busy = "";
    await this.load();
    this.#trouble = trouble;
    this.#hooks.changed();
  }
}

/** Why a recording cannot have *name*; empty where it can. */
export function faultOf(name: string): string {
  if (name === "") return "A name is needed.";
  return NAME.test(name) && !name.includes("..")
    ? "" : "A name has letters, digits and . _ - : @ =, at most 128, and begins with a letter or digit.";
}

/** What a recording may be called that comes from the file *name*. */
export function nameFor(name: string): string {
  return name.replace(/\.(mcap|zip)$/i, "").replaceAll(/[^A-Za-z0-9_.:@=-]+/g, "-").replaceAll(/\.{2,}/g, ".")
    .replace(/^[^A-Za-z0-9_]+/, "").slice(0, 128);
}
