/** `<downstage-viewer>`: a session's picture, its sound, and the hands on it. */

import { LitElement, html, nothing, type TemplateResult } from "lit";
import { AutoHide } from "./autohide";
import { Connection } from "./connection";
import { cssCursor } from "./cursor";
import { Input } from "./input";
import type { Size, TransportChoice } from "./parameters";
import { Pictures } from "./pictures";
import { networkProblem } from "./problem";
import type { ViewerState } from "./state";
import { NO_STATS, type ViewerStats } from "./stats";
import { viewerStyle } from "./style";
import type { ControlMessage, Transport } from "./transport";
import type { SeatAnswer } from "./wire";
import { badges, bar, coverOf, spoken, statsPanel, type BarActions } from "./view";

const RESIZE_AFTER_MS = 150;
const BAR_STAYS_MS = 2500;
const TICK_MS = 1000;

const IDLE: ViewerState = {
  phase: "idle", session: null, role: "controller", transport: null, stream: null, sound: "none",
  problem: null, since: 0, trouble: null, transportReason: null,
};

export class DownstageViewer extends LitElement {
  static override readonly styles = viewerStyle;
  static override readonly properties = {
    session: { type: String },
    base: { type: String },
    transport: { type: String },
    controls: { type: Boolean },
    autoconnect: { type: Boolean },
    showStats: { type: Boolean, attribute: "stats" },
  };

  declare session: string;
  declare base: string;
  declare transport: TransportChoice;
  declare controls: boolean;
  declare autoconnect: boolean;
  declare showStats: boolean;

  /** One-time join code; spent by the next `connect()`. */
  code: string | null = null;
  /** A seat that the page has asked for already, with `code`; used by the next `connect()`. */
  seat: Promise<SeatAnswer> | null = null;
  /** Gives the person's bearer token, where the page has one. */
  token: () => string | null = () => null;
  /** A fixed size of the picture; null follows the element. */
  resolution: Size | null = null;
  /** Share of the element's device pixels that the picture asks for. */
  scale = 1;
  /** Never lock the pointer. */
  freeCursor = false;
  /** Outside address of the media port, behind a router that forwards it. */
  pin: { readonly host: string; readonly port: number } | null = null;
  /** How to end the session for everybody; the gateway's own way when null. */
  endSession: (() => Promise<void>) | null = null;

