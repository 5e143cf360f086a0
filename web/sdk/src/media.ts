/**
 * Which way the picture comes: WebRTC first, the media socket where no UDP path is found, and
 * back again through both, with growing pauses, while the session lives.
 */

import { Problem } from "./problem";
import { isSameConnection } from "./sdp";
import { Backoff } from "./reconnect";
import { Patience } from "./silence";
import type { Outgoing } from "./signalling";
import type { Transport, TransportHooks, TransportKind } from "./transport";
import { WebRtcTransport, canWebRtc } from "./webrtc";
import { WebSocketTransport, canWebCodecs } from "./webcodecs";
import type { TransportChoice, Size } from "./parameters";

/** No picture over WebRTC in this time: there is no UDP path. */
const FIRST_PICTURE_MS = 3000;
/** A repair of the path gets this long. */
const REPAIR_MS = 3000;
const SOCKET_PICTURE_MS = 8000;

export interface MediaHooks
  extends Omit<TransportHooks, "broken" | "recovered" | "silent" | "heard"> {
  /** The transport in use changed; its picture box belongs into the page. */
  changed(transport: Transport): void;
  lost(reason: string): void;
  recovered(): void;
  /** No way is left that could ever work in this browser. */
  impossible(problem: Problem): void;
  signal(message: Outgoing): boolean;
  /** *isHurried*: the gateway that we know has fallen silent. */
  mediaTicket(isHurried: boolean): Promise<{ url: string; ticket: string }>;
  size(): Size;
}

export interface MediaOptions {
  readonly choice: TransportChoice;
  readonly pin: { readonly host: string; readonly port: number } | null;
}

/** The way to begin with, or why there is none. */
export function firstWay(
  choice: TransportChoice, webrtc: boolean, webcodecs: boolean,
): TransportKind | null {
  if (choice !== "websocket" && webrtc) return "webrtc";
  if (choice !== "webrtc" && webcodecs) return "websocket";
  return null;
}

export class Media {
  readonly #hooks: MediaHooks;
  readonly #options: MediaOptions;
  readonly #backoff = new Backoff();
  #current: Transport | null = null;
  #prepared: WebRtcTransport | null = null;
  #iceServers: readonly RTCIceServer[] = [];
  #icePolicy: RTCIceTransportPolicy = "all";
  #way: TransportKind | null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The streamer's name for the connection that the last offer was for. */
  #peer: string | null = null;
  /** The connection in use has brought a picture. */
  #isProven = false;
  #isRunning = false;
  #needsRepair = false;
  readonly #patience = new Patience();
  /** Opened beside a socket that is silent, and takes its place unless that speaks first. */
  #spare: WebSocketTransport | null = null;
  /** Counts up when no spare, or another, is wanted. */
  #spareTurn = 0;
  #sparePause = new Backoff();
  /** The gateway in use fell silent, and no picture has come since. */
  #wasSilent = false;
  /** What was wrong with WebRTC when the other way was taken. */
  #reason: string | null = null;

  constructor(options: MediaOptions, hooks: MediaHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#way = firstWay(options.choice, canWebRtc(), canWebCodecs());
  }

  get current(): Transport | null {
    return this.#current;
  }

  /** Why the way in use is not the first one. */
  get reason(): string | null {
    return this.#reason;
  }

  get needsSignalling(): boolean {
    return this.#way === "webrtc";
  }

