/** What `/v1/streams` and `/v1/recordings` answer, as much of it as the page uses. */

export interface StreamView {
  readonly name: string;
  readonly content_type: string | null;
  readonly description: string;
  readonly durability: string;
  readonly meta: Readonly<Record<string, unknown>>;
  readonly length: number;
  readonly bytes: number;
  readonly added: number;
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly last_time: string | null;
  readonly rate: number;
}

export interface StreamPage {
  readonly items: readonly StreamView[];
  readonly next: string | null;
}

export interface StreamChange {
  readonly stream: string;
  readonly what: "made" | "described" | "gone" | "gap";
}

export interface RecordedStream {
  readonly name: string;
  readonly content_type: string | null;
  readonly entries: number;
  readonly bytes: number;
  readonly first_id: string | null;
  readonly last_id: string | null;
}

export interface RecordingView {
  readonly name: string;
  readonly state: "recording" | "stopping" | "stored" | "failed" | "recovered";
  readonly reason: string;
  readonly owner: string;
  /** Milliseconds since 1970, as all times here. */
  readonly started_at: number;
  readonly ended_at: number | null;
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly duration_s: number;
  readonly size: number;
  readonly imported: boolean;
  readonly gaps: number;
  readonly streams: readonly RecordedStream[];
}

export interface Ticks {
  readonly start_ms: number;
  readonly stop_ms: number;
  readonly counts: Readonly<Record<string, readonly number[]>>;
}

export interface ReplayView {
  readonly id: string;
  readonly recording: string;
  readonly state: "playing" | "paused" | "live" | "ended" | "stopped" | "failed";
  readonly reason: string;
  readonly position_ms: number;
  readonly duration_ms: number;
  readonly speed: number;
}

/** What a view has to know of the stream that it shows. */
export interface About {
  readonly name: string;
  readonly content_type: string | null;
  readonly meta: Readonly<Record<string, unknown>>;
}
