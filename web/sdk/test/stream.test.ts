import { describe, expect, it } from "vitest";
import { codecOf, readHeader } from "../src/h264";
import { firstWay } from "../src/media";
import { fasterWay } from "../src/painter";
import { isSameConnection, keepStereo, pinCandidate } from "../src/sdp";
import { Latency, Meter, isSameClock, type RawStats } from "../src/stats";
import { parseControl } from "../src/transport";

describe("the codec string", () => {
  it("comes from the first SPS, after other units and with either start code", () => {
    const sps = [0x67, 0x42, 0xc0, 0x2a, 0x8c, 0x8d];
    expect(codecOf(Uint8Array.from([0, 0, 0, 1, ...sps, 0]))).toBe("avc1.42c02a");
    expect(codecOf(Uint8Array.from([0, 0, 1, 9, 0xf0, 0, 0, 1, ...sps, 0]))).toBe("avc1.42c02a");
    expect(codecOf(Uint8Array.from([0, 0, 1, 0x27, 0x64, 0, 0x1f, 1]))).toBe("avc1.64001f");
  });

  it("is unknown without one", () => {
    expect(codecOf(Uint8Array.from([0, 0, 1, 0x65, 1, 2, 3, 4, 5, 6]))).toBeNull();
    expect(codecOf(new Uint8Array(3))).toBeNull();
    expect(codecOf(Uint8Array.from([...new Array<number>(400).fill(9), 0, 0, 1, 0x67, 1, 2, 3])))
      .toBeNull();
  });
});

describe("the media header", () => {
  it("is read as the streamer packs it", () => {
    const buffer = new ArrayBuffer(20);
    const view = new DataView(buffer);
    view.setUint8(0, 1);
    view.setUint8(1, 1);
    view.setUint32(4, 0xfffffffe, true);
    view.setFloat64(8, 1_700_000_000_123.5, true);
    expect(readHeader(buffer)).toEqual(
      { kind: 1, isKey: true, sequence: 0xfffffffe, capturedAt: 1_700_000_000_123.5 });
  });

  it("is refused when cut short", () => {
    expect(readHeader(new ArrayBuffer(15))).toBeNull();
  });
});

describe("the way of the picture", () => {
  it.each([
    ["auto", true, true, "webrtc"],
    ["auto", false, true, "websocket"],
    ["auto", true, false, "webrtc"],
    ["auto", false, false, null],
    ["websocket", true, true, "websocket"],
    ["websocket", true, false, null],
    ["webrtc", false, true, null],
  ] as const)("%s with webrtc=%s webcodecs=%s begins with %s", (choice, rtc, codecs, way) => {
    expect(firstWay(choice, rtc, codecs)).toBe(way);
  });

  it("draws only where that is clearly faster", () => {
    expect(fasterWay([9, 2, 2, 2, 2], [1, 5, 5, 5, 5])).toBe("put");
    expect(fasterWay([9, 5, 5, 5, 5], [90, 1, 1, 1, 1])).toBe("draw");
    expect(fasterWay([9, 5, 5, 5, 5], [0, 4, 4, 4, 4])).toBe("put");
  });
});

describe("session descriptions", () => {
  const offer = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;stereo=1\r\n";
  const answer = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=x\r\n";

  it("keep stereo when it is sent", () => {
    expect(keepStereo(offer, answer)).toContain("useinbandfec=1;stereo=1\r\na=x");
    expect(keepStereo(offer, keepStereo(offer, answer))).toBe(keepStereo(offer, answer));
    expect(keepStereo("a=fmtp:111 minptime=10", answer)).toBe(answer);
  });

  it("tell a new connection by its fingerprint", () => {
    const one = "v=0\r\na=fingerprint:sha-256 AA:BB\r\n";
    expect(isSameConnection(null, one)).toBe(true);
    expect(isSameConnection(one, `${one}a=ice-ufrag:new\r\n`)).toBe(true);
    expect(isSameConnection(one, "v=0\r\na=fingerprint:sha-256 AA:CC\r\n")).toBe(false);
  });

  it("pin UDP host candidates to the forwarded port", () => {
    const line = "candidate:1 1 udp 2130706431 10.0.0.5 40000 typ host";
    expect(pinCandidate(line, "1.2.3.4", 31306)).toBe(
      "candidate:19 1 udp 2130706431 1.2.3.4 31306 typ host");
    expect(pinCandidate(line.replace("udp", "tcp"), "1.2.3.4", 1)).toBeNull();
    expect(pinCandidate(line.replace("host", "srflx"), "1.2.3.4", 1)).toBeNull();
  });
});

describe("figures", () => {
  const raw = (decodedFrames: number, bytes: number, packets = 0, packetsLost = 0): RawStats => ({
    decodedFrames, bytes, packets, packetsLost, droppedFrames: 0, rttMs: null, width: 0, height: 0,
    decoder: null, glassMs: null, jitterMs: null,
  });

  it("are rates over the last second", () => {
    const meter = new Meter();
    expect(meter.add(raw(0, 0), 0)).toEqual({ fps: 0, kbps: 0, lossPct: 0 });
    meter.add(raw(30, 500_000), 500);
    expect(meter.add(raw(60, 1_000_000, 95, 5), 1000)).toEqual({ fps: 60, kbps: 8000, lossPct: 5 });
    meter.add(raw(60, 1_000_000, 95, 5), 1500);
    expect(meter.add(raw(60, 1_000_000, 95, 5), 2000)).toEqual({ fps: 0, kbps: 0, lossPct: 0 });
  });

  it("do not go below zero when another transport starts counting", () => {
    const meter = new Meter();
    meter.add(raw(1000, 9e6), 0);
    expect(meter.add(raw(5, 100), 1000).fps).toBe(0);
  });

  it("give the middle latency and ignore what another clock tells", () => {
    const latency = new Latency();
    expect(latency.p50).toBeNull();
    for (const ms of [10, 20, 30, 1e9, -1e9]) latency.add(ms);
    expect(latency.p50).toBe(20);
  });

  it("trust the clock of this machine alone", () => {
    for (const host of ["localhost", "127.0.0.1", "[::1]", "a.localhost"]) {
      expect(isSameClock(host)).toBe(true);
    }
    for (const host of ["10.0.0.1", "localhost.evil.example", "1270.0.0.1"]) {
      expect(isSameClock(host)).toBe(false);
    }
  });
});

it("reads control messages and nothing else", () => {
  expect(parseControl('["p",3]')).toEqual(["p", 3]);
  expect(parseControl("{}")).toBeNull();
  expect(parseControl("[1]")).toBeNull();
  expect(parseControl("[")).toBeNull();
  expect(parseControl(new ArrayBuffer(1))).toBeNull();
});
