/** Marks of files: 24 × 24, one stroke width, as in the viewer's bar. */

import { html, svg, type TemplateResult } from "lit";
import { isFolder, isPicture, isStage, isText } from "./names";
import type { Entry } from "./wire";

const icon = (paths: TemplateResult): TemplateResult => html`
  <svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor"
    stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">${paths}</svg>`;

const SHEET = svg`<path d="M6 3.5h8l4 4v13H6z"/><path d="M14 3.5v4h4"/>`;

export const folderIcon = icon(svg`<path d="M3.5 6.5h6l2 2h9v10h-17z"/>`);
const mountIcon = icon(svg`<path d="M3.5 6.5h6l2 2h9v10h-17z"/><path d="M9 13.5h6M12.5 11l2.5 2.5-2.5 2.5"/>`);
const stageIcon = icon(svg`<path d="M12 3.5l7.5 4.2v8.6L12 20.5l-7.5-4.2V7.7z"/>
  <path d="M4.5 7.7L12 12l7.5-4.3M12 12v8.5"/>`);
const pictureIcon = icon(svg`<rect x="4" y="5" width="16" height="14" rx="1.5"/>
  <circle cx="9" cy="10" r="1.5"/><path d="M5 17l5-4 3 2.5 3-3 3.5 3.5"/>`);
const textIcon = icon(svg`${SHEET}<path d="M9 12h6M9 15.5h6"/>`);
const channelIcon = icon(svg`<path d="M4 6h16v10H9l-5 4z"/>`);
const fileIcon = icon(SHEET);
export const lockIcon = icon(svg`<rect x="6" y="11" width="12" height="9" rx="1.5"/>
  <path d="M8.5 11V8a3.5 3.5 0 0 1 7 0v3"/>`);
export const gridIcon = icon(svg`<rect x="4.5" y="4.5" width="6" height="6" rx="1"/>
  <rect x="13.5" y="4.5" width="6" height="6" rx="1"/><rect x="4.5" y="13.5" width="6" height="6" rx="1"/>
  <rect x="13.5" y="13.5" width="6" height="6" rx="1"/>`);
export const rowsIcon = icon(svg`<path d="M4.5 7h15M4.5 12h15M4.5 17h15"/>`);
export const closeIcon = icon(svg`<path d="M6.5 6.5l11 11M17.5 6.5l-11 11"/>`);

export function iconOf(entry: Entry): TemplateResult {
  if (entry.kind === "mount") return mountIcon;
  if (isFolder(entry)) return folderIcon;
  if (entry.kind === "channel") return channelIcon;
  if (isStage(entry.name)) return stageIcon;
  if (isPicture(entry.name)) return pictureIcon;
  return isText(entry.name) ? textIcon : fileIcon;
}
