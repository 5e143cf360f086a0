/** Something that shows itself for a while, and stays as long as somebody uses it. */

import type { ReactiveController, ReactiveControllerHost } from "lit";

export class AutoHide implements ReactiveController {
  readonly #host: ReactiveControllerHost;
  readonly #isUsed: () => boolean;
  readonly #staysMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOpen = false;

  constructor(host: ReactiveControllerHost, staysMs: number, isUsed: () => boolean) {
    this.#host = host;
    this.#staysMs = staysMs;
    this.#isUsed = isUsed;
    host.addController(this);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  readonly open = (): void => {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#isUsed()) this.open();
      else this.#set(false);
    }, this.#staysMs);
    this.#set(true);
  };

  hostDisconnected(): void {
    clearTimeout(this.#timer);
    this.#isOpen = false;
  }

  #set(open: boolean): void {
    if (open === this.#isOpen) return;
    this.#isOpen = open;
    this.#host.requestUpdate();
  }
}
