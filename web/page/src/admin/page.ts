/** The administration page: collections at the left, their documents, and one of them as JSON. */

import "./admin.css";
import { html, nothing, render, type TemplateResult } from "lit";
import { Problem } from "@downstage/viewer";
import { ask } from "../dialog";
import { mark, wordsOf } from "../forms";
import { pages } from "../pages";
import { dropToken } from "../token";
import type { AdminApi } from "./api";
import { List } from "./list";
import { OpenDocument } from "./open";
import { pane, type PaneHooks } from "./pane";
import { faultOfId, newId, pathOf, placeOf, type Place } from "./place";
import type { CollectionView } from "./wire";

const FORBIDDEN = 403;

export class AdminPage {
  readonly #root: HTMLElement;
  readonly #api: AdminApi;
  readonly #signedOut: () => void;
  readonly #list: List;
  #collections: readonly CollectionView[] | null = null;
  #chosen: CollectionView | null = null;
  #open: OpenDocument | null = null;
  #asked = 0;
  #alarm = "";
  #isRefused = false;
  #isDue = false;

  constructor(root: HTMLElement, api: AdminApi, signedOut: () => void) {
    this.#root = root;
    this.#api = api;
    this.#signedOut = signedOut;
    this.#list = new List(api, () => {
      this.#drawSoon();
    }, (error) => {
      this.#failed(error);
    });
  }

  start(): void {
    document.title = "Administration · Downstage";
    addEventListener("popstate", this.#onBack);
    addEventListener("beforeunload", this.#onUnload);
    addEventListener("keydown", this.#onKey);
    addEventListener("focus", this.#onFocus);
    this.#draw();
    void this.#count().then(() => this.#go(placeOf(location.pathname), false));
  }

  #stop(): void {
    removeEventListener("popstate", this.#onBack);
    removeEventListener("beforeunload", this.#onUnload);
    removeEventListener("keydown", this.#onKey);
    removeEventListener("focus", this.#onFocus);
  }

  #leave(): void {
    this.#stop();
    dropToken();
    this.#signedOut();
  }

  get #here(): Place {
    const open = this.#open;
    return { collection: this.#chosen?.name ?? null, id: open === null || open.isNew ? null : open.id };
  }

  // What the browser tells.

  readonly #onBack = (): void => {
    const place = placeOf(location.pathname);
    if (!this.#open?.isDirty) {
      void this.#go(place, false);
      return;
    }
    history.pushState(null, "", pathOf(this.#here)); // until the person has said so
    this.#unlessUnsaved(() => void this.#go(place, true));
  };

  readonly #onUnload = (event: BeforeUnloadEvent): void => {
    if (this.#open?.isDirty) event.preventDefault();
  };

  readonly #onKey = (event: KeyboardEvent): void => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "s") return;
    event.preventDefault();
    const open = this.#open;
    if (open !== null && document.querySelector("dialog[open]") === null) {
      void open.save().then(() => {
        this.#settle();
      });
    }
  };

  readonly #onFocus = (): void => {
    void this.#count();
    void this.#list.reload();
  };

  // Where one goes.

  #unlessUnsaved(work: () => void): void {
    const open = this.#open;
    if (!open?.isDirty) {
      work();
      return;
    }
    ask({ title: "Leave without saving?", text: `What you changed in ${open.id} is lost.`,
      action: "Drop changes", isDangerous: true }, () => {
      work();
      return Promise.resolve();
    });
  }

  async #go(place: Place, isNew: boolean): Promise<void> {
    const asked = this.#asked += 1;
    const all = this.#collections ?? [];
    const chosen = all.find(({ name }) => name === place.collection) ?? all[0] ?? null;
    this.#open = null;
    this.#alarm = "";
    if (chosen !== null && chosen.name !== this.#list.collection) this.#list.open(chosen.name);
    this.#chosen = chosen;
    if (isNew) history.pushState(null, "", pathOf({ collection: chosen?.name ?? null, id: place.id }));
    this.#drawSoon();
    if (chosen !== null && place.id !== null && chosen.name === place.collection) {
      await this.#read(chosen, place.id, asked);
    }
  }

  async #read(chosen: CollectionView, id: string, asked: number): Promise<void> {
    try {
      const version = await this.#api.read(chosen.name, id);
      if (asked !== this.#asked) return;
      if (version === null) {
        this.#alarm = `There is no document ${id}.`;
      } else {
        const open = this.#made(chosen, id);
        open.show(version);
        this.#open = open;
      }
    } catch (error) {
      if (asked === this.#asked) this.#failed(error);
    }
    this.#drawSoon();
  }

  #made(collection: CollectionView, id: string): OpenDocument {
    return new OpenDocument(this.#api, collection, id, {
      changed: () => {
        this.#drawSoon();
      },
      stored: () => {
        void this.#count();
        void this.#list.reload();
      },
      left: () => {
        this.#leave();
      },
    });
  }

  /** The address names what is open. */
  #settle(): void {
    history.replaceState(null, "", pathOf(this.#here));
    this.#drawSoon();
  }

  async #count(): Promise<void> {
    try {
      this.#collections = await this.#api.collections();
      const name = this.#chosen?.name;
      this.#chosen = this.#collections.find((one) => one.name === name) ?? this.#chosen;
    } catch (error) {
      this.#failed(error);
    }
    this.#drawSoon();
  }

  #failed(error: unknown): void {
    const status = error instanceof Problem ? error.status : 0;
    if (status === 401) {
      this.#leave();
      return;
    }
    if (status === FORBIDDEN) this.#isRefused = true;
    else this.#alarm = wordsOf(error);
    this.#drawSoon();
  }

  #begin(collection: CollectionView): void {
    this.#unlessUnsaved(() => {
      if (collection.only_id !== null) {
        this.#beginAs(collection, collection.only_id);
        return;
      }
      ask({ title: "New document", text: "Without an id of your own it gets one.", label: "Id",
        action: "Begin", fault: faultOfId }, (id) => {
        this.#beginAs(collection, id || newId());
        return Promise.resolve();
      });
    });
  }

  #beginAs(collection: CollectionView, id: string): void {
    this.#asked += 1;
    this.#alarm = "";
    const open = this.#made(collection, id);
    open.blank();
    this.#open = open;
    this.#settle();
    this.#draw();
    setTimeout(() => {
      open.editor.focus();
    });
  }

  readonly #hooks: PaneHooks = {
    close: () => {
      this.#unlessUnsaved(() => void this.#go({ collection: this.#chosen?.name ?? null, id: null }, true));
    },
    remove: () => {
      const open = this.#open;
      if (open === null) return;
      ask({ title: `Delete ${open.id}?`, text: "It cannot be brought back.", action: "Delete",
        isDangerous: true }, async () => {
        if (await open.remove()) await this.#go({ collection: open.collection.name, id: null }, true);
      });
    },
    saved: () => {
      this.#settle();
    },
  };

  // How it looks.

  #drawSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw(): void {
    render(html`<div class="admin ${this.#open === null ? "" : "opened"}">
      <header><a class="word" href="/">${mark}Downstage</a>${pages("/admin")}
        <button class="button low" @click=${() => {
          this.#unlessUnsaved(() => {
            this.#leave();
          });
        }}>Sign out</button></header>
      ${this.#isRefused ? this.#refusal() : this.#room()}</div>`, this.#root);
  }

  #refusal(): TemplateResult {
    return html`<main class="refused"><div class="card">
      <h1>For administrators</h1>
      <p class="soft">This page changes what everybody's clients read. It needs the scope
        <code>streams:admin</code>, which your account does not have. On the platform's own machine
        <code>downstage user add NAME --admin</code> makes somebody who has it.</p>
      <div class="buttons"><a class="button low" href="/">Go to the start page</a>
        <button class="button low first" @click=${() => {
          this.#leave();
        }}>Sign in as somebody else</button></div></div></main>`;
  }

  #room(): TemplateResult {
    const all = this.#collections, open = this.#open;
    return html`<nav class="collections" aria-label="Collections">${all?.map((one) => html`<a
        href=${pathOf({ collection: one.name, id: null })}
        aria-current=${one.name === this.#chosen?.name ? "page" : nothing}
        @click=${(event: MouseEvent) => {
          event.preventDefault();
          this.#unlessUnsaved(() => void this.#go({ collection: one.name, id: null }, true));
        }}><span>${one.title}</span><span class="soft">${one.count}</span></a>`)}</nav>
      <aside aria-label="Documents">${this.#chosen === null ? nothing : this.#documents(this.#chosen)}</aside>
      <main>${this.#alarm === "" ? nothing : html`<p class="alarm" role="alert">${this.#alarm}</p>`}
        ${open === null ? html`<p class="empty">${all === null ? "Reading …" : "Choose a document to see it here."}</p>`
        : pane(open, this.#hooks)}</main>`;
  }

  #documents(chosen: CollectionView): TemplateResult {
    const list = this.#list, isFull = chosen.only_id !== null && chosen.count > 0;
    return html`<div class="head"><h2>${chosen.title}</h2>
        ${isFull ? nothing : html`<button class="button low" @click=${() => {
          this.#begin(chosen);
        }}>New</button>`}</div>
      <input type="search" placeholder="Filter by any text" aria-label="Show only documents that contain this"
        spellcheck="false" autocomplete="off" .value=${list.text} @input=${(event: Event) => {
          list.filter((event.target as HTMLInputElement).value);
        }}>
      <p class="soft count" role="status">${list.text === "" ? "" : `${String(list.total)} of ${String(chosen.count)}`}</p>
      <div class="scroll">${list.view({
        chosen: this.#open?.id ?? null,
        choose: (id) => {
          if (id === this.#open?.id && !this.#open.isNew) return;
          this.#unlessUnsaved(() => void this.#go({ collection: chosen.name, id }, true));
        },
      })}</div>`;
  }
}
