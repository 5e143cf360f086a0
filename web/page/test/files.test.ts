import { describe, expect, it } from "vitest";
import { compare, folded } from "../src/files/compare";
import { arrange, crumbs, encodePath, faultOf, folderOf, pageOf } from "../src/files/names";
import { sizeOf } from "../src/sizes";
import type { Entry } from "../src/files/wire";

const entry = (name: string, kind: Entry["kind"] = "file"): Entry => ({
  id: 1, path: `/${name}`, name, kind, size: 0, hash: "", etag: "", version: 1, created_at: 0,
  created_by: "", modified_at: 0, modified_by: "", access: 3, flags: 0, locked_by: "",
  lock_expires_at: 0, link: "",
});

describe("paths", () => {
  it("come back from the address that shows them", () => {
    for (const path of ["/", "/Projects", "/a b/ü#?%/c", "/100%"]) {
      expect(folderOf(pageOf(path))).toBe(path);
    }
    expect(folderOf("/files/%E0%A4%A")).toBe("/");
    expect(encodePath("/a/b c")).toBe("/a/b%20c");
    expect(crumbs("/a/b").map((crumb) => crumb.path)).toEqual(["/", "/a", "/a/b"]);
  });

  it("refuses names that are none", () => {
    for (const name of ["", " ", ".", "..", "a/b", "a\\b", "a\u0000", "x".repeat(256)]) {
      expect(faultOf(name)).not.toBe("");
    }
    expect(faultOf("scene v2.usd")).toBe("");
  });
});

it("says sizes in three digits", () => {
  expect([0, 999, 1000, 1234, 99_950, 999_499, 999_500, 5e9].map(sizeOf)).toEqual(
    ["0 B", "999 B", "1.00 KB", "1.23 KB", "100 KB", "999 KB", "1.00 MB", "5.00 GB"],
  );
});

it("puts folders first, counts as people do, and hides what is hidden", () => {
  const names = arrange([
    entry("shot10"), entry("shot2"), entry(".thumbs", "folder"), entry("z", "folder"), entry("M", "mount"),
  ]).map((one) => one.name);
  expect(names).toEqual(["M", "z", "shot2", "shot10"]);
});

describe("comparing", () => {
  const marks = (a: string, b: string): string[] =>
    (compare(a, b) ?? []).map((line) => line.mark + line.text);

  it("tells what went and what came", () => {
    expect(marks("a\nb\nc", "a\nx\nc")).toEqual([" a", "-b", "+x", " c"]);
    expect(marks("a", "a")).toEqual([" a"]);
    expect(marks("", "a")).toEqual(["-", "+a"]);
    expect(marks("a\nb", "b\na")).toEqual(["-a", " b", "+a"]);
  });

  it("loses no line, whatever the texts", () => {
    for (let seed = 1; seed < 60; seed += 1) {
      const make = (salt: number): string =>
        Array.from({ length: (seed * salt) % 17 }, (_, i) => String((i * seed * salt) % 5)).join("\n");
      const [a, b] = [make(3), make(7)];
      const lines = compare(a, b) ?? [];
      const side = (drop: string): string =>
        lines.filter((line) => line.mark !== drop).map((line) => line.text).join("\n");
      expect(side("+")).toBe(a);
      expect(side("-")).toBe(b);
    }
  });

  it("folds what stayed and gives up on what is too large", () => {
    const many = Array.from({ length: 50 }, (_, i) => String(i));
    const changed = many.with(25, "x");
    const shown = folded(compare(many.join("\n"), changed.join("\n")) ?? []);
    expect(shown.map((line) => line.mark).join("")).toBe("  -+  ");
    const other = Array.from({ length: 3000 }, (_, i) => `y${String(i)}`);
    expect(compare(other.map((line) => `${line}!`).join("\n"), other.join("\n"))).toBeNull();
  });
});
