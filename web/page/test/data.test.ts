import { describe, expect, it } from "vitest";
import { cut, msOf, next, previous, read, type Row } from "../src/data/entries";
import { isPlot, Lines, numbersIn, pick } from "../src/data/fields";
import { formOf, parseWave, samplesOf } from "../src/data/hearing";
import { choices, figuresOf, kindOf, kindOfType, mediaType } from "../src/data/kinds";
import { parseBare, parseNpy } from "../src/data/npy";
import { pathOf, placeOf } from "../src/data/place";
import { faultOf, nameFor } from "../src/data/recordings";
import { advance, age, densities, duration, rulers, shareOf, timeAt } from "../src/data/scrub";
import { snippet } from "../src/data/snippets";
import { isKey, unitOf } from "../src/data/units";
import { EventParser } from "../src/events";

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const about = (content_type: string | null, meta: Record<string, unknown> = {}) => ({ name: "s", content_type, meta });

describe("entries", () => {
  const rows = (text: string): readonly Row[] => {
    const said = read(text);
    if (!("rows" in said)) throw new Error("no rows");
    return said.rows;
  };

  it("are cut where each begins, to the end of the message", () => {
    const body = bytes("abcde").buffer;
    const entries = cut(rows('[["a","5-0",0],["a","5-1",2],["b","6-0",2]]'), body);
    expect(entries.map(({ stream, id, at, data }) => [stream, id, at, new TextDecoder().decode(data)]))
      .toEqual([["a", "5-0", 5, "ab"], ["a", "5-1", 5, ""], ["b", "6-0", 6, "cde"]]);
    expect(entries[2]?.data.buffer).toBe(body); // a view, no copy
    expect(cut([], body)).toEqual([]);
  });

  it("are refused where their bytes do not fit", () => {
    for (const said of ['[["a","5-0",3],["a","5-1",2]]', '[["a","5-0",9]]', '[["a","5-0",-1]]']) {
      expect(() => cut(rows(said), bytes("abcde").buffer)).toThrow("do not fit");
    }
    for (const said of ['[["a",0]]', '[["a","5-0",1.5]]', '[5]', "{}", "null"]) expect(() => read(said)).toThrow();
  });

  it("are told to be missing", () => {
    expect(read('{"skipped":3}')).toEqual({ skipped: 3 });
    expect(read('{"gap":{"stream":"a","lost":null,"after":"5-0"}}')).toEqual({ lost: null });
  });

  it("have ids that no double holds", () => {
    expect(msOf("1700000000000-7")).toBe(1_700_000_000_000);
    expect(next("5-18446744073709551614")).toBe("5-18446744073709551615");
    expect([previous("5-1"), previous("5"), previous("0")]).toEqual(["5-0", "4-18446744073709551615", null]);
  });
});

it("cuts events that come in pieces", () => {
  const parser = new EventParser();
  expect(parser.push("event: change\r\nda")).toEqual([]);
  expect(parser.push('ta: {"a":\ndata: 1}\n\n: ping\n\n')).toEqual([{ id: "", event: "change", data: '{"a":\n1}' }]);
});

function npy(descr: string, shape: string, data: ArrayBufferLike, isFortran = false): Uint8Array<ArrayBuffer> {
  const head = `{'descr': '${descr}', 'fortran_order': ${isFortran ? "True" : "False"}, 'shape': ${shape}, }`.padEnd(117) + "\n";
  const file = new Uint8Array(10 + head.length + data.byteLength);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length, 0]);
  file.set(bytes(head), 10);
  file.set(new Uint8Array(data), 10 + head.length);
  return file;
}

