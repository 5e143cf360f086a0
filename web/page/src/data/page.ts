/** The data page: streams and recordings at the left, what is open of them beside each other. */

import "uplot/dist/uPlot.min.css";
import "./data.css";
import { html, nothing, render, type TemplateResult } from "lit";
import { Problem } from "@downstage/viewer";
import { mark, wordsOf } from "../forms";
import { pages } from "../pages";
import { dropToken } from "../token";
import type { DataApi } from "./api";
import { bar } from "./bar";
import type { Entry } from "./entries";
import { liveList, recordedList, Sparks, type ListHooks } from "./list";
import { pathOf, placeOf, type Place } from "./place";
import { Player } from "./player";
import { Recordings } from "./recordings";
import { replayPanel, Replays } from "./replays";
import { Snippets } from "./snippets";
import { Streams } from "./streams";
import { Tile, type Hosting } from "./tile";
import type { Clock } from "./views/view";
import type { About, RecordingView } from "./wire";

/** Streams of a recording that are opened with it. */
const OPENED = 4;
const MOST_OPEN = 16;
const EACH_MS = 200;

export class DataPage {
  readonly #root: HTMLElement;
  readonly #api: DataApi;
  readonly #token: () => string | null;
  readonly #signedOut: () => void;
  readonly #streams: Streams;
  readonly #recordings: Recordings;
  readonly #replays: Replays;
  readonly #snippets = new Snippets();
  readonly #sparks = new Sparks();
  readonly #tiles = new Map<string, Tile>();
  readonly #room = document.createElement("div");
  #player: Player | null = null;
  #frozen: number | null = null;
  #alarm = "";
  #helps = false;
  #isDue = false;
  #drawnAt = 0;
  #frame = 0;

