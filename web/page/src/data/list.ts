/** The list of streams: what each holds, how often something comes, when last. */

import { html, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { sizeOf } from "../sizes";
import { msOf } from "./entries";
import { mediaType } from "./kinds";
import { age } from "./scrub";
import { Spark } from "./spark";
import type { Listed } from "./streams";
import type { RecordedStream } from "./wire";

const QUIET_MS = 5000;

export interface ListHooks {
  readonly isShown: (name: string) => boolean;
  readonly toggle: (name: string) => void;
}

/** Sparklines of rows that can be seen. */
export class Sparks {
  readonly #sparks = new Map<string, Spark>();
  readonly #seen = new Map<Element, string>();
  readonly #visible = new Set<string>();
  readonly #watch = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const name = this.#seen.get(target) ?? "";
      if (isIntersecting) this.#visible.add(name);
      else this.#visible.delete(name);
    }
  });

  /** The line of a row. */
  of({ view, rates }: Listed): HTMLElement {
    let spark = this.#sparks.get(view.name);
    if (spark === undefined) {
      spark = new Spark();
      this.#sparks.set(view.name, spark);
      this.#seen.set(spark.element, view.name);
      this.#watch.observe(spark.element);
    }
    if (this.#visible.has(view.name)) spark.show(rates);
    return spark.element;
  }

  keep(names: ReadonlySet<string>): void {
    for (const [name, spark] of this.#sparks) {
      if (names.has(name)) continue;
      this.#watch.unobserve(spark.element);
      this.#seen.delete(spark.element);
      this.#visible.delete(name);
      this.#sparks.delete(name);
      spark.stop();
    }
  }
}

/** Streams that are there now. *now* is the server's time. */
export function liveList(
  listed: readonly Listed[], sparks: Sparks, now: number, hooks: ListHooks,
): TemplateResult {
  return html`<ul class="streams" @keydown=${keys}>${repeat(listed, ({ view }) => view.name, (one) => {
    const { view } = one;
    const quiet = view.last_id === null ? Infinity : now - msOf(view.last_id);
    const seen = quiet === Infinity ? "never" : quiet < QUIET_MS ? "now" : `${age(quiet)} ago`;
    return row(view.name, hooks, html`
      <span class="line"><span class="dot ${quiet < QUIET_MS ? "on" : ""}"></span>
        <span class="name">${view.name}</span>
        <span class="type" title=${view.content_type ?? "No type was told"}>${typeWords(view.content_type)}</span>
        ${sparks.of(one)}</span>
      <span class="facts"><span title="Entries a second">${rateWords(view.rate)}</span>
        <span title=${view.last_time ?? ""}>${seen}</span>
        <span title="Entries that are kept">${entriesWords(view.length)}</span>
        <span title="Bytes of the entries that are kept">${sizeOf(view.bytes)}</span></span>`);
  })}</ul>`;
}

/** Streams of a recording. */
export function recordedList(streams: readonly RecordedStream[], hooks: ListHooks): TemplateResult {
  return html`<ul class="streams" @keydown=${keys}>${repeat(streams, ({ name }) => name, (stream) =>
    row(stream.name, hooks, html`
      <span class="line"><span class="name">${stream.name}</span>
        <span class="type">${typeWords(stream.content_type)}</span></span>
      <span class="facts"><span>${entriesWords(stream.entries)}</span>
        <span>${sizeOf(stream.bytes)}</span></span>`))}</ul>`;
}

function row(name: string, hooks: ListHooks, content: TemplateResult): TemplateResult {
  return html`<li><button class="stream" aria-pressed=${hooks.isShown(name)} title=${name} @click=${() => {
    hooks.toggle(name);
  }}>${content}</button></li>`;
}

export function rateWords(rate: number): string {
  if (rate === 0) return "0/s";
  return rate < 9.95 ? `${rate.toFixed(1)}/s` : `${Math.round(rate).toLocaleString()}/s`;
}

function entriesWords(count: number): string {
  return count === 1 ? "1 entry" : `${count.toLocaleString()} entries`;
}

function typeWords(contentType: string | null): string {
  const { type } = mediaType(contentType);
  return type === "" ? "untyped" : type.replace(/^application\/(vnd\.[a-z]+\.)?/, "");
}

/** Arrows go from stream to stream. */
function keys(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  const all = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("button.stream")];
  const at = all.indexOf(event.target as HTMLElement);
  if (at < 0) return;
  event.preventDefault();
  all[Math.min(all.length - 1, Math.max(0, at + step))]?.focus();
}
