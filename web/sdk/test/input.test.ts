import { describe, expect, it } from "vitest";
import { placePicture, within } from "../src/geometry";
import { isBrowserShortcut, isComposition, isMenuShortcut, textOf, type KeyLike } from "../src/keys";
import { button, buttonChanges, move, relative, size, text, touch, wheel } from "../src/messages";
import { cssCursor } from "../src/cursor";

const key = (code: string, typed: string, more: Partial<KeyLike> = {}): KeyLike => ({
  code, key: typed, ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, ...more,
});

describe("messages", () => {
  it("keep places inside the picture, with five digits", () => {
    expect(move(0.123456789, -1)).toEqual(["m", 0.12346, 0]);
    expect(touch(2, 1, 2, 0.5)).toEqual(["t", 2, 1, 1, 0.5]);
  });

  it("count sizes in whole pixels, from 1 to 65535", () => {
    expect(size(0, 99999)).toEqual(["z", 1, 65535]);
    expect(size(1279.6, 719.4)).toEqual(["z", 1280, 719]);
    expect(relative(1.4, -1.6)).toEqual(["r", 1, -2]);
  });

  it("make the wheel CSS pixels in every unit", () => {
    expect(wheel({ deltaX: 0, deltaY: 100, deltaMode: 0 }, 720)).toEqual(["w", 0, 100]);
    expect(wheel({ deltaX: 0, deltaY: 3, deltaMode: 1 }, 720)).toEqual(["w", 0, 100]);
    expect(wheel({ deltaX: 1, deltaY: -1, deltaMode: 2 }, 720)).toEqual(["w", 720, -720]);
  });

  it("tell presses and releases from two masks", () => {
    expect(buttonChanges(0, 1)).toEqual([button(0, true)]);
    expect(buttonChanges(1, 2)).toEqual([button(0, false), button(2, true)]);
    expect(buttonChanges(31, 0).map((message) => message[1])).toEqual([0, 2, 1, 3, 4]);
    expect(buttonChanges(4, 4)).toEqual([]);
  });

  it("cut text between characters, never inside one, below 4 KiB", () => {
    const long = "😀".repeat(1000);
    const parts = text(long);
    expect(parts.map((part) => part[1]).join("")).toBe(long);
    for (const part of parts) expect(JSON.stringify(part).length).toBeLessThan(4096);
    expect(text("")).toEqual([]);
  });
});

describe("keys", () => {
  it("leave the browser its shortcuts", () => {
    expect(isBrowserShortcut(key("KeyT", "t", { ctrlKey: true }))).toBe(true);
    expect(isBrowserShortcut(key("KeyI", "I", { ctrlKey: true, shiftKey: true }))).toBe(true);
    expect(isBrowserShortcut(key("F11", "F11"))).toBe(true);
    expect(isBrowserShortcut(key("KeyC", "c", { ctrlKey: true }))).toBe(false);
    expect(isBrowserShortcut(key("Tab", "Tab"))).toBe(false);
    expect(isBrowserShortcut(key("KeyQ", "@", { ctrlKey: true, altKey: true }))).toBe(false);
  });

  it("know the way out", () => {
    const out = { ctrlKey: true, altKey: true, shiftKey: true };
    expect(isMenuShortcut(key("KeyM", "M", out))).toBe(true);
    expect(isMenuShortcut(key("KeyM", "m", { ctrlKey: true }))).toBe(false);
  });

  it("wait for compositions", () => {
    expect(isComposition(key("KeyA", "Process"))).toBe(true);
    expect(isComposition(key("Quote", "Dead"))).toBe(true);
    expect(isComposition(key("KeyA", "a", { keyCode: 229 }))).toBe(true);
    expect(isComposition(key("KeyA", "a"))).toBe(false);
  });

  it.each([
    ["KeyA", "a", null],
    ["KeyA", "A", null],
    ["KeyZ", "y", "y"],
    ["KeyQ", "a", "a"],
    ["Semicolon", "ö", "ö"],
    ["Digit2", "@", null],
    ["Digit2", "é", "é"],
    ["Space", " ", null],
    ["Enter", "Enter", null],
    ["Numpad5", "5", null],
    ["", "ん", "ん"],
    ["IntlBackslash", "<", "<"],
  ])("%s typing %s goes as text %s", (code, typed, expected) => {
    expect(textOf(key(code, typed))).toBe(expected);
  });

  it("sends shortcuts by code, AltGr characters as text", () => {
    expect(textOf(key("KeyZ", "y", { ctrlKey: true }))).toBeNull();
    const altGraph = { ctrlKey: true, altKey: true, getModifierState: () => true };
    expect(textOf(key("KeyE", "€", altGraph))).toBe("€");
  });
});

describe("the picture's place", () => {
  const room = { width: 1280, height: 720 };

  it("fills when the sizes match", () => {
    expect(placePicture(room, room, 1)).toEqual({ left: 0, top: 0, ...room });
    expect(placePicture(room, { width: 2560, height: 1440 }, 2)).toEqual({ left: 0, top: 0, ...room });
  });

  it("is pixel for pixel where the encoder only rounded", () => {
    const odd = { width: 1279, height: 719 };
    expect(placePicture(odd, { width: 1278, height: 718 }, 1)).toMatchObject({ width: 1278, left: 0 });
  });

  it("keeps the shape otherwise, in the middle", () => {
    expect(placePicture(room, { width: 720, height: 720 }, 1)).toEqual(
      { left: 280, top: 0, width: 720, height: 720 });
    expect(placePicture(room, { width: 640, height: 360 }, 1)).toEqual({ left: 0, top: 0, ...room });
  });

  it("fills while nothing is known", () => {
    expect(placePicture(room, { width: 0, height: 0 }, 1)).toEqual({ left: 0, top: 0, ...room });
  });

  it("maps the page to 0..1", () => {
    const picture = { left: 100, top: 50, width: 200, height: 100 };
    expect(within(picture, 200, 100)).toEqual({ x: 0.5, y: 0.5 });
    expect(within({ ...picture, width: 0 }, 1, 1).x).toBe(0);
  });
});

describe("the cursor", () => {
  it("takes names and PNGs, nothing else", () => {
    expect(cssCursor({ css: "none" }, 1)).toBe("none");
    expect(cssCursor({ css: "url(https://evil/)" }, 1)).toBe("default");
    expect(cssCursor({ png: "iVBORw0=", x: 3, y: 4 }, 1)).toBe(
      'url("data:image/png;base64,iVBORw0=") 3 4, default');
    expect(cssCursor({ png: 'x"); }', x: 0, y: 0 }, 1)).toBe("default");
  });

  it("is as sharp as the picture", () => {
    expect(cssCursor({ png: "aaaa", x: 8, y: 4 }, 2)).toBe(
      'image-set(url("data:image/png;base64,aaaa") 2x) 4 2, default');
  });
});
