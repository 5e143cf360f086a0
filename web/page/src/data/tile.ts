/** One stream on the page: its head, its view, its figures. */

import { html, render } from "lit";
import type { DataApi } from "./api";
import type { Entry } from "./entries";
import { TITLES, choices, kindOf, kindOfType, type Kind } from "./kinds";
import type { Past } from "./player";
import { Pull, type Wish } from "./pull";
import { Rate } from "./rate";
import { age } from "./scrub";
import { BytesView } from "./views/bytes";
import { CodedView } from "./views/coded";
import { FilmView } from "./views/film";
import { LogView } from "./views/log";
import { PictureView } from "./views/picture";
import { PlotView, WINDOW_MS } from "./views/plot";
import { PointsView } from "./views/points";
import { SoundView } from "./views/sound";
import { TreeView } from "./views/tree";
import { joined, WANTS_ALL, type Clock, type Setting, type View } from "./views/view";
import type { About } from "./wire";
import { closeIcon } from "../files/icons";

const FOOT_MS = 250;
/** Longer without an entry than that, and the foot says so. */
const QUIET_MS = 2500;
const MANY = 256;

export interface Hosting {
  readonly api: DataApi;
  readonly clock: Clock;
  readonly recording: string | null;
  /** The id of the newest entry, where the list knows it. */
  readonly newest: (stream: string) => string | null;
  readonly close: (stream: string) => void;
  /** The kind of a view is known, or another one: what it needs may have to be read. */
  readonly settled: (tile: Tile) => void;
}

export class Tile {
  readonly element = document.createElement("article");
  readonly about: About;
  readonly #host: Hosting;
  readonly #room = document.createElement("div");
  readonly #foot = document.createElement("p");
  readonly #alarm = document.createElement("p");
  #kind: Kind | null;
  #own: Kind | null = null;
  #view: View | null = null;
  #pull: Pull | null = null;
  #last: Entry | null = null;
  readonly #rate = new Rate();
  #late = 0;
  #skipped = 0;
  #footAt = 0;
  #link = "";
  #trouble = "";

