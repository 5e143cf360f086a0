/** The file browser: folders at the left, a listing in the middle, one file at the right. */

import "./files.css";
import { html, nothing, render, type TemplateResult } from "lit";
import { Problem, type Api, type ApplicationView } from "@downstage/viewer";
import { mark, wordsOf } from "../forms";
import { pages } from "../pages";
import { dropToken } from "../token";
import type { FilesApi } from "./api";
import { Details } from "./details";
import { ask } from "../dialog";
import { Watch } from "./events";
import { gridIcon, rowsIcon } from "./icons";
import { cards, rows, type ListingHooks } from "./listing";
import { arrange, crumbs, faultOf, folderOf, isFolder, join, pageOf, parentOf } from "./names";
import { Pictures } from "./pictures";
import { Tree } from "./tree";
import { Uploads, filesOf } from "./uploads";
import { uploadList } from "./uploadlist";
import { WRITE, type Entry } from "./wire";

const VIEW = "downstage.files.view";
/** Events come in bursts: a folder is read once for each. */
const SETTLE_MS = 150;

export class FilesPage {
  readonly #root: HTMLElement;
  readonly #api: FilesApi;
  readonly #sessions: Api;
  readonly #signedOut: () => void;
  readonly #fps: number;
  readonly #pictures: Pictures;
  readonly #tree: Tree;
  readonly #uploads: Uploads;
  #details: Details | null = null;
  #folder = "/";
  #here: Entry | null = null;
  #entries: readonly Entry[] | null = null;
  #isWhole = true;
  #selected: string | null = null;
  #applications: readonly ApplicationView[] = [];
  #user = "";
  #alarm = "";
  #isRows = localStorage.getItem(VIEW) === "rows";
  #drags = 0;
  #watch: Watch | null = null;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #isDrawn = false;

