/** The links to the other pages, in the head of each. */

import { html, nothing, type TemplateResult } from "lit";
import { holds } from "./token";

const PAGES = [["/", "Sessions"], ["/files", "Files"], ["/watch", "Data"]] as const;

const ADMIN = ["/admin", "Admin"] as const;

export function pages(here: string): TemplateResult {
  const all = holds("streams:admin") || here === ADMIN[0] ? [...PAGES, ADMIN] : PAGES;
  return html`<nav>${all.map(([path, name]) => html`<a href=${path}
    aria-current=${path === here ? "page" : nothing}>${name}</a>`)}</nav>`;
}
