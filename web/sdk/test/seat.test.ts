import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Api } from "../src/api";
import { Places, type Shelf } from "../src/places";
import { Problem } from "../src/problem";
import { Seat } from "../src/seat";
import type { SeatAnswer } from "../src/wire";

const [A, B, C] = ["http://a:1", "http://b:2", "http://c:3"] as const;

function refusal(status: number, home: string | null = null): Problem {
  return new Problem({ code: "x", status, title: "x", detail: "x", home });
}

/** Gateways that share tickets; each may be silent or drive the session. */
class World {
  home: string | null = A;
  readonly silent = new Set<string>();
  /** Cut off: not even a refusal comes. */
  readonly cut = new Set<string>();
  readonly asked: string[] = [];
  readonly valid = new Set<string>();
  cookie = true;
  count = 0;

  api(base: string, own = base): Api {
    const check = async (what: string): Promise<void> => {
      this.asked.push(`${what} ${base.slice(7, 8)}`);
      if (this.cut.has(base)) await new Promise(() => undefined);
      if (this.silent.has(base)) throw refusal(0);
      if (this.home !== base) throw refusal(421, this.home);
    };
    const answer = (): Promise<SeatAnswer> => {
      const ticket = `r${String((this.count += 1))}`;
      this.valid.add(ticket);
      return Promise.resolve({
        seat: "s", media_ticket: `m${String(this.count)}`, signalling_ticket: "x",
        resume_ticket: ticket, gateways: [A, B, C],
      } as unknown as SeatAnswer);
    };
    const spend = (ticket: string): void => {
      if (!this.valid.delete(ticket)) throw refusal(401);
    };
    const fake = {
      base,
      at: (other: string) => this.api(other, own),
      seat: async () => {
        await check("cookie");
        if (base !== own || !this.cookie) throw refusal(401);
        return await answer();
      },
      resume: async (_: string, ticket: string) => {
        await check("resume");
        spend(ticket);
        return await answer();
      },
      takeSeat: async (_: string, code: string | null) => {
        await check(code === null ? "person" : "code");
        return await answer();
      },
      ticket: async () => {
        await check("ticket");
        return await Promise.resolve({ ticket: "fresh" });
      },
      end: async (_: string, ticket: string | null) => {
        await check(ticket === null ? "end" : "end by ticket");
        if (ticket !== null) spend(ticket);
        await Promise.resolve();
      },
    };
    return fake as unknown as Api;
  }
}

function memory(): Shelf & { kept: Map<string, string> } {
  const kept = new Map<string, string>();
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

let world: World;
let shelf: ReturnType<typeof memory>;

const seat = (more: { code?: string | null; token?: string | null } = {}): Seat => new Seat(
  world.api(A),
  { session: "x", code: more.code ?? null, seat: null, token: () => more.token ?? null },
  shelf,
);

beforeEach(() => {
  world = new World();
  shelf = memory();
  vi.restoreAllMocks();
});

describe("a seat", () => {
  it("is asked for where the session is at home", async () => {
    world.home = B;
    const mine = seat({ code: "join" });
    await mine.first();
    expect(world.asked).toEqual(["code a", "code b"]);
    expect(mine.api.base).toBe(B);
  });

  it("moves to the gateway that took the session, and its ticket is used once", async () => {
    const mine = seat();
    await mine.first();
    world.silent.add(A);
    world.home = C;
    await mine.again();
    expect(world.asked).toEqual(["cookie a", "cookie a", "resume b", "resume c"]);
    world.silent.add(C);
    world.home = B;
    await mine.again();
    expect(mine.api.base).toBe(B);
  });

  it("is not held up by a home that is cut off, and looks there again until another has it", async () => {
    const mine = seat();
    await mine.first();
    world.cut.add(A);
    const again = mine.mediaTicket(true);
    setTimeout(() => {
      world.home = B;
    }, 300);
    expect(await again).toBe("m2");
    expect(mine.api.base).toBe(B);
    expect(world.asked.filter((what) => what === "cookie a").length).toBe(2);
    expect(world.asked.filter((what) => what === "resume b").length).toBeGreaterThan(1);
  });

  it("takes an earlier ticket where the last was spent by an answer that never came", async () => {
    const mine = seat();
    await mine.first();
    mine.renewed("spent", [A, B, C]);
    world.silent.add(A);
    world.home = B;
    world.asked.length = 0;
    await mine.again();
    expect(world.asked).toEqual(["cookie a", "resume b", "resume b"]);
  });

  it("follows a home that is named, but not for ever", async () => {
    const mine = seat();
    await mine.first();
    world.home = null;
    world.silent.add(A).add(B).add(C);
    await expect(mine.again()).rejects.toMatchObject({ status: 0 });
    world.silent.clear();
    world.home = B;
    await mine.again();
    expect(mine.api.base).toBe(B);
  });

  it("survives a reload of a page whose gateway is not home any more", async () => {
    const before = seat();
    await before.first();
    world.home = B;
    world.cookie = false;
    await before.again();
    const after = seat();
    world.asked.length = 0;
    await after.first();
    expect(world.asked).toEqual(["resume b"]);
  });

  it("waits for a gateway that is silent rather than believe a stranger", async () => {
    const mine = seat();
    await mine.first();
    world.valid.clear();
    world.silent.add(A);
    world.home = B;
    await expect(mine.again()).rejects.toMatchObject({ status: 0 });
  });

  it("takes tickets in turn: none is spent twice", async () => {
    const mine = seat();
    await mine.first();
    world.home = B;
    await mine.again();
    const [first, second] = await Promise.all([mine.again(), mine.again()]);
    expect(first.media_ticket).not.toBe(second.media_ticket);
  });

  it("gets media tickets by its cookie at home, by resuming elsewhere", async () => {
    const mine = seat();
    await mine.first();
    expect(await mine.mediaTicket()).toBe("m1");
    expect(await mine.mediaTicket()).toBe("fresh");
    world.home = B;
    expect(await mine.mediaTicket()).toBe("m2");
    expect(mine.api.base).toBe(B);
  });

  it("may end the session from wherever it is", async () => {
    const mine = seat();
    await mine.first();
    world.home = B;
    await mine.again();
    await mine.end();
    expect(world.asked.at(-1)).toBe("end by ticket b");
  });
});

describe("places", () => {
  it("are written down only where there are several gateways", () => {
    const places = new Places(A, "x", shelf);
    places.answered(A, null, [A]);
    expect(shelf.kept.size).toBe(0);
    places.answered(B, "r", [A, B, "javascript:alert(1)", "nonsense"]);
    expect(new Places(A, "x", shelf).all()).toEqual([B, A]);
    expect(new Places(A, "other", shelf).all()).toEqual([A]);
  });

  it.each(["{", "[]", '{"home":"javascript:x","gateways":[],"tickets":[]}', "7"])(
    "ignore what they did not write: %s", (text) => {
      shelf.kept.set("downstage.seat.x", text);
      expect(new Places(A, "x", shelf).all()).toEqual([A]);
    },
  );
});
