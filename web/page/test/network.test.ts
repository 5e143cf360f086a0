import { expect, it } from "vitest";
import { judge, type Reach } from "../src/network";

const reach: Reach = {
  canConnect: true, isSeen: false, isRelayed: false, hasStun: false, hasRelay: false, relayOnly: false,
};

it.each<[Partial<Reach>, string, string]>([
  [{ canConnect: false }, "wait", "makes no WebRTC"],
  [{ hasRelay: true, isRelayed: true, isSeen: true }, "on", "by the relay"],
  [{ hasRelay: true, relayOnly: true }, "off", "does not answer"],
  [{ hasRelay: true }, "wait", "by WebSocket"],
  [{ hasStun: true }, "wait", "No answer came"],
  [{ hasStun: true, isSeen: true }, "on", "Nothing stands"],
])("judges %o", (found, dot, words) => {
  const verdict = judge({ ...reach, ...found });
  expect(verdict.dot).toBe(dot);
  expect(verdict.words).toContain(words);
});
