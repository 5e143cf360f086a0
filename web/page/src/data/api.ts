/** The streams' HTTP interface, as much of it as the page uses. */

import { Http } from "../http";
import { eventsOf } from "../events";
import { cut, read, type Entry } from "./entries";
import type { RecordingView, ReplayView, StreamChange, StreamPage, StreamView, Ticks } from "./wire";

/** Streams that the page lists; a person who has more filters. */
const MOST = 2000;
const LONG_MS = 60_000;
const IMPORT_MS = 30 * 60_000;

const recording = (name: string): string => `/v1/recordings/${encodeURIComponent(name)}`;

export class DataApi extends Http {
  async streams(pattern: string): Promise<StreamView[]> {
    const found: StreamView[] = [];
    let after: string | null = null;
    do {
      const query = new URLSearchParams({ pattern, details: "true" });
      if (after !== null) query.set("after", after);
      const page: StreamPage = await this.json<StreamPage>("GET", `/v1/streams?${query.toString()}`);
      found.push(...page.items);
      after = page.next;
    } while (after !== null && found.length < MOST);
    return found;
  }

  stream(name: string): Promise<StreamView> {
    return this.json("GET", `/v1/streams/${encodeURIComponent(name)}`);
  }

  async removeStream(name: string): Promise<void> {
    await this.fetch("DELETE", `/v1/streams/${encodeURIComponent(name)}`);
  }

  /** Opens one socket, once. */
  async ticket(): Promise<string> {
    return (await this.json<{ ticket: string }>("POST", "/v1/streams/tickets", { purpose: "pull" })).ticket;
  }

  /** Which streams come and go, until *signal*; the first is told as null: it has begun. */
  async* changes(signal: AbortSignal): AsyncGenerator<StreamChange | null> {
    const answer = await this.fetch("GET", "/v1/streams-events?changes=true", undefined, { signal });
    for await (const { event, data } of eventsOf(answer)) {
      if (event === "ready") yield null;
      else if (event === "change") yield JSON.parse(data) as StreamChange;
    }
  }

  async recordings(): Promise<readonly RecordingView[]> {
    return (await this.json<{ items: RecordingView[] }>("GET", "/v1/recordings")).items;
  }

  recording(name: string): Promise<RecordingView> {
    return this.json("GET", recording(name));
  }

  record(name: string, streams: readonly string[]): Promise<RecordingView> {
    return this.json("POST", "/v1/recordings", { ...(name === "" ? {} : { name }), streams });
  }

  stopRecording(name: string): Promise<RecordingView> {
    return this.json("POST", `${recording(name)}/stop`, undefined, { deadline: LONG_MS });
  }

  renameRecording(name: string, to: string): Promise<RecordingView> {
    return this.json("PATCH", recording(name), { name: to });
  }

  async removeRecording(name: string): Promise<void> {
    await this.fetch("DELETE", recording(name), undefined, { deadline: LONG_MS });
  }

  importRecording(name: string, file: Blob): Promise<RecordingView> {
    const query = new URLSearchParams({ name });
    return this.json("POST", `/v1/recordings-imports?${query.toString()}`, file, { deadline: IMPORT_MS });
  }

  ticks(name: string, streams: readonly string[], buckets: number): Promise<Ticks> {
    const query = new URLSearchParams({ streams: streams.join("+"), buckets: String(buckets) });
    return this.json("GET", `${recording(name)}/ticks?${query.toString()}`, undefined, { deadline: LONG_MS });
  }

  /** What each of *streams* held at the id *at*: the last entry before, or the nearest one. */
  at(
    name: string, streams: readonly string[], at: string, how: "previous" | "nearest", signal: AbortSignal,
  ): Promise<Entry[]> {
    return this.#entries(name, { streams: streams.join("+"), at, how }, signal);
  }

  /** Entries between two ids, all streams in one order; an answer may stop early, never skip. */
  range(
    name: string, streams: readonly string[],
    wish: { start?: string; stop?: string; count?: number; every?: number; reverse?: boolean },
    signal: AbortSignal,
  ): Promise<Entry[]> {
    const given = Object.entries(wish).map(([key, value]) => [key, String(value)]);
    return this.#entries(name, { streams: streams.join("+"), ...Object.fromEntries(given) }, signal);
  }

  async #entries(name: string, query: Record<string, string>, signal: AbortSignal): Promise<Entry[]> {
    const path = `${recording(name)}/entries?${new URLSearchParams(query).toString()}`;
    const answer = await this.fetch("GET", path, undefined, { signal });
    const said = read(answer.headers.get("x-offsets") ?? "[]");
    return cut("rows" in said ? said.rows : [], await answer.arrayBuffer());
  }

  /** The whole recording as one file: `mcap`, or a `zip` of the data server's layout. */
  async file(name: string, form: "mcap" | "zip"): Promise<Blob> {
    const path = `${recording(name)}/${form === "mcap" ? "file" : "export"}`;
    return (await this.fetch("GET", path, undefined, { deadline: IMPORT_MS })).blob();
  }

  /** An address that opens one file of a recording, for a while, for whoever has it. */
  async link(name: string, file: string): Promise<string> {
    const said = await this.json<{ url: string }>(
      "POST", `${recording(name)}/links`, { file }, { deadline: LONG_MS },
    );
    return said.url;
  }

  replay(name: string, prefix: string, speed: number, start: number, isLoop: boolean): Promise<ReplayView> {
    return this.json("POST", `${recording(name)}/replays`, {
      prefix, speed, start_ms: Math.round(start), loop: isLoop,
    });
  }

  async replays(name: string): Promise<readonly ReplayView[]> {
    return (await this.json<{ items: ReplayView[] }>("GET", `${recording(name)}/replays`)).items;
  }

  async endReplay(name: string, id: string): Promise<void> {
    await this.fetch("DELETE", `${recording(name)}/replays/${encodeURIComponent(id)}`);
  }
}