  constructor(root: HTMLElement, api: DataApi, token: () => string | null, signedOut: () => void) {
    this.#root = root;
    this.#api = api;
    this.#token = token;
    this.#signedOut = signedOut;
    const changed = (): void => {
      this.#isDue = true;
    };
    this.#streams = new Streams(api, changed, (error) => {
      if (error.status === 401) this.#leave();
    });
    this.#recordings = new Recordings(api, {
      shown: () => (this.#player === null ? [...this.#tiles.keys()] : []),
      open: (name) => void this.#go({ recording: name, streams: [] }, true),
      gone: (name, to) => {
        if (this.#player?.recording.name === name) void this.#go({ recording: to, streams: [] }, true);
      },
      changed,
    });
    this.#replays = new Replays(api, changed);
    this.#room.className = "tiles";
  }

  start(): void {
    document.title = "Data · Downstage";
    addEventListener("popstate", () => void this.#go(placeOf(location.pathname), false));
    addEventListener("keydown", this.#onKey);
    this.#streams.start();
    this.#recordings.start();
    void this.#go(placeOf(location.pathname), false);
    this.#tick();
  }

  readonly #tick = (): void => {
    this.#frame = requestAnimationFrame(this.#tick);
    this.#player?.tick();
    for (const tile of this.#tiles.values()) tile.tick();
    const now = performance.now();
    if (this.#isDue || now - this.#drawnAt > EACH_MS) {
      this.#isDue = false;
      this.#drawnAt = now;
      this.#draw();
    }
  };

  /** Live: the server's time, or where somebody stopped it. */
  readonly #live: Clock = ((page: DataPage) => ({
    isLive: true,
    get now(): number {
      return page.#frozen ?? page.#serverNow;
    },
    get isPaused(): boolean {
      return page.#frozen !== null;
    },
  }))(this);

  get #serverNow(): number {
    return Date.now() + this.#api.skew;
  }

  async #go(place: Place, isNew: boolean): Promise<void> {
    if (isNew) history.pushState(null, "", pathOf(place));
    this.#clear();
    this.#alarm = "";
    this.#helps = false;
    let recording: RecordingView | null = null;
    if (place.recording !== null) {
      try {
        recording = await this.#api.recording(place.recording);
      } catch (error) {
        this.#alarm = wordsOf(error);
        if (error instanceof Problem && error.status === 401) this.#leave();
      }
    }
    if (recording !== null) this.#enter(recording);
    const streams = place.streams.length > 0 || recording === null ? place.streams : firstOf(recording);
    for (const name of streams) await this.#show(name);
    this.#toPlayer();
    this.#isDue = true;
  }

  #enter(recording: RecordingView): void {
    this.#frozen = null;
    this.#player = new Player(this.#api, recording, {
      deliver: (entries) => {
        this.#deliver(entries);
      },
      reset: () => {
        for (const tile of this.#tiles.values()) tile.reset();
      },
      changed: () => {
        this.#isDue = true;
      },
    });
    void this.#replays.follow(recording.name);
  }

  #clear(): void {
    this.#player?.stop();
    this.#player = null;
    this.#replays.end();
    for (const tile of this.#tiles.values()) tile.stop();
    this.#tiles.clear();
  }

  #deliver(entries: readonly Entry[]): void {
    const dealt = deal(entries);
    for (const [name, own] of dealt) this.#tiles.get(name)?.take(own);
  }

  #toggle(name: string): void {
    if (this.#tiles.has(name)) {
      this.#tiles.get(name)?.stop();
      this.#tiles.delete(name);
      this.#toPlayer();
    } else {
      void this.#show(name).then(() => {
        this.#toPlayer();
      });
    }
    this.#settle();
  }

  #settle(): void {
    const place = { recording: this.#player?.recording.name ?? null, streams: [...this.#tiles.keys()] };
    history.replaceState(null, "", pathOf(place));
    this.#isDue = true;
  }

  async #show(name: string): Promise<void> {
    if (this.#tiles.has(name)) return;
    if (this.#tiles.size >= MOST_OPEN) {
      this.#alarm = `At most ${String(MOST_OPEN)} streams are shown at once. Close one first.`;
      return;
    }
    const about = await this.#about(name);
    if (about === null || this.#tiles.has(name)) return;
    const player = this.#player;
    const host: Hosting = {
      api: this.#api,
      clock: player ?? this.#live,
      recording: player?.recording.name ?? null,
      newest: (stream) => this.#streams.find(stream)?.last_id ?? null,
      close: (stream) => {
        this.#toggle(stream);
      },
      settled: (tile) => {
        if (tile.past !== "none") this.#toPlayer();
      },
    };
    const tile = new Tile(host, about);
    this.#tiles.set(name, tile);
    this.#room.append(tile.element);
    this.#settle();
  }

  async #about(name: string): Promise<About | null> {
    const held = this.#player?.recording.streams.find((stream) => stream.name === name);
    if (this.#player !== null) {
      if (held === undefined) this.#alarm = `This recording holds no stream ${name}.`;
      return held === undefined ? null : { ...held, meta: {} };
    }
    const listed = this.#streams.find(name);
    if (listed !== undefined) return listed;
    try {
      return await this.#api.stream(name);
    } catch (error) {
      this.#alarm = wordsOf(error);
      return null;
    }
  }

  #toPlayer(): void {
    this.#player?.show([...this.#tiles.values()].map(({ name, past }) => ({ name, past })));
  }

  #leave(): void {
    cancelAnimationFrame(this.#frame);
    removeEventListener("keydown", this.#onKey);
    this.#clear();
    this.#streams.stop();
    this.#recordings.stop();
    dropToken();
    this.#signedOut();
  }

  readonly #onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const isTaken = target.closest("input, select, textarea, button, summary, a, dialog, video, canvas[tabindex]") !== null;
    if (isTaken || event.ctrlKey || event.metaKey || event.altKey) return;
    const player = this.#player;
    const work: Record<string, () => void> = player === null ? { " ": () => {
      this.#pause();
    } } : {
      " ": () => {
        if (player.isPaused) player.play();
        else player.pause();
      },
      ArrowRight: () => void player.step(1),
      ArrowLeft: () => void player.step(-1),
      Home: () => {
        player.seek(player.span.start);
      },
      End: () => {
        player.seek(player.span.stop);
      },
      l: () => {
        player.isLoop = !player.isLoop;
      },
    };
    const found = work[event.key];
    if (!found) return;
    event.preventDefault();
    found();
    this.#isDue = true;
  };

  #pause(): void {
    this.#frozen = this.#frozen === null ? this.#serverNow : null;
    this.#isDue = true;
  }

  #draw(): void {
    const player = this.#player, isBare = this.#tiles.size === 0;
    render(html`<div class="data ${player === null ? "" : "recorded"}">
      <header><a class="word" href="/">${mark}Downstage</a>${pages("/watch")}
        <button class="button low" @click=${() => {
          this.#leave();
        }}>Sign out</button></header>
      <aside aria-label="Streams and recordings">${player === null ? this.#liveAside() : this.#recordedAside(player)}
        ${this.#recordings.view(player?.recording.name ?? null, this.#serverNow)}</aside>
      <main>${this.#toolbar(player)}
        <p class="alarm" role="alert">${this.#alarm}</p>
        ${isBare || this.#helps ? this.#empty(player) : nothing}
        ${this.#room}
        ${player === null ? nothing : bar(player, [...this.#tiles.keys()])}
      </main></div>`, this.#root);
  }

  #liveAside(): TemplateResult {
    const { all } = this.#streams;
    this.#sparks.keep(new Set(all.map(({ view }) => view.name)));
    const isFiltered = this.#streams.pattern !== "*";
    return html`<section><header><h2>Streams</h2><span class="soft">${this.#streams.isKnown ? all.length : ""}</span></header>
      <input type="search" placeholder="Filter: camera-*" aria-label="Show only streams whose name fits" spellcheck="false"
        autocomplete="off" @input=${(event: Event) => {
          this.#streams.filter((event.target as HTMLInputElement).value);
        }}>
      <p class="alarm" role="alert">${this.#streams.trouble}</p>
      ${all.length > 0 ? liveList(all, this.#sparks, this.#serverNow, this.#hooks)
        : html`<p class="soft none">${!this.#streams.isKnown ? (this.#streams.trouble ? "" : "Reading …")
          : isFiltered ? "No stream has such a name." : "Nothing was pushed yet."}</p>`}</section>`;
  }

  #recordedAside(player: Player): TemplateResult {
    return html`<section><header><h2>${player.recording.name}</h2></header>
      <button class="button low back" @click=${() => void this.#go({ recording: null, streams: [] }, true)}>Back to live</button>
      ${recordedList(player.recording.streams, this.#hooks)}</section>`;
  }

  readonly #hooks: ListHooks = {
    isShown: (name) => this.#tiles.has(name),
    toggle: (name) => {
      this.#toggle(name);
    },
  };

  #toolbar(player: Player | null): TemplateResult {
    const running = this.#recordings.running;
    if (player !== null) {
      return html`<div class="toolbar"><h1>${player.recording.name}</h1>
        ${replayPanel(this.#replays, player)}</div>`;
    }
    return html`<div class="toolbar">
      <h1>${this.#frozen === null ? "Live" : "Paused"}</h1>
      <button class="button low" aria-pressed=${this.#frozen !== null} @click=${() => {
        this.#pause();
      }}>${this.#frozen === null ? "Pause" : "Go on"}</button>
      <button class="button low" @click=${() => {
        this.#recordings.record();
      }}><span class="dot rec"></span>Record</button>
      ${running.length > 0 ? html`<span class="soft" role="status">${running.length === 1
        ? `${running[0]?.name ?? ""} is being recorded` : `${String(running.length)} recordings run`}</span>` : nothing}
      <span class="fill"></span>
      ${this.#tiles.size > 0 ? html`<button class="plain" aria-expanded=${this.#helps} @click=${() => {
        this.#helps = !this.#helps;
        this.#isDue = true;
      }}>How to push</button>` : nothing}</div>`;
  }

  #empty(player: Player | null): TemplateResult {
    if (player !== null) return html`<p class="empty">Choose a stream at the left to see it here.</p>`;
    const has = this.#streams.all.length > 0 || this.#streams.pattern !== "*";
    return html`<div class="empty intro">
      ${this.#helps ? nothing : html`<h2>${has ? "Choose streams at the left" : "No streams yet"}</h2>
      <p>${has ? "Each opens here, beside the others, on one clock." : "A stream is there as soon as something is pushed to it."}
        ${has ? "To push another one:" : "For example so:"}</p>`}
      ${this.#snippets.view(location.origin, this.#token, () => {
        this.#isDue = true;
      })}</div>`;
  }
}

/** Those that say most at first sight. */
function firstOf(recording: RecordingView): string[] {
  const order = [/^(image|video)\//, /json/, /^audio\/|npy|ndarray/, /^text\//];
  const rank = (type: string | null): number => {
    const at = order.findIndex((kind) => kind.test(type ?? ""));
    return at < 0 ? order.length : at;
  };
  return recording.streams.filter(({ entries, name }) => entries > 0 && !name.startsWith("event:"))
    .sort((a, b) => rank(a.content_type) - rank(b.content_type)).slice(0, OPENED).map(({ name }) => name);
}

function deal(entries: readonly Entry[]): Map<string, Entry[]> {
  const dealt = new Map<string, Entry[]>();
  for (const entry of entries) {
    const own = dealt.get(entry.stream);
    if (own) own.push(entry);
    else dealt.set(entry.stream, [entry]);
  }
  return dealt;
}
