/** The headless core: a seat, its signalling socket and its media, kept alive while it may be. */

import { Api } from "./api";
import { Media } from "./media";
import type { InputMessage } from "./messages";
import { size as sizeMessage } from "./messages";
import type { Size, TransportChoice } from "./parameters";
import { Problem, networkProblem } from "./problem";
import { Backoff, mayResume } from "./reconnect";
import { Seat, type SeatOptions } from "./seat";
import { Signalling, type Incoming } from "./signalling";
import { phaseOf, type Phase, type ViewerState } from "./state";
import { Meter, NO_STATS, type ViewerStats } from "./stats";
import type { ControlMessage, Sound, Transport } from "./transport";
import { isLive, isOver, type Role, type SeatAnswer, type SessionView } from "./wire";
import type { CursorShape, StreamInfo } from "./wire";

export interface ConnectionOptions extends SeatOptions {
  readonly base: string;
  readonly transport: TransportChoice;
  readonly pin: { readonly host: string; readonly port: number } | null;
  /** The viewer's size in device pixels, or the fixed size that was asked for. */
  readonly size: () => Size;
}

export interface ConnectionHooks {
  state(state: ViewerState): void;
  /** Another transport is in use; its `picture` belongs into the page. */
  picture(transport: Transport): void;
  /** The picture's own size changed. */
  resized(size: Size): void;
  cursor(cursor: CursorShape): void;
  message(message: ControlMessage): void;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #hooks: ConnectionHooks;
  readonly #seat: Seat;
  readonly #signalling = new Signalling();
  readonly #media: Media;
  readonly #meter = new Meter();
  readonly #backoff = new Backoff();
  #stop = new AbortController();
  #isStarted = false;
  #isGone = false;
  #session: SessionView | null = null;
  #role: Role = "controller";
  #problem: Problem | null = null;
  #hasPicture = false;
  #hadPicture = false;
  /** The transport in use has brought a picture. */
  #isShown = false;
  #trouble: string | null = null;
  #stream: StreamInfo | null = null;
  #sound: Sound = "none";
  #phase: Phase = "idle";
  #since = performance.now();
  #sentSize = "";
  #brokenAt = 0;
  /** The gateway that the signalling socket goes to. */
  #signallingAt = "";

  constructor(options: ConnectionOptions, hooks: ConnectionHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#seat = new Seat(new Api(options.base, options.token), options);
    this.#media = this.#makeMedia();
  }

  get state(): ViewerState {
    return {
      phase: this.#phase,
      session: this.#session,
      role: this.#role,
      transport: this.#media.current?.kind ?? null,
      stream: this.#stream,
      sound: this.#sound,
      problem: this.#problem,
      since: this.#since,
      trouble: this.#trouble,
      transportReason: this.#media.reason,
    };
  }

  get transport(): Transport | null {
    return this.#media.current;
  }

  /** The box of the transport in use, once it has brought a picture. */
  get shown(): HTMLElement | undefined {
    return this.#isShown ? this.#media.current?.picture : undefined;
  }

