/** One signalling socket: JSON messages, from its opening to its close. */

import { ticketProtocols } from "./api";
import { problemOf, type Problem } from "./problem";
import type { Role, SessionView } from "./wire";

const OPEN_DEADLINE_MS = 8000;

export interface Welcome {
  readonly type: "welcome";
  readonly session: SessionView;
  readonly seat: string | { readonly id: string; readonly role: Role };
  readonly role?: Role;
  readonly ice_servers?: readonly RTCIceServer[];
  readonly ice_policy?: RTCIceTransportPolicy;
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

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Open, then resolve when the socket has closed, with whether it ever was open. */
  run(url: string, ticket: string, hooks: SignallingHooks): Promise<boolean> {
    const socket = new WebSocket(url, ticketProtocols(ticket));
    this.#socket = socket;
    return new Promise((resolve) => {
      let wasOpen = false;
      const late = setTimeout(() => {
        socket.close();
      }, OPEN_DEADLINE_MS);
      socket.onopen = () => {
        clearTimeout(late);
        wasOpen = true;
        hooks.opened();
      };
      socket.onmessage = (event: MessageEvent<unknown>) => {
        const message = parse(event.data);
        if (message?.type === "error") hooks.problem(problemFrom(message));
        else if (message) hooks.message(message);
      };
      socket.onclose = () => {
        clearTimeout(late);
        if (this.#socket === socket) this.#socket = null;
        resolve(wasOpen);
      };
    });
  }

  /** Send if open; a message to a closed socket is of no use later, so it is dropped. */
  send(message: Outgoing): boolean {
    if (!this.isOpen) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  close(): void {
    this.#socket?.close(1000);
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
