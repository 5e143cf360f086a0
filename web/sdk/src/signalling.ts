/** One signalling socket: JSON messages, from its opening to its close. */

import { ticketProtocols } from "./api";
import { problemOf, type Problem } from "./problem";
import { Patience, Silence } from "./silence";
import type { Role, SessionView } from "./wire";

const OPEN_DEADLINE_MS = 8000;
/** So many beats without a word: the gateway is gone, or cut off. */
const BEATS_MISSED = 2.5;

export interface Welcome {
  readonly type: "welcome";
  readonly session: SessionView;
  readonly seat: string | { readonly id: string; readonly role: Role };
  readonly role?: Role;
  readonly ice_servers?: readonly RTCIceServer[];
  readonly ice_policy?: RTCIceTransportPolicy;
  /** The gateway says something at least this often; absent where it promises nothing. */
  readonly heartbeat_ms?: number;
}

export interface CandidateMessage {
  readonly type: "candidate";
  readonly candidate: string | null;
  readonly sdp_mid?: string | null;
  readonly sdp_mline_index?: number | null;
}

export type Incoming =
  | Welcome
  | CandidateMessage
  | { readonly type: "session"; readonly session: SessionView }
  | { readonly type: "offer"; readonly sdp: string; readonly peer?: string | null }
  | {
      readonly type: "resume";
      readonly ticket: string;
      readonly gateways?: readonly string[];
    }
  | { readonly type: "bye"; readonly reason?: string }
  | { readonly type: "beat" }
  | { readonly type: "error" };

export type Outgoing =
  | { type: "want"; transport: "webrtc"; width: number; height: number }
  | { type: "answer"; sdp: string }
  | CandidateMessage
  | { type: "restart" }
  | { type: "bye"; reason: string };

export interface SignallingHooks {
  opened(): void;
  message(message: Incoming): void;
  problem(problem: Problem): void;
}

export class Signalling {
  #socket: WebSocket | null = null;
  #end: (() => void) | null = null;
  readonly #patience = new Patience();

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Open, then resolve when the socket has closed or is silent; whether it was silent. */
  run(url: string, ticket: string, hooks: SignallingHooks): Promise<boolean> {
    const socket = new WebSocket(url, ticketProtocols(ticket));
    this.#socket = socket;
    return new Promise((resolve) => {
      let silence: Silence | null = null;
      const end = (wasSilent = false): void => {
        clearTimeout(late);
        silence?.stop();
        socket.onopen = socket.onmessage = socket.onclose = null;
        if (this.#socket === socket) this.#socket = this.#end = null;
        // Who is cut off would answer a close only after minutes: nobody waits for that.
        socket.close(1000);
        resolve(wasSilent);
      };
      const late = setTimeout(end, OPEN_DEADLINE_MS);
      this.#end = end;
      socket.onopen = () => {
        clearTimeout(late);
        hooks.opened();
      };
      socket.onmessage = (event: MessageEvent<unknown>) => {
        silence?.heard();
        const message = parse(event.data);
        if (message?.type === "welcome") silence ??= this.#listen(message, end);
        if (message?.type === "error") hooks.problem(problemFrom(message));
        else if (message) hooks.message(message);
      };
      socket.onclose = () => {
        end();
      };
    });
  }

  /** From here on silence is told from quiet; null where the gateway does not beat. */
  #listen(welcome: Welcome, end: (wasSilent: boolean) => void): Silence | null {
    const beat = welcome.heartbeat_ms;
    if (typeof beat !== "number" || !(beat > 0)) return null;
    return new Silence(() => this.#patience.limit(beat * BEATS_MISSED), () => {
      this.#patience.alarm();
      console.info("downstage: the signalling socket is silent");
      end(true);
    });
  }

  /** Send if open; a message to a closed socket is of no use later, so it is dropped. */
  send(message: Outgoing): boolean {
    if (!this.isOpen) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  close(): void {
    this.#end?.();
  }
}

function parse(data: unknown): Incoming | null {
  if (typeof data !== "string") return null;
  try {
    const message: unknown = JSON.parse(data);
    const ok = typeof message === "object" && message !== null && "type" in message;
    return ok ? (message as Incoming) : null;
  } catch {
    return null;
  }
}

function problemFrom(message: object): Problem {
  const body = (message as Record<string, unknown>)["problem"] ?? message;
  const status = (body as Record<string, unknown>)["status"];
  return problemOf(typeof status === "number" ? status : 500, body);
}
