import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Media, type MediaHooks } from "../src/media";
import type { TransportHooks } from "../src/transport";

const made = vi.hoisted(() => [] as { url: string; hooks: TransportHooks; closed: boolean }[]);

vi.mock("../src/webcodecs", () => ({
  canWebCodecs: () => true,
  WebSocketTransport: class {
    readonly kind = "websocket";
    closed = false;
    constructor(readonly url: string, _: string, readonly hooks: TransportHooks) {
      made.push(this);
    }
    close(): void {
      this.closed = true;
    }
  },
}));

vi.mock("../src/webrtc", () => ({ canWebRtc: () => false, WebRtcTransport: vi.fn() }));

const used: string[] = [];
const lost: string[] = [];
const asked: boolean[] = [];
let refuses = false;
let media: Media;

const hooks = {
  changed: (transport: { url: string }) => void used.push(transport.url),
  lost: (reason: string) => void lost.push(reason),
  mediaTicket: (isHurried: boolean) => {
    asked.push(isHurried);
    if (refuses) return Promise.reject(new Error("nobody is there"));
    return Promise.resolve({ url: `ws://${String(asked.length)}`, ticket: "t" });
  },
  ready: () => undefined,
  firstPicture: () => undefined,
} as unknown as MediaHooks;

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const at = (index: number): (typeof made)[number] => made[index] as (typeof made)[number];

beforeEach(async () => {
  vi.useFakeTimers();
  vi.stubGlobal("document", { hidden: false });
  made.length = used.length = lost.length = asked.length = 0;
  refuses = false;
  media = new Media({ choice: "websocket", pin: null }, hooks);
  media.start();
  await settle();
  at(0).hooks.ready();
  at(0).hooks.firstPicture();
});

afterEach(() => {
  media.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("a silent socket is kept until another one is open, and nobody is told of trouble", async () => {
  at(0).hooks.silent();
  await settle();
  expect(asked).toEqual([false, true]);
  expect([made.length, at(0).closed, used]).toEqual([2, false, ["ws://1"]]);
  at(1).hooks.ready();
  expect([at(0).closed, at(1).closed]).toEqual([true, false]);
  expect(used).toEqual(["ws://1", "ws://2"]);
  expect(lost).toEqual([]);
  await vi.advanceTimersByTimeAsync(7999);
  expect(lost).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(lost).toEqual(["No picture came"]);
});

it("one that speaks again stays, and the other is dropped", async () => {
  at(0).hooks.silent();
  await settle();
  at(0).hooks.heard();
  expect([at(0).closed, at(1).closed]).toEqual([false, true]);
  at(1).hooks.ready();
  expect(used).toEqual(["ws://1"]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(made.length).toBe(2);
});

it("who speaks while the other is still asked for gets none", async () => {
  at(0).hooks.silent();
  at(0).hooks.heard();
  await settle();
  expect([made.length, at(0).closed]).toEqual([1, false]);
});

it("is looked for again, with pauses, while nobody lets us in", async () => {
  refuses = true;
  at(0).hooks.silent();
  await vi.advanceTimersByTimeAsync(1000);
  expect(asked.length).toBeGreaterThan(2);
  expect(asked.length).toBeLessThan(7);
  refuses = false;
  await vi.advanceTimersByTimeAsync(5000);
  expect(made.length).toBe(2);
  at(1).hooks.broken("refused", true);
  await vi.advanceTimersByTimeAsync(5000);
  expect(made.length).toBe(3);
  at(2).hooks.ready();
  expect(used.at(-1)).toBe(at(2).url);
  expect(lost).toEqual([]);
});

it("takes over at once where the silent one breaks", async () => {
  at(0).hooks.silent();
  await settle();
  at(0).hooks.broken("The connection to the server broke", true);
  expect(used).toEqual(["ws://1", "ws://2"]);
  expect(at(1).closed).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  expect(made.length).toBe(2);
});