describe("arrays", () => {
  const floats = new Float32Array([1, 2, 3, 4, 5, 6]).buffer;

  it("are read as NumPy writes them", () => {
    expect(parseNpy(npy("<f4", "(2, 3)", floats))).toEqual({ shape: [2, 3], data: new Float32Array([1, 2, 3, 4, 5, 6]) });
    expect([...parseNpy(npy("<f4", "(2, 3)", floats, true)).data]).toEqual([1, 3, 5, 2, 4, 6]);
    expect([...parseNpy(npy(">i2", "(2,)", new Uint8Array([0, 1, 255, 254]).buffer)).data]).toEqual([1, -2]);
    expect([...parseNpy(npy("<f2", "(3,)", new Uint16Array([0x3c00, 0xc100, 0x7c00]).buffer)).data]).toEqual([1, -2.5, Infinity]);
    expect([...parseNpy(npy("<i8", "(1,)", new BigInt64Array([-5n]).buffer)).data]).toEqual([-5]);
    expect(parseNpy(npy("|u1", "()", new Uint8Array([7]).buffer))).toEqual({ shape: [], data: new Uint8Array([7]) });
  });

  it("are read wherever they lie in a message", () => {
    const file = npy("<f8", "(1,)", new Float64Array([2.5]).buffer), message = new Uint8Array(file.length + 3);
    message.set(file, 3);
    expect([...parseNpy(message.subarray(3)).data]).toEqual([2.5]);
  });

  it("are refused where they are cut short, or no numbers", () => {
    expect(() => parseNpy(npy("<f4", "(2, 4)", floats))).toThrow("cut short");
    expect(() => parseNpy(npy("<f4", "(99999, 99999, 99999)", floats))).toThrow("cut short");
    expect(() => parseNpy(npy("<U5", "(1,)", floats))).toThrow();
    expect(() => parseNpy(bytes("nothing of that kind"))).toThrow("no .npy");
    expect(() => parseNpy(npy("<f4", "(6,)", floats).subarray(0, 40))).toThrow("cut short");
  });

  it("have the shape that the stream tells, where they have no head", () => {
    const raw = new Uint8Array(floats);
    expect(parseBare(raw, "float32", [-1, 3]).shape).toEqual([2, 3]);
    expect(parseBare(raw, "<f4", []).shape).toEqual([6]);
    expect(figuresOf(about("application/octet-stream", { dtype: "float32", shape: [2, 3] }), raw)?.shape).toEqual([2, 3]);
    expect(figuresOf(about("application/octet-stream"), raw)).toBeNull();
    expect(() => parseBare(raw, "complex64", [])).toThrow();
  });
});

describe("kinds", () => {
  it("follow the type, where it says enough", () => {
    expect(["image/jpeg", "video/h264; framing=1", "audio/opus; framing=1", "text/plain", "application/json", null]
      .map((type) => kindOfType(about(type)))).toEqual(["picture", "film", "sound", "log", null, null]);
    expect(mediaType("Audio/PCM; rate=16000;channels=2"))
      .toEqual({ type: "audio/pcm", parameters: { rate: "16000", channels: "2" } });
  });

  it("follow the first bytes else", () => {
    const jpeg = new Uint8Array([0xff, 0xd8, 0xff, 0xe0]);
    const cloud = npy("<f4", "(20, 3)", new Float32Array(60).buffer);
    const image = npy("|u1", "(16, 16, 3)", new Uint8Array(768).buffer);
    const table: [Uint8Array<ArrayBuffer>, string][] = [
      [jpeg, "picture"], [cloud, "points"], [image, "picture"], [bytes('{"x": 1, "y": 2}'), "plot"],
      [bytes('{"a": "b", "c": {"d": "e"}}'), "tree"], [bytes("hello"), "log"], [bytes("1.5"), "plot"],
      [new Uint8Array([0, 1, 2, 3]), "bytes"], [bytes("{broken"), "log"], [new Uint8Array(), "log"],
    ];
    expect(table.map(([data]) => kindOf(about(null), data))).toEqual(table.map(([, kind]) => kind));
  });

  it("offer other ways to look", () => {
    expect(choices("picture", about("image/jpeg"), true)).toEqual(["picture", "film", "bytes"]);
    expect(choices("picture", about("image/jpeg"), false)).toEqual(["picture", "bytes"]);
  });
});

