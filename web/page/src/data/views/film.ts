/** Video by LL-HLS: coded streams as they are, and streams of pictures as the server codes them. */

import type Hls from "hls.js";
import type { DataApi } from "../api";
import { age } from "../scrub";
import { box, type Setting, type View } from "./view";

const AGAIN_MS = 2000;
const MOST_BEHIND_S = 6;

export class FilmView implements View {
  readonly element = box("film");
  readonly #video = document.createElement("video");
  readonly #setting: Setting;
  readonly #api: DataApi;
  #hls: Hls | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(setting: Setting, api: DataApi) {
    this.#setting = setting;
    this.#api = api;
    const video = this.#video;
    video.muted = true;
    video.autoplay = true;
    video.playsInline = true;
    video.controls = true;
    video.setAttribute("aria-label", `Video of ${setting.about.name}`);
    this.element.append(video);
    void this.#begin();
  }

  get words(): string {
    const video = this.#video;
    if (video.videoWidth === 0) return "";
    const behind = this.#hls?.latency;
    return `${String(video.videoWidth)} × ${String(video.videoHeight)}${
      behind ? ` · ${age(behind * 1000)} behind` : ""}`;
  }

  take(): void {
    // The playlist brings its own.
  }

  tick(): void {
    const video = this.#video;
    const wants = !this.#setting.clock.isPaused;
    if (wants === video.paused && video.readyState > 1) {
      if (wants) void video.play().catch(() => undefined);
      else video.pause();
    }
    if (wants && this.#hls && this.#hls.latency > MOST_BEHIND_S && this.#hls.liveSyncPosition) {
      video.currentTime = this.#hls.liveSyncPosition; // paused for a while: back to now
    }
  }

  reset(): void {
    // It has a clock of its own.
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#hls?.destroy();
    this.#video.remove();
  }

  async #begin(): Promise<void> {
    const { default: Player } = await import("hls.js/light");
    if (this.#isOver) return;
    if (!Player.isSupported()) {
      this.#setting.trouble("This browser plays no video from pieces. Use another one, or show pictures.");
      return;
    }
    const name = this.#setting.about.name.replace(/\.video$/, "");
    const url = `/hls/${encodeURIComponent(name)}/index.m3u8`;
    const hls = this.#hls = new Player({
      lowLatencyMode: true,
      backBufferLength: 10,
      xhrSetup: (xhr, to) => {
        // To our own server alone, whatever a playlist says.
        if (new URL(to, location.href).origin !== location.origin) return;
        for (const [key, value] of Object.entries(this.#api.headers())) xhr.setRequestHeader(key, value);
      },
    });
    hls.on(Player.Events.ERROR, (_event, data) => {
      if (!data.fatal) return;
      hls.destroy();
      this.#hls = null;
      this.#setting.trouble(wordsFor(data.response?.code));
      this.#timer = setTimeout(() => {
        void this.#begin();
      }, AGAIN_MS);
    });
    hls.on(Player.Events.FRAG_BUFFERED, () => {
      this.#setting.trouble("");
    });
    hls.loadSource(url);
    hls.attachMedia(this.#video);
  }
}

function wordsFor(status: number | undefined): string {
  if (status === 401 || status === 403) return "You may not watch this. Ask who runs the server for the right to.";
  if (status === 404) return "There is no video here: the stream is gone, or the server codes none.";
  if (status === 503) return "No picture has come yet. Trying again …";
  return "The video broke off. Trying again …";
}
