/** One document that is open: what was read, what the person made of it, and how it is kept. */

import { Problem } from "@downstage/viewer";
import { wordsOf } from "../forms";
import type { AdminApi } from "./api";
import { Editor } from "./editor";
import { scan } from "./json";
import type { CollectionView, Version } from "./wire";

const CONFLICT = 412;
const SERVER = 500;

/** Begins of new documents. */
const BLANKS = {
  recipes: '{\n  "name": "",\n  "ingredients": [],\n  "tools": [],\n  "instructions": []\n}',
  sess: '{\n  "recipe": "",\n  "step": 0,\n  "prefix": ""\n}',
  session: '{\n  "recipe_id": "",\n  "step": "0",\n  "session_id": ""\n}',
} as const;

/** Another version than the one that was read is there; `theirs` is null where it was deleted. */
export interface Conflict {
  readonly theirs: Version | null;
}

export interface OpenHooks {
  /** Something is to be drawn. */
  changed(): void;
  /** It is stored, or gone: lists are out of date. */
  stored(): void;
  /** The person is not signed in any more. */
  left(): void;
}

export class OpenDocument {
  readonly collection: CollectionView;
  readonly id: string;
  readonly editor: Editor;
  readonly #api: AdminApi;
  readonly #hooks: OpenHooks;
  #tag: string | null = null;
  #base = "";
  alarm = "";
  note = "";
  isBusy = false;
  conflict: Conflict | null = null;

  constructor(api: AdminApi, collection: CollectionView, id: string, hooks: OpenHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.collection = collection;
    this.id = id;
    this.editor = new Editor(() => {
      if (this.isDirty) this.note = "";
      hooks.changed();
    });
  }

  get isNew(): boolean {
    return this.#tag === null;
  }

  get isDirty(): boolean {
    return this.editor.text !== this.#base;
  }

  /** Begin with an empty form, or with what is there. */
  blank(): void {
    this.#take(null, BLANKS[this.collection.name]);
  }

  show(version: Version): void {
    this.#take(version.tag, version.text);
  }

  #take(tag: string | null, text: string): void {
    this.#tag = tag;
    this.#base = text;
    this.conflict = null;
    this.alarm = "";
    this.editor.text = text;
  }

  async save(): Promise<void> {
    const { found } = this.editor;
    if (this.isBusy || this.conflict !== null) return;
    if ("fault" in found) {
      this.editor.focus(found.fault.at);
      return;
    }
    if (!this.isNew && !this.isDirty) return;
    await this.#work(async () => {
      const { text } = this.editor;
      try {
        this.#keep(text, await this.#api.write(this.collection.name, this.id, text, this.#tag));
      } catch (error) {
        if (error instanceof Problem && error.status >= SERVER) await this.#lookAgain(text);
        throw error;
      }
    });
  }

  #keep(text: string, version: Version): void {
    this.#tag = version.tag;
    this.#base = text;
    this.note = "Saved";
    this.#hooks.stored();
  }

  /** After a failure nobody knows whether it was stored: where it was, it is not to be in our way. */
  async #lookAgain(text: string): Promise<void> {
    const theirs = await this.#api.read(this.collection.name, this.id).catch(() => null);
    if (theirs !== null && laidOut(theirs.text) === laidOut(text)) this.#keep(text, theirs);
  }

  /** Whether it is gone. */
  async remove(): Promise<boolean> {
    const tag = this.#tag;
    if (tag === null) return true;
    let isGone = false;
    await this.#work(async () => {
      await this.#api.remove(this.collection.name, this.id, tag);
      isGone = true;
      this.#hooks.stored();
    });
    return isGone;
  }

  /** The other version in the place of mine; nothing is left where it was deleted. */
  takeTheirs(): void {
    if (this.conflict?.theirs) this.show(this.conflict.theirs);
    this.editor.focus();
  }

  /** Mine in the place of the other version, which the person has seen. */
  async overwrite(): Promise<void> {
    if (this.conflict === null) return;
    this.#tag = this.conflict.theirs?.tag ?? null;
    this.#base = this.conflict.theirs?.text ?? "";
    this.conflict = null;
    await this.save();
  }

  /** Go on typing; the question comes again with the next save. */
  later(): void {
    this.conflict = null;
    this.editor.focus();
    this.#hooks.changed();
  }

  async #work(work: () => Promise<void>): Promise<void> {
    this.isBusy = true;
    this.alarm = this.note = "";
    this.editor.isLocked = true;
    this.#hooks.changed();
    try {
      await work();
    } catch (error) {
      await this.#failed(error);
    }
    this.isBusy = false;
    this.editor.isLocked = false;
    this.#hooks.changed();
  }

  async #failed(error: unknown): Promise<void> {
    if (!(error instanceof Problem) || ![401, CONFLICT].includes(error.status)) {
      this.alarm = wordsOf(error);
      return;
    }
    if (error.status === 401) {
      this.#hooks.left();
      return;
    }
    try {
      this.conflict = { theirs: await this.#api.read(this.collection.name, this.id) };
      this.#hooks.stored();
    } catch (failure) {
      this.alarm = wordsOf(failure);
    }
  }
}

/** *text* laid out, where it is right. */
export function laidOut(text: string): string {
  const found = scan(text);
  return "pretty" in found ? found.pretty : text;
}
