/** Input messages: what the page tells the application, as small JSON arrays. */

export type InputMessage =
  | readonly ["m", number, number]
  | readonly ["r", number, number]
  | readonly ["b", number, 0 | 1]
  | readonly ["w", number, number]
  | readonly ["k", string, 0 | 1]
  | readonly ["x", string]
  | readonly ["t", number, 0 | 1 | 2, number, number]
  | readonly ["u"]
  | readonly ["z", number, number]
  | readonly ["a", number]
  | readonly ["p", number]
  | readonly ["i"]
  | readonly ["v", 0 | 1];

/** Most characters of text in one message: 4 KiB of JSON even when each needs an escape. */
const MOST_TEXT = 512;

const round = (value: number): number => Math.round(value * 1e5) / 1e5;
const clamp = (value: number): number => Math.min(1, Math.max(0, value));

export function move(x: number, y: number): InputMessage {
  return ["m", round(clamp(x)), round(clamp(y))];
}

export function relative(dx: number, dy: number): InputMessage {
  return ["r", Math.round(dx), Math.round(dy)];
}

export function button(index: number, down: boolean): InputMessage {
  return ["b", index, down ? 1 : 0];
}

export function key(code: string, down: boolean): InputMessage {
  return ["k", code, down ? 1 : 0];
}

export function touch(id: number, phase: 0 | 1 | 2, x: number, y: number): InputMessage {
  return ["t", id, phase, round(clamp(x)), round(clamp(y))];
}

export function size(width: number, height: number): InputMessage {
  const limit = (value: number): number => Math.min(65535, Math.max(1, Math.round(value)));
  return ["z", limit(width), limit(height)];
}

/** Text in pieces that each fit into a message, never cutting a character in two. */
export function text(value: string): InputMessage[] {
  const characters = [...value];
  const messages: InputMessage[] = [];
  for (let at = 0; at < characters.length; at += MOST_TEXT) {
    messages.push(["x", characters.slice(at, at + MOST_TEXT).join("")]);
  }
  return messages;
}

const LINE_PX = 100 / 3;

/** Wheel movement in CSS pixels, whatever unit the browser counts in. */
export function wheel(
  event: Pick<WheelEvent, "deltaX" | "deltaY" | "deltaMode">, pageHeight: number,
): InputMessage {
  const unit = event.deltaMode === 1 ? LINE_PX : event.deltaMode === 2 ? pageHeight : 1;
  const scaled = (delta: number): number => Math.round(delta * unit * 100) / 100;
  return ["w", scaled(event.deltaX), scaled(event.deltaY)];
}

const BITS: readonly (readonly [bit: number, button: number])[] = [
  [1, 0], [2, 2], [4, 1], [8, 3], [16, 4],
];

/** The presses and releases between two `buttons` masks of mouse events. */
export function buttonChanges(before: number, after: number): InputMessage[] {
  return BITS.filter(([bit]) => (before & bit) !== (after & bit)).map(([bit, index]) =>
    button(index, (after & bit) !== 0),
  );
}
