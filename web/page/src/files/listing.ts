/** A folder's entries, as pictures or as rows. */

import { html, nothing, type TemplateResult } from "lit";
import { ref } from "lit/directives/ref.js";
import { repeat } from "lit/directives/repeat.js";
import { ago } from "../ago";
import { iconOf, lockIcon } from "./icons";
import { sizeOf } from "../sizes";
import { isFolder, timeOf } from "./names";
import type { Pictures } from "./pictures";
import type { Entry } from "./wire";

export interface ListingHooks {
  readonly selected: string | null;
  readonly pictures: Pictures;
  readonly open: (entry: Entry) => void;
  readonly select: (entry: Entry) => void;
  readonly remove: (entry: Entry) => void;
  readonly rename: (entry: Entry) => void;
}

const wanted = new WeakMap<Element, () => void>();
const inView = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) wanted.get(one.target)?.();
}, { rootMargin: "200px" });

export function cards(entries: readonly Entry[], hooks: ListingHooks): TemplateResult {
  return html`<ul class="grid" @keydown=${keys}>${repeat(entries, (entry) => entry.id, (entry) => {
    const picture = hooks.pictures.of(entry);
    return html`<li><button class="item ${entry.path === hooks.selected ? "chosen" : ""}"
      title=${entry.name} ${ref(watching(entry, hooks))}
      @click=${() => {
        (isFolder(entry) ? hooks.open : hooks.select)(entry);
      }} @keydown=${(event: KeyboardEvent) => {
        onKey(event, entry, hooks);
      }}>
      <span class="picture">${picture ? html`<img src=${picture} alt="" loading="lazy">` : iconOf(entry)}</span>
      <span class="name">${entry.name}</span>
      <span class="soft">${isFolder(entry) ? nothing : sizeOf(entry.size)}${badge(entry)}</span>
    </button></li>`;
  })}</ul>`;
}

export function rows(entries: readonly Entry[], hooks: ListingHooks): TemplateResult {
  return html`<table class="listing"><thead><tr><th>Name</th><th>Size</th><th>Changed</th><th>By</th></tr></thead>
    <tbody @keydown=${keys}>${repeat(entries, (entry) => entry.id, (entry) => html`
    <tr class=${entry.path === hooks.selected ? "chosen" : ""}>
      <td><button class="item" @click=${() => {
        (isFolder(entry) ? hooks.open : hooks.select)(entry);
      }} @keydown=${(event: KeyboardEvent) => {
        onKey(event, entry, hooks);
      }}>${iconOf(entry)}<span class="name">${entry.name}</span>${badge(entry)}</button></td>
      <td class="number">${isFolder(entry) ? "" : sizeOf(entry.size)}</td>
      <td class="soft">${ago(timeOf(entry.modified_at), Date.now())}</td>
      <td class="soft">${entry.modified_by}</td></tr>`)}</tbody></table>`;
}

/** Fetches the picture once the element can be seen. */
function watching(entry: Entry, hooks: ListingHooks): (element: Element | undefined) => void {
  return (element) => {
    if (!element || wanted.has(element)) return;
    wanted.set(element, () => {
      hooks.pictures.want(entry);
    });
    inView.observe(element);
  };
}

function badge(entry: Entry): TemplateResult | typeof nothing {
  return entry.locked_by
    ? html`<span class="badge" title=${`Locked by ${entry.locked_by}`}>${lockIcon}</span>`
    : nothing;
}

function onKey(event: KeyboardEvent, entry: Entry, hooks: ListingHooks): void {
  if (event.key === "Delete") hooks.remove(entry);
  else if (event.key === "F2") hooks.rename(entry);
  else if (event.key === " ") hooks.select(entry);
  else return;
  event.preventDefault();
}

/** Arrows go from entry to entry, as the eye sees them. */
function keys(event: KeyboardEvent): void {
  const from = event.target as HTMLElement;
  const all = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>(".item")];
  const at = all.indexOf(from);
  const top = from.getBoundingClientRect().top;
  const beside = all.filter((one) => one.getBoundingClientRect().top === top).length;
  const steps: Record<string, number> = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: beside, ArrowUp: -beside,
  };
  const step = steps[event.key];
  if (step === undefined || at < 0) return;
  event.preventDefault();
  all[Math.min(all.length - 1, Math.max(0, at + step))]?.focus();
}
