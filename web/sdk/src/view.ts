/** What the viewer shows around the picture: pure templates of its state. */

import { html, nothing, type TemplateResult } from "lit";
import * as icons from "./icons";
import { STAGES, endingOf, placeInQueue, stageMarks } from "./reasons";
import type { ViewerState } from "./state";
import type { ViewerStats } from "./stats";

/** `m:ss` since *start*, both by `performance.now()`. */
export function elapsed(start: number, now: number): string {
  const seconds = Math.max(0, Math.floor((now - start) / 1000));
  return `${String(Math.floor(seconds / 60))}:${String(seconds % 60).padStart(2, "0")}`;
}

/** The cover for *state*; nothing while the picture plays. */
export function coverOf(state: ViewerState, now: number): TemplateResult | typeof nothing {
  switch (state.phase) {
    case "idle":
      return html`<div class="cover"><slot name="idle"></slot></div>`;
    case "joining":
    case "connecting":
      return small(
        state.phase === "joining" ? "Joining the session" : "Connecting", state, "late",
      );
    case "reconnecting":
      return small("Reconnecting", state, "over", elapsed(state.since, now));
    case "waiting":
      return waiting(state, now);
    case "ended":
      return ended(state);
    case "refused":
      return refused(state);
    default:
      return nothing;
  }
}

function small(title: string, state: ViewerState, kind: string, clock = ""): TemplateResult {
  return html`<div class="cover ${kind}"><div class="card small">
    <span class="spinner"></span>
    <div><strong>${title}</strong>
      ${state.trouble || clock
        ? html`<p class="soft">${state.trouble ?? "The connection broke"}${clock && ` · ${clock}`}</p>`
        : nothing}
    </div></div></div>`;
}

function waiting(state: ViewerState, now: number): TemplateResult {
  const session = state.session;
  const queued = session?.state === "queued";
  const marks = stageMarks(queued ? null : (session?.progress ?? null));
  return html`<div class="cover"><div class="card">
    <p class="kicker">${queued ? "Waiting for a free place" : "Starting"}</p>
    <h1>${session?.application ?? "Session"}</h1>
    ${session?.stage ? html`<p class="soft">${session.stage}</p>` : nothing}
    ${queued ? html`<p class="lead" role="status">${placeInQueue(session)}</p>` : nothing}
    <ol>${STAGES.map(([, words], index) => {
      const mark = queued ? "next" : (marks[index] ?? "next");
      return html`<li class=${mark} aria-current=${mark === "now" ? "step" : nothing}>
        <span class="mark">${mark === "done" ? icons.checkIcon : nothing}</span>${words}</li>`;
    })}</ol>
    <p class="clock"><span>${state.trouble ?? ""}</span>
      <span role="timer">${elapsed(state.since, now)}</span></p>
  </div></div>`;
}

function ended(state: ViewerState): TemplateResult {
  const ending = endingOf(state.session);
  return html`<div class="cover"><div class="card" role="alert">
    <p class="kicker ${ending.tone}">${state.session?.application ?? "Session"}</p>
    <h1>${ending.title}</h1>
    <p class="lead">${ending.text}</p>
    <p class="soft">${ending.remedy}</p>
    <div class="more"><slot name="ended"></slot></div>
  </div></div>`;
}

function refused(state: ViewerState): TemplateResult {
  return html`<div class="cover"><div class="card" role="alert">
    <p class="kicker bad">This did not work</p>
    <h1>${state.problem?.title ?? "The session cannot be shown"}</h1>
    <p class="lead">${state.problem?.detail ?? ""}</p>
    <div class="more"><slot name="refused"></slot></div>
  </div></div>`;
}

/** The figures, each with its word; unknown ones are left out. */
export function statsRows(stats: ViewerStats): readonly (readonly [string, string])[] {
  const ms = (value: number | null): string | null => value === null ? null : `${value.toFixed(1)} ms`;
  const rows: (readonly [string, string | null])[] = [
    ["Transport", stats.transport === "websocket" ? "WebSocket" : stats.transport && "WebRTC"],
    ["Picture", stats.width > 1 ? `${String(stats.width)} × ${String(stats.height)}` : null],
    ["Frames", `${stats.fps.toFixed(0)} fps${
      stats.droppedFrames > 0 ? ` (${String(stats.droppedFrames)} dropped)` : ""}`],
    ["Bit rate", stats.kbps >= 1000
      ? `${(stats.kbps / 1000).toFixed(1)} Mbit/s` : `${String(stats.kbps)} kbit/s`],
    ["Round trip", ms(stats.rttMs)],
    ["Loss", stats.transport === "webrtc" ? `${String(stats.lossPct)} %` : null],
    ["Jitter buffer", ms(stats.jitterMs)],
    ["Capture to screen", ms(stats.glassMs)],
    ["Codec", stats.codec],
    ["Encoder", stats.encoder],
    ["Decoder", stats.decoder],
    ["Sound", stats.audio],
  ];
  return rows.filter((row): row is readonly [string, string] => Boolean(row[1]));
}