  /** Make the peer connection before it is needed: its keys and its video take a moment. */
  prepare(): void {
    if (this.#way === "webrtc") this.#prepared ??= this.#makeRtc();
  }

  setIceServers(servers: readonly RTCIceServer[], policy: RTCIceTransportPolicy): void {
    this.#iceServers = servers;
    this.#icePolicy = policy;
    this.#rtc?.setIceServers(servers, policy);
    this.#prepared?.setIceServers(servers, policy);
  }

  /** The session can answer. Safe to call often. */
  start(): void {
    if (this.#needsRepair) this.#repair();
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#begin();
  }

  /** The network is another one: what was connected over the last may hang for minutes. */
  renew(): void {
    const current = this.#current;
    if (!this.#isRunning || current === null || !this.#isProven) return;
    // The new path is asked for as soon as signalling is open again.
    if (current.kind === "webrtc") this.#needsRepair = true;
    else this.#onBroken(current, "The network has changed", true);
  }

  /** Answer *sdp*; one from another connection of the streamer's needs another of ours. */
  offer(sdp: string, peer: string | null): void {
    let rtc = this.#rtc;
    if (!rtc) return;
    const isOther = peer !== null && this.#peer !== null && peer !== this.#peer;
    this.#peer = peer;
    if (rtc.remoteSdp !== null && (isOther || !isSameConnection(rtc.remoteSdp, sdp))) {
      rtc.close();
      this.#hooks.lost("The picture comes anew");
      rtc = this.#makeRtc();
      this.#use(rtc);
      this.#awaitPicture(rtc);
    }
    rtc.accept(sdp);
  }

  candidate(message: Parameters<WebRtcTransport["candidate"]>[0]): void {
    this.#rtc?.candidate(message);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#isRunning = false;
    this.#dropSpare();
    this.#prepared?.close();
    this.#prepared = null;
    this.#current?.close();
  }

  get #rtc(): WebRtcTransport | null {
    return this.#current instanceof WebRtcTransport ? this.#current : null;
  }

  #begin(): void {
    clearTimeout(this.#timer);
    if (!this.#isRunning) return;
    this.#dropSpare();
    this.#current?.close();
    if (this.#way === "webrtc") this.#beginRtc();
    else if (this.#way === "websocket") void this.#beginSocket();
    else this.#hooks.impossible(noWay(this.#options.choice));
  }

  #beginRtc(): void {
    const { width, height } = this.#hooks.size();
    if (!this.#hooks.signal({ type: "want", transport: "webrtc", width, height })) {
      // No signalling now; whoever opens it again calls start().
      this.#isRunning = false;
      return;
    }
    const rtc = this.#prepared ?? this.#makeRtc();
    this.#prepared = null;
    this.#isProven = false;
    this.#use(rtc);
    this.#awaitPicture(rtc);
  }

  #awaitPicture(rtc: WebRtcTransport): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!(rtc.isConnected && document.hidden)) this.#onNoPath(rtc);
    }, FIRST_PICTURE_MS);
  }

  async #beginSocket(): Promise<void> {
    try {
      const { url, ticket } = await this.#hooks.mediaTicket(this.#wasSilent);
      if (this.#isRunning) this.#useSocket(this.#makeSocket(url, ticket));
    } catch (error) {
      this.#hooks.lost(error instanceof Problem ? error.detail : String(error));
      this.#again();
    }
  }

  #makeSocket(url: string, ticket: string): WebSocketTransport {
    const hooks = this.#transportHooks(() => transport);
    const transport: WebSocketTransport = new WebSocketTransport(
      url, ticket, hooks, this.#patience,
    );
    return transport;
  }