  /** Begin; resolves when the connection has ended, whatever the reason. */
  async run(): Promise<void> {
    if (this.#isStarted) return;
    this.#isStarted = true;
    // The question is on its way before anything else is made.
    const kept = this.#keepSignalling();
    this.#media.prepare();
    this.#tell();
    const renew = (): void => {
      this.#media.renew();
      this.#signalling.close();
    };
    window.addEventListener("online", renew);
    try {
      await kept;
    } catch (error) {
      this.#problem = networkProblem(error);
    } finally {
      window.removeEventListener("online", renew);
    }
    if (!this.#stop.signal.aborted) this.#media.stop();
    this.#hasPicture = false;
    this.#tell();
  }

  /** Leave the seat; the session goes on. */
  close(): void {
    this.#stop.abort();
    this.#signalling.send({ type: "bye", reason: "left" });
    this.#signalling.close();
    this.#media.stop();
    this.#isStarted = false;
    this.#hasPicture = this.#hadPicture = false;
    this.#tell();
  }

  send(message: InputMessage): void {
    const mayAnybody = message[0] === "v";
    if (mayAnybody || this.#role === "controller") this.#media.current?.send(message);
  }

  /** Tell the streamer the viewer's size if it changed. */
  resize(): void {
    const now = this.#options.size();
    if (this.#stream === null) return;
    if (sizeKey(now) === this.#sentSize) return;
    this.#sentSize = sizeKey(now);
    this.send(sizeMessage(now.width, now.height));
  }

  async stats(): Promise<ViewerStats> {
    const transport = this.#media.current;
    if (!transport) return NO_STATS;
    const raw = await transport.stats();
    const { decodedFrames, droppedFrames, rttMs, width, height, decoder, glassMs, jitterMs } = raw;
    return {
      transport: transport.kind,
      ...this.#meter.add(raw, performance.now()),
      decodedFrames, droppedFrames, rttMs, width, height, decoder, glassMs, jitterMs,
      audio: this.#stream?.audio === false ? "none" : this.#sound,
      codec: this.#stream?.codec ?? null,
      encoder: this.#stream?.encoder ?? this.#session?.encoder ?? null,
    };
  }

  /** End the session for everybody. */
  async end(): Promise<void> {
    await this.#seat.end();
  }

  async #keepSignalling(): Promise<void> {
    let seat: SeatAnswer | null = await this.#untilAnswered(() => this.#seat.first());
    while (seat && !this.#stop.signal.aborted) {
      this.#adopt(seat);
      if (this.#isEnded()) return;
      const opened = performance.now();
      this.#signallingAt = this.#seat.api.base;
      const url = this.#seat.api.socketUrl(this.#options.session, "signalling");
      const wasSilent = await this.#signalling.run(url, seat.signalling_ticket, {
        opened: () => {
          this.#problem = null;
          this.#startMedia();
        },
        message: (message) => {
          this.#onMessage(message);
        },
        problem: (problem) => {
          this.#trouble = problem.detail;
        },
      });
      if (this.#isEnded()) return;
      if (performance.now() - opened > 5000) this.#backoff.reset();
      seat = await this.#seatAgain(wasSilent);
    }
  }

  /** The seat by its cookie, for as long as the session may still be resumed. */
  async #seatAgain(isHurried: boolean): Promise<SeatAnswer | null> {
    await this.#pause(this.#backoff.next());
    try {
      return await this.#untilAnswered(() => this.#seat.again(isHurried));
    } catch (error) {
      const problem = networkProblem(error);
      if (problem.passing) throw problem;
      await this.#gone(problem);
      return null;
    }
  }

  /** *ask* until the server answers, with growing pauses; null when that is not wanted any more. */
  async #untilAnswered(ask: () => Promise<SeatAnswer>): Promise<SeatAnswer | null> {
    this.#brokenAt = Date.now();
    while (!this.#stop.signal.aborted && !this.#isEnded()) {
      try {
        return await ask();
      } catch (error) {
        const problem = networkProblem(error);
        const lease = this.#session?.lease_ends_at ?? null;
        const isHopeless = !this.#hasPicture && !mayResume(lease, this.#brokenAt, Date.now());
        if (!problem.passing || isHopeless) throw problem;
        this.#trouble = problem.title;
        this.#tell();
      }
      await this.#pause(this.#backoff.next());
    }
    return null;
  }

  /** The seat was refused: most likely the session has ended while we were away. */
  async #gone(problem: Problem): Promise<void> {
    const now = await this.#seat.api.session(this.#options.session).catch(() => null);
    if (now) this.#session = now;
    else if (problem.status === 404 || problem.status === 410) this.#isGone = true;
    if (!this.#isEnded()) this.#problem = problem;
    this.#tell();
  }

  #adopt(seat: SeatAnswer): void {
    this.#session = seat.session;
    this.#role = seat.role;
    if (!this.#media.needsSignalling) this.#startMedia();
    this.#tell();
  }

  #onMessage(message: Incoming): void {
    switch (message.type) {
      case "welcome":
        this.#media.setIceServers(message.ice_servers ?? [], message.ice_policy ?? "all");
        this.#onSession(message.session);
        break;
      case "resume":
        this.#seat.renewed(message.ticket, message.gateways);
        break;
      case "session":
        this.#onSession(message.session);
        break;
      case "offer":
        this.#media.offer(message.sdp, message.peer ?? null);
        break;
      case "candidate":
        this.#media.candidate(message);
        break;
      default:
        break;
    }
  }

  #onSession(session: SessionView): void {
    if (session.revision < (this.#session?.revision ?? 0)) return;
    this.#session = session;
    if (isOver(session.state)) {
      this.#hasPicture = false;
      this.#media.stop();
      // Until the very end, which brings the reason.
      if (this.#isEnded()) this.#signalling.close();
    } else {
      this.#startMedia();
    }
    this.#tell();
  }

  #startMedia(): void {
    if (this.#session && isLive(this.#session.state)) this.#media.start();
  }

  #isEnded(): boolean {
    return this.#isGone || this.#session?.state === "ended";
  }

  #makeMedia(): Media {
    const { transport, pin, size } = this.#options;
    return new Media({ choice: transport, pin }, {
      changed: (current) => {
        this.#meter.reset();
        this.#isShown = false;
        this.#stream = null;
        this.#sound = "none";
        this.#hooks.picture(current);
        this.#tell();
      },
      firstPicture: () => {
        this.#onPicture();
      },
      recovered: () => {
        this.#onPicture();
      },
      ready: () => {
        if (document.hidden) this.send(["v", 0]);
      },
      resized: (shape) => {
        this.#hooks.resized(shape);
      },
      lost: (reason) => {
        this.#hasPicture = false;
        this.#trouble = reason;
        this.#tell();
      },
      impossible: (problem) => {
        this.#problem = problem;
        this.#tell();
        this.#stop.abort();
        this.#signalling.close();
      },
      control: (message) => {
        this.#onControl(message);
      },
      sound: (sound) => {
        this.#sound = sound;
        this.#tell();
      },
      signal: (message) => this.#signalling.send(message),
      mediaTicket: (isHurried) => this.#mediaTicket(isHurried),
      size,
    });
  }

  async #mediaTicket(isHurried: boolean): Promise<{ url: string; ticket: string }> {
    // The ticket first: it tells where the session is at home.
    const ticket = await this.#seat.mediaTicket(isHurried);
    const { api } = this.#seat;
    // The home was left behind for a silent one: its signalling socket is no use any more.
    if (this.#signalling.isOpen && api.base !== this.#signallingAt) this.#signalling.close();
    return { ticket, url: api.socketUrl(this.#options.session, "media") };
  }

  #onPicture(): void {
    this.#isShown = true;
    this.#hasPicture = this.#hadPicture = true;
    this.#trouble = null;
    this.#tell();
  }

  #onControl(message: ControlMessage): void {
    if (message[0] === "s") {
      const isFirst = this.#stream === null;
      this.#stream = message[1] as StreamInfo;
      // Asking for the size that it has already would cost a restart of the capture.
      if (isFirst) this.#sentSize = sizeKey(this.#stream);
      this.resize();
      this.#tell();
    } else if (message[0] === "c") {
      this.#hooks.cursor(message[1] as CursorShape);
    } else if (message[0] !== "p") {
      this.#hooks.message(message);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#stop.signal.addEventListener("abort", done, { once: true });
      window.addEventListener("online", done, { once: true });
    });
  }

  #tell(): void {
    const phase = phaseOf({
      isStarted: this.#isStarted,
      problem: this.#problem,
      session: this.#session,
      isGone: this.#isGone,
      hasPicture: this.#hasPicture,
      hadPicture: this.#hadPicture,
    });
    if (phase !== this.#phase) this.#since = performance.now();
    this.#phase = phase;
    this.#hooks.state(this.state);
  }
}

function sizeKey(size: Size): string {
  return `${String(size.width)}x${String(size.height)}`;
}
