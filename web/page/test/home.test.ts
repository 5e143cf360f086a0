import { expect, it } from "vitest";
import { ago } from "../src/ago";

it("says how long ago something was", () => {
  const at = (minutes: number): string => new Date(minutes * 60_000).toISOString();
  expect(ago(at(0), 30_000)).toBe("just now");
  expect(ago(at(0), 61_000)).toBe("1 min ago");
  expect(ago(at(0), 3 * 3_600_000)).toBe("3 h ago");
  expect(ago(at(0), 72 * 3_600_000)).toBe("3 days ago");
  expect(ago("?", 0)).toBe("just now");
});
