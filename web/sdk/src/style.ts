/** How the viewer looks; every colour is a custom property that a page may set. */

import { css } from "lit";

export const viewerStyle = css`
  :host {
    --accent: var(--downstage-accent, #f0b35b);
    --ink: var(--downstage-ink, #eceef1);
    --soft: var(--downstage-soft, #9aa3af);
    --panel: var(--downstage-panel, rgb(21 24 29 / 0.92));
    --line: var(--downstage-line, rgb(255 255 255 / 0.1));
    --bad: var(--downstage-bad, #f2857a);
    --good: var(--downstage-good, #7fcf9f);
    --backdrop: var(--downstage-backdrop, #0c0e11);
    display: block;
    position: relative;
    overflow: hidden;
    contain: strict;
    background: #000;
    color: var(--ink);
    font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
    -webkit-font-smoothing: antialiased;
  }
  :host([hidden]) { display: none; }
  .stage { position: absolute; inset: 0; outline: none; touch-action: none; user-select: none;
    -webkit-user-select: none; }
  .stage.ring::after { content: ""; position: absolute; inset: 0; pointer-events: none;
    box-shadow: inset 0 0 0 2px var(--accent); }
  .picture { position: absolute; left: 0; top: 0; width: 100%; height: 100%; }
  .picture > video, .picture > canvas { display: block; width: 100%; height: 100%;
    object-fit: fill; pointer-events: none; }
  .picture.next { visibility: hidden; }
  .sink { position: absolute; left: 50%; top: 50%; width: 1px; height: 1em; padding: 0; border: 0;
    opacity: 0; resize: none; outline: none; background: none; color: transparent;
    caret-color: transparent; font-size: 16px; pointer-events: none; }

  .cover { position: absolute; inset: 0; display: grid; place-items: center; padding: 24px;
    overflow: auto; background: radial-gradient(120% 90% at 50% 0%, #1b1f26 0%,
    var(--backdrop) 60%); }
  .cover.late { animation: appear 0.25s 0.6s both; }
  .cover.over { background: rgb(8 9 11 / 0.55); backdrop-filter: blur(2px);
    animation: appear 0.2s 0.4s both; }
  @keyframes appear { from { opacity: 0; } }
  .card { box-sizing: border-box; width: min(27rem, 100%); padding: 32px; border-radius: 16px;
    background: var(--panel); border: 1px solid var(--line);
    box-shadow: 0 24px 64px rgb(0 0 0 / 0.45); }
  .card.small { width: auto; padding: 18px 24px; display: flex; gap: 14px; align-items: center; }
  h1 { margin: 0; font-size: 21px; font-weight: 620; line-height: 1.25; letter-spacing: -0.01em;
    overflow-wrap: anywhere; }
  .kicker { margin: 0 0 6px; color: var(--accent); font-size: 12.5px; font-weight: 600;
    letter-spacing: 0.04em; }
  .kicker.bad { color: var(--bad); }
  .lead { margin: 10px 0 0; }
  .soft { color: var(--soft); margin: 8px 0 0; }
  .card.small .soft { margin: 0; }
  .card.small strong { font-weight: 600; }
  .more { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 24px; }
  .more:not(:has(*)) { display: none; }
  ol { list-style: none; margin: 22px 0 0; padding: 0; display: grid; gap: 11px; }
  li { display: flex; align-items: center; gap: 12px; color: var(--soft); }
  li.done { color: var(--ink); }
  li.now { color: var(--ink); font-weight: 600; }
  .mark { width: 20px; height: 20px; flex: none; border-radius: 50%; display: grid;
    place-items: center; box-shadow: inset 0 0 0 1.5px rgb(255 255 255 / 0.18); }
  .done .mark { background: var(--good); box-shadow: none; color: #0c120e; }
  .mark svg { width: 14px; height: 14px; stroke-width: 2.6; }
  .now .mark, .spinner { box-shadow: none; border: 2px solid rgb(255 255 255 / 0.16);
    border-top-color: var(--accent); animation: turn 0.9s linear infinite; }
  .now .mark { box-sizing: border-box; }
  .spinner { width: 20px; height: 20px; box-sizing: border-box; border-radius: 50%; flex: none; }
  @keyframes turn { to { transform: rotate(1turn); } }
  .clock { margin: 22px 0 0; padding-top: 14px; border-top: 1px solid var(--line);
    color: var(--soft); font-size: 13.5px; font-variant-numeric: tabular-nums;
    display: flex; justify-content: space-between; gap: 16px; }

  .bar { position: absolute; top: 0; left: 50%; transform: translateX(-50%); z-index: 3; }
  .handle { position: absolute; top: 0; left: 50%; transform: translateX(-50%); width: 72px;
    height: 16px; padding: 0; border: 0; background: none; cursor: pointer; }
  .handle::after { content: ""; position: absolute; left: 14px; right: 14px; top: 5px; height: 4px;
    border-radius: 4px; background: rgb(255 255 255 / 0.38);
    box-shadow: 0 0 0 1px rgb(0 0 0 / 0.3); }
  .tools { display: flex; gap: 2px; padding: 5px; margin-top: 8px; border-radius: 13px;
    background: var(--panel); border: 1px solid var(--line);
    box-shadow: 0 10px 32px rgb(0 0 0 / 0.4); transition: transform 0.18s, opacity 0.18s;
    }
  .bar:not(.open) .tools { transform: translateY(-70px); opacity: 0; visibility: hidden; }
  .bar.open .handle { visibility: hidden; }
  .tool { width: 38px; height: 38px; padding: 8px; border: 0; border-radius: 9px;
    background: none; color: var(--ink); cursor: pointer; }
  .tool svg { width: 22px; height: 22px; display: block; }
  .tool:hover { background: rgb(255 255 255 / 0.09); }
  .tool[aria-pressed="true"] { background: rgb(240 179 91 / 0.18); color: var(--accent); }
  .tool.end { color: var(--bad); }
  .tool:disabled { opacity: 0.35; cursor: default; background: none; }
  .gap { width: 1px; margin: 7px 5px; background: var(--line); }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

  .badges { position: absolute; left: 16px; bottom: 16px; z-index: 2; display: flex; gap: 8px;
    flex-wrap: wrap; max-width: calc(100% - 32px); pointer-events: none; }
  .badge { display: inline-flex; align-items: center; gap: 8px; padding: 6px 12px 6px 10px;
    border-radius: 999px; background: var(--panel); border: 1px solid var(--line);
    color: var(--ink); font: inherit; font-size: 13.5px; }
  .badge svg { width: 17px; height: 17px; }
  button.badge { pointer-events: auto; cursor: pointer; border-color: rgb(240 179 91 / 0.5); }
  .badge.fades { animation: fade 0.6s 8s forwards; }
  @keyframes fade { to { opacity: 0; visibility: hidden; } }

  .stats { position: absolute; right: 16px; top: 16px; z-index: 2; margin: 0; padding: 14px 16px;
    border-radius: 12px; background: var(--panel); border: 1px solid var(--line);
    font-size: 13px; line-height: 1.35; font-variant-numeric: tabular-nums; max-width: 20rem;
    display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 5px 18px;
    pointer-events: none; }
  .stats dt { color: var(--soft); }
  .stats dd { margin: 0; text-align: right; overflow-wrap: anywhere; }

  dialog { border: 1px solid var(--line); border-radius: 16px; padding: 28px; color: var(--ink);
    background: #171a20; width: min(24rem, calc(100% - 48px)); box-sizing: border-box;
    box-shadow: 0 24px 64px rgb(0 0 0 / 0.5); }
  dialog::backdrop { background: rgb(0 0 0 / 0.55); }
  .button, ::slotted(a), ::slotted(button) { font: inherit; font-weight: 600; padding: 9px 18px;
    border-radius: 10px; border: 1px solid var(--line); background: rgb(255 255 255 / 0.07);
    color: var(--ink); cursor: pointer; text-decoration: none; }
  .button:hover { background: rgb(255 255 255 / 0.13); }
  .button.bad { background: var(--bad); border-color: transparent; color: #24100d; }
  .button.bad:hover { filter: brightness(1.07); }
  .said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

  @media (prefers-reduced-motion: reduce) {
    *, *::before, *::after { animation-duration: 1ms !important; transition: none !important; }
    .now .mark, .spinner { animation: none; }
    .badge.fades { animation: fade 1ms 8s forwards; }
  }
`;
