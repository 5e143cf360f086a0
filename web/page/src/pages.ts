/** The links to the other pages, in the head of each. */

import { html, nothing, type TemplateResult } from "lit";

const PAGES = [["/", "Sessions"], ["/files", "Files"], ["/watch", "Data"]] as const;

export function pages(here: string): TemplateResult {
  return html`<nav>${PAGES.map(([path, name]) => html`<a href=${path}
    aria-current=${path === here ? "page" : nothing}>${name}</a>`)}</nav>`;
}
