/** Questions that a person answers before something happens. */

import "./dialog.css";
import { html, nothing, render, type TemplateResult } from "lit";
import { wordsOf } from "./forms";

interface Question {
  readonly title: string;
  readonly text?: string;
  readonly label?: string;
  readonly value?: string;
  /** Further fields. */
  readonly more?: TemplateResult;
  readonly action: string;
  readonly isDangerous?: boolean;
  /** Why the answer cannot be taken; empty where it can. */
  readonly fault?: (value: string) => string;
}

/** Ask, do *work* with the answer, and stay open with the reason where it fails. */
export function ask(question: Question, work: (value: string, fields: FormData) => Promise<void>): void {
  const dialog = document.createElement("dialog");
  dialog.className = "ask";
  let alarm = "", isBusy = false;
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const value = dialog.querySelector("input")?.value.trim() ?? "";
    const fields = new FormData(event.target as HTMLFormElement);
    alarm = question.fault?.(value) ?? "";
    if (alarm === "") {
      isBusy = true;
      draw();
      try {
        await work(value, fields);
        dialog.close();
        return;
      } catch (error) {
        alarm = wordsOf(error);
      }
      isBusy = false;
    }
    draw();
  };
  const draw = (): void => {
    render(html`<form @submit=${submit}>
      <h2>${question.title}</h2>
      ${question.text ? html`<p class="soft">${question.text}</p>` : nothing}
      ${question.label
        ? html`<label>${question.label}<input name="value" autocomplete="off" spellcheck="false"
            .defaultValue=${question.value ?? ""}></label>`
        : nothing}
      ${question.more ?? nothing}
      <p class="alarm" role="alert">${alarm}</p>
      <div class="buttons">
        <button type="button" class="button low" @click=${() => {
          dialog.close();
        }}>Cancel</button>
        <button class="button low ${question.isDangerous ? "danger" : "first"}" ?disabled=${isBusy}>
          ${question.action}</button>
      </div></form>`, dialog);
  };
  draw();
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
  });
  dialog.showModal();
  const input = dialog.querySelector("input");
  const stem = (question.value ?? "").replace(/\.[^.]+$/, "").length;
  input?.setSelectionRange(0, stem);
}
