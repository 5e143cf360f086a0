/** Mouse, keys, wheel, touch and text over the picture become input messages. */

import { within, type Box } from "./geometry";
import { isBrowserShortcut, isComposition, isMenuShortcut, textOf } from "./keys";
import * as messages from "./messages";
import type { InputMessage } from "./messages";

/** At most one pointer message in this time; the last one of a burst is never lost. */
const MOVE_EVERY_MS = 4;

export interface InputHooks {
  send(message: InputMessage): void;
  /** Where the picture is on the page right now. */
  picture(): Box;
  /** A person acted: sound may start. */
  gesture(): void;
  /** The shortcut that leaves the picture was pressed. */
  menu(): void;
  captured(captured: boolean): void;
  locked(locked: boolean): void;
}

export class Input {
  readonly #stage: HTMLElement;
  readonly #sink: HTMLTextAreaElement;
  readonly #hooks: InputHooks;
  readonly #off = new AbortController();
  readonly #held = new Set<string>();
  readonly #fingers = new Map<number, number>();
  #buttons = 0;
  #isEnabled = false;
  #isCaptured = false;
  #position: { x: number; y: number } | null = null;
  #drift = { x: 0, y: 0 };
  #movedAt = 0;
  #moveTimer: ReturnType<typeof setTimeout> | undefined;

  /** *sink* is an invisible text field in *stage*: the focus, and where input methods write. */
  constructor(stage: HTMLElement, sink: HTMLTextAreaElement, hooks: InputHooks) {
    this.#stage = stage;
    this.#sink = sink;
    this.#hooks = hooks;
    this.#listen();
  }

