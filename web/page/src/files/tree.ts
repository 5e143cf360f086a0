/** The folders at the left: each opened when it is asked for. */

import { html, nothing, type TemplateResult } from "lit";
import type { FilesApi } from "./api";
import { folderIcon } from "./icons";
import { arrange, crumbs, isFolder, pageOf } from "./names";

export class Tree {
  readonly #api: FilesApi;
  readonly #changed: () => void;
  readonly #children = new Map<string, readonly string[]>();
  readonly #open = new Set<string>(["/"]);

  constructor(api: FilesApi, changed: () => void) {
    this.#api = api;
    this.#changed = changed;
  }

  /** Open everything on the way to *folder*. */
  reveal(folder: string): void {
    for (const crumb of crumbs(folder)) {
      this.#open.add(crumb.path);
      if (!this.#children.has(crumb.path)) void this.load(crumb.path);
    }
  }

  /** Take note of the folders in *folder*, whoever listed them. */
  learn(folder: string, names: readonly string[]): void {
    this.#children.set(folder, names);
  }

  async load(folder: string): Promise<void> {
    try {
      const { entries } = await this.#api.list(folder);
      this.learn(folder, arrange(entries).filter(isFolder).map((entry) => entry.name));
    } catch {
      this.#children.delete(folder); // gone, or not ours: what is shown beside it says why
    }
    this.#changed();
  }

  view(folder: string, open: (path: string) => void): TemplateResult {
    return html`<ul role="tree">${this.#node("/", "Files", folder, open)}</ul>`;
  }

  #node(
    path: string, name: string, current: string, open: (path: string) => void,
  ): TemplateResult {
    const children = this.#children.get(path);
    const isOpen = this.#open.has(path);
    const isLeaf = children?.length === 0;
    return html`<li role="treeitem" aria-expanded=${isOpen} aria-selected=${path === current}>
      <div class="node">
        <button class="plain twist" aria-label=${isOpen ? "Fold" : "Unfold"} ?disabled=${isLeaf}
          @click=${() => {
            this.#toggle(path);
          }}>${isLeaf ? "" : isOpen ? "▾" : "▸"}</button>
        <a href=${pageOf(path)} class=${path === current ? "here" : ""} @click=${(event: MouseEvent) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          open(path);
        }}>${folderIcon}<span>${name}</span></a></div>
      ${isOpen && children?.length ? html`<ul role="group">${children.map((child) =>
        this.#node(path === "/" ? `/${child}` : `${path}/${child}`, child, current, open))}</ul>` : nothing}
    </li>`;
  }

  #toggle(path: string): void {
    if (this.#open.has(path)) this.#open.delete(path);
    else {
      this.#open.add(path);
      void this.load(path);
    }
    this.#changed();
  }
}