  constructor(
    root: HTMLElement, api: FilesApi, sessions: Api, fps: number | null, signedOut: () => void,
  ) {
    this.#root = root;
    this.#api = api;
    this.#sessions = sessions;
    this.#fps = fps ?? 60;
    this.#signedOut = signedOut;
    const draw = (): void => {
      this.#drawSoon();
    };
    this.#pictures = new Pictures(api, draw);
    this.#tree = new Tree(api, draw);
    this.#uploads = new Uploads(api, draw, () => {
      this.#reloadSoon();
    });
  }

  start(): void {
    addEventListener("popstate", () => {
      this.#go(folderOf(location.pathname), false);
    });
    addEventListener("beforeunload", (event) => {
      if (this.#uploads.isBusy) event.preventDefault();
    });
    this.#go(folderOf(location.pathname), false);
    void this.#sessions.applications().then((page) => {
      this.#applications = page.items.filter((one) => one.opens_stage && one.unavailable === null);
      this.#drawSoon();
    }).catch(() => undefined); // without them there is no button to open one in
    void this.#sessions.me().then((me) => {
      this.#user = me.name;
    }).catch(() => undefined);
  }

  #go(folder: string, isNew: boolean): void {
    if (isNew) history.pushState(null, "", pageOf(folder));
    this.#folder = folder;
    this.#entries = null;
    this.#here = null;
    this.#select(null);
    this.#tree.reveal(folder);
    document.title = `${crumbs(folder).at(-1)?.name ?? "Files"} · Downstage`;
    this.#watch?.stop();
    this.#watch = null;
    void this.#load();
    this.#draw();
  }

  async #load(): Promise<void> {
    const folder = this.#folder;
    try {
      const [listing, here] = await Promise.all([this.#api.list(folder), this.#api.stat(folder)]);
      if (folder !== this.#folder) return;
      this.#entries = arrange(listing.entries);
      this.#here = here;
      this.#isWhole = listing.isWhole;
      this.#alarm = "";
      this.#tree.learn(folder, this.#entries.filter(isFolder).map((entry) => entry.name));
      if (this.#watch === null) this.#follow(folder, listing.seq);
      this.#details?.show(this.#entryOf(this.#selected));
    } catch (error) {
      if (folder !== this.#folder) return;
      if (error instanceof Problem && error.status === 401) {
        this.#leave();
        return;
      }
      this.#entries ??= [];
      this.#alarm = wordsOf(error);
    }
    this.#draw();
  }

  #follow(folder: string, seq: number): void {
    const watch = this.#watch = new Watch(this.#api, folder, seq, () => {
      if (this.#watch === watch) this.#reloadSoon();
    });
    void watch.run();
  }

  #reloadSoon(): void {
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      void this.#load();
    }, SETTLE_MS);
  }

  #leave(): void {
    this.#watch?.stop();
    dropToken();
    this.#signedOut();
  }

  #entryOf(path: string | null): Entry | null {
    if (path === null) return null;
    if (path === this.#folder) return this.#here;
    return this.#entries?.find((entry) => entry.path === path) ?? null;
  }

  #select(path: string | null): void {
    this.#selected = path;
    this.#details?.show(this.#entryOf(path));
    this.#drawSoon();
  }

  #open(entry: Entry): void {
    if (isFolder(entry)) this.#go(entry.path, true);
    else this.#select(entry.path);
  }

  async #act(work: () => Promise<unknown>): Promise<void> {
    await work();
    await this.#load();
  }

  #makeFolder(): void {
    ask({ title: "New folder", label: "Name", action: "Make folder", fault: faultOf },
      (name) => this.#act(() => this.#api.makeFolder(join(this.#folder, name))));
  }

  #rename(entry: Entry): void {
    ask({ title: `Rename ${entry.name}`, label: "New name", value: entry.name, action: "Rename",
      fault: faultOf }, (name) => this.#act(async () => {
      const target = join(parentOf(entry.path), name);
      if (target !== entry.path) await this.#api.move(entry.path, target);
      this.#select(target);
    }));
  }

  #copy(entry: Entry): void {
    ask({ title: `Copy ${entry.name}`, label: "Name of the copy", value: `Copy of ${entry.name}`,
      action: "Copy", fault: faultOf },
    (name) => this.#act(() => this.#api.copy(entry.path, join(parentOf(entry.path), name))));
  }

  #remove(entry: Entry): void {
    const what = isFolder(entry) ? "The folder, and all that it holds," : "The file";
    ask({ title: `Delete ${entry.name}?`, text: `${what} can be brought back for a while.`,
      action: "Delete", isDangerous: true }, () => this.#act(async () => {
      await this.#api.remove(entry.path);
      this.#select(null);
    }));
  }

  async #startIn(application: string, entry: Entry): Promise<void> {
    const even = (css: number): number => Math.max(2, Math.round((css * devicePixelRatio) / 2) * 2);
    const created = await this.#sessions.create({
      application,
      stage: `omniverse://${location.host}${entry.path.split("/").map(encodeURIComponent).join("/")}`,
      display: { width: even(innerWidth), height: even(innerHeight), fps: this.#fps },
    }, crypto.randomUUID?.() ?? `${String(Date.now())}-${String(Math.random())}`);
    location.assign(created.join_url);
  }

  #drawSoon(): void {
    if (this.#isDrawn) return;
    this.#isDrawn = true;
    requestAnimationFrame(() => {
      this.#isDrawn = false;
      this.#draw();
    });
  }

  #draw(): void {
    const mayWrite = this.#here !== null && (this.#here.access & WRITE) !== 0;
    render(html`<div class="files ${this.#drags > 0 && mayWrite ? "dropping" : ""}"
      @dragenter=${(event: DragEvent) => {
        this.#drag(event, 1);
      }} @dragleave=${(event: DragEvent) => {
        this.#drag(event, -1);
      }} @dragover=${(event: DragEvent) => {
        event.preventDefault();
      }} @drop=${(event: DragEvent) => {
        void this.#drop(event);
      }}>
      <header><a class="word" href="/">${mark}Downstage</a>
        ${pages("/files")}
        <button class="button low" @click=${() => {
          this.#leave();
        }}>Sign out</button></header>
      <aside class="tree">${this.#tree.view(this.#folder, (path) => {
        this.#go(path, true);
      })}</aside>
      <main>${this.#toolbar(mayWrite)}
        <p class="alarm" role="alert">${this.#alarm}</p>
        ${this.#listing(mayWrite)}</main>
      <aside class="details" hidden></aside>
      ${uploadList(this.#uploads)}</div>`, this.#root);
    this.#details ??= this.#makeDetails();
  }

  #makeDetails(): Details {
    return new Details(this.#root.querySelector<HTMLElement>(".details")!, {
      api: this.#api,
      picture: (entry) => this.#pictures.of(entry),
      applications: () => this.#applications,
      start: (application, entry) => {
        this.#startIn(application, entry).catch((error: unknown) => {
          this.#alarm = wordsOf(error);
          this.#draw();
        });
      },
      changed: () => {
        this.#reloadSoon();
      },
      close: () => {
        this.#select(null);
      },
      user: () => this.#user,
    });
  }

  #toolbar(mayWrite: boolean): TemplateResult {
    const chosen = this.#entryOf(this.#selected);
    return html`<div class="toolbar">
      <ol class="crumbs">${crumbs(this.#folder).map((crumb, at, all) => html`<li>
        ${at === all.length - 1 ? html`<button class="plain" @click=${() => {
          this.#select(this.#folder);
        }} title="Rights and more">${crumb.name}</button>`
        : html`<a href=${pageOf(crumb.path)} @click=${(event: MouseEvent) => {
          event.preventDefault();
          this.#go(crumb.path, true);
        }}>${crumb.name}</a>`}</li>`)}</ol>
      ${chosen && chosen.path !== this.#folder && (chosen.access & WRITE) ? html`
        <button class="button low" @click=${() => {
          this.#rename(chosen);
        }}>Rename</button>
        <button class="button low" @click=${() => {
          this.#copy(chosen);
        }}>Copy</button>
        <button class="button low" @click=${() => {
          this.#remove(chosen);
        }}>Delete</button>` : nothing}
      ${mayWrite ? html`<button class="button low" @click=${() => {
        this.#makeFolder();
      }}>New folder</button>
      <label class="button low first">Upload<input type="file" multiple hidden @change=${(event: Event) => {
        const input = event.target as HTMLInputElement;
        for (const file of input.files ?? []) this.#uploads.add(this.#folder, file);
        input.value = "";
      }}></label>` : nothing}
      <button class="plain" aria-label=${this.#isRows ? "Show pictures" : "Show rows"} @click=${() => {
        this.#isRows = !this.#isRows;
        localStorage.setItem(VIEW, this.#isRows ? "rows" : "grid");
        this.#draw();
      }}>${this.#isRows ? gridIcon : rowsIcon}</button></div>`;
  }

  #listing(mayWrite: boolean): TemplateResult {
    const entries = this.#entries;
    if (entries === null) return html`<p class="soft">Reading …</p>`;
    if (entries.length === 0 && this.#alarm === "") {
      return html`<p class="empty">Nothing is here yet.${mayWrite ? " Drop files to upload them." : ""}</p>`;
    }
    const hooks: ListingHooks = {
      selected: this.#selected,
      pictures: this.#pictures,
      open: (entry) => {
        this.#open(entry);
      },
      select: (entry) => {
        this.#select(entry.path);
      },
      remove: (entry) => {
        if (entry.access & WRITE) this.#remove(entry);
      },
      rename: (entry) => {
        if (entry.access & WRITE) this.#rename(entry);
      },
    };
    return html`${this.#isRows ? rows(entries, hooks) : cards(entries, hooks)}
      ${this.#isWhole ? nothing : html`<p class="soft">Only the first ${entries.length} are shown.</p>`}`;
  }

  #drag(event: DragEvent, step: number): void {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.#drags += step;
    this.#drawSoon();
  }

  async #drop(event: DragEvent): Promise<void> {
    event.preventDefault();
    this.#drags = 0;
    const folder = this.#folder;
    // While the folder is still being read nobody knows yet; the server says no where it must.
    const mayWrite = this.#here === null || (this.#here.access & WRITE) !== 0;
    if (event.dataTransfer && mayWrite) {
      for (const { file, relative } of await filesOf(event.dataTransfer)) {
        this.#uploads.add(folder, file, relative);
      }
    }
    this.#drawSoon();
  }
}
