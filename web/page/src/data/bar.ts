/** The bar under a recording: where it is, what lies where, and how fast it plays. */

import { html, type TemplateResult } from "lit";
import { ref } from "lit/directives/ref.js";
import type { Player } from "./player";
import { SPEEDS, densities, duration, rulers, shareOf, timeAt } from "./scrub";
import { loopIcon, pauseIcon, playIcon, stepBackIcon, stepIcon } from "./icons";

const MOST_ROWS = 6;
const COLOUR = "240 179 91";

export function bar(player: Player, shown: readonly string[]): TemplateResult {
  const { span, now } = player;
  const passed = now - span.start, whole = span.stop - span.start;
  const names = (shown.length > 0 ? shown : player.recording.streams.map(({ name }) => name)).slice(0, MOST_ROWS);
  const button = (label: string, icon: TemplateResult, press: () => void, isOn?: boolean): TemplateResult =>
    html`<button class="plain" aria-label=${label} title=${label} aria-pressed=${isOn ?? "false"} @click=${press}>${icon}</button>`;
  return html`<section class="bar" aria-label="Recording" style="--at:${String(shareOf(now, span))}">
    <div class="controls">
      ${button("Previous entry", stepBackIcon, () => void player.step(-1))}
      <button class="play" aria-label=${player.isPaused ? "Play" : "Pause"} @click=${() => {
        if (player.isPaused) player.play();
        else player.pause();
      }}>${player.isPaused ? playIcon : pauseIcon}</button>
      ${button("Next entry", stepIcon, () => void player.step(1))}
      ${button("Repeat", loopIcon, () => {
        player.isLoop = !player.isLoop;
      }, player.isLoop)}
      <select aria-label="Speed" @change=${(event: Event) => {
        player.speed = Number((event.target as HTMLSelectElement).value);
      }}>${SPEEDS.map((speed) => html`<option value=${speed} ?selected=${speed === player.speed}>${speed}×</option>`)}</select>
      <span class="time"><b>${duration(passed, true)}</b> / ${duration(whole, true)}</span>
      <span class="soft clock">${new Date(now).toLocaleString()}</span>
      <span class="soft" role="status">${player.isStalled ? "Reading …" : ""}</span></div>
    <div class="track" @pointerdown=${(event: PointerEvent) => {
      drag(event, player);
    }}>
      ${names.map((name) => html`<div class="row"><span>${name}</span>
        <canvas ${ref((element) => {
          paint(element as HTMLCanvasElement | undefined, player.ticks?.counts[name] ?? []);
        })}></canvas></div>`)}
      <div class="head"></div></div>
    <input type="range" min="0" max=${Math.max(1, whole)} step="1" .value=${String(Math.round(passed))}
      aria-label="Place in the recording" aria-valuetext=${`${duration(passed)} of ${duration(whole)}`}
      @input=${(event: Event) => {
        player.seek(span.start + Number((event.target as HTMLInputElement).value));
      }}>
    <div class="ruler" aria-hidden="true">${rulers(span, 0.12).map(({ share, label }) => html`<span
      style="left:${String(share * 100)}%">${label}</span>`)}</div>
    <p class="alarm" role="alert">${player.trouble}</p></section>`;
}

const painted = new WeakMap<HTMLCanvasElement, readonly number[]>();

function paint(canvas: HTMLCanvasElement | undefined, counts: readonly number[]): void {
  if (!canvas || painted.get(canvas) === counts) return;
  painted.set(canvas, counts);
  canvas.width = Math.max(1, counts.length);
  canvas.height = 1;
  const context = canvas.getContext("2d");
  densities(counts).forEach((density, at) => {
    if (!context || density === 0) return;
    context.fillStyle = `rgb(${COLOUR} / ${density.toFixed(2)})`;
    context.fillRect(at, 0, 1, 1);
  });
}

/** The hand holds the head until it lets go. */
function drag(event: PointerEvent, player: Player): void {
  const track = event.currentTarget as HTMLElement;
  const move = (at: PointerEvent): void => {
    const box = track.getBoundingClientRect();
    player.seek(timeAt((at.clientX - box.left) / Math.max(1, box.width), player.span));
  };
  const end = (): void => {
    track.removeEventListener("pointermove", move);
    track.removeEventListener("pointerup", end);
    track.removeEventListener("pointercancel", end);
  };
  if (event.button !== 0) return;
  track.setPointerCapture(event.pointerId);
  track.addEventListener("pointermove", move);
  track.addEventListener("pointerup", end);
  track.addEventListener("pointercancel", end);
  move(event);
}
