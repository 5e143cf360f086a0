/** How an open document looks: its head, its text, the verdict on it, and what to do in a conflict. */

import { html, nothing, type TemplateResult } from "lit";
import { compare, folded } from "../files/compare";
import { laidOut, type Conflict, type OpenDocument } from "./open";

export interface PaneHooks {
  close(): void;
  remove(): void;
  saved(): void;
}

export function pane(open: OpenDocument, hooks: PaneHooks): TemplateResult {
  const isWrong = "fault" in open.editor.lately;
  const canSave = !open.isBusy && open.conflict === null && (open.isDirty || open.isNew);
  const save = async (): Promise<void> => {
    await open.save();
    hooks.saved();
  };
  return html`<section class="pane" aria-label=${`Document ${open.id}`}>
    <div class="toolbar">
      <button class="button low back" @click=${() => {
        hooks.close();
      }}>Back</button>
      <h1>${open.id}</h1>
      ${open.isNew ? html`<span class="badge">New</span>` : nothing}
      <span class="fill"></span>
      <button class="button low" ?disabled=${isWrong || open.isBusy} @click=${() => {
        open.editor.format();
      }}>Format</button>
      ${open.isNew ? nothing : html`<button class="button low" ?disabled=${open.isBusy} @click=${() => {
        hooks.remove();
      }}>Delete</button>`}
      <button class="button low first" title="Ctrl+S" ?disabled=${!canSave || isWrong}
        @click=${() => void save()}>Save</button>
    </div>
    <p class="alarm" role="alert">${open.alarm}</p>
    ${open.conflict === null ? nothing : clash(open, open.conflict, hooks)}
    ${open.editor.element}
    ${verdict(open)}</section>`;
}

function verdict(open: OpenDocument): TemplateResult {
  const { lately } = open.editor;
  const state = open.isBusy ? "Saving …" : open.note !== "" && !open.isDirty ? open.note
    : open.isNew ? "Not saved yet" : open.isDirty ? "Unsaved changes" : "No changes";
  return html`<div class="verdict">
    <p id="verdict" role="status">${"fault" in lately
      ? html`<button class="plain bad" @click=${() => {
        open.editor.focus(lately.fault.at);
      }}>Line ${lately.fault.line}, column ${lately.fault.column}</button> ${lately.fault.words}`
      : html`<span class="good">Valid JSON</span>`}</p>
    <p class=${open.isDirty || open.isNew ? "unsaved" : "soft"}>${state}</p></div>`;
}

function clash(open: OpenDocument, conflict: Conflict, hooks: PaneHooks): TemplateResult {
  const { theirs } = conflict;
  const overwrite = async (): Promise<void> => {
    await open.overwrite();
    hooks.saved();
  };
  const words = theirs === null
    ? "Somebody deleted this document since you opened it. Yours was not saved."
    : open.isNew ? "There is a document with this id already. Yours was not saved."
      : "Somebody saved another version since you opened this one. Nothing was overwritten.";
  return html`<div class="clash" role="group" aria-label="Conflict">
    <h2>${theirs === null ? "Deleted meanwhile" : open.isNew ? "This id is taken" : "Changed meanwhile"}</h2>
    <p role="alert">${words}</p>
    ${theirs === null ? nothing : differences(theirs.text, open.editor.text)}
    <div class="buttons">
      ${theirs === null
        ? html`<button class="button low" @click=${() => {
          hooks.close();
        }}>Close without saving</button>`
        : html`<button class="button low" @click=${() => {
          open.takeTheirs();
        }}>Take theirs, drop mine</button>`}
      <button class="button low" @click=${() => {
        open.later();
      }}>Go on editing</button>
      <button class="button low danger" @click=${() => void overwrite()}>${theirs === null
        ? "Save it again" : "Overwrite theirs"}</button>
    </div></div>`;
}

function differences(theirs: string, mine: string): TemplateResult {
  const lines = compare(laidOut(theirs), laidOut(mine));
  if (lines === null) return html`<p class="soft">They are too large to be compared here.</p>`;
  const shown = folded(lines);
  if (shown.length === 0) return html`<p class="soft">Both say the same.</p>`;
  return html`<p class="soft legend"><span class="gone">− theirs</span> <span class="new">+ yours</span></p>
    <pre class="diff" tabindex="0">${shown.map((line) => html`<span
      class=${{ "-": "gone", "+": "new", " ": "", "…": "soft" }[line.mark]}>${line.mark} ${line.text}
</span>`)}</pre>`;
}
