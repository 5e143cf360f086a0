/** Marks of the data page: 24 × 24, as those of the files page. */

import { html, svg, type TemplateResult } from "lit";

const icon = (paths: TemplateResult, fill = "none"): TemplateResult => html`
  <svg viewBox="0 0 24 24" aria-hidden="true" fill=${fill} stroke="currentColor"
    stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">${paths}</svg>`;

export const playIcon = icon(svg`<path d="M8 5.5l10.5 6.5L8 18.5z"/>`, "currentColor");
export const pauseIcon = icon(svg`<path d="M8 6v12M16 6v12" stroke-width="3.4"/>`);
export const stepIcon = icon(svg`<path d="M8 6.5l7 5.5-7 5.5zM18 6.5v11"/>`);
export const stepBackIcon = icon(svg`<path d="M16 6.5L9 12l7 5.5zM6 6.5v11"/>`);
export const loopIcon = icon(svg`<path d="M5 12V9.5A2.5 2.5 0 0 1 7.500 7H18l-3-3M19 12v2.500A2.500 2.500 0 0 1 16.500 17H6l3 3"/>`);
