/** A recording pushed into streams again, as if it happened now: for programs that read those. */

import { html, nothing, type TemplateResult } from "lit";
import { ask } from "../dialog";
import { wordsOf } from "../forms";
import type { DataApi } from "./api";
import type { Player } from "./player";
import { duration } from "./scrub";
import type { ReplayView } from "./wire";

const EACH_MS = 1000;
const PREFIX = /^[A-Za-z0-9_.:@=-]{0,64}$/;

export class Replays {
  readonly #api: DataApi;
  readonly #changed: () => void;
  #recording: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  items: readonly ReplayView[] = [];
  trouble = "";

  constructor(api: DataApi, changed: () => void) {
    this.#api = api;
    this.#changed = changed;
  }

  async follow(recording: string): Promise<void> {
    this.#recording = recording;
    clearTimeout(this.#timer);
    try {
      const items = await this.#api.replays(recording);
      if (this.#recording !== recording) return;
      this.items = items.filter(({ state }) => !["ended", "stopped"].includes(state));
      this.trouble = "";
    } catch (error) {
      this.trouble = wordsOf(error);
    }
    this.#changed();
    if (this.items.length > 0) {
      this.#timer = setTimeout(() => {
        if (this.#recording === recording) void this.follow(recording);
      }, EACH_MS);
    }
  }

  end(): void {
    this.#recording = null;
    this.items = [];
    clearTimeout(this.#timer);
  }

  begin(player: Player): void {
    const { name } = player.recording;
    ask({
      title: "Replay into streams", action: "Start", label: "Put before each stream's name",
      value: "replay.",
      text: "Every entry is pushed again, in its time: whoever pulls those streams sees it now.",
      fault: (prefix) => (PREFIX.test(prefix) ? "" : "A prefix has letters, digits and . _ - : @ =, at most 64."),
      more: html`<label>From<select name="from"><option value="start">the beginning</option>
        <option value="here">where the head stands</option></select></label>
        <label class="tick"><input type="checkbox" name="loop"> Again and again</label>`,
    }, async (prefix, fields) => {
      const from = fields.get("from") === "here" ? player.now - player.span.start : 0;
      await this.#api.replay(name, prefix, player.speed, from, fields.get("loop") !== null);
      await this.follow(name);
    });
  }

  async stop(replay: ReplayView): Promise<void> {
    try {
      await this.#api.endReplay(replay.recording, replay.id);
    } catch (error) {
      this.trouble = wordsOf(error);
    }
    await this.follow(replay.recording);
  }
}

export function replayPanel(replays: Replays, player: Player): TemplateResult {
  return html`<section class="replays" aria-label="Replays">
    <button class="button low" @click=${() => {
      replays.begin(player);
    }}>Replay into streams …</button>
    ${replays.items.map((one) => html`<span class="replay">
      ${one.state === "failed" ? html`<span class="bad">A replay failed: ${one.reason}</span>`
        : html`<progress max=${Math.max(1, one.duration_ms)} value=${one.position_ms} aria-label="Replay"></progress>
          <span class="soft">${duration(one.position_ms)} of ${duration(one.duration_ms)}${one.speed === 1 ? "" : ` · ${String(one.speed)}×`}</span>`}
      <button class="button low" @click=${() => void replays.stop(one)}>Stop</button></span>`)}
    ${replays.trouble ? html`<p class="alarm" role="alert">${replays.trouble}</p>` : nothing}</section>`;
}
