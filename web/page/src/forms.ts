/** Signing in, and making the first administrator: plain forms that password managers know. */

import { html, nothing, render, svg, type TemplateResult } from "lit";
import { Problem, type Api } from "@downstage/viewer";
import { keepToken } from "./token";

export const mark = html`<svg viewBox="0 0 32 32" aria-hidden="true">${svg`
  <path d="M16 6l9.5 16.5h-19z" fill="var(--accent)" opacity=".35"/>
  <ellipse cx="16" cy="23" rx="10" ry="3.2" fill="var(--accent)"/>
  <circle cx="16" cy="6.5" r="2" fill="var(--accent)"/>`}</svg>`;

type Send = (fields: FormData) => Promise<void>;

function form(fields: TemplateResult, action: string, send: Send, isSlim: boolean): TemplateResult {
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const target = event.target as HTMLFormElement;
    const button = target.querySelector("button");
    const alarm = target.querySelector(".alarm");
    if (!button || !alarm) return;
    button.disabled = true;
    alarm.textContent = "";
    try {
      await send(new FormData(target));
    } catch (error) {
      alarm.textContent = wordsOf(error);
    } finally {
      button.disabled = false;
    }
  };
  return html`<form class=${isSlim ? "slim" : ""} method="post" @submit=${submit}>
    ${fields}<p class="alarm" role="alert"></p>
    <button class="button first">${action}</button></form>`;
}

function field(
  label: string, name: string, type: string, autocomplete: string, extra: { min?: number } = {},
): TemplateResult {
  return html`<label>${label}<input name=${name} type=${type} autocomplete=${autocomplete} required
    autocapitalize="none" spellcheck="false" minlength=${extra.min ?? nothing}></label>`;
}

/** A sentence for *error*, whatever it is. */
export function wordsOf(error: unknown): string {
  if (error instanceof Problem) return error.detail || error.title;
  return error instanceof Error ? error.message : String(error);
}

/** The sign-in fields alone, for use inside another card. */
export function signInForm(api: Api, done: () => void, isSlim = false): TemplateResult {
  const fields = html`
    ${field("Name", "username", "text", "username")}
    ${field("Password", "password", "password", "current-password")}`;
  return form(fields, "Sign in", async (data) => {
    try {
      keepToken(await api.login(text(data, "username"), text(data, "password")));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        throw new Error("Name or password is wrong. Check both and try again.", { cause: error });
      }
      throw error;
    }
    done();
  }, isSlim);
}

export function showSignIn(root: HTMLElement, api: Api, done: () => void): void {
  document.title = "Sign in · Downstage";
  show(root, html`<h1>Sign in</h1>${signInForm(api, done)}`);
}

export function showSetup(root: HTMLElement, api: Api, code: string, done: () => void): void {
  document.title = "Set up · Downstage";
  const fields = html`
    ${field("Name", "username", "text", "username")}
    ${field("Password, at least 8 characters", "password", "password", "new-password", { min: 8 })}
    ${field("Password again", "again", "password", "new-password", { min: 8 })}`;
  show(root, html`<h1>Make the first administrator</h1>
    <p class="soft">This link works once. Whoever uses it may do everything here.</p>
    ${form(fields, "Make administrator", async (data) => {
      if (text(data, "password") !== text(data, "again")) {
        throw new Error("The two passwords differ. Type them again.");
      }
      keepToken(await api.setup(code, text(data, "username"), text(data, "password")));
      done();
    }, false)}`);
}

function show(root: HTMLElement, content: TemplateResult): void {
  render(html`<main class="middle"><div class="card">
    <div class="word">${mark}Downstage</div>${content}</div></main>`, root);
  root.querySelector("input")?.focus();
}

function text(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === "string" ? value : "";
}