  #useSocket(transport: WebSocketTransport): void {
    clearTimeout(this.#timer);
    this.#use(transport);
    this.#timer = setTimeout(() => {
      if (!document.hidden) this.#onBroken(transport, "No picture came", true);
    }, SOCKET_PICTURE_MS);
  }

  /** The socket in use is silent: look for another, and keep it for as long as that takes. */
  async #beginSpare(): Promise<void> {
    const turn = (this.#spareTurn += 1);
    try {
      const { url, ticket } = await this.#hooks.mediaTicket(true);
      if (turn === this.#spareTurn) this.#spare = this.#makeSocket(url, ticket);
    } catch {
      if (turn === this.#spareTurn) this.#spareLater();
    }
  }

  #spareLater(): void {
    const turn = (this.#spareTurn += 1);
    this.#spare = null;
    setTimeout(() => {
      if (turn === this.#spareTurn) void this.#beginSpare();
    }, this.#sparePause.next());
  }

  #dropSpare(): void {
    this.#spareTurn += 1;
    this.#spare?.close();
    this.#spare = null;
  }

  /** The last picture of the other stays in the page until this one has brought its own. */
  #promote(spare: WebSocketTransport): void {
    const silent = this.#current;
    this.#spare = null;
    this.#spareTurn += 1;
    this.#useSocket(spare);
    silent?.close();
  }

  #makeRtc(): WebRtcTransport {
    const rtc: WebRtcTransport = new WebRtcTransport(this.#transportHooks(() => rtc), {
      send: (message) => {
        if (rtc === this.#current) this.#hooks.signal(message);
      },
      pin: this.#options.pin,
    });
    rtc.setIceServers(this.#iceServers, this.#icePolicy);
    return rtc;
  }

  #use(transport: Transport): void {
    this.#current = transport;
    this.#hooks.changed(transport);
  }

  /** Hooks that fall silent as soon as another transport is in use. */
  #transportHooks(which: () => Transport): TransportHooks {
    const mine = (act: () => void): void => {
      if (which() === this.#current && this.#isRunning) act();
    };
    return {
      firstPicture: () => {
        mine(() => {
          clearTimeout(this.#timer);
          this.#isProven = true;
          this.#wasSilent = false;
          this.#backoff.reset();
          this.#hooks.firstPicture();
        });
      },
      ready: () => {
        const way = which();
        if (way === this.#spare && this.#isRunning) this.#promote(this.#spare);
        mine(() => {
          this.#hooks.ready();
        });
      },
      silent: () => {
        mine(() => {
          this.#sparePause = new Backoff();
          this.#wasSilent = true;
          void this.#beginSpare();
        });
      },
      heard: () => {
        mine(() => {
          this.#wasSilent = false;
          this.#dropSpare();
        });
      },
      broken: (reason, final) => {
        if (which() === this.#spare) this.#spareLater();
        mine(() => {
          this.#onBroken(which(), reason, final);
        });
      },
      recovered: () => {
        mine(() => {
          clearTimeout(this.#timer);
          this.#needsRepair = false;
          this.#hooks.recovered();
        });
      },
      resized: (size) => {
        mine(() => {
          this.#hooks.resized(size);
        });
      },
      control: (message) => {
        mine(() => {
          this.#hooks.control(message);
        });
      },
      sound: (sound) => {
        mine(() => {
          this.#hooks.sound(sound);
        });
      },
    };
  }

  #onNoPath(rtc: WebRtcTransport): void {
    if (rtc !== this.#current) return;
    const reason = "No UDP path to the machine";
    this.#otherWay(reason);
    this.#hooks.lost(reason);
    this.#begin();
  }

  #onBroken(transport: Transport, reason: string, final: boolean): void {
    clearTimeout(this.#timer);
    const isRtc = transport.kind === "webrtc";
    // A path that has carried a picture gets another try.
    if (isRtc && final && !this.#isProven) this.#otherWay(reason);
    this.#hooks.lost(reason);
    if (this.#spare !== null) {
      this.#promote(this.#spare);
      return;
    }
    if (isRtc && !final) {
      this.#needsRepair = true;
      this.#repair();
      return;
    }
    this.#again();
  }

  /** A new path through signalling; start() calls this again when signalling comes back. */
  #repair(): void {
    if (!this.#hooks.signal({ type: "restart" })) return;
    this.#needsRepair = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#otherWay("The path to the machine broke");
      this.#begin();
    }, REPAIR_MS);
  }

  #again(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#begin();
    }, this.#backoff.next());
  }

  #otherWay(reason: string): void {
    if (this.#options.choice !== "auto" || !canWebCodecs()) return;
    this.#way = "websocket";
    this.#reason = reason;
  }
}

function noWay(choice: TransportChoice): Problem {
  const insecure = !window.isSecureContext;
  return new Problem({
    code: "no-transport",
    status: 400,
    title: "This browser cannot show the picture",
    detail:
      choice === "websocket" && insecure
        ? "Decoding in the page needs https or localhost. Open this address with https."
        : choice === "webrtc"
          ? "It has no WebRTC. Use transport=auto, or another browser."
          : "It has neither WebRTC nor WebCodecs. Use a current Chromium or Firefox, " +
            "and open the address with https.",
  });
}
