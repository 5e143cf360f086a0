import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { askRound, type Asking } from "../src/round";
import { Signalling, type Incoming } from "../src/signalling";
import { Patience, Silence } from "../src/silence";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, "info").mockImplementation(() => undefined);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** As a page that sleeps: the clock goes on, and no timer runs. */
function sleep(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + ms);
}

describe("silence", () => {
  it("is told once, after the limit, and again only when something was heard", () => {
    const tell = vi.fn();
    const silence = new Silence(() => 1200, tell);
    for (let at = 0; at < 5000; at += 500) {
      vi.advanceTimersByTime(500);
      expect(silence.heard()).toBe(false);
    }
    vi.advanceTimersByTime(1199);
    expect(tell).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(tell).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(60_000);
    expect(tell).toHaveBeenCalledTimes(1);
    expect(silence.heard()).toBe(true);
    vi.advanceTimersByTime(1200);
    expect(tell).toHaveBeenCalledTimes(2);
    silence.stop();
    vi.advanceTimersByTime(60_000);
    expect(tell).toHaveBeenCalledTimes(2);
  });

  it("is not believed of a page that slept, until what waited could be heard", () => {
    const tell = vi.fn();
    const silence = new Silence(() => 1200, tell);
    vi.advanceTimersByTime(1000);
    sleep(30_000);
    vi.advanceTimersByTime(200); // the timer, late
    expect(tell).not.toHaveBeenCalled();
    silence.heard(); // what came meanwhile
    vi.advanceTimersByTime(1199);
    expect(tell).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(tell).toHaveBeenCalledTimes(1);
  });

  it("is believed soon where nothing had come meanwhile either", () => {
    const tell = vi.fn();
    new Silence(() => 1200, tell);
    vi.advanceTimersByTime(1000);
    sleep(30_000);
    vi.advanceTimersByTime(200 + 300);
    expect(tell).toHaveBeenCalledTimes(1);
  });

  it("is borne as long as its limit is now", () => {
    const tell = vi.fn();
    let limit = 4000;
    const silence = new Silence(() => limit, tell);
    limit = 1200;
    vi.advanceTimersByTime(3999); // the look that was due with the limit of before
    silence.heard();
    vi.advanceTimersByTime(1201);
    expect(tell).toHaveBeenCalledTimes(1);
  });

  it("is borne for longer after each alarm, not for ever, and as at first after a calm time", () => {
    const patience = new Patience();
    const limits = [0, 1, 2, 3].map(() => {
      const limit = patience.limit(1200);
      patience.alarm();
      return limit;
    });
    expect(limits).toEqual([1200, 2400, 4800, 5000]);
    vi.advanceTimersByTime(30_001);
    expect(patience.limit(1200)).toBe(1200);
    expect(patience.limit(9000)).toBe(9000);
  });
});

class Socket {
  static readonly OPEN = 1;
  static all: Socket[] = [];
  readyState = 0;
  closed = 0;
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;

  constructor(readonly url: string) {
    Socket.all.push(this);
  }

