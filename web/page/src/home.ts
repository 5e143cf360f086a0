/** The start page: what runs for me, and what I can start. */

import { html, nothing, render, type TemplateResult } from "lit";
import { Problem, endingOf, placeInQueue, type Api } from "@downstage/viewer";
import type { ApplicationView, SessionView } from "@downstage/viewer";
import { mark, wordsOf } from "./forms";
import { ago } from "./ago";
import { judge, tryNetwork, type Verdict } from "./network";
import { pages } from "./pages";
import { measure } from "./regions";
import { dropToken } from "./token";

const REFRESH_MS = 5000;
const MOST_ENDED = 5;

interface Data {
  readonly sessions: readonly SessionView[];
  readonly applications: readonly ApplicationView[];
}

export class Home {
  readonly #root: HTMLElement;
  readonly #api: Api;
  readonly #signedOut: () => void;
  readonly #fps: number;
  #data: Data | null = null;
  #alarm = "";
  #network: Verdict | null = null;
  #rtt: Record<string, number> = {};
  #isBusy = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(root: HTMLElement, api: Api, fps: number | null, signedOut: () => void) {
    this.#root = root;
    this.#api = api;
    this.#fps = fps ?? 60;
    this.#signedOut = signedOut;
  }

  start(): void {
    document.title = "Downstage";
    this.#render();
    void this.#load();
    void this.#checkNetwork();
    void this.#measure();
    this.#timer = setInterval(() => {
      if (!document.hidden && !this.#isBusy) void this.#load();
    }, REFRESH_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #load(): Promise<void> {
    try {
      const [sessions, applications] = await Promise.all([
        this.#api.sessions(), this.#api.applications(),
      ]);
      this.#data = { sessions: sessions.items, applications: applications.items };
      this.#alarm = "";
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        this.#leave();
        return;
      }
      this.#alarm = wordsOf(error);
    }
    this.#render();
  }

  /** Where the platform names STUN or TURN servers, try them before anybody waits for a picture. */
  async #checkNetwork(): Promise<void> {
    try {
      const { ice_servers: servers, ice_policy: policy } = await this.#api.network();
      if (servers.length === 0) return;
      this.#network = judge(await tryNetwork(servers, policy));
      this.#render();
    } catch {
      // The page itself tells what is wrong with the platform.
    }
  }

  /** Where there are several regions, find out how far each is before anything is started. */
  async #measure(): Promise<void> {
    try {
      this.#rtt = await measure((await this.#api.regions()).items);
    } catch {
      // Without figures of ours the platform goes by what it knows.
    }
  }

  #leave(): void {
    this.stop();
    dropToken();
    this.#signedOut();
  }

  async #act(work: () => Promise<void>): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#alarm = "";
    this.#render();
    try {
      await work();
    } catch (error) {
      this.#alarm = wordsOf(error);
    }
    this.#isBusy = false;
    this.#render();
  }

  readonly #onStart = (event: SubmitEvent, name: string): void => {
    event.preventDefault();
    const stage = new FormData(event.target as HTMLFormElement).get("stage");
    const even = (css: number): number => Math.max(2, Math.round((css * devicePixelRatio) / 2) * 2);
    void this.#act(async () => {
      const created = await this.#api.create({
        application: name,
        display: { width: even(innerWidth), height: even(innerHeight), fps: this.#fps },
        ...(Object.keys(this.#rtt).length > 0 ? { rtt_ms: this.#rtt } : {}),
        ...(typeof stage === "string" && stage.trim() ? { stage: stage.trim() } : {}),
      }, crypto.randomUUID?.() ?? `${String(Date.now())}-${String(Math.random())}`);
      location.assign(created.join_url);
    });
  };

  #end(id: string): void {
    void this.#act(async () => {
      await this.#api.end(id);
      await this.#load();
    });
  }

  #render(): void {
    const data = this.#data;
    render(html`<div class="home">
      <header><a class="word" href="/">${mark}Downstage</a>
        ${pages("/")}
        <button class="button low" @click=${() => {
          this.#leave();
        }}>Sign out</button></header>
      <main>
        <p class="alarm" role="alert">${this.#alarm}</p>
        ${this.#network ? html`<p class="soft network" role="status">
          <span class="dot ${this.#network.dot}"></span>Network: ${this.#network.words}</p>` : nothing}
        ${data ? html`
          <h2>Your sessions</h2>${this.#sessions(data.sessions)}
          <h2>Applications</h2>${this.#applications(data.applications)}` : nothing}
      </main></div>`, this.#root);
  }

  #sessions(all: readonly SessionView[]): TemplateResult {
    const running = all.filter((session) => session.state !== "ended");
    const over = all.filter((session) => session.state === "ended").slice(0, MOST_ENDED);
    if (running.length + over.length === 0) {
      return html`<p class="empty">Nothing runs. Start an application below.</p>`;
    }
    return html`<ul class="rows">${[...running, ...over].map((session) => this.#row(session))}</ul>`;
  }

  #row(session: SessionView): TemplateResult {
    const isOver = session.state === "ended";
    const { dot, words } = describe(session);
    return html`<li>
      <div class="what"><h3><span class="dot ${dot}"></span>${session.application}</h3>
        <p class="soft">${words}${session.stage ? ` · ${session.stage}` : ""}</p></div>
      ${isOver ? nothing : html`
        <a class="button low" href=${`/?sessionid=${encodeURIComponent(session.id)}`}>Open</a>
        <button class="button low" ?disabled=${this.#isBusy || session.state === "ending"}
          @click=${() => {
            this.#end(session.id);
          }}>End</button>`}
    </li>`;
  }

  #applications(all: readonly ApplicationView[]): TemplateResult {
    if (all.length === 0) {
      return html`<p class="empty">No application is declared here.
        “downstage run -- COMMAND” streams any program.</p>`;
    }
    return html`<ul class="cards">${all.map((application) => html`<li>
      <h3>${application.title || application.name}</h3>
      <p class="soft">${application.description}</p>
      <form @submit=${(event: SubmitEvent) => {
        this.#onStart(event, application.name);
      }}>
        ${application.opens_stage ? html`<label>Stage to open (may stay empty)
          <input name="stage" spellcheck="false" autocomplete="off"
            placeholder="path or URL of a .usd file"></label>` : nothing}
        <button class="button first" ?disabled=${this.#isBusy}
          aria-label=${`Start ${application.title || application.name}`}>Start</button>
      </form></li>`)}</ul>`;
  }
}

function waitingWords(session: SessionView, since: string): string {
  const place = placeInQueue(session);
  return `Waiting for a free place${place ? ` · ${place}` : ""} · ${since}`;
}

/** One line for a session: a mark and words. */
export function describe(session: SessionView): { dot: string; words: string } {
  const since = ago(session.created_at, Date.now());
  switch (session.state) {
    case "queued":
      return { dot: "wait", words: waitingWords(session, since) };
    case "starting":
      return { dot: "wait", words: `Starting · ${since}` };
    case "ready":
      return { dot: "on", words: `Ready, nobody watches · ${since}` };
    case "active":
      return { dot: "on", words: `In use · ${since}` };
    case "disconnected":
      return { dot: "wait", words: `Nobody is connected · ${since}` };
    case "ending":
      return { dot: "", words: "Ending" };
    default:
      return {
        dot: session.outcome === "failed" ? "off" : "",
        words: `${endingOf(session).title} · started ${since}`,
      };
  }
}
