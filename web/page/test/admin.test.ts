import { describe, expect, it } from "vitest";
import { scan } from "../src/admin/json";
import { laidOut } from "../src/admin/open";
import { faultOfId, newId, pathOf, placeOf } from "../src/admin/place";

/** Line, column and words of what is wrong. */
const wrong = (text: string): [number, number, string] | null => {
  const found = scan(text);
  return "fault" in found ? [found.fault.line, found.fault.column, found.fault.words] : null;
};

describe("JSON as it is typed", () => {
  it("is laid out as JSON.stringify does it", () => {
    const value = { name: "Tea \"é\" \\", tools: [], more: {}, list: [1, [true, null], { a: -1.5e3 }], deep: { b: { c: "" } } };
    for (const text of [JSON.stringify(value), JSON.stringify(value, null, "\t"), JSON.stringify(value, null, 2)]) {
      expect(laidOut(` \r\n${text}\n`)).toBe(JSON.stringify(value, null, 2));
    }
  });

  it("keeps digits that JavaScript's numbers do not have", () => {
    expect(laidOut('{"n":12345678901234567890.10,"m":1.0}')).toBe('{\n  "n": 12345678901234567890.10,\n  "m": 1.0\n}');
  });

  it("is wrong at a line and a column, in words", () => {
    const cases: [string, number, number, string][] = [
      ["", 1, 1, "begins with {"],
      ["[]", 1, 1, "begins with {"],
      ['{\n  "a": 1\n  "b": 2\n}', 3, 3, "comma or } is missing"],
      ['{\n  "a": [1, 2,\n  ]\n}', 2, 13, "No comma stands before ]"],
      ['{"a": 1,}', 1, 8, "No comma stands before }"],
      ['{"a": 1', 1, 8, "the { of line 1 is still open"],
      ['{"a" 1}', 1, 6, 'colon is missing after "a"'],
      ["{a: 1}", 1, 2, "name in double quotes"],
      ["{'a': 1}", 1, 2, "name in double quotes"],
      ['{"a": \'x\'}', 1, 7, "plain double quotes"],
      ['{"a": “x”}', 1, 7, "plain double quotes"],
      ['{"a": tru}', 1, 7, "tru is neither"],
      ['{"a": True}', 1, 7, "True is neither"],
      ['{"a": NaN}', 1, 7, "NaN is neither"],
      ['{"a": 01}', 1, 8, "number is not written so"],
      ['{"a": 1.}', 1, 8, "number is not written so"],
      ['{"a": "x\n"}', 1, 7, "no closing quote"],
      ['{"a": "\\x"}', 1, 8, "After \\"],
      ['{"a": "\t"}', 1, 8, "control character"],
      ['{"a": 1, "a": 2}', 1, 10, '"a" stands here twice'],
      ['{"a": 1, "\\u0061": 2}', 1, 10, "stands here twice"],
      ['{"a": }', 1, 7, "value belongs here"],
      ['{"a": 1} x', 1, 10, "has ended"],
      [`{"a": ${"[".repeat(300)}`, 1, 207, "too deep"],
    ];
    for (const [text, line, column, words] of cases) {
      const found = wrong(text);
      expect(found?.slice(0, 2), text).toEqual([line, column]);
      expect(found?.[2], text).toContain(words);
    }
  });

  it("agrees with JSON.parse about any text", () => {
    const parts = ['"a"', '"b"', '"\\n"', ":", ",", "{", "}", "[", "]", "1", "-0.5e2", "true", "null", " ", "\n", '"', "x"];
    let seed = 7, right = 0;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    const make = (depth: number): string => {
      const inner = (): string => make(depth + 1);
      switch (next(depth > 3 ? 3 : 6)) {
        case 0: return "12";
        case 1: return '"x\\u00e9"';
        case 2: return "false";
        case 3: return `[${Array.from({ length: next(3) }, inner).join(" , ")}]`;
        default: return `{${Array.from({ length: next(3) }, (_, at) => `"k${String(at)}" : ${inner()}`).join(",")}}`;
      }
    };
    for (let round = 0; round < 2000; round += 1) {
      let text = `{"v": ${make(0)}}`;
      for (let cuts = next(3); cuts > 0; cuts -= 1) {
        const at = next(text.length);
        text = text.slice(0, at) + parts[next(parts.length)]! + text.slice(at + next(2));
      }
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        expect(wrong(text), text).not.toBeNull();
        continue;
      }
      if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
      const found = wrong(text);
      if (found?.[2].includes("twice")) continue;
      expect(found, text).toBeNull();
      expect(JSON.parse(laidOut(text)), text).toEqual(value);
      right += 1;
    }
    expect(right).toBeGreaterThan(250);
  });
});

describe("places", () => {
  it("come back from the address", () => {
    for (const id of ["tea", "a/b c", "ü#?%", null]) {
      const place = { collection: "recipes", id };
      expect(placeOf(pathOf(place))).toEqual(place);
    }
    expect(pathOf({ collection: null, id: null })).toBe("/admin");
    expect(pathOf({ collection: null, id: "x" })).toBe("/admin");
    expect(placeOf("/admin/")).toEqual({ collection: null, id: null });
    expect(placeOf("/admin/recipes/%E0%A4%A")).toEqual({ collection: "recipes", id: null });
  });

  it("have ids that an address can name", () => {
    for (const id of [".", "..", "a\nb", "x".repeat(129)]) expect(faultOfId(id)).not.toBe("");
    for (const id of ["", "tea", "a/b", "☃".repeat(128)]) expect(faultOfId(id)).toBe("");
    expect(newId()).toMatch(/^[0-9a-f]{24}$/);
  });
});
