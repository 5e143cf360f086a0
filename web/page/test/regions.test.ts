import { expect, it } from "vitest";
import type { RegionView } from "@downstage/viewer";
import { measure } from "../src/regions";

const region = (name: string, more: Partial<RegionView> = {}): RegionView => ({
  name, free: 1, capacity: 1, probe: `https://${name}.example/`, latitude: null, longitude: null,
  answering: true, ...more,
});

it("takes the shortest of some round trips", async () => {
  const times = { "https://a.example/": [90, 20.04, 31], "https://b.example/": [50, 40, 45] };
  const ping = (probe: string): Promise<number> =>
    Promise.resolve(times[probe as keyof typeof times].shift() ?? 0);
  expect(await measure([region("a"), region("b")], ping)).toEqual({ a: 20, b: 40 });
});

it("measures nothing where there is no choice", async () => {
  const never = (): Promise<number> => Promise.reject(new Error("nobody asked"));
  expect(await measure([], never)).toEqual({});
  expect(await measure([region("a"), region("b", { answering: false })], never)).toEqual({});
});

it("leaves out what it cannot measure", async () => {
  const ping = (probe: string): Promise<number | null> =>
    Promise.resolve(probe.includes("far") ? null : 7);
  const regions = [
    region("near"), region("far"), region("stun", { probe: "stun:h:3478" }), region("none", { probe: null }),
  ];
  expect(await measure(regions, ping)).toEqual({ near: 7 });
});
