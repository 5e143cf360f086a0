/** What both ways of bringing the picture have in common. */

import type { InputMessage } from "./messages";
import type { Size } from "./parameters";
import type { RawStats } from "./stats";
import type { CursorShape, StreamInfo } from "./wire";

export type TransportKind = "webrtc" | "websocket";

/** `none`: the stream has no sound · `blocked`: the browser wants a click first. */
export type Sound = "none" | "blocked" | "muted" | "on";

export interface TransportHooks {
  /** The first picture is on the screen. */
  firstPicture(): void;
  /** The way is ready for input. */
  ready(): void;
  /** Media stopped; `final` when this transport cannot come back by itself. */
  broken(reason: string, final: boolean): void;
  /** Media flows again after `broken(…, false)`. */
  recovered(): void;
  /** Nothing has come for longer than it may: it is broken, or only slow. */
  silent(): void;
  /** Something has come after `silent()`. */
  heard(): void;
  /** The picture's own size, whenever it changes. */
  resized(size: Size): void;
  control(message: ControlMessage): void;
  sound(sound: Sound): void;
}

export type ControlMessage =
  | readonly ["s", StreamInfo]
  | readonly ["c", CursorShape]
  | readonly ["p", number]
  | readonly ["e", string]
  | readonly [string, ...unknown[]];

export interface Transport {
  readonly kind: TransportKind;
  /** Holds the `<video>` or `<canvas>`; put it into the page. */
  readonly picture: HTMLElement;
  readonly audioStream: MediaStream | null;
  send(message: InputMessage): void;
  /** A data channel to the application; null where this way has none, or is not there yet. */
  openChannel(name: string): RTCDataChannel | null;
  setMuted(muted: boolean): void;
  /** A person has just clicked or typed: sound may start now. */
  gesture(): void;
  stats(): Promise<RawStats>;
  /** Stop. The last picture stays in its box until the box is taken out of the page. */
  close(): void;
}

/** Parse a control message; anything else is null. */
export function parseControl(data: unknown): ControlMessage | null {
  if (typeof data !== "string") return null;
  try {
    const message: unknown = JSON.parse(data);
    return Array.isArray(message) && typeof message[0] === "string"
      ? (message as unknown as ControlMessage)
      : null;
  } catch {
    return null;
  }
}

/** The box that a transport's picture lives in. */
export function pictureBox(child: HTMLElement): HTMLElement {
  const box = document.createElement("div");
  box.className = "picture";
  box.append(child);
  return box;
}