export function statsPanel(stats: ViewerStats): TemplateResult {
  return html`<dl class="stats" aria-label="Stream statistics">${statsRows(stats).map(
    ([word, figure]) => html`<dt>${word}</dt><dd>${figure}</dd>`)}</dl>`;
}

export interface BarActions {
  readonly isOpen: boolean;
  readonly isFullscreen: boolean;
  readonly isCaptured: boolean;
  readonly isLocked: boolean;
  readonly mayLock: boolean;
  readonly isMuted: boolean;
  readonly showsStats: boolean;
  open(): void;
  fullscreen(): void;
  capture(): void;
  lock(): void;
  mute(): void;
  stats(): void;
  end(): void;
}

export function bar(state: ViewerState, act: BarActions): TemplateResult {
  const controls = state.role === "controller";
  const tool = (
    label: string, icon: TemplateResult, run: () => void, pressed: boolean | null, off = false,
  ): TemplateResult => html`<button class="tool" type="button" title=${label} aria-label=${label}
    aria-pressed=${pressed === null ? nothing : String(pressed)} ?disabled=${off}
    @click=${run}>${icon}</button>`;
  const noSound = state.stream?.audio === false;
  return html`<nav class="bar ${act.isOpen ? "open" : ""}" aria-label="Viewer"
      @pointerenter=${act.open} @focusin=${act.open}>
    <button class="handle" type="button" aria-label="Show the bar" aria-expanded=${act.isOpen}
      @click=${act.open}></button>
    <div class="tools">
      ${tool(act.isFullscreen ? "Leave full screen" : "Full screen",
        act.isFullscreen ? icons.windowIcon : icons.fullscreenIcon, act.fullscreen, null)}
      ${tool("Capture the keyboard: every key goes to the application (leave with Ctrl+Alt+Shift+M)",
        icons.keyboardIcon, act.capture, act.isCaptured, !controls)}
      ${act.mayLock
        ? tool("Lock the pointer (leave with Esc)", icons.pointerIcon, act.lock, act.isLocked,
            !controls)
        : nothing}
      ${tool(noSound ? "No sound" : act.isMuted ? "Sound on" : "Sound off",
        act.isMuted || noSound ? icons.mutedIcon : icons.soundIcon, act.mute, null, noSound)}
      ${tool("Statistics", icons.statsIcon, act.stats, act.showsStats)}
      <span class="gap"></span>
      <button class="tool end" type="button" title="End the session" aria-label="End the session"
        ?disabled=${!controls} @click=${act.end}>${icons.endIcon}</button>
    </div></nav>`;
}

export function badges(state: ViewerState, hear: () => void): TemplateResult {
  const { stream } = state;
  return html`<div class="badges">
    ${state.role === "spectator" ? html`<span class="badge fades">You are watching</span>` : nothing}
    ${state.transportReason === null ? nothing
      : html`<span class="badge fades">${detour(state.transportReason)}</span>`}
    ${stream?.audio === false
      ? html`<span class="badge fades">${icons.mutedIcon}No sound${
          stream.audio_reason ? `: ${stream.audio_reason}` : ""}</span>`
      : state.sound === "blocked"
        ? html`<button class="badge" type="button" @click=${hear}>${
            icons.mutedIcon}Sound is off – click to hear it</button>`
        : nothing}
  </div>`;
}

function detour(reason: string): string {
  return `${reason}: the picture comes over the WebSocket`;
}

/** What people who listen to the page are told. */
export function spoken(state: ViewerState): string {
  const { phase, transportReason } = state;
  if (phase === "playing" && transportReason !== null) {
    return `The picture is here. ${detour(transportReason)}`;
  }
  const words: Partial<Record<ViewerState["phase"], string>> = {
    waiting: "The session is starting",
    playing: "The picture is here",
    reconnecting: "The connection broke; reconnecting",
  };
  return words[phase] ?? "";
}