describe("numbers", () => {
  it("are found where they stand", () => {
    const value = { t: 5, pose: { x: 1.5, tag: "a" }, joints: [1, 2], ok: true, none: null };
    expect([...numbersIn(value)]).toEqual([["t", 5], ["pose.x", 1.5], ["joints[0]", 1], ["joints[1]", 2], ["ok", 1]]);
    expect([...numbersIn(3)]).toEqual([["value", 3]]);
    expect(numbersIn({ a: Array(1000).fill(1) }, 10).size).toBe(10);
  });

  it("that only climb are no first choice", () => {
    expect(pick(["t", "seq", "pose.timestamp_ns", "frame_id", "x", "height"])).toEqual(["x", "height"]);
    expect(pick(["t"])).toEqual(["t"]);
    expect(pick(Array.from({ length: 30 }, (_, i) => `x${String(i)}`)).length).toBe(12);
  });

  it("make a plot where they are most of what is said", () => {
    expect([{ x: 1 }, { x: 1, y: "a" }, { x: 1, y: "a", z: "b" }, { a: "b" }, "5", null, Array(90).fill(1)].map(isPlot))
      .toEqual([true, true, false, false, false, false, false]);
  });

  it("stay in their lines, over the window", () => {
    const lines = new Lines(1000);
    lines.add(0, new Map([["a", 1]]));
    lines.add(500, new Map([["b", 2]]));
    lines.add(400, new Map([["a", 9]])); // late: left out
    lines.add(600, new Map([["a", 3]]));
    expect(lines.columns(["a", "b", "c"])).toEqual(
      [[0, 0.5, 0.6], [1, null, 3], [null, 2, null], [null, null, null]]);
    lines.add(2000, new Map([["a", 4]]));
    expect(lines.columns(["a"])).toEqual([[2], [4]]);
    expect(lines.names).toEqual(["a"]); // b has left the window
    const few = new Lines(1e9, 100);
    for (let at = 0; at < 1000; at += 1) few.add(at, new Map([["a", at]]));
    expect(few.length).toBeLessThanOrEqual(125);
    expect(few.columns(["a"])[1]?.at(-1)).toBe(999);
  });
});

describe("sound", () => {
  it("is read as its type says", () => {
    const form = formOf("audio/l16", { rate: "8000", channels: "2" });
    const heard = samplesOf(new Uint8Array([0x40, 0, 0xc0, 0, 0, 0, 0x7f, 0xff, 9]), form!);
    expect(heard.channels.map((channel) => [...channel])).toEqual([[0.5, 0], [-0.5, 32767 / 32768]]);
    expect(formOf("audio/pcm", { rate: "x" })).toEqual({ rate: 48_000, channels: 1, width: 2, isFloat: false, isBig: false });
    expect(formOf("audio/flac", {})).toBeNull();
  });

  it("is found in a WAV file", () => {
    const file = new Uint8Array(46), view = new DataView(file.buffer);
    file.set(bytes("RIFF    WAVEfmt "));
    [[16, 16], [24, 16000], [28, 32000]].forEach(([at, value]) => {
      view.setUint32(at!, value!, true);
    });
    [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, value]) => {
      view.setUint16(at!, value!, true);
    });
    file.set(bytes("data"), 36);
    view.setUint32(40, 2, true);
    view.setInt16(44, -16384, true);
    const wave = parseWave(file);
    expect(wave?.form.rate).toBe(16000);
    expect([...(samplesOf(wave!.data, wave!.form).channels[0] ?? [])]).toEqual([-0.5]);
    expect(parseWave(file.subarray(0, 20))).toBeNull();
  });
});