  constructor(host: Hosting, about: About) {
    this.about = about;
    this.#host = host;
    this.#kind = this.#own = kindOfType(about);
    this.element.className = "tile";
    this.element.dataset["stream"] = about.name;
    this.element.setAttribute("aria-label", about.name);
    this.#room.className = "room";
    this.#foot.className = "foot soft";
    this.#alarm.className = "alarm";
    this.#alarm.setAttribute("role", "status");
    if (this.#kind !== null) this.#build(this.#kind);
    this.#draw();
    this.#open();
  }

  get name(): string {
    return this.about.name;
  }

  get kind(): Kind | null {
    return this.#kind;
  }

  /** What it needs of what was before, to show a moment. */
  get past(): Past {
    if (this.#kind === "film") return "picture";
    return this.#kind === "plot" || this.#kind === "log" ? "window" : "none";
  }

  get wantsAll(): boolean {
    return this.#kind !== null && WANTS_ALL.has(this.#kind);
  }

  take(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    const isFirst = this.#kind === null;
    if (isFirst) {
      this.#own = kindOf(this.about, last.data);
      this.#change(this.#own);
      if (this.wantsAll) return; // and what was before it comes as well
    }
    this.#last = last;
    for (let i = 0; i < entries.length; i += 1) this.#rate.count(performance.now());
    if (this.#host.clock.isLive) this.#late = this.#late * 0.9 + (this.#host.clock.now - last.at) * 0.1;
    const isHeld = this.#host.clock.isLive && this.#host.clock.isPaused && !this.wantsAll;
    if (!isHeld) this.#view?.take(entries);
  }

  tick(): void {
    this.#view?.tick();
    const now = performance.now();
    if (now - this.#footAt < FOOT_MS) return;
    this.#footAt = now;
    const words = this.#footWords();
    if (this.#foot.textContent !== words) this.#foot.textContent = words;
    if (this.#view instanceof PictureView) this.element.dataset["fps"] = this.#view.fps.toFixed(2);
  }

  /** The clock has jumped. */
  reset(): void {
    this.#view?.reset();
  }

  stop(): void {
    this.#pull?.stop();
    this.#view?.stop();
    this.element.remove();
  }

  #open(): void {
    this.#pull?.stop();
    this.#pull = null;
    if (this.#host.recording !== null || this.#kind === "film") return;
    this.#pull = new Pull(this.#host.api, this.name, this.#wish(), {
      take: (entries) => {
        this.take(entries);
      },
      skipped: (count) => {
        this.#skipped += count;
      },
      trouble: (words) => {
        this.#link = words;
        this.#say();
      },
    });
  }

  #wish(): Wish {
    if (this.#kind === "sound") return { from: "$", count: MANY };
    const newest = this.#host.newest(this.name) ?? this.#last?.id ?? null;
    if (!this.wantsAll || newest === null) return { from: "-", count: 1 };
    // A plot begins with what its window would show by now.
    const from = Math.max(0, Number(newest.split("-")[0]) - WINDOW_MS);
    return { from: String(from), count: MANY };
  }

  #change(kind: Kind): void {
    this.#build(kind);
    this.#draw();
    const before = this.#pull;
    if (before === null || this.wantsAll || kind === "film") this.#open();
    this.#host.settled(this);
    if (!this.wantsAll && this.#last !== null) this.#view?.take([this.#last]);
  }

  #build(kind: Kind): void {
    this.#view?.stop();
    this.#kind = kind;
    this.element.dataset["kind"] = kind;
    this.#trouble = "";
    this.#say();
    const setting: Setting = {
      about: this.about, clock: this.#host.clock, recording: this.#host.recording,
      trouble: (words) => {
        this.#trouble = words;
        this.#say();
      },
    };
    this.#view = this.#made(kind, setting);
    this.#room.replaceChildren(this.#view.element);
  }

  #made(kind: Kind, setting: Setting): View {
    switch (kind) {
      case "picture": return new PictureView(setting);
      case "film": return setting.recording === null ? new FilmView(setting, this.#host.api) : new CodedView(setting);
      case "plot": return new PlotView(setting);
      case "tree": return new TreeView(setting);
      case "sound": return new SoundView(setting);
      case "points": return new PointsView(setting);
      case "log": return new LogView(setting);
      case "bytes": return new BytesView(setting);
    }
  }

  #say(): void {
    const words = this.#trouble || this.#link;
    if (this.#alarm.textContent !== words) this.#alarm.textContent = words;
  }

  #footWords(): string {
    const { clock } = this.#host;
    const isCounted = this.#kind !== "picture" && !clock.isPaused;
    const words = [isCounted ? this.#rate.words("entries/s") : "", this.#view?.words ?? "", this.#ageWords()];
    if (this.#skipped > 0) words.push(`${String(this.#skipped)} left out`);
    const nothing = clock.isLive ? "Waiting for the first entry …" : "Nothing was recorded before this";
    const isEmpty = this.#last === null && this.#kind !== "film";
    return joined(...words) || (isEmpty ? nothing : "");
  }

  #ageWords(): string {
    const { clock } = this.#host, last = this.#last;
    if (last === null || this.#kind === "film") return "";
    if (clock.isPaused && clock.isLive) return "paused";
    const quiet = clock.now - last.at;
    if (quiet > QUIET_MS) return `last entry ${age(quiet)} ${clock.isLive ? "ago" : "before"}`;
    return clock.isLive ? `${age(this.#late)} old` : "";
  }

  #draw(): void {
    const own = this.#own, { name } = this.about;
    const kinds = own === null ? [] : choices(own, this.about, this.#host.recording === null);
    render(html`<header><h3>${name}</h3>
      ${kinds.length > 1 ? html`<select aria-label=${`Show ${name} as`} @change=${(event: Event) => {
        this.#change((event.target as HTMLSelectElement).value as Kind);
      }}>${kinds.map((kind) => html`<option value=${kind} ?selected=${kind === this.#kind}>${TITLES[kind]}</option>`)}
      </select>` : ""}
      <button class="plain" aria-label=${`Close ${name}`} title="Close" @click=${() => {
        this.#host.close(name);
      }}>${closeIcon}</button></header>
      ${this.#room}${this.#alarm}${this.#foot}`, this.element);
  }
}
