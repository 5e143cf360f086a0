/** The panel beside the listing: one file or folder, its checkpoints, its lock, its rights. */

import { html, nothing, render, type TemplateResult } from "lit";
import type { ApplicationView } from "@downstage/viewer";
import { ago } from "../ago";
import { wordsOf } from "../forms";
import type { FilesApi } from "./api";
import { compare, folded, type Line } from "./compare";
import { ask } from "../dialog";
import { closeIcon, iconOf, lockIcon } from "./icons";
import { isFolder, isPicture, isStage, isText, timeOf } from "./names";
import { sizeOf } from "../sizes";
import { rightsEditor } from "./rights";
import { ADMIN, WRITE, type Entry, type FileLock, type FileVersion, type Grant, type People,
  type Present, type Right } from "./wire";

const PRESENCE_MS = 3000;
const LARGEST_COMPARED = 2_000_000;

interface Facts {
  checkpoints: readonly FileVersion[];
  lock: FileLock | null;
  rights: readonly Right[];
  grants: readonly Grant[];
  present: readonly Present[];
}

export interface DetailsHooks {
  readonly api: FilesApi;
  readonly picture: (entry: Entry) => string | null | undefined;
  readonly applications: () => readonly ApplicationView[];
  readonly start: (application: string, entry: Entry) => void;
  readonly changed: () => void;
  readonly close: () => void;
  readonly user: () => string;
}

type Comparison = { readonly title: string } & (
  | { readonly lines: readonly Line[] }
  | { readonly pictures: readonly [string | null, string | null] }
  | { readonly words: string });

export class Details {
  readonly #root: HTMLElement;
  readonly #hooks: DetailsHooks;
  /** Locks that this page took: what frees them again. */
  readonly #tokens = new Map<string, string>();
  #entry: Entry | null = null;
  #facts: Facts | null = null;
  #people: People | null = null;
  #comparison: Comparison | null = null;
  #alarm = "";
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(root: HTMLElement, hooks: DetailsHooks) {
    this.#root = root;
    this.#hooks = hooks;
  }

