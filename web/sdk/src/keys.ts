/** Which key events go to the application, and as what. */

export interface KeyLike {
  readonly code: string;
  readonly key: string;
  readonly keyCode?: number;
  readonly isComposing?: boolean;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly metaKey: boolean;
  readonly getModifierState?: (name: string) => boolean;
}

const WITH_CONTROL = new Set([
  "KeyT", "KeyN", "KeyW", "KeyR", "KeyL", "Tab", "Equal", "Minus", "Digit0",
]);
const WITH_CONTROL_SHIFT = new Set(["KeyI", "KeyJ", "KeyC", "KeyT", "KeyN", "KeyW", "KeyR", "Tab"]);
const BARE = new Set(["F5", "F11", "F12", "BrowserBack", "BrowserForward", "BrowserRefresh"]);

/** Left to the browser unless the keyboard is captured: else a person could not leave. */
export function isBrowserShortcut(event: KeyLike): boolean {
  if (BARE.has(event.code)) return true;
  if (event.metaKey) return WITH_CONTROL.has(event.code) || event.code === "KeyQ";
  if (event.ctrlKey && event.shiftKey) return WITH_CONTROL_SHIFT.has(event.code);
  if (event.ctrlKey && !event.altKey) return WITH_CONTROL.has(event.code);
  return false;
}

/** Ctrl+Alt+Shift+M leaves the picture for the bar, whatever else is captured. */
export function isMenuShortcut(event: KeyLike): boolean {
  return event.ctrlKey && event.altKey && event.shiftKey && event.code === "KeyM";
}

/** Part of a composition (an input method, a dead key): the text comes later, whole. */
export function isComposition(event: KeyLike): boolean {
  return (
    event.isComposing === true ||
    event.keyCode === 229 ||
    event.key === "Process" ||
    event.key === "Dead"
  );
}

/** What a US keyboard, which the application's display has, types for each key. */
const US: Readonly<Record<string, string>> = {
  Backquote: "`~", Minus: "-_", Equal: "=+", BracketLeft: "[{", BracketRight: "]}",
  Backslash: "\\|", Semicolon: ";:", Quote: "'\"", Comma: ",<", Period: ".>", Slash: "/?",
  Digit1: "1!", Digit2: "2@", Digit3: "3#", Digit4: "4$", Digit5: "5%", Digit6: "6^",
  Digit7: "7&", Digit8: "8*", Digit9: "9(", Digit0: "0)", Space: "  ",
};

/**
 * The text that *event* types when the same physical key would type something else over there
 * (another layout); null when its code says all. Shortcuts always go by code.
 */
export function textOf(event: KeyLike): string | null {
  if ([...event.key].length !== 1) return null;
  const altGraph = event.getModifierState?.("AltGraph") === true;
  if (!altGraph && (event.ctrlKey || event.altKey || event.metaKey)) return null;
  if (event.code.startsWith("Numpad")) return null;
  return usTypes(event.code).includes(event.key.toLowerCase()) ? null : event.key;
}

function usTypes(code: string): string {
  return code.startsWith("Key") ? code.slice(3).toLowerCase() : (US[code] ?? "");
}