  readonly #pictures = new Pictures();
  readonly #bar = new AutoHide(this, BAR_STAYS_MS, () =>
    this.renderRoot.querySelector(".bar:hover, .bar :focus-visible") !== null);
  #connection: Connection | null = null;
  #input: Input | null = null;
  #state = IDLE;
  #stats: ViewerStats | null = null;
  #off = new AbortController();
  #observer: ResizeObserver | null = null;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #resizeTimer: ReturnType<typeof setTimeout> | undefined;
  #isMuted = false;
  #isByKeyboard = false;
  #endProblem = "";

  constructor() {
    super();
    this.session = "";
    this.base = location.origin;
    this.transport = "auto";
    this.controls = this.autoconnect = this.showStats = false;
  }

  get state(): ViewerState { return this.#state; }

  get #way(): Transport | null { return this.#connection?.transport ?? null; }

  /** What is heard, as a stream; null without sound. */
  get audioStream(): MediaStream | null { return this.#way?.audioStream ?? null; }

  /** Take a seat and bring the picture; state changes come as `downstage-state` events. */
  connect(): void {
    this.#connection?.close();
    const { code, seat } = this;
    this.code = this.seat = null;
    const connection = new Connection({
      base: this.base,
      session: this.session,
      code,
      seat,
      token: this.token,
      transport: this.transport,
      pin: this.pin,
      size: () => this.#wantedSize(),
    }, {
      state: (state) => {
        if (connection === this.#connection) this.#onState(state);
      },
      picture: (transport) => {
        this.#onPicture(transport);
      },
      resized: (size) => {
        this.#pictures.natural = size;
        this.#layout();
      },
      cursor: (shape) => {
        this.#stage?.style.setProperty("cursor", cssCursor(shape, devicePixelRatio));
      },
      message: (message) => {
        this.#emit<ControlMessage>("downstage-message", message);
      },
    });
    this.#connection = connection;
    void connection.run();
  }

  /** Leave the seat. The session goes on until its lease ends. */
  disconnect(): void {
    this.#connection?.close();
    this.#connection = null;
    this.#pictures.keepOnly(undefined);
    this.#onState(IDLE);
  }

  /** Full screen on or off; without an argument the other than now. */
  async fullscreen(on = document.fullscreenElement !== this): Promise<void> {
    if (on) await this.requestFullscreen({ navigationUI: "hide" });
    else if (document.fullscreenElement) await document.exitFullscreen();
  }

  /** A data channel to the application, by its name; null while there is no WebRTC path. */
  openChannel(name: string): RTCDataChannel | null { return this.#way?.openChannel(name) ?? null; }

  async stats(): Promise<ViewerStats> { return (await this.#connection?.stats()) ?? NO_STATS; }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#off = new AbortController();
    const { signal } = this.#off;
    document.addEventListener("visibilitychange", () => {
      this.#connection?.send(["v", document.hidden ? 0 : 1]);
    }, { signal });
    document.addEventListener("fullscreenchange", () => {
      this.requestUpdate();
    }, { signal });
    window.addEventListener("keydown", (event) => {
      this.#isByKeyboard = event.key === "Tab";
    }, { signal, capture: true });
    window.addEventListener("pointerdown", () => {
      this.#isByKeyboard = false;
    }, { signal, capture: true });
    this.#ticker = setInterval(() => {
      void this.#tick();
    }, TICK_MS);
    if (this.hasUpdated) this.#attach();
    if (this.autoconnect && this.session) this.connect();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#off.abort();
    this.#observer?.disconnect();
    this.#input?.stop();
    this.#input = null;
    clearInterval(this.#ticker);
    clearTimeout(this.#resizeTimer);
    this.disconnect();
  }

  protected override firstUpdated(): void {
    this.#attach();
  }

  protected override updated(): void {
    if (this.#input) {
      this.#input.enabled = this.#state.phase === "playing" && this.#state.role === "controller";
    }
  }

  protected override render(): TemplateResult {
    const state = this.#state;
    const playing = state.phase === "playing";
    return html`
      <div class="stage" role="application" aria-label="Picture of the application">
        ${this.#pictures.element}
        <textarea class="sink" aria-label="Keyboard of the application" autocapitalize="off"
          autocomplete="off" spellcheck="false" ?disabled=${!playing} inputmode=${this.#inputMode()}
          @focus=${this.#onFocus} @blur=${this.#onFocus}></textarea>
      </div>
      ${playing ? badges(state, this.#hear) : nothing}
      ${this.showStats && this.#stats && playing ? statsPanel(this.#stats) : nothing}
      ${coverOf(state, performance.now())}
      ${this.controls && playing ? bar(state, this.#barActions()) : nothing}
      <div class="said" role="status">${spoken(state)}</div>
      <dialog aria-labelledby="end-title" @close=${this.#onDialog}>
        <form method="dialog">
          <h1 id="end-title">End this session?</h1>
          <p class="soft">The application closes for everybody who is here. What it has not saved
            is lost.</p>
          <div class="more">
            <button class="button bad" value="end">End session</button>
            <button class="button" value="">Keep it</button>
          </div>
        </form>
      </dialog>
      ${this.#endProblem ? html`<div class="badges"><span class="badge" role="alert">${
        this.#endProblem}</span></div>` : nothing}`;
  }

  get #stage(): HTMLElement | null { return this.renderRoot.querySelector(".stage"); }

  #attach(): void {
    const stage = this.#stage;
    const sink = this.renderRoot.querySelector("textarea");
    if (!stage || !sink) return;
    this.#observer = new ResizeObserver(() => {
      this.#layout();
      clearTimeout(this.#resizeTimer);
      this.#resizeTimer = setTimeout(() => this.#connection?.resize(), RESIZE_AFTER_MS);
    });
    this.#observer.observe(this);
    this.#input = new Input(stage, sink, {
      send: (message) => this.#connection?.send(message),
      picture: () => this.#pictures.onPage(this),
      gesture: () => this.#connection?.transport?.gesture(),
      menu: () => {
        this.#leavePicture();
      },
      captured: () => {
        this.requestUpdate();
      },
      locked: () => {
        this.requestUpdate();
      },
    });
    this.#layout();
  }

  #wantedSize(): Size {
    if (this.resolution) return this.resolution;
    const box = this.isConnected ? this.getBoundingClientRect() : null;
    const whole = (css: number): number =>
      Math.max(1, Math.round(css * devicePixelRatio * this.scale));
    return { width: whole(box?.width || innerWidth), height: whole(box?.height || innerHeight) };
  }

  #layout(): void {
    this.#pictures.layout(this, devicePixelRatio * (this.resolution ? 1 : this.scale));
  }

  #onPicture(transport: Transport): void {
    this.#pictures.add(transport.picture);
    transport.setMuted(this.#isMuted);
    this.#layout();
  }

  #onState(state: ViewerState): void {
    const was = this.#state.phase;
    this.#state = state;
    if (state.phase !== "playing") this.renderRoot?.querySelector("dialog")?.close();
    const shown = state.phase === "playing" ? this.#connection?.shown : undefined;
    if (shown) this.#pictures.keepOnly(shown);
    if (state.phase === "playing" && was !== "playing") this.#onPlaying();
    this.requestUpdate();
    this.#emit<ViewerState>("downstage-state", state);
  }

  #onPlaying(): void {
    this.#bar.open();
    void this.updateComplete.then(() => {
      if (document.activeElement === document.body || document.activeElement === this) {
        this.#input?.focus();
      }
    });
  }

  async #tick(): Promise<void> {
    const { phase } = this.#state;
    if (phase === "waiting" || phase === "reconnecting") this.requestUpdate();
    if (phase !== "playing" || document.hidden) return;
    this.#stats = await this.stats();
    if (this.showStats) this.requestUpdate();
    this.#emit<ViewerStats>("downstage-stats", this.#stats);
  }

  #barActions(): BarActions {
    const then = (act: () => unknown) => (): void => {
      act();
      this.#input?.focus();
      this.requestUpdate();
    };
    return {
      isOpen: this.#bar.isOpen,
      isFullscreen: document.fullscreenElement === this,
      isCaptured: this.#input?.isCaptured ?? false,
      isLocked: this.#input?.isLocked ?? false,
      mayLock: !this.freeCursor,
      isMuted: this.#isMuted || this.#state.sound === "blocked",
      showsStats: this.showStats,
      open: this.#bar.open,
      fullscreen: then(() => this.fullscreen().catch(() => undefined)),
      capture: then(() => this.#input?.capture(!this.#input.isCaptured)),
      lock: then(() => this.#input?.lockPointer(!this.#input.isLocked).catch(() => undefined)),
      mute: then(() => {
        if (this.#state.sound === "blocked") this.#hear();
        else this.#setMuted(!this.#isMuted);
      }),
      stats: then(() => {
        this.showStats = !this.showStats;
        void this.#tick();
      }),
      end: () => {
        this.renderRoot.querySelector("dialog")?.showModal();
      },
    };
  }

  #leavePicture(): void {
    this.#input?.capture(false);
    if (this.#input?.isLocked) void this.#input.lockPointer(false);
    this.#input?.releaseAll();
    this.#bar.open();
    void this.updateComplete.then(() => {
      this.renderRoot.querySelector<HTMLElement>(".tool:not(:disabled)")?.focus();
    });
  }

  readonly #hear = (): void => {
    this.#setMuted(false);
    this.#connection?.transport?.gesture();
    this.#input?.focus();
  };

  #setMuted(muted: boolean): void {
    this.#isMuted = muted;
    this.#connection?.transport?.setMuted(muted);
    this.requestUpdate();
  }

  readonly #onDialog = (event: Event): void => {
    const dialog = event.target as HTMLDialogElement;
    const wanted = dialog.returnValue === "end";
    dialog.returnValue = "";
    if (!wanted) {
      this.#input?.focus();
      return;
    }
    const end = this.endSession ?? (() => this.#connection?.end() ?? Promise.resolve());
    end().then(
      () => {
        this.#endProblem = "";
      },
      (error: unknown) => {
        const problem = networkProblem(error);
        this.#endProblem = `The session could not be ended: ${problem.detail}`;
        this.requestUpdate();
      },
    );
  };

  readonly #onFocus = (event: Event): void => {
    this.#stage?.classList.toggle("ring", event.type === "focus" && this.#isByKeyboard);
  };

  /** On touch screens the keyboard only comes up when the person asks for it. */
  #inputMode(): string {
    const isCoarse = matchMedia("(pointer: coarse)").matches;
    return isCoarse && !this.#input?.isCaptured ? "none" : "text";
  }

  #emit<T>(name: string, detail: T): void {
    this.dispatchEvent(new CustomEvent<T>(name, { detail, bubbles: true, composed: true }));
  }
}

if (!customElements.get("downstage-viewer")) {
  customElements.define("downstage-viewer", DownstageViewer);
}

declare global {
  interface HTMLElementTagNameMap {
    "downstage-viewer": DownstageViewer;
  }
  interface HTMLElementEventMap {
    "downstage-state": CustomEvent<ViewerState>;
    "downstage-stats": CustomEvent<ViewerStats>;
    "downstage-message": CustomEvent<ControlMessage>;
  }
}