  /** Show *entry*; null closes the panel. */
  show(entry: Entry | null): void {
    const isSame = entry?.path === this.#entry?.path;
    this.#entry = entry;
    if (!isSame) {
      this.#facts = null;
      this.#comparison = null;
      this.#alarm = "";
    }
    clearInterval(this.#timer);
    if (entry) {
      void this.#load(entry);
      if (isStage(entry.name)) {
        this.#timer = setInterval(() => {
          if (!document.hidden) void this.#watchPresence(entry);
        }, PRESENCE_MS);
      }
    }
    this.draw();
  }

  async #load(entry: Entry): Promise<void> {
    const { api } = this.#hooks;
    const isFile = entry.kind === "file";
    try {
      const [checkpoints, locks, rights, grants, present] = await Promise.all([
        isFile ? api.checkpoints(entry.path) : [],
        isFile ? api.locks(entry.path) : [],
        api.rights(entry.path),
        api.inherited(entry.path).catch(() => []),
        isStage(entry.name) ? api.present(entry.path).catch(() => []) : [],
      ]);
      if (this.#entry?.path !== entry.path) return;
      this.#facts = { checkpoints, lock: locks[0] ?? null, rights, grants, present };
      if (entry.access & ADMIN) this.#people ??= await api.people();
    } catch (error) {
      this.#alarm = wordsOf(error);
    }
    this.draw();
  }

  async #watchPresence(entry: Entry): Promise<void> {
    const present = await this.#hooks.api.present(entry.path).catch(() => null);
    if (!present || !this.#facts || this.#entry?.path !== entry.path) return;
    this.#facts.present = present;
    this.draw();
  }

  async #act(work: () => Promise<unknown>): Promise<void> {
    const entry = this.#entry;
    if (!entry) return;
    this.#alarm = "";
    try {
      await work();
    } catch (error) {
      this.#alarm = wordsOf(error);
    }
    this.#hooks.changed();
    await this.#load(entry);
  }

  draw(): void {
    const entry = this.#entry;
    this.#root.hidden = entry === null;
    render(entry ? this.#panel(entry) : nothing, this.#root);
  }

  #panel(entry: Entry): TemplateResult {
    const picture = this.#hooks.picture(entry);
    return html`
      <header><h2 title=${entry.path}>${entry.name || "Files"}</h2>
        <button class="plain" aria-label="Close" @click=${this.#hooks.close}>${closeIcon}</button></header>
      <div class="preview">${picture ? html`<img src=${picture} alt="">` : iconOf(entry)}</div>
      <p class="alarm" role="alert">${this.#alarm}</p>
      ${this.#actions(entry)}
      <dl>
        <dt>Kind</dt><dd>${kindOf(entry)}</dd>
        ${entry.kind === "file" ? html`<dt>Size</dt><dd>${sizeOf(entry.size)}</dd>` : nothing}
        <dt>Changed</dt><dd title=${timeOf(entry.modified_at)}>
          ${ago(timeOf(entry.modified_at), Date.now())}${entry.modified_by ? html` by ${entry.modified_by}` : nothing}</dd>
        ${entry.link ? html`<dt>Shows</dt><dd>${entry.link}</dd>` : nothing}
      </dl>
      ${this.#facts ? this.#sections(entry, this.#facts) : html`<p class="soft">Reading …</p>`}`;
  }

  #actions(entry: Entry): TemplateResult {
    const viewers = isStage(entry.name) ? this.#hooks.applications() : [];
    return html`<div class="actions">
      ${viewers.map((one) => html`<button class="button low first" @click=${() => {
        this.#hooks.start(one.name, entry);
      }}>Open in ${one.title || one.name}</button>`)}
      ${entry.kind === "file" ? html`<button class="button low" @click=${() => {
        void this.#act(async () => {
          location.assign(await this.#hooks.api.link(entry.path));
        });
      }}>Download</button>` : nothing}</div>`;
  }

  #sections(entry: Entry, facts: Facts): TemplateResult {
    const { save, isFile } = {
      save: (rights: Right[]) => {
        void this.#act(() => this.#hooks.api.setRights(entry.path, rights));
      },
      isFile: entry.kind === "file",
    };
    return html`
      ${isStage(entry.name) ? this.#presence(facts.present) : nothing}
      ${isFile ? this.#checkpoints(entry, facts.checkpoints) : nothing}
      ${isFile ? this.#lock(entry, facts.lock) : nothing}
      <section><h3>Rights</h3>${rightsEditor({
        path: entry.path, rights: facts.rights, grants: facts.grants, people: this.#people,
        mayChange: (entry.access & ADMIN) !== 0, save,
      })}</section>`;
  }

  #presence(present: readonly Present[]): TemplateResult {
    return html`<section><h3>In this stage now</h3>
      ${present.length === 0 ? html`<p class="soft">Nobody edits it live.</p>` : html`
        <ul class="people">${present.map((one) => html`<li>
          <span class="face" style=${`--hue:${String(hueOf(one.name))}`}>${one.name.slice(0, 1).toUpperCase()}</span>
          ${one.name}<span class="soft">${ago(timeOf(one.since), Date.now())}</span></li>`)}</ul>`}</section>`;
  }

  #checkpoints(entry: Entry, all: readonly FileVersion[]): TemplateResult {
    const mayWrite = (entry.access & WRITE) !== 0;
    return html`<section><h3>Checkpoints</h3>
      ${mayWrite ? html`<button class="button low" @click=${() => {
        ask({ title: "Keep this content", label: "Comment", action: "Make checkpoint",
          fault: (value) => value ? "" : "Say what this checkpoint is." },
        (comment) => this.#act(() => this.#hooks.api.keep(entry.path, comment)));
      }}>Make checkpoint</button>` : nothing}
      <ol class="checkpoints">${all.map((one) => html`<li>
        <b>&amp;${one.checkpoint}</b> ${one.comment}
        <span class="soft">${one.by} · ${ago(timeOf(one.at), Date.now())} · ${sizeOf(one.size)}</span>
        <span class="buttons">
          <button class="plain" @click=${() => {
            void this.#compare(entry, one);
          }}>Compare</button>
          ${mayWrite ? html`<button class="plain" @click=${() => {
            ask({ title: `Restore checkpoint ${String(one.checkpoint)}?`,
              text: "It becomes the present content again; nothing in between is lost.",
              action: "Restore" },
            () => this.#act(() => this.#hooks.api.restore(entry.path, one.checkpoint)));
          }}>Restore</button>` : nothing}</span></li>`)}</ol>
      ${this.#comparison ? comparisonOf(this.#comparison) : nothing}</section>`;
  }

  async #compare(entry: Entry, version: FileVersion): Promise<void> {
    const title = `Checkpoint ${String(version.checkpoint)} and now`;
    this.#comparison = { title, words: "Reading …" };
    this.draw();
    try {
      this.#comparison = await this.#compared(entry, version, title);
    } catch (error) {
      this.#comparison = { title, words: wordsOf(error) };
    }
    this.draw();
  }

  async #compared(entry: Entry, version: FileVersion, title: string): Promise<Comparison> {
    const { api } = this.#hooks;
    if (version.hash === entry.hash) return { title, words: "The two are the same, byte for byte." };
    if (isText(entry.name) && Math.max(entry.size, version.size) <= LARGEST_COMPARED) {
      const [before, now] = await Promise.all(
        [version.checkpoint, 0].map(async (n) => (await api.bytes(entry.path, n)).text()),
      );
      const lines = compare(before ?? "", now ?? "");
      if (lines) return { title, lines: folded(lines) };
    }
    if (isPicture(entry.name) || isStage(entry.name)) {
      const get = (n: number): Promise<Blob | null> =>
        isPicture(entry.name) ? api.bytes(entry.path, n) : api.thumbnail(entry.path, n);
      const both = await Promise.all([get(version.checkpoint), get(0)]);
      const [before, now] = both.map((blob) => blob && URL.createObjectURL(blob));
      return { title, pictures: [before ?? null, now ?? null] };
    }
    const sizes = `${sizeOf(version.size)} then, ${sizeOf(entry.size)} now.`;
    return { title, words: `They differ. ${sizes}` };
  }

  #lock(entry: Entry, lock: FileLock | null): TemplateResult {
    const { api } = this.#hooks;
    const token = lock?.token || this.#tokens.get(entry.path) || "";
    if (!lock) {
      return html`<section><h3>Lock</h3><p class="soft">Not locked.</p>
        ${entry.access & WRITE ? html`<button class="button low" @click=${() => {
          void this.#act(async () => {
            this.#tokens.set(entry.path, (await api.lock(entry.path)).token);
          });
        }}>Lock for me</button>` : nothing}</section>`;
    }
    const isMine = token !== "" || lock.owner === this.#hooks.user();
    const mayBreak = (entry.access & ADMIN) !== 0;
    return html`<section><h3>Lock</h3><p class="locked">${lockIcon}
      ${isMine ? "Locked by you" : html`Locked by <b>${lock.owner}</b>`}</p>
      ${isMine || mayBreak ? html`<button class="button low ${isMine ? "" : "danger"}" @click=${() => {
        void this.#act(() => api.unlock(entry.path, token, !isMine));
      }}>${isMine ? "Unlock" : "Break the lock"}</button>` : nothing}</section>`;
  }
}

function kindOf(entry: Entry): string {
  if (entry.kind === "mount") return "Mount";
  if (isFolder(entry)) return "Folder";
  if (entry.kind === "channel") return "Channel";
  return isStage(entry.name) ? "USD stage" : `File, version ${String(entry.version)}`;
}

function comparisonOf(comparison: Comparison): TemplateResult {
  return html`<h4>${comparison.title}</h4>${
    "lines" in comparison
      ? html`<pre class="compared">${comparison.lines.map((line) => html`<span
          class=${{ "-": "gone", "+": "new", " ": "", "…": "soft" }[line.mark]}>${line.mark} ${line.text}
</span>`)}</pre>`
      : "pictures" in comparison
        ? html`<div class="pair">${comparison.pictures.map((one) =>
            one ? html`<img src=${one} alt="">` : html`<span class="soft">no picture</span>`)}</div>`
        : html`<p class="soft">${comparison.words}</p>`}`;
}

/** A colour that stays with a name. */
function hueOf(name: string): number {
  return [...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360, 7);
}
