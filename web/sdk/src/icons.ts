/** The bar's icons: 24 × 24, drawn with one stroke width. */

import { html, svg, type TemplateResult } from "lit";

const icon = (paths: TemplateResult): TemplateResult => html`
  <svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">${paths}</svg>`;

export const fullscreenIcon = icon(svg`<path d="M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4
  M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4"/>`);
export const windowIcon = icon(svg`<path d="M9 4v4a1 1 0 0 1-1 1H4M20 9h-4a1 1 0 0 1-1-1V4
  M15 20v-4a1 1 0 0 1 1-1h4M4 15h4a1 1 0 0 1 1 1v4"/>`);
export const keyboardIcon = icon(svg`<rect x="3" y="6" width="18" height="12" rx="2"/>
  <path d="M7 10h.01M10.5 10h.01M14 10h.01M17 10h.01M8 14h8"/>`);
export const pointerIcon = icon(svg`<path d="M6 4l12.5 6.2-5.4 1.7-2.2 5.6z"/>
  <path d="M14 14l4.5 4.5"/>`);
export const soundIcon = icon(svg`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z"/>
  <path d="M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11"/>`);
export const mutedIcon = icon(svg`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z"/>
  <path d="M16 9.5l5 5M21 9.5l-5 5"/>`);
export const statsIcon = icon(svg`<path d="M4 19h16M7 15v-4M12 15V6M17 15V9"/>`);
export const endIcon = icon(svg`<path d="M12 4v8"/><path d="M7.5 6.8a7.5 7.5 0 1 0 9 0"/>`);
export const checkIcon = icon(svg`<path d="M5.5 12.5l4 4 9-9.5"/>`);
