/** What is on its way up, in a corner of the page. */

import { html, nothing, type TemplateResult } from "lit";
import { closeIcon } from "./icons";
import { sizeOf } from "../sizes";
import type { Upload, Uploads } from "./uploads";

export function uploadList(uploads: Uploads): TemplateResult | typeof nothing {
  if (uploads.all.length === 0) return nothing;
  const over = uploads.all.filter((one) => one.state === "done").length;
  return html`<section class="uploads" aria-label="Uploads">
    <header><h2>Uploads <span class="soft">${over} of ${uploads.all.length}</span></h2>
      ${over > 0 ? html`<button class="plain" @click=${() => {
        uploads.clear();
      }}>Clear</button>` : nothing}</header>
    <ul>${uploads.all.map((one) => row(one, uploads))}</ul></section>`;
}

function row(upload: Upload, uploads: Uploads): TemplateResult {
  const name = upload.path.slice(upload.path.lastIndexOf("/") + 1);
  const part = upload.size === 0 ? Number(upload.state === "done") : upload.sent / upload.size;
  return html`<li><div><span class="name" title=${upload.path}>${name}</span>
      ${upload.state === "going" ? html`<button class="plain" @click=${() => {
        uploads.pause(upload);
      }}>Pause</button>` : nothing}
      ${upload.state === "paused" || upload.state === "failed" ? html`<button class="plain" @click=${() => {
        uploads.resume(upload);
      }}>Resume</button>` : nothing}
      <button class="plain" aria-label=${`Remove ${name} from the list`} @click=${() => {
        uploads.cancel(upload);
      }}>${closeIcon}</button></div>
    <progress max="1" .value=${part} aria-label=${name}></progress>
    <p class=${upload.error ? "bad" : "soft"}>${upload.error || `${sizeOf(upload.sent)} of ${sizeOf(upload.size)}${
      upload.state === "going" ? "" : ` · ${upload.state}`}`}</p></li>`;
}