  open(): void {
    this.readyState = Socket.OPEN;
    this.onopen?.();
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** As where the other side is cut off: no close is ever answered. */
  close(): void {
    this.closed += 1;
  }
}

describe("a signalling socket", () => {
  const told: Incoming[] = [];
  const hooks = {
    opened: () => undefined,
    message: (message: Incoming) => void told.push(message),
    problem: () => undefined,
  };

  const opened = (signalling: Signalling, welcome: object): [Socket, Promise<boolean>] => {
    const run = signalling.run("ws://a", "t", hooks);
    const socket = Socket.all.at(-1) as Socket;
    socket.open();
    socket.say({ type: "welcome", ...welcome });
    return [socket, run];
  };

  beforeEach(() => {
    Socket.all = [];
    vi.stubGlobal("WebSocket", Socket);
  });

  it("that beats is given up when it is silent, without waiting for its farewell", async () => {
    const signalling = new Signalling();
    const [socket, run] = opened(signalling, { heartbeat_ms: 1000 });
    for (let beat = 0; beat < 10; beat += 1) {
      vi.advanceTimersByTime(1000);
      socket.say({ type: "beat" });
    }
    expect([signalling.isOpen, socket.closed]).toEqual([true, 0]);
    vi.advanceTimersByTime(2500);
    expect(await run).toBe(true);
    expect([signalling.isOpen, socket.closed]).toEqual([false, 1]);
    // The next one is borne for longer: perhaps it is the machine that is slow.
    const [, again] = opened(signalling, { heartbeat_ms: 1000 });
    vi.advanceTimersByTime(4999);
    expect(signalling.isOpen).toBe(true);
    vi.advanceTimersByTime(1);
    expect(await again).toBe(true);
  });

  it("of a gateway that promises no beat may be quiet for ever", () => {
    const signalling = new Signalling();
    opened(signalling, {});
    vi.advanceTimersByTime(3_600_000);
    expect(signalling.isOpen).toBe(true);
  });

  it("that is closed by us has ended at once", async () => {
    const signalling = new Signalling();
    const [, run] = opened(signalling, { heartbeat_ms: 1000 });
    signalling.close();
    expect(await run).toBe(false);
  });
});

describe("a round of gateways", () => {
  const never = new Promise<string>(() => undefined);
  const asked: string[] = [];

  const round = (places: string[], answers: Record<string, () => Promise<string>>) => {
    asked.length = 0;
    const asking: Asking<string> = {
      places,
      patienceMs: 100,
      ask: (place, signal) => {
        asked.push(place);
        return Promise.race([
          (answers[place] as () => Promise<string>)(),
          new Promise<string>((_, reject) => {
            signal.addEventListener("abort", () => {
              reject(new Error("given up"));
            });
          }),
        ]);
      },
      homeOf: (error) => (typeof error === "object" && error !== null && "home" in error
        ? String(error.home) : null),
      worse: (before) => before,
    };
    return askRound(asking);
  };
  const says = (home: string) => () => Promise.reject({ home });

  it("asks the next beside one that is silent", async () => {
    const answer = round(["a", "b", "c"], { a: () => never, b: () => Promise.resolve("from b") });
    expect(asked).toEqual(["a"]);
    await vi.advanceTimersByTimeAsync(100);
    expect(await answer).toBe("from b");
    expect(asked).toEqual(["a", "b"]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toEqual(["a", "b"]);
  });

  it("asks nobody else where the first answers in time", async () => {
    expect(await round(["a", "b"], { a: () => Promise.resolve("from a") })).toBe("from a");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toEqual(["a"]);
  });

  it("asks again who names a silent home, until that one takes over", async () => {
    let tries = 0;
    const b = (): Promise<string> =>
      (tries += 1) < 4 ? says("a")() : Promise.resolve("from b");
    const answer = round(["a", "b"], { a: () => never, b });
    await vi.advanceTimersByTimeAsync(1500);
    expect(await answer).toBe("from b");
    expect(asked).toEqual(["a", "b", "b", "b", "b"]);
  });

  it("follows a home at once that it was not about to ask", async () => {
    const answer = round(["a", "b"], { a: says("z"), z: () => Promise.resolve("from z") });
    await vi.advanceTimersByTimeAsync(0);
    expect(await answer).toBe("from z");
    expect(asked).toEqual(["a", "z"]);
  });

  it("ends with a refusal where all refuse, and after a while where all are silent", async () => {
    const refused = round(["a", "b"], { a: () => Promise.reject(new Error("no")), b: says("b") });
    await expect(refused).rejects.toThrow("no");
    const silent = round(["a", "b"], { a: () => never, b: () => never });
    const ended = expect(silent).rejects.toThrow("given up");
    await vi.advanceTimersByTimeAsync(12_000);
    await ended;
  });
});