  /** Off for spectators and while nothing plays. */
  set enabled(value: boolean) {
    if (this.#isEnabled && !value) this.#forget();
    this.#isEnabled = value;
  }

  get isCaptured(): boolean {
    return this.#isCaptured;
  }

  get isLocked(): boolean {
    const root = this.#stage.getRootNode() as Document | ShadowRoot;
    return root.pointerLockElement === this.#stage;
  }

  /** Every key to the application, browser shortcuts too as far as the browser lets us. */
  capture(on: boolean): void {
    this.#isCaptured = on;
    this.#lockKeyboard();
    this.#hooks.captured(on);
    if (on) this.focus();
  }

  async lockPointer(on: boolean): Promise<void> {
    if (!on) {
      document.exitPointerLock();
      return;
    }
    this.focus();
    const lock = this.#stage.requestPointerLock as (options?: object) => Promise<void> | undefined;
    try {
      await lock.call(this.#stage, { unadjustedMovement: true });
    } catch {
      await lock.call(this.#stage);
    }
  }

  focus(): void {
    this.#sink.focus({ preventScroll: true });
  }

  /** Let go of all that is held, here and there. */
  releaseAll(): void {
    this.#forget();
    this.#hooks.send(["u"]);
  }

  stop(): void {
    clearTimeout(this.#moveTimer);
    this.#off.abort();
  }

  #forget(): void {
    this.#held.clear();
    this.#fingers.clear();
    this.#buttons = 0;
  }

  #listen(): void {
    const { signal } = this.#off;
    const active = { signal, passive: false };
    const raw = "onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove";
    const stage = this.#stage;
    const sink = this.#sink;
    const on = <E extends Event>(at: EventTarget, type: string, act: (event: E) => void): void => {
      at.addEventListener(type, (event) => {
        if (this.#isEnabled) act(event as E);
      }, active);
    };
    on<PointerEvent>(stage, raw, (event) => {
      this.#onMove(event);
    });
    for (const type of ["pointerdown", "pointerup", "pointercancel"]) {
      on<PointerEvent>(stage, type, (event) => {
        this.#onPress(event);
      });
    }
    on<WheelEvent>(stage, "wheel", (event) => {
      event.preventDefault();
      this.#hooks.send(messages.wheel(event, window.innerHeight));
    });
    // `mousedown`: a press must not take the focus from the field.
    for (const type of ["mousedown", "contextmenu", "auxclick", "dragstart"]) {
      on(stage, type, (event) => {
        event.preventDefault();
      });
    }
    on<KeyboardEvent>(sink, "keydown", (event) => {
      this.#onKey(event, true);
    });
    on<KeyboardEvent>(sink, "keyup", (event) => {
      this.#onKey(event, false);
    });
    on<InputEvent>(sink, "input", (event) => {
      this.#onText(event);
    });
    on<CompositionEvent>(sink, "compositionend", (event) => {
      this.#sink.value = "";
      for (const message of messages.text(event.data)) this.#hooks.send(message);
    });
    on(sink, "blur", () => {
      this.releaseAll();
    });
    on(window, "blur", () => {
      this.releaseAll();
    });
    document.addEventListener("visibilitychange", () => {
      if (this.#isEnabled && document.hidden) this.releaseAll();
    }, { signal });
    document.addEventListener("pointerlockchange", () => {
      this.#hooks.locked(this.isLocked);
    }, { signal });
    document.addEventListener("fullscreenchange", () => {
      this.#lockKeyboard();
    }, { signal });
  }

  #onMove(event: PointerEvent): void {
    if (event.pointerType === "touch") {
      const finger = this.#fingers.get(event.pointerId);
      if (finger !== undefined) this.#hooks.send(messages.touch(finger, 1, ...this.#at(event)));
      return;
    }
    this.#syncButtons(event);
    if (this.isLocked) {
      this.#drift.x += event.movementX;
      this.#drift.y += event.movementY;
    } else {
      const [x, y] = this.#at(event);
      this.#position = { x, y };
    }
    const due = this.#movedAt + MOVE_EVERY_MS - performance.now();
    if (due <= 0) this.#flushMove();
    else this.#moveTimer ??= setTimeout(() => {
      this.#flushMove();
    }, due);
  }

  #flushMove(): void {
    clearTimeout(this.#moveTimer);
    this.#moveTimer = undefined;
    this.#movedAt = performance.now();
    const { x, y } = this.#drift;
    if (x !== 0 || y !== 0) this.#hooks.send(messages.relative(x, y));
    this.#drift = { x: 0, y: 0 };
    if (this.#position) this.#hooks.send(messages.move(this.#position.x, this.#position.y));
    this.#position = null;
  }

  #onPress(event: PointerEvent): void {
    // For a mouse that would also swallow `mousedown`, and with it our hold on the focus.
    if (event.pointerType === "touch") event.preventDefault();
    if (event.type === "pointerdown") {
      this.focus();
      this.#hooks.gesture();
      if (!this.isLocked) this.#stage.setPointerCapture(event.pointerId);
    }
    if (event.pointerType === "touch") this.#onTouch(event);
    else this.#syncButtons(event);
  }

  #onTouch(event: PointerEvent): void {
    if (event.type === "pointerdown") {
      const used = new Set(this.#fingers.values());
      let finger = 0;
      while (used.has(finger)) finger += 1;
      this.#fingers.set(event.pointerId, finger);
      this.#hooks.send(messages.touch(finger, 0, ...this.#at(event)));
      return;
    }
    const finger = this.#fingers.get(event.pointerId);
    if (finger === undefined) return;
    this.#fingers.delete(event.pointerId);
    this.#hooks.send(messages.touch(finger, 2, ...this.#at(event)));
  }

  /** Buttons by their mask: chords arrive as moves, and a release outside is never missed. */
  #syncButtons(event: PointerEvent): void {
    const mask = event.type === "pointercancel" ? 0 : event.buttons;
    if (mask === this.#buttons) return;
    // The pointer's last place goes first, so that the press lands where it was made.
    if (!this.isLocked) {
      const [x, y] = this.#at(event);
      this.#position = { x, y };
    }
    this.#flushMove();
    for (const message of messages.buttonChanges(this.#buttons, mask)) this.#hooks.send(message);
    this.#buttons = mask;
  }

  #at(event: PointerEvent): [number, number] {
    const { x, y } = within(this.#hooks.picture(), event.clientX, event.clientY);
    return [x, y];
  }

  #onKey(event: KeyboardEvent, down: boolean): void {
    if (isMenuShortcut(event)) {
      event.preventDefault();
      if (down) this.#hooks.menu();
      return;
    }
    if (isComposition(event)) return;
    if (!this.#isCaptured && isBrowserShortcut(event) && !this.#held.has(event.code)) return;
    event.preventDefault();
    if (down) this.#press(event);
    else this.#release(event);
  }

  #press(event: KeyboardEvent): void {
    this.#hooks.gesture();
    const text = this.isLocked ? null : textOf(event);
    if (text !== null) {
      this.#hooks.send(["x", text]);
      return;
    }
    if (event.repeat || event.code === "") return;
    this.#held.add(event.code);
    this.#hooks.send(messages.key(event.code, true));
  }

  #release(event: KeyboardEvent): void {
    if (this.#held.delete(event.code)) this.#hooks.send(messages.key(event.code, false));
    // macOS tells no release of keys pressed together with Command.
    if (event.key !== "Meta") return;
    for (const code of this.#held) this.#hooks.send(messages.key(code, false));
    this.#held.clear();
  }

  /** Text without keys: a virtual keyboard, dictation, paste into the field. */
  #onText(event: InputEvent): void {
    if (event.isComposing || event.inputType === "insertCompositionText") return;
    const value = this.#sink.value;
    this.#sink.value = "";
    if (event.inputType === "deleteContentBackward") this.#tap("Backspace");
    else if (event.inputType === "insertLineBreak") this.#tap("Enter");
    else for (const message of messages.text(value)) this.#hooks.send(message);
  }

  #tap(code: string): void {
    this.#hooks.send(messages.key(code, true));
    this.#hooks.send(messages.key(code, false));
  }

  #lockKeyboard(): void {
    const keyboard = (navigator as { keyboard?: { lock(): Promise<void>; unlock(): void } })
      .keyboard;
    if (!keyboard) return;
    if (this.#isCaptured && document.fullscreenElement) keyboard.lock().catch(() => undefined);
    else keyboard.unlock();
  }
}
