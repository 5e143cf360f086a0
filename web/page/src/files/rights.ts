/** Who may do what with a file or folder, and where each right comes from. */

import { html, nothing, type TemplateResult } from "lit";
import { ADMIN, READ, WRITE, type Grant, type People, type Right } from "./wire";

/** What a person chooses from; each brings the ones before it. */
export const LEVELS = [
  { value: 0, words: "nothing" },
  { value: READ, words: "may read" },
  { value: READ | WRITE, words: "may read and write" },
  { value: READ | WRITE | ADMIN, words: "may change rights too" },
] as const;

/** A principal in words. */
export function nameOf(principal: string, people: People | null): string {
  if (principal === "everyone") return "Everyone";
  const [kind, rest] = split(principal);
  if (kind === "group") return `Group ${rest}`;
  return people?.users.find((user) => user.subject === rest)?.name ?? rest;
}

function split(principal: string): [string, string] {
  const at = principal.indexOf(":");
  return [principal.slice(0, at), principal.slice(at + 1)];
}

/** The level that *right* comes nearest to: what is denied is not had. */
export function levelOf(right: Right): number {
  const has = right.allow & ~right.deny;
  return has & ADMIN ? 7 : has & WRITE ? 3 : has & READ ? 1 : 0;
}

/** *right* at another level: what is above it is denied, so that nothing farther up gives it. */
export function atLevel(principal: string, level: number): Right {
  return { principal, allow: level, deny: 7 & ~level };
}

/** *rights* with *changed* in place of whatever its principal had. */
export function withRight(rights: readonly Right[], changed: Right): Right[] {
  const others = rights.filter((right) => right.principal !== changed.principal);
  return [...others, changed].sort((a, b) => a.principal.localeCompare(b.principal));
}

interface Editor {
  readonly path: string;
  readonly rights: readonly Right[];
  readonly grants: readonly Grant[];
  readonly people: People | null;
  readonly mayChange: boolean;
  readonly save: (rights: Right[]) => void;
}

export function rightsEditor(editor: Editor): TemplateResult {
  const { rights, people, save } = editor;
  return html`
    <table class="rights"><tbody>${rights.map((right) => html`<tr>
      <th title=${nameOf(right.principal, people)}>${nameOf(right.principal, people)}</th>
      <td>${levelChoice(right, editor)}</td>
      <td>${editor.mayChange ? html`<button class="plain" title="Remove this entry"
        aria-label=${`Remove the entry of ${nameOf(right.principal, people)}`}
        @click=${() => {
          save(rights.filter((one) => one !== right));
        }}>×</button>` : nothing}</td></tr>`)}
    </tbody></table>
    ${rights.length === 0 ? html`<p class="soft">No entries of its own: what is said farther up counts.</p>` : nothing}
    ${editor.mayChange ? adder(editor) : nothing}
    ${inherited(editor)}`;
}

function levelChoice(right: Right, editor: Editor): TemplateResult {
  const level = levelOf(right);
  return html`<select ?disabled=${!editor.mayChange} aria-label="What they may"
    @change=${(event: Event) => {
      const chosen = Number((event.target as HTMLSelectElement).value);
      editor.save(withRight(editor.rights, atLevel(right.principal, chosen)));
    }}>${LEVELS.map((one) => html`<option value=${one.value} ?selected=${one.value === level}>
      ${one.words}</option>`)}</select>`;
}

function adder(editor: Editor): TemplateResult {
  const had = new Set(editor.rights.map((right) => right.principal));
  const all = [
    "everyone",
    ...(editor.people?.groups ?? []).map((group) => `group:${group}`),
    ...(editor.people?.users ?? []).map((user) => `user:${user.subject}`),
  ].filter((principal) => !had.has(principal));
  return html`<label class="adder">Add an entry for
    <select @change=${(event: Event) => {
      const chosen = (event.target as HTMLSelectElement).value;
      if (chosen) editor.save(withRight(editor.rights, atLevel(chosen, READ)));
    }}><option value="">choose …</option>${all.map((principal) => html`
      <option value=${principal}>${nameOf(principal, editor.people)}</option>`)}</select></label>`;
}

/** What comes from folders farther up. */
function inherited(editor: Editor): TemplateResult | typeof nothing {
  const above = editor.grants;
  if (above.length === 0) return nothing;
  return html`<h4>From farther up</h4><ul class="plain-list">${above.map((grant) => html`
    <li><b>${nameOf(grant.principal, editor.people)}</b>
      ${LEVELS.find((one) => one.value === levelOf(grant))?.words ?? ""}
      <span class="soft">by ${grant.path}</span></li>`)}</ul>`;
}
