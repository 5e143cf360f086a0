/** What the gateway and the streamer say, as the viewer reads it. Fields may be added later. */

export type SessionState =
  | "queued"
  | "starting"
  | "ready"
  | "active"
  | "disconnected"
  | "ending"
  | "ended";

export type Outcome = "stopped" | "expired" | "failed";
export type Role = "controller" | "spectator";

export interface SessionView {
  readonly id: string;
  readonly owner: string;
  readonly application: string;
  readonly stage: string | null;
  readonly region: string;
  /** The gateway that drives it; null where there is one alone. */
  readonly home?: string | null;
  readonly state: SessionState;
  readonly outcome: Outcome | null;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly progress: string | null;
  /** While it is queued: 1 is next; null where it is not known. */
  readonly position?: number | null;
  /** While it is queued: seconds until it starts, as far as is known. */
  readonly eta_s?: number | null;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly encoder: string | null;
  readonly warnings: readonly string[];
  readonly revision: number;
  readonly created_at: string;
  readonly updated_at: string;
  readonly lease_ends_at: string | null;
}

export interface NetworkView {
  readonly ice_servers: readonly RTCIceServer[];
  readonly ice_policy: RTCIceTransportPolicy;
}

export interface SessionCreated extends SessionView {
  readonly join_url: string;
}

export interface SessionPage {
  readonly items: readonly SessionView[];
  readonly next: string | null;
}

export interface ApplicationView {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly opens_stage: boolean;
  /** Why it cannot be started here; null where it can. */
  readonly unavailable: string | null;
}

export interface ApplicationPage {
  readonly items: readonly ApplicationView[];
}

export interface SeatAnswer {
  readonly session: SessionView;
  readonly seat: string;
  readonly role: Role;
  readonly signalling_ticket: string;
  readonly media_ticket: string;
  /** Takes this seat once more at any of `gateways`; null: the cookie is enough. */
  readonly resume_ticket?: string | null;
  readonly gateways?: readonly string[];
}

export interface TokenAnswer {
  readonly token: string;
  readonly expires_at: string;
}

/** Answer of `GET /v1/auth/me`. */
export interface PrincipalView {
  readonly subject: string;
  readonly name: string;
  readonly kind: string;
  readonly scopes: readonly string[];
}

/** Body of `POST /v1/sessions`. */
export interface SessionCreate {
  readonly application: string;
  readonly stage?: string;
  readonly display?: { readonly width: number; readonly height: number; readonly fps: number };
  readonly region?: string;
  /** Milliseconds to the regions' probes, by name. */
  readonly rtt_ms?: Readonly<Record<string, number>>;
}

/** One of `GET /v1/regions`. */
export interface RegionView {
  readonly name: string;
  readonly free: number;
  readonly capacity: number;
  /** What to measure the distance by: `https://…` or `stun:host:port`. */
  readonly probe: string | null;
  readonly latitude: number | null;
  readonly longitude: number | null;
  readonly answering: boolean;
}

/** Answer of `GET /v1/regions`. */
export interface RegionPage {
  readonly items: readonly RegionView[];
}

/** The `["s", …]` control message: what the streamer sends right now. */
export interface StreamInfo {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly codec: string;
  readonly encoder: string | null;
  readonly encoder_reason: string | null;
  readonly audio: boolean;
  readonly audio_reason: string | null;
  readonly kbps: number;
  /** On the media socket something comes at least this often, be the picture still. */
  readonly beat_ms?: number;
}

/** The `["c", …]` control message. */
export type CursorShape =
  | { readonly css: string }
  | { readonly png: string; readonly x: number; readonly y: number };

/** States in which the streamer can answer an offer. */
export function isLive(state: SessionState): boolean {
  return state === "ready" || state === "active" || state === "disconnected";
}

export function isOver(state: SessionState): boolean {
  return state === "ending" || state === "ended";
}