describe("the bar", () => {
  const span = { start: 1000, stop: 5000 };

  it("knows places by times, and times by places", () => {
    expect([0, 1000, 3000, 9000].map((at) => shareOf(at, span))).toEqual([0, 0, 0.5, 1]);
    expect([-1, 0, 0.25, 2].map((share) => timeAt(share, span))).toEqual([1000, 1000, 2000, 5000]);
    expect(shareOf(7, { start: 7, stop: 7 })).toBe(0);
  });

  it("goes on, to the end or round", () => {
    expect(advance(1000, 500, 2, span, false)).toEqual({ at: 2000, isOver: false, isRound: false });
    expect(advance(4900, 200, 1, span, false)).toEqual({ at: 5000, isOver: true, isRound: false });
    expect(advance(4900, 200, 1, span, true)).toEqual({ at: 1100, isOver: false, isRound: true });
    expect(advance(4900, 9000, 1, span, true).at).toBe(1000 + (12900 % 4000));
    expect(advance(7, 100, 1, { start: 7, stop: 7 }, true).isOver).toBe(true);
  });

  it("shows something where something is", () => {
    expect(densities([0, 1, 100])).toEqual([0, 0.35 + 0.0065, 1]);
    expect(densities([0, 0])).toEqual([0, 0]);
    expect(rulers(span, 0.2).map(({ label }) => label)).toEqual(["0:00", "0:01", "0:02", "0:03", "0:04"]);
    expect(rulers({ start: 0, stop: 0 }, 0.1)).toEqual([]);
    expect(rulers({ start: 0, stop: 864e5 * 365 }, 0.1).length).toBeLessThan(60);
  });

  it("says lengths and ages as people do", () => {
    expect([0, 5960, 65_000, 7_265_000].map((ms) => duration(ms))).toEqual(["0:00", "0:06", "1:05", "2:01:05"]);
    expect(duration(65_340, true)).toBe("1:05.3");
    expect([-3, 12.4, 1234, 59_000, 600_000, 8_000_000, 2e8].map(age)).toEqual(["0 ms", "12 ms", "1.2 s", "59 s", "10 min", "2 h", "2 days"]);
  });
});

it("reads the head of coded units", () => {
  const entry = new Uint8Array(23), view = new DataView(entry.buffer);
  entry.set([1, 3, 0, 0]);
  view.setBigInt64(8, -5_000_000n, true);
  view.setInt32(16, 40_000, true);
  entry.set([9, 8, 7], 20);
  const unit = unitOf(entry);
  expect([unit?.shownAt, [...(unit?.data ?? [])], isKey(unit)]).toEqual([-4_960_000, [9, 8, 7], true]);
  expect([unitOf(entry.subarray(0, 19)), unitOf(new Uint8Array(20)), isKey(null)]).toEqual([null, null, false]);
});

it("names recordings as the server does", () => {
  expect(["kitchen.mcap", "My run (2).ZIP", "..\\..\\x.mcap", "2026.11.30-06.20.mcap"].map(nameFor))
    .toEqual(["kitchen", "My-run-2-", "x", "2026.11.30-06.20"]);
  expect(["", "a/b", "a..b", "-a", "x".repeat(129)].map((name) => faultOf(name) === "")).toEqual(Array(5).fill(false));
  expect(faultOf("2026.11.30-06")).toBe("");
});

it("finds its place in the address", () => {
  for (const place of [
    { recording: null, streams: [] }, { recording: null, streams: ["a", "camera.front:1"] },
    { recording: "2026.11.30-06", streams: [] }, { recording: "r", streams: ["a=1", "b@c"] },
  ]) expect(placeOf(pathOf(place))).toEqual(place);
  expect(placeOf("/watch/%E0%A4%A")).toEqual({ recording: null, streams: [] });
  expect(placeOf("/watch/a+a+b").streams).toEqual(["a", "b"]);
});

it("tells how to push with no token in it", () => {
  for (const language of ["Python", "curl"] as const) {
    expect(snippet(language, "https://host:1")).toContain("https://host:1/v1/streams/");
    expect(snippet(language, "https://host:1")).toContain("DOWNSTAGE_TOKEN");
  }
});
